"""What `local` takes beside our own kinds, and where from: as kubectl and the API server do."""

import asyncio
import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from git_events_runner.errors import ConfigError
from git_events_runner.local.apiserver.server import ApiServer, serving
from git_events_runner.local.manifests import Loaded, load
from git_events_runner.local.standins import stand_ins
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref

from .conftest import write

CORE = """\
apiVersion: v1
kind: Namespace
metadata: {name: team}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: team}
data: {level: debug}
binaryData: {logo: aGVsbG8=}
---
apiVersion: v1
kind: Secret
metadata: {name: forge, namespace: team}
type: kubernetes.io/basic-auth
data:
  password: |
    aGVs
    bG8=
stringData: {username: me}
"""


def stored(server: ApiServer, ref: Ref) -> dict:
    found = server.storage.get(KINDS[ref.kind], ref.namespace, ref.name)
    assert found is not None
    return found


async def loaded(*paths: Path | str, secrets: tuple = ()) -> tuple[Loaded, ApiServer]:
    async with serving() as server:
        return load([str(path) for path in paths], server, secrets=secrets), server


async def refused(*paths: Path | str, secrets: tuple = ()) -> list[str]:
    async with serving() as server:
        with pytest.raises(ConfigError) as error:
            load([str(path) for path in paths], server, secrets=secrets)
    return list(error.value.problems)


async def test_core_kinds(tmp_path: Path):
    """Namespaces, ConfigMaps and Secrets are taken; base64 may be wrapped."""
    (tmp_path / "a.yaml").write_text(CORE)
    found, server = await loaded(tmp_path)
    assert {one.ref.kind for one in found.manifests} == {"Namespace", "ConfigMap", "Secret"}
    assert stored(server, Ref("Secret", "team", "forge"))["data"] == {"password": "aGVsbG8=", "username": "bWU="}


async def test_a_list(tmp_path: Path):
    """The objects of a List are taken, also of one in another, and their mistakes are at their own lines."""
    path = tmp_path / "a.yaml"
    items = "- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: NAME}\n  data:\n    a: VALUE\n"
    path.write_text("apiVersion: v1\nkind: List\nitems:\n" + items.replace("NAME", "c").replace("VALUE", "b"))
    found, _ = await loaded(path)
    assert [one.ref for one in found.manifests] == [Ref("ConfigMap", "default", "c")]
    path.write_text("apiVersion: v1\nkind: List\nitems:\n" + items.replace("NAME", "c").replace("VALUE", "1"))
    (problem,) = await refused(path)
    assert problem.startswith(f"{path}:8: data.a: ")


async def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`-` is standard input; its problems are told with its lines."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(CORE.encode())))
    found, _ = await loaded("-")
    assert len(found.manifests) == 3
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"kind: Secret\n")))
    (problem,) = await refused("-")
    assert problem.startswith("stdin:1: apiVersion: must be v1")


