"""`doctor`: its findings about an installation."""

from datetime import UTC, datetime, timedelta

import jsonschema

from git_events_runner.cli.diagnosis import InstallationFacts, diagnose
from git_events_runner.cli.installation import Installation
from git_events_runner.cli.models import FindingList
from git_events_runner.resources.crds import crds
from git_events_runner.resources.ref import Ref
from tests.cli.test_explain import GROUP, at, entry, job, status

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def found(**facts):
    """The findings about these facts, as (level, topic, text)."""
    return [
        (one.level, one.topic, f"{one.text}; {one.remedy}") for one in diagnose(InstallationFacts(now=NOW, **facts))
    ]


def lease(age_s, holder="pod-1"):
    renewed = (NOW - timedelta(seconds=age_s)).isoformat()
    return {"spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed, "leaseTransitions": 2}}


def test_the_leader():
    """A Lease that is renewed is fine; an old one, or one without a holder, is a problem."""
    for held, level in ((lease(3), "ok"), (lease(60), "problem"), (lease(1, holder=""), "problem")):
        installation = Installation(namespace="ci", lease=held)
        assert [one[0] for one in found(installation=installation) if one[1] == "leader"] == [level]


def test_definitions():
    """Missing and old definitions are problems with the command that renews them."""
    mine = {crd["spec"]["names"]["kind"]: crd for crd in crds()}
    assert found(definitions=mine)[0][:2] == ("ok", "CRDs")
    old = {**mine, "GitRepo": None, "ScheduleTrigger": {"spec": {"versions": []}}}
    texts = [text for level, topic, text in found(definitions=old) if (level, topic) == ("problem", "CRDs")]
    assert "missing: GitRepo" in texts[0]
    assert "ScheduleTrigger lacks" in texts[1]
    assert all("git-events-runner crds | kubectl apply" in text for text in texts)


def test_replicas_and_versions():
    """Replicas that are not ready are a problem, several images and restarts a warning."""
    deployment = {
        "metadata": {"name": "ger", "namespace": "ci"},
        "spec": {"replicas": 2},
        "status": {"readyReplicas": 1},
    }
    pods = [
        {
            "metadata": {"name": f"ger-{image}"},
            "spec": {"containers": [{"image": f"registry/controller:{image}"}]},
            "status": {"containerStatuses": [{"restartCount": restarts}]},
        }
        for image, restarts in (("1.0.0", 0), ("1.1.0", 9))
    ]
    findings = found(installation=Installation(namespace="ci", deployment=deployment), pods=pods)
    assert [one[:2] for one in findings] == [("problem", "replicas"), ("warning", "replicas"), ("warning", "version")]
    assert "1 of 2 replicas are ready" in findings[0][2]


def test_clock_and_rights():
    """A clock that is off, and rights that are missing, are warnings."""
    findings = found(skew_s=-90.0, rights={"list triggers": True, "read logs": False})
    assert [one[:2] for one in findings[:2]] == [("warning", "clock"), ("warning", "rights")]
    assert "90s behind" in findings[0][2]
    assert "you may not: read logs" in findings[1][2]


async def test_a_cluster(cluster):
    """Hosts in back-off, stalled and unsigned triggers, and the queue are found; JSON fits its schema."""
    await cluster.world()
    problem = {"reason": "RateLimited", "message": "429", "stalled": False, "since": at(-60)}
    trigger = await cluster.trigger(status=status(app=entry(problem=problem)))
    stalled = {"type": "Stalled", "status": "True", "reason": "InvalidSpec", "message": "x"}
    await cluster.trigger("hook", "WebhookTrigger", status=status(stalled))
    await job(cluster, trigger, 1, started=at(-3600))
    await job(cluster, trigger, 2, suspend=True)
    await cluster.create("ConfigMap", "git-events-runner-config", {"data": {"runtimeConfig": "action: {x: 1}"}})
    done = await cluster.run("doctor", "--controller-namespace", "default", "-o", "json")
    assert done.code == 1
    jsonschema.validate(done.json, FindingList.model_json_schema(by_alias=True))
    texts = {f"{one['level']} {one['topic']}: {one['text']}" for one in done.json["items"]}
    assert "problem git servers: git.example.com: RateLimited for 1 source" in texts
    assert "problem triggers: 1 of 2 are stalled: default/hook" in texts
    assert "warning webhooks: 1 accept requests of every sender: default/hook" in texts
    assert any(text.startswith("ok queue: 1 of 16 slots held, 1 Job waiting") for text in texts)
    assert any(text.startswith("problem queue: 1 Job without a starting pod, with a slot") for text in texts)
    assert any(text.startswith("problem runtime config: it cannot be used") for text in texts)


async def test_jobs_that_gave_their_slot_back(cluster):
    """A Job that was suspended because it did not start is not counted among those that hold a slot."""
    await cluster.world()
    trigger = await cluster.trigger()
    marks = {f"{GROUP}/admission": "requeued", f"{GROUP}/requeues": "1", f"{GROUP}/requeued-at": at(-5)}
    await job(cluster, trigger, 1, suspend=True, annotations=marks)
    texts = [line for line in (await cluster.run("doctor")).out.splitlines() if "queue: " in line]
    assert any("queue: 1 Job without a slot, taken back since no pod started: nightly-" in text for text in texts)
    assert not any("no pod of them starts" in text for text in texts)


async def test_without_crds(cluster):
    """Without the custom resources doctor reports that, with the command that installs them."""
    await cluster.client.delete(Ref("CustomResourceDefinition", None, "gitrepos.git-events-runner.rs"))
    done = await cluster.run("doctor")
    assert done.code == 1
    assert "definitions are missing: GitRepo; install them: git-events-runner crds | kubectl apply" in done.out


async def test_the_webhook_port(cluster):
    """An address that does not respond, or responds otherwise, is a problem."""
    done = await cluster.run("doctor", "--webhook-url", "http://127.0.0.1:9/")
    assert "problem webhooks: http://127.0.0.1:9/ does not respond" in " ".join(done.out.split())
    done = await cluster.run("doctor", "--webhook-url", cluster.server.url)
    assert "which is not the controller's response" in done.out
