"""Mistakes in manifests: each is told with file, line, field and what to do."""

from pathlib import Path

import pytest

from git_events_runner.errors import ConfigError
from git_events_runner.local.apiserver.server import serving
from git_events_runner.local.manifests import load

from .conftest import MANIFESTS, write

GROUP = "apiVersion: git-events-runner.rs/v1alpha1\n"


async def problems(folder: Path) -> list[str]:
    """What `load` says, each without the folder."""
    async with serving() as server:
        try:
            load([str(folder)], server)
        except ConfigError as error:
            return [one.replace(f"{folder}/", "") for one in error.problems]
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "manifests")


def change(folder: Path, old: str, new: str) -> None:
    assert old in MANIFESTS
    text = (folder / "all.yaml").read_text()
    (folder / "all.yaml").write_text(text.replace(old, new))


async def test_good_manifests(folder: Path):
    """Good manifests have no problem, and namespaces are made as needed."""
    extra = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: team}\nstringData: {a: b}\n"
    (folder / "more.yml").write_text(f"---\n{extra}---\n")
    async with serving() as server:
        manifests = load([str(folder)], server).manifests
    assert {str(one.ref) for one in manifests} >= {"GitRepo default/app", "Secret team/s"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("kind: GitRepo", "kind: GitRepos", "all.yaml:2: kind: GitRepos is no kind that is known here; did you mean"),
        ("command: COMMAND", "cmd: COMMAND", "all.yaml:12: spec.actionJob.cmd: Action has no such field"),
        ("  repoUri: URL", "repoUri: URL", "all.yaml:4: spec"),
        ("repoUri: URL", "repoUri: nonsense", "all.yaml:5: spec.repoUri: must be"),
        ("interval: 1s", "interval: soon", "all.yaml:20: spec.schedule.interval"),
        ("schedule: {interval: 1s}", "schedule: {}", "all.yaml:20: spec.schedule"),
        ("multiSource: true", "multiSource: perhaps", "all.yaml:29: spec.webhook.multiSource"),
        ("name: deploy}\n---\napi", "name: deplo}\n---\napi", "all.yaml:21: spec.action.name: no Action default/deplo"),
        ("names: [app]", "names: [ap]", "all.yaml:19: spec.sources.names[0]: no GitRepo default/ap in"),
        ("metadata: {name: app}", "metadata: {name: App}", "all.yaml:3: metadata.name"),
        ("metadata: {name: app}", "metadata: {}", "all.yaml:3: metadata.name: is required"),
        ("  sources:\n    names", "  sources:\n   names: [a]\n    names", "all.yaml:20: is no YAML"),
        ("kind: GitRepo", "kind: Deployment", "all.yaml:2: kind: Deployment is no kind that is known here; known are"),
    ],
)
async def test_mistakes(folder: Path, old: str, new: str, expected: str):
    """A likely mistake is told where it is."""
    text = MANIFESTS.replace(old, new).replace("COMMAND", "[a]").replace("URL", "http://a.test/b")
    (folder / "all.yaml").write_text(text)
    assert old in MANIFESTS
    told = await problems(folder)
    assert any(one.startswith(expected) for one in told), told


async def test_missing_secret(folder: Path):
    """A Secret, or a key of it, that nothing in the manifests has is told at the field that names it."""
    auth = "authConfig: {type: token, secretRef: {name: git}}"
    (folder / "all.yaml").write_text(MANIFESTS.replace("URL", f"http://a.test/b\n  {auth}").replace("COMMAND", "[a]"))
    assert (await problems(folder))[0].startswith(
        "all.yaml:6: spec.authConfig.secretRef.name: no Secret default/git in these manifests"
    )
    (folder / "secret.yaml").write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: git}\nstringData: {tokn: x}\n")
    assert "has no key token (keys: tokn)" in (await problems(folder))[0]


async def test_a_key_without_a_value(folder: Path):
    """A key that is there and empty is reported as empty."""
    auth = "authConfig: {type: token, secretRef: {name: git}}"
    (folder / "all.yaml").write_text(MANIFESTS.replace("URL", f"http://a.test/b\n  {auth}").replace("COMMAND", "[a]"))
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: git}\nstringData: {token: ''}\n"
    (folder / "secret.yaml").write_text(secret)
    assert "the key token of Secret default/git is empty" in (await problems(folder))[0]


REFERENCES = (
    GROUP
    + """\
kind: ScheduleTrigger
metadata: {name: previews}
spec:
  schedule: {interval: 1h}
  sources:
    names: [a]
    watchOn:
      onChangeOnly: true
      references: {branches: {include: INCLUDE}}
      onDelete: {kind: Action, name: teardwn}
  action: {kind: Action, name: teardown}
---
apiVersion: git-events-runner.rs/v1alpha1
kind: GitRepo
metadata: {name: a}
spec: {repoUri: "http://a.test/b"}
---
apiVersion: git-events-runner.rs/v1alpha1
kind: Action
metadata: {name: teardown}
spec: {actionJob: {command: [a]}}
"""
)