FOREIGN = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
---
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: fleet.cattle.io/v1alpha1
kind: GitRepo
metadata: {name: theirs}
"""


ACTION = "apiVersion: git-events-runner.rs/v1alpha1\nkind: Action\nmetadata: {name: a}\nspec: {actionJob: "
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {"


async def test_objects_of_others(tmp_path: Path):
    """Objects of other programs are passed over, each with one line; in a folder also what is no object at all."""
    (tmp_path / "a.yaml").write_text(CORE + "---\n" + FOREIGN)
    (tmp_path / "values.yaml").write_text("replicas: 1\n")
    found, _ = await loaded(tmp_path)
    assert len(found.manifests) == 3
    assert [line.partition(": ")[2] for line in found.skipped] == [
        "Deployment web (apps/v1)",
        "Service web (v1)",
        "GitRepo theirs (fleet.cattle.io/v1alpha1)",
        "no Kubernetes object",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("apiVersion: v1\nkind: Secrets\n", "2: kind: Secrets is no kind that is known here; did you mean Secret?"),
        ("apiVersion: git-event-runner.rs/v1alpha1\nkind: GitRepo\n", "apiVersion: must be git-events-runner.rs/"),
        ("apiVersion: git-events-runner.rs/v1\nkind: GitRepo\n", "apiVersion: must be git-events-runner.rs/v1alpha1"),
        ("kind: GitRepo\n", "apiVersion: must be git-events-runner.rs/v1alpha1 for a GitRepo (found None)"),
        ("replicas: 1\n", "kind: is required"),
        (SECRET + "name: 1}\n", "3: metadata.name: is required"),
        (SECRET + "name: n}\n", "3: metadata.name: is required as text; YAML reads n, yes, off and numbers as other"),
        (SECRET + "name: ''}\n", "3: metadata.name: is required"),
        (SECRET + "name: a, namespace: [b]}\n", "3: metadata.namespace: must be text"),
        (SECRET + "name: a, labels: [b]}\n", "3: metadata.labels: must be of type object, found array"),
        (SECRET + "name: a}\ndata: {b: '*'}\n", "4: data.b: illegal base64 data; plain text belongs into stringData"),
        (SECRET + "name: a}\nstringData: {b: c}\n" + SECRET + "name: d}\n", "5: apiVersion: is also in line 1; write"),
        ("apiVersion: v1\nkind: Secret\nkind: Pod\n", "3: kind: is also in line 2; write a line `---` between two"),
        (SECRET + "name: a}\nstringData: {b: c, b: d}\n", "4: stringData.b: is also in line 4; keep one of them"),
        (ACTION + "{env: [{name: A, value: 1}]}}\n", "value: must be of type string, found integer; put it into"),
        (ACTION + "sh}\n", "4: spec.actionJob: must be a mapping, with the fields actionImage, "),
        (SECRET + "name: a}\ndata: {b: 1}\n", "4: data.b: must be of type string, found number; put it into quotes"),
        (SECRET + "name: a}\ndata: {'b/': ''}\n", "4: data[b/]: Invalid value"),
        (SECRET + "name: a}\nstrigData: {}\n", "4: strigData: Secret has no such"),
        (SECRET + "name: a, label: {}}\n", "3: metadata.label: Secret has no such"),
        (SECRET + "name: a}\ntype: kubernetes.io/tls\n", "data[tls.crt]: Required"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {b: ''}\nbinaryData: {b: ''}\n", "duplicate of"),
        (SECRET + "name: a, resourceVersion: '1'}\n", "3: metadata.resourceVersion: "),
    ],
)  # fmt: skip
async def test_mistakes(tmp_path: Path, text: str, told: str):
    """What is meant as one of the kinds taken, and is wrong, is told with its line and field."""
    path = tmp_path / "a.yaml"
    path.write_text(text)
    problems = await refused(path)
    assert any(told in problem and problem.startswith(f"{path}:") for problem in problems), problems


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("spec.actionJob.commands", "did you mean command?"),
        ("spec.actionJob.podSecurtyContext", "did you mean podSecurityContext?"),
        ("spec.command", "did you mean spec.actionJob.command? check its indentation"),
        ("command", "did you mean spec.actionJob.command? check its indentation"),
        ("spec.zzz", "check its spelling and its indentation; spec has actionJob, sourceOverride"),
    ],
)
async def test_unknown_fields(tmp_path: Path, field: str, told: str):
    """An unknown field is told with the name, or the place, that was likely meant."""
    *parents, name = field.split(".")
    text = "apiVersion: git-events-runner.rs/v1alpha1\nkind: Action\nmetadata: {name: a}\n"
    text += "".join(f"{'  ' * depth}{parent}:\n" for depth, parent in enumerate(parents))
    text += f"{'  ' * len(parents)}{name}: x\n" + ("" if parents else "spec: {}\n")
    (tmp_path / "a.yaml").write_text(text)
    (problem,) = await refused(tmp_path / "a.yaml")
    assert problem.endswith(f": {field}: Action has no such field; {told}")


async def test_a_wrong_runtime_config(tmp_path: Path):
    """What is wrong with the runtime config is told at its own line of the manifest."""
    path = tmp_path / "a.yaml"
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: git-events-runner-config}\ndata:\n  runtimeConfig: |\n"
    path.write_text(f"{head}    action:\n      maxRunningJobs: many\n    triggers: {{}}\n")
    problems = await refused(path)
    assert problems[0].startswith(f"{path}:7: data.runtimeConfig: action.maxRunningJobs: ")
    assert problems[1].startswith(f"{path}:8: data.runtimeConfig: triggers: ")
    path.write_text(f"{head}    action: [\n")
    (problem,) = await refused(path)
    assert problem.startswith(f"{path}:7: data.runtimeConfig: line 2, column 1: ")
    path.write_text(head.replace("|\n", "'action: 1'\n"))
    (problem,) = await refused(path)
    assert problem.startswith(f"{path}:5: data.runtimeConfig: action: must be a mapping")


async def test_secrets_kept_elsewhere(tmp_path: Path):
    """A key of a Secret may come from the environment or a file; it wins over what the manifests say."""
    (tmp_path / "a.yaml").write_text(CORE)
    (tmp_path / "key").write_bytes(b"\xff\n")
    options = ["team/forge/username=WHO", f"ssh/ssh-privatekey=@{tmp_path}/key", "ssh/passphrase=WHO"]
    found, server = await loaded(tmp_path / "a.yaml", secrets=tuple(stand_ins(options, {"WHO": "you"})))
    assert len(found.manifests) == 4
    assert stored(server, Ref("Secret", "team", "forge"))["data"] == {"password": "aGVsbG8=", "username": "eW91"}
    assert stored(server, Ref("Secret", "default", "ssh"))["data"] == {"ssh-privatekey": "/wo=", "passphrase": "eW91"}


@pytest.mark.parametrize("option", ["", "a", "a/b", "a/b=", "a/b=@", "/b=X", "a//b=X", "a/b/c/d=X", "=", "a/b=@/none"])
def test_wrong_stand_ins(option: str):
    """An option of another form is refused, without what may be a secret's value."""
    with pytest.raises(ConfigError, match=r"^--secret "):
        stand_ins([option], {"X": "x"})
    with pytest.raises(ConfigError) as refused:
        stand_ins(["a/b=hunter2"], {})
    assert "hunter2" not in str(refused.value)


