"""`status`: what it shows of stored objects."""

import jsonschema
from pydantic import TypeAdapter
from starlette.responses import JSONResponse

from git_events_runner.cli.models import TriggerDetail, TriggerList
from git_events_runner.local.apiserver.refusal import Refusal
from git_events_runner.resources.ref import Ref
from tests.cli.conftest import run

SHA = "0123456789012345678901234567890123456789"
RAN = {
    "state": "Idle",
    "checkedSources": {
        "app": {
            "commitHash": SHA,
            "changed": "2026-01-01T00:00:00Z",
            "runs": 3,
            "lastJob": {"name": "nightly-x", "phase": "Failed", "commit": SHA},
        }
    },
    "warnings": [{"reason": "WebhookOpen", "message": "everyone may call it"}],
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "WebhookOpen",
            "message": "watching\nwarning WebhookOpen: everyone may call it",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}


def valid(model, value):
    """Whether an output fits its documented schema."""
    jsonschema.validate(value, TypeAdapter(model).json_schema(by_alias=True))
    return value


async def test_a_row_has_state_result_commit_and_problem(cluster):
    """A failed run shows in the first screen: result, commit, Job."""
    await cluster.world()
    await cluster.trigger(status=RAN)
    done = await cluster.run("status")
    assert done.code == 0
    head, row = done.out.splitlines()
    assert head.split() == ["TRIGGER", "STATE", "RESULT", "COMMIT", "AGE", "NEXT", "QUEUE", "PROBLEM"]
    assert row.split()[:4] == ["scheduletrigger/nightly", "Idle", "Failed", SHA[:7]]
    assert row.endswith("Job nightly-x failed")
    [item] = valid(TriggerList, (await cluster.run("status", "-o", "json")).json)["items"]
    assert (item["result"], item["commit"], item["problem"]) == ("Failed", SHA, "Job nightly-x failed")
    assert item["warnings"] == ["WebhookOpen: everyone may call it"]


async def test_one_trigger_in_full(cluster):
    """One trigger has its sources, runs and conditions; the exit code is 1 while it has a problem."""
    await cluster.world()
    await cluster.trigger(status=RAN)
    done = await cluster.run("status", "st/nightly", "-o", "json")
    assert done.code == 1
    detail = valid(TriggerDetail, done.json)
    assert [one["name"] for one in detail["sources"]] == ["app"]
    assert detail["history"][0] | {"number": 3, "job": "nightly-x"} == detail["history"][0]
    text = (await cluster.run("status", "nightly")).out
    assert "CONDITION" in text
    assert "nightly-x" in text


async def test_each_reference_of_patterns(cluster):
    """Of a trigger that watches patterns of references, each recorded one has its line, with what waits."""
    await cluster.world()
    ran = RAN["checkedSources"]["app"]
    waiting = {"reason": "OutsideWindows", "commit": SHA, "until": "2030-01-01T08:00:00Z"}
    entries = {
        "app": {"listedAt": "2026-01-01T00:00:00Z"},
        "app@heads/a": ran,
        "app@tags/v1": ran | {"waiting": waiting},
    }
    watch = {"references": {"branches": {"include": ["*"]}}}
    sources = {"names": ["app"], "watchOn": {"onChangeOnly": True, **watch}}
    await cluster.trigger(sources=sources, status=RAN | {"checkedSources": entries})
    detail = valid(TriggerDetail, (await cluster.run("status", "nightly", "-o", "json")).json)
    found = [(one["name"], one["reference"], one["waiting"], one["waitingUntil"]) for one in detail["sources"]]
    assert found == [
        ("app", "branches *", None, None),
        ("app", "branch a", None, None),
        ("app", "tag v1", "OutsideWindows", "2030-01-01T08:00:00Z"),
    ]
    lines = (await cluster.run("status", "nightly")).out.splitlines()
    assert any("tag v1" in line and "OutsideWindows 2030-01-01T08:00:00Z" in line for line in lines)