@pytest.mark.parametrize(
    ("include", "told"),
    [
        ("[main]", "spec.sources.watchOn.onDelete.name: no Action default/teardwn in these manifests"),
        ("[]", "spec.sources.watchOn.references.branches.include: must have at least 1 item"),
        ("['[a]']", "spec.sources.watchOn.references.branches.include[0]: write a name below"),
    ],
)
async def test_mistakes_in_references(folder: Path, include: str, told: str):
    """The Action for deleted references is looked for; a wrong pattern is one problem."""
    (folder / "all.yaml").write_text(REFERENCES.replace("INCLUDE", include))
    [found] = await problems(folder)
    assert told in found


async def test_missing_secret_of_a_proxy(folder: Path):
    """The Secret of a source's proxy, and its two keys, are looked for too."""
    spec = "proxy: {url: 'http://p.test:1', secretRef: {name: way}}"
    (folder / "all.yaml").write_text(MANIFESTS.replace("URL", f"http://a.test/b\n  {spec}").replace("COMMAND", "[a]"))
    assert (await problems(folder))[0].startswith(
        "all.yaml:6: spec.proxy.secretRef.name: no Secret default/way in these manifests"
    )
    (folder / "secret.yaml").write_text(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: way}\nstringData: {username: x}\n"
    )
    assert "has no key password (keys: username)" in (await problems(folder))[0]


async def test_all_problems_at_once(folder: Path):
    """Every file's problems are told together."""
    (folder / "a.yaml").write_text(GROUP + "kind: GitRepo\nmetadata: {name: x}\nspec: {}\n")
    (folder / "b.yaml").write_text("a: [\n")
    (folder / "c.yaml").write_text("just text\n")
    told = await problems(folder)
    assert {one.split(":")[0] for one in told} == {"a.yaml", "b.yaml", "c.yaml"}


async def test_every_wrong_field_has_its_line(folder: Path):
    """Each wrong field of one object has a line, at the field, with what is there and what was likely meant."""
    spec = """\
kind: WebhookTrigger
metadata: {name: hook}
spec:
  sources:
    names: app
    watchOn: {onChangeOnly: false, reference: {branch: main}}
  action: {kind: Actoin, name: run}
  webhook:
    multiSource: yess
    authConfig:
      type: githb
      key: token
      secretRef: {name: forge}
"""
    (folder / "a.yaml").write_text(GROUP + spec)
    (folder / "all.yaml").write_text(MANIFESTS.replace("URL", "http://a.test/b").replace("COMMAND", "[a]"))
    types = "'header', 'github', 'gitlab', 'gitea', 'bitbucket', 'azure', 'standard-webhooks' or 'hmac'"
    assert await problems(folder) == [
        "a.yaml:6: spec.sources.names: must be a list, found 'app'",
        "a.yaml:8: spec.action.kind: must be 'Action' or 'ClusterAction', found 'Actoin'; did you mean Action?",
        "a.yaml:10: spec.webhook.multiSource: must be true or false, found 'yess'",
        f"a.yaml:12: spec.webhook.authConfig.type: must be {types}, found 'githb'; did you mean github?",
    ]


async def test_fields_that_only_the_schema_knows(folder: Path):
    """What the models pass is told with what they find, and a field that both find once."""
    spec = "kind: Action\nmetadata: {name: x}\nspec:\n  actionJob:\n    backoffLimit: many\n"
    spec += "    env:\n    - {name: A, value: 5}\n"
    (folder / "a.yaml").write_text(GROUP + spec)
    (folder / "all.yaml").write_text(MANIFESTS.replace("URL", "http://a.test/b").replace("COMMAND", "[a]"))
    told = await problems(folder)
    assert [one.split(": ")[:2] for one in told] == [
        ["a.yaml:6", "spec.actionJob.backoffLimit"],
        ["a.yaml:8", "spec.actionJob.env[0].value"],
    ]


async def test_names_are_looked_up_beside_wrong_objects(folder: Path):
    """A wrong object hides no missing name elsewhere, and is itself there for those that name it."""
    text = MANIFESTS.replace("URL", "git://a.test/b").replace("COMMAND", "[a]")
    (folder / "all.yaml").write_text(text)
    assert [one.split(": ")[1] for one in await problems(folder)] == ["spec.repoUri"]
    secret = "kind: GitRepo\nmetadata: {name: x}\nspec:\n  repoUri: http://a.test/x\n"
    secret += "  authConfig: {type: token, secretRef: {name: none}}\n"
    (folder / "x.yaml").write_text(GROUP + secret)
    assert [one.split(": ")[1] for one in await problems(folder)] == ["spec.repoUri", "spec.authConfig.secretRef.name"]


async def test_twice(folder: Path):
    """The same object twice is told, with the place of the first."""
    (folder / "b.yaml").write_text(GROUP + "kind: GitRepo\nmetadata: {name: app}\nspec: {repoUri: 'http://a.test/b'}\n")
    (told,) = await problems(folder)
    assert told.startswith("b.yaml:3: metadata.name: GitRepo default/app is there already, at ")


async def test_nothing_there(tmp_path: Path):
    """A path that is not there, or holds no manifests, is told."""
    assert "no such file or folder" in (await problems(tmp_path / "absent"))[0]
    assert "no .yaml" in (await problems(tmp_path))[0]


async def test_dates_stay_texts(folder: Path):
    """A plain date in a ConfigMap is a string, as for Kubernetes."""
    (folder / "d.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {day: 2026-01-01}\n")
    assert await problems(folder) == []