VARIABLES = """\
apiVersion: git-events-runner.rs/v1alpha1
kind: Action
metadata: {name: a}
spec:
  actionJob:
    env:
    - {name: A, valueFrom: {secretKeyRef: {name: s, key: KEY}}}
    - {name: B, valueFrom: {configMapKeyRef: {name: none, key: k, optional: true}}}
    envFrom:
    - configMapRef: {name: c}
    volumes:
    - {name: v, secret: {secretName: none}}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {k: v}
"""


async def test_objects_that_an_action_needs(tmp_path: Path):
    """A Secret, a ConfigMap or a key that an Action's variables and volumes need is told where it is named."""
    path = tmp_path / "a.yaml"
    path.write_text(VARIABLES.replace("KEY", "absent"))
    absent = "in these manifests (there is no ConfigMap at all)"
    told = [problem.removeprefix(f"{path}:").partition("; ")[0] for problem in await refused(path)]
    assert told == [
        "7: spec.actionJob.env[0].valueFrom.secretKeyRef: Secret default/s has no key absent (keys: k)",
        f"10: spec.actionJob.envFrom[0].configMapRef: no ConfigMap default/c {absent}",
        "12: spec.actionJob.volumes[0].secret: no Secret default/none in these manifests (there are: Secret default/s)",
    ]


async def test_a_pipe(tmp_path: Path):
    """A path may be a pipe, as a shell makes them of a command."""
    os.mkfifo(tmp_path / "pipe")
    writing = asyncio.create_task(asyncio.to_thread((tmp_path / "pipe").write_text, CORE))
    await asyncio.sleep(0)
    found, _ = await loaded(tmp_path / "pipe")
    await writing
    assert len(found.manifests) == 3


async def test_a_trigger_whose_secret_is_kept_elsewhere(tmp_path: Path):
    """A Secret that is missing is told together with the option that stands in for it."""
    folder = write(tmp_path / "m", url="http://a.test/b\n  authConfig: {type: token, secretRef: {name: forge}}")
    (problem,) = await refused(folder)
    assert problem.endswith("or pass it with --secret forge/token=VARIABLE")
    await loaded(folder, secrets=tuple(stand_ins(["forge/token=T"], {"T": "Bearer x"})))


async def test_nulls(tmp_path: Path):
    """A field that is null is one that is not there, also where its default decides what a name means."""
    folder = write(tmp_path / "m")
    text = (folder / "all.yaml").read_text().replace("    names: [app]\n", "    names: [app]\n    kind: null\n")
    (folder / "all.yaml").write_text(text.replace("multiSource: true}", "multiSource: true, authConfig: null}"))
    found, _ = await loaded(folder)
    assert {one.obj["spec"]["sources"]["kind"] for one in found.manifests if "sources" in one.obj["spec"]} == {
        "GitRepo"
    }
