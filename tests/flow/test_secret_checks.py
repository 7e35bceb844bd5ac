"""Webhook Secrets that cannot be used: a condition and an Event, until they are fixed."""

import asyncio
import base64
from contextlib import asynccontextmanager

import pytest

from git_events_runner.concurrency.fairness import equal
from git_events_runner.edges.kube.secrets import Secrets
from git_events_runner.errors import ApiForbidden, ApiNotFound, ApiUnavailable
from git_events_runner.flow.webhooks import SecretChecks
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.report import Problem, Report
from git_events_runner.serving import running
from tests.flow.busy import reading_slowly
from tests.flow.virtual import at, until, virtual
from tests.flow.world import Cluster, Fence

HOOK = Ref("WebhookTrigger", "n", "hook")
GOOD = b"0123456789abcdef"


class Reader:
    """Secrets by namespace and name: the value under `token`, or an error; `reads` are (time, ref)."""

    def __init__(self):
        self.values, self.reads = {}, []

    async def get(self, ref):
        self.reads.append((at(), ref))
        value = self.values.get((ref.namespace, ref.name), ApiNotFound("no"))
        if isinstance(value, Exception):
            raise value
        return {"data": {"token": base64.b64encode(value).decode()}}


@asynccontextmanager
async def checking(cluster, reader, *, leading=True):
    """The checks of one replica, leader or not."""
    secrets = Secrets(reader=reader, cache_s=5.0, clock=asyncio.get_running_loop().time)
    checks = SecretChecks(
        store=cluster.store, secrets=secrets, writer=cluster, announcer=cluster, now=cluster.now, weight=equal
    )
    parts = {"checks": checks.run()} | ({"leading": checks.run_as_leader(Fence())} if leading else {})
    async with running(**parts):
        yield checks


def hook(cluster, namespace="n", name="hook", *, key="token", secret="hook", kind="header"):
    """A WebhookTrigger."""
    auth = {"secretRef": {"name": secret}, "key": key, "type": kind}
    spec = {"sources": {"names": ["app"]}, "action": {"kind": "Action", "name": "build"}}
    spec["webhook"] = {"multiSource": True, "authConfig": auth}
    return cluster.put({"kind": "WebhookTrigger", "metadata": {"name": name, "namespace": namespace}, "spec": spec})


def ready(cluster, ref=HOOK):
    """Status and reason of Ready."""
    conditions = (cluster.objects[ref].get("status") or {}).get("conditions") or ()
    return next(((c["status"], c["reason"]) for c in conditions if c["type"] == "Ready"), None)


@pytest.mark.parametrize(
    ("value", "kind", "key", "reason"),
    [
        (ApiNotFound("no"), "header", "token", "SecretNotFound"),
        (ApiForbidden("no"), "header", "token", "SecretForbidden"),
        (GOOD, "header", "other", "SecretKeyMissing"),
        (b" \n", "github", "token", "SecretInvalid"),
        (b"\n".join(b"key number %d" % n for n in range(9)), "github", "token", "SecretInvalid"),
        (b"x" * 1025, "gitea", "token", "SecretInvalid"),
        (b"x" * 600_000, "gitea", "token", "SecretInvalid"),
        (b"\xff" * 32, "gitlab", "token", "SecretInvalid"),
        (b"\x00" * 32, "header", "token", "SecretInvalid"),
        (GOOD, "standard-webhooks", "token", "SecretInvalid"),
        (b"whsec_!", "gitlab", "token", "SecretInvalid"),
    ],
)
@virtual
async def test_a_secret_that_cannot_be_used_makes_its_trigger_not_ready(value, kind, key, reason):
    """With the reason of the one list, one Event, and Ready again within a minute after it was fixed."""
    cluster, reader = Cluster(), Reader()
    reader.values["n", "hook"] = value
    hook(cluster, key=key, kind=kind)
    async with checking(cluster, reader):
        await until(lambda: ready(cluster) == ("False", reason), within_s=1)
        await asyncio.sleep(300)
        assert cluster.reasons == [reason]
        assert len(cluster.made("write")) == 1
        if key == "token":
            reader.values["n", "hook"] = b"whsec_" + base64.b64encode(GOOD * 2)
        else:
            cluster.change(HOOK, spec=hook(Cluster())["spec"])
        await until(lambda: ready(cluster) == ("True", "Succeeded"), within_s=65)


@pytest.mark.parametrize("kind", ["header", "github", "hmac", "azure", "bitbucket"])
@virtual
async def test_a_good_secret_writes_nothing(kind):
    """And is read every ten minutes, not more often."""
    cluster, reader = Cluster(), Reader()
    reader.values["n", "hook"] = GOOD
    hook(cluster, kind=kind)
    async with checking(cluster, reader):
        await asyncio.sleep(3600)
    assert cluster.made("write") == []
    assert 5 <= len(reader.reads) <= 8


@virtual
async def test_a_new_trigger_and_a_changed_one_are_checked_immediately():
    """A key that is misspelt is reported within a second, and so is its correction."""
    cluster, reader = Cluster(), Reader()
    reader.values["n", "hook"] = GOOD
    async with checking(cluster, reader):
        await asyncio.sleep(30)
        made = hook(cluster, key="tokn")
        await until(lambda: ready(cluster) == ("False", "SecretKeyMissing"), within_s=1)
        cluster.change(HOOK, spec={"webhook": {**made["spec"]["webhook"], "authConfig": None}})
        await until(lambda: ready(cluster) == ("True", "Succeeded"), within_s=1)