async def test_states(cluster):
    """The state of a trigger names what keeps it from running."""
    await cluster.world()
    await cluster.trigger("a-new")
    await cluster.trigger("b-suspended", suspend=True, status=RAN)
    stalled = {
        "type": "Stalled",
        "status": "True",
        "reason": "ActionNotFound",
        "message": "trigger: Action x is missing",
    }
    await cluster.trigger("c-stalled", status={**RAN, "state": "WrongConfig", "conditions": [stalled]})
    retrying = {"type": "Reconciling", "status": "True", "reason": "Timeout", "message": "2 sources"}
    failing = {
        name: RAN["checkedSources"]["app"] | {"problem": {"reason": "Timeout", "message": message, "stalled": False}}
        for name, message in {"app": "no answer", "b": "x"}.items()
    }
    await cluster.trigger("d-retrying", status={**RAN, "checkedSources": failing, "conditions": [retrying]})
    items = (await cluster.run("status", "-o", "json")).json["items"]
    assert [one["state"] for one in items] == ["New", "Suspended", "Stalled", "Retrying"]
    assert items[3]["problem"] == "source app: no answer (and 1 more)"
    assert items[1]["nextCheck"] is None


async def test_namespaces_as_in_kubectl(cluster):
    """-n chooses a namespace, -A shows all with a column for it."""
    await cluster.create("Namespace", "team")
    for namespace in ("default", "team"):
        await cluster.world(namespace)
        await cluster.trigger(namespace=namespace)
    assert "NAMESPACE" not in (await cluster.run("status", "-n", "team")).out
    lines = (await cluster.run("status", "-A")).out.splitlines()
    assert [line.split()[0] for line in lines] == ["NAMESPACE", "default", "team"]


async def test_a_thousand_triggers_are_a_few_requests(cluster):
    """The list is read in pages: the number of requests does not follow the number of triggers."""
    await cluster.world()
    stored = await cluster.trigger("t-0")
    for number in range(1, 1000):
        cluster.server.create({**stored, "metadata": {"name": f"t-{number}", "namespace": "default"}})
    cluster.requests = 0
    done = await cluster.run("status", "-o", "json")
    assert len(done.json["items"]) == 1000
    assert cluster.requests <= 5


async def test_no_trigger_of_that_name(cluster):
    """A name that does not exist ends with 1, and with the namespace that has it."""
    await cluster.create("Namespace", "team")
    await cluster.world("team")
    await cluster.trigger(namespace="team")
    done = await cluster.run("status", "scheduletrigger/nightly")
    assert done.code == 1
    assert done.err.endswith(
        "no ScheduleTrigger 'nightly' in the namespace default; there is one in team: add -n team\n"
    )
    done = await cluster.run("status", "cronjob/nightly")
    assert done.code == 2
    assert "'cronjob' is no kind of a trigger" in done.err


async def test_without_rights(cluster):
    """A refusal ends with 3, and says what was refused."""

    async def refuse(request, proceed):
        refusal = Refusal(403, "Forbidden", 'scheduletriggers is forbidden: User "x" cannot list resource')
        return JSONResponse(refusal.body, status_code=403)

    cluster.server.intercept = refuse
    done = await cluster.run("status")
    assert (done.code, done.out) == (3, "")
    assert "not allowed: listing scheduletriggers in default" in done.err


async def test_without_crds(cluster):
    """A cluster without the custom resources ends with 3, and with the command that installs them."""
    for plural in ("scheduletriggers", "webhooktriggers"):
        await cluster.client.delete(Ref("CustomResourceDefinition", None, f"{plural}.git-events-runner.rs"))
    done = await cluster.run("status")
    assert done.code == 3
    assert "git-events-runner crds | kubectl apply" in done.err


def test_without_a_cluster(tmp_path):
    """Nothing that listens ends with 3; so does a kubeconfig that is not there."""
    config = tmp_path / "config"
    config.write_text(
        '{"apiVersion": "v1", "kind": "Config", "current-context": "x", "contexts": [{"name": "x", "context": '
        '{"cluster": "x", "user": "x"}}], "users": [{"name": "x", "user": {"token": "t"}}], "clusters": [{"name": "x", '
        '"cluster": {"server": "http://127.0.0.1:9"}}]}'
    )
    done = run("status", "--kubeconfig", str(config))
    assert (done.code, done.out) == (3, "")
    assert "cannot be reached" in done.err
    done = run("status", "--kubeconfig", str(tmp_path / "none"))
    assert done.code == 3
    done = run("status", "--kubeconfig", str(config), "--context", "other")
    assert done.code == 3
    assert "other" in done.err


async def test_names_cannot_control_the_terminal(cluster):
    """Text of users is printed without control characters and without marks that reorder it."""
    await cluster.world()
    message = "source app: \x1b[31mred\u202e"
    stalled = {"type": "Stalled", "status": "True", "reason": "InvalidSpec", "message": message}
    await cluster.trigger(status={"conditions": [stalled]})
    for words in (["status"], ["status", "nightly"]):
        out = (await cluster.run(*words)).out
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "red" in out
