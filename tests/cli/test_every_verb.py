"""Each verb that needs a cluster: without rights, without a cluster, without the custom resources; and its requests."""

import asyncio
import json

import pytest
from starlette.responses import JSONResponse

from git_events_runner.local.apiserver.refusal import Refusal
from git_events_runner.resources.kinds import KINDS, OURS
from git_events_runner.resources.ref import Ref
from tests.cli.conftest import run
from tests.cli.test_check import GOOD
from tests.cli.test_explain import status
from tests.cli.test_status import RAN

TRIGGER = GOOD.split("---\n")[2]
VERBS = {
    "status": ["status"],
    "status of one": ["status", "scheduletrigger/nightly"],
    "explain": ["explain", "scheduletrigger/nightly"],
    "logs": ["logs", "scheduletrigger/nightly"],
    "check": ["check", "FILE"],
    "trigger": ["trigger", "scheduletrigger/nightly"],
    "rerun": ["rerun", "scheduletrigger/nightly"],
    "suspend": ["suspend", "scheduletrigger/nightly"],
    "resume": ["resume", "scheduletrigger/nightly"],
    "ui": ["ui", "--port", "0"],
}
each_verb = pytest.mark.parametrize("words", VERBS.values(), ids=VERBS)


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "trigger.yaml"
    path.write_text(TRIGGER)
    return str(path)


def with_file(words, manifest):
    return [manifest if word == "FILE" else word for word in words]


def one_line(done):
    """The exit code, and that there is one line, which names the program."""
    [line] = done.err.splitlines()
    assert line.startswith("git-events-runner: ")
    return line


@each_verb
async def test_without_rights(cluster, manifest, words):
    """A caller that may do nothing gets 3, what was refused, and where to look."""
    await cluster.world()
    await cluster.trigger(status=RAN)

    async def refuse(_request, _proceed):
        refusal = Refusal(403, "Forbidden", 'User "x" cannot do that')
        return JSONResponse(refusal.body, status_code=403)

    cluster.server.intercept = refuse
    async with asyncio.timeout(60):
        done = await cluster.run(*with_file(words, manifest))
    if words[0] == "check":  # the manifests can be checked; what may not be read is a note
        assert done.code == 0
        assert "note: GitRepo default/app may not be read, so it is not checked" in done.out
        return
    assert (done.code, done.out) == (3, ""), done
    assert "not allowed: " in one_line(done)
    assert "doctor" in done.err


@each_verb
def test_without_a_cluster(tmp_path, manifest, words):
    """Nothing that listens, and a kubeconfig that does not exist, each end with 3."""
    cluster = {"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
    user = {"name": "x", "user": {"token": "t"}}
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "x"}
    path = tmp_path / "config"
    path.write_text(json.dumps(config | {"clusters": [cluster], "contexts": [context], "users": [user]}))
    done = run(*with_file(words, manifest), "--kubeconfig", str(path))
    assert (done.code, done.out) == (3, "")
    assert "the cluster cannot be reached: " in one_line(done)
    done = run(*with_file(words, manifest), "--kubeconfig", str(tmp_path / "none"))
    assert (done.code, done.out) == (3, "")
    assert str(tmp_path / "none") in one_line(done)


@each_verb
async def test_without_the_custom_resources(cluster, manifest, words):
    """A cluster without our definitions ends with 3, and with the command that installs them."""
    for kind in OURS:
        await cluster.client.delete(Ref("CustomResourceDefinition", None, f"{KINDS[kind].plural}.{KINDS[kind].group}"))
    async with asyncio.timeout(60):
        done = await cluster.run(*with_file(words, manifest))
    assert (done.code, done.out) == (3, ""), done
    assert "git-events-runner crds | kubectl apply" in one_line(done)


@pytest.mark.parametrize("words", [["doctor", "-o", "json"]])
async def test_doctor_without_them(cluster, words):
    """Doctor reports as findings what other verbs end with."""
    for kind in OURS:
        await cluster.client.delete(Ref("CustomResourceDefinition", None, f"{KINDS[kind].plural}.{KINDS[kind].group}"))
    done = await cluster.run(*words)
    assert done.code == 1
    assert any("definitions are missing" in one["text"] for one in done.json["items"])

    async def refuse(_request, _proceed):
        return JSONResponse(Refusal(403, "Forbidden", "no").body, status_code=403)

    cluster.server.intercept = refuse
    done = await cluster.run(*words)
    assert done.code == 3, done
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("words", "most"),
    [
        (["status"], 5),
        (["status", "-o", "json"], 5),
        (["status", "scheduletrigger/t-7"], 4),
        (["explain", "scheduletrigger/t-7"], 18),
        (["trigger", "scheduletrigger/t-7"], 4),
        (["suspend", "scheduletrigger/t-8"], 4),
        (["rerun", "scheduletrigger/t-7"], 8),
        (["logs", "scheduletrigger/t-7"], 6),
        (["doctor"], 60),
    ],
)
async def test_requests_do_not_follow_the_number_of_triggers(cluster, words, most):
    """Among 1,000 triggers each verb sends as many requests as among one: lists are read in pages."""
    await cluster.world()
    stored = await cluster.trigger("t-0", status=status())
    counts = []
    for number in range(1, 1000):
        obj = cluster.server.create({**stored, "metadata": {"name": f"t-{number}", "namespace": "default"}})
        if number in {7, 8}:
            cluster.server.restore(obj | {"status": status()})
        if number in {9, 999}:
            cluster.requests = 0
            done = await cluster.run(*words)
            counts.append(cluster.requests)
    assert done.code in {0, 1}, done
    assert counts[1] <= counts[0] + 4  # four pages more, of five hundred, for two kinds
    assert counts[1] <= most