@virtual
async def test_a_secret_that_is_deleted_later_is_found_from_time_to_time():
    """Within eleven minutes, without a delivery."""
    cluster, reader = Cluster(), Reader()
    reader.values["n", "hook"] = GOOD
    hook(cluster)
    async with checking(cluster, reader):
        await asyncio.sleep(30)
        del reader.values["n", "hook"]
        await until(lambda: ready(cluster) == ("False", "SecretNotFound"), within_s=700)


@virtual
async def test_a_replica_that_is_not_the_leader_reports_what_a_delivery_finds():
    """Both ways: the Secret is missing, and it is there again."""
    cluster, reader = Cluster(), Reader()
    hook(cluster)
    async with checking(cluster, reader, leading=False) as checks:
        await asyncio.sleep(100)
        assert reader.reads == []
        checks.note(HOOK)
        await until(lambda: ready(cluster) == ("False", "SecretNotFound"), within_s=1)
        reader.values["n", "hook"] = GOOD
        checks.note(HOOK)
        await until(lambda: ready(cluster) == ("True", "Succeeded"), within_s=1)


@virtual
async def test_what_a_delivery_finds_does_not_wait_for_a_cache():
    """The check a moment ago found the Secret good; it was deleted since then."""
    cluster, reader = Cluster(), Reader()
    reader.values["n", "hook"] = GOOD
    hook(cluster)
    async with checking(cluster, reader) as checks:
        await until(lambda: reader.reads, within_s=1)
        del reader.values["n", "hook"]
        checks.note(HOOK)
        await until(lambda: ready(cluster) == ("False", "SecretNotFound"), within_s=1)


@virtual
async def test_the_leader_sees_the_end_of_what_another_replica_reported():
    """Within a minute, without a delivery."""
    cluster, reader = Cluster(), Reader()
    reader.values["n", "hook"] = GOOD
    hook(cluster)
    async with checking(cluster, reader), checking(cluster, reader, leading=False) as other:
        await asyncio.sleep(30)
        del reader.values["n", "hook"]
        other.note(HOOK)
        await until(lambda: ready(cluster) == ("False", "SecretNotFound"), within_s=1)
        await asyncio.sleep(30)
        reader.values["n", "hook"] = GOOD
        await until(lambda: ready(cluster) == ("True", "Succeeded"), within_s=65)


@virtual
async def test_an_api_server_that_is_away_changes_no_condition():
    """It says nothing about the Secret; afterwards the check is made up within a minute."""
    cluster, reader = Cluster(), Reader()
    reader.values["n", "hook"] = ApiUnavailable("away")
    hook(cluster)
    async with checking(cluster, reader):
        await asyncio.sleep(600)
        assert ready(cluster) is None
        del reader.values["n", "hook"]
        await until(lambda: ready(cluster) == ("False", "SecretNotFound"), within_s=65)


@virtual
async def test_the_problem_outlasts_those_of_sources():
    """Problems of sources come, are many, and end: the webhook's line stays, until the Secret is there."""
    cluster, reader = Cluster(), Reader()
    uid = hook(cluster)["metadata"]["uid"]

    async def report(problem):
        for number in range(30):
            found = Report(source=f"source{number}", problem=problem, generation=1, now="2026-05-06T07:00:00Z")
            await cluster.write(HOOK, uid, found)

    async with checking(cluster, reader):
        await until(lambda: ready(cluster) == ("False", "SecretNotFound"), within_s=1)
        await report(Problem(reason="GitError", message="m" * 600))
        await report(Problem(reason="HostKeyChanged", message="m" * 600, stalled=True))
        assert "Secret n/hook does not exist" in str(cluster.objects[HOOK]["status"]["conditions"])
        await report(None)
        assert ready(cluster)[0] == "False"
        reader.values["n", "hook"] = GOOD
        await until(lambda: ready(cluster) == ("True", "Succeeded"), within_s=65)


@virtual
async def test_a_thousand_triggers_are_no_herd_and_delay_no_neighbour():
    """At start ten reads in a second; a neighbour's trigger is checked first, one that is created meanwhile soon."""
    cluster, reader = Cluster(), Reader()
    for number in range(1000):
        hook(cluster, "evil", f"h{number}", secret=f"s{number}")
    hook(cluster, "good")
    async with checking(cluster, reader):
        await until(lambda: ready(cluster, Ref("WebhookTrigger", "good", "hook")), within_s=4)
        hook(cluster, "late")
        await until(lambda: ready(cluster, Ref("WebhookTrigger", "late", "hook")), within_s=2)
        await asyncio.sleep(200)
    counts = {}
    for moment, _ in reader.reads:
        counts[int(moment)] = counts.get(int(moment), 0) + 1
    assert max(counts.values()) <= 11
    assert len({ref for _, ref in reader.reads}) == 1002


def test_what_changes_while_a_leader_begins_is_checked(monkeypatch):
    """The Secret of a deleted trigger is not read; that of a trigger which comes, or comes again, is read soon."""

    @virtual
    async def check():
        cluster, reader = Cluster(), Reader()
        for name in ("hook", "other", "new"):
            reader.values["n", name] = GOOD
        for number in range(4):
            hook(cluster, name=f"h{number}")
        reading_slowly(monkeypatch, cluster)
        async with checking(cluster, reader):
            for _ in range(3):
                await asyncio.sleep(0)
            assert reader.reads == []
            for number in range(4):
                cluster.drop(Ref("WebhookTrigger", "n", f"h{number}"))
            hook(cluster, name="h1", secret="other")
            hook(cluster, name="h4", secret="new")
            await asyncio.sleep(2)
            assert {ref.name for _, ref in reader.reads} == {"other", "new"}
            await asyncio.sleep(700)
            assert {ref.name for _, ref in reader.reads} == {"other", "new"}

    check()
