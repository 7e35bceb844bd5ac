"""The gate: the policy of now, labels of namespaces as they are, Events that do not flood, runs by namespace."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path

import pytest

from git_events_runner.errors import ApiAlreadyExists, ApiConflict, ApiForbidden, SecretUnusable
from git_events_runner.flow.checks import gate
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.report import Problem
from git_events_runner.rules.policy import Policy
from git_events_runner.rules.resolve import Resolved
from git_events_runner.wiring.git_sources import SecretCopier
from tests.flow.program import program
from tests.flow.virtual import virtual
from tests.flow.world import Cluster, ended

GOLD = {"selector": {"matchLabels": {"tier": "gold"}}}
SHARED = {"kind": "ClusterGitRepo", "names": ["shared"]}


def shared(cluster, **spec):
    """A ClusterGitRepo with a Secret in another namespace, a trigger on it, and the trigger's model."""
    auth = {"type": "token", "secretRef": {"name": "robot", "namespace": "vault"}}
    body = {"repoUri": "https://x/shared", "authConfig": auth} | spec
    cluster.put({"kind": "ClusterGitRepo", "metadata": {"name": "shared"}, "spec": body})
    trigger = cluster.trigger(sources=SHARED)
    return cluster.store.get(cluster.ref(trigger)).model


def namespace(cluster, **labels):
    """The namespace of the trigger, with labels."""
    cluster.put({"kind": "Namespace", "metadata": {"name": "n", "labels": labels}})


@virtual
async def test_labels_of_the_namespace_decide_as_they_are_now():
    """An unknown namespace has no labels, so that a selector does not let it in."""
    cluster = Cluster()
    cluster.surroundings()
    trigger = shared(cluster, allowedNamespaces=GOLD)
    assert isinstance(cluster.gate.resolve(trigger, "shared"), Problem)
    namespace(cluster, tier="gold")
    assert isinstance(cluster.gate.resolve(trigger, "shared"), Resolved)
    namespace(cluster, tier="tin")
    assert isinstance(cluster.gate.resolve(trigger, "shared"), Problem)


@virtual
async def test_refusals_of_many_triggers_are_one_event_each():
    """Also of more triggers than refusals are remembered whatever is configured."""
    cluster = Cluster()
    cluster.surroundings()
    shared(cluster, allowedNamespaces={})
    triggers = [cluster.trigger(name=f"t{number}", sources=SHARED) for number in range(2100)]
    models = [cluster.store.get(cluster.ref(trigger)).model for trigger in triggers]
    for _ in range(2):
        for model in models:
            cluster.gate.resolve(model, "shared")
    assert len(cluster.told) == len(models)


@virtual
async def test_a_refusal_that_repeats_is_one_event_in_ten_minutes():
    """Another reason, or another trigger, is said at once."""
    cluster = Cluster()
    cluster.surroundings()
    trigger = shared(cluster, allowedNamespaces={})
    for _ in range(50):
        cluster.gate.resolve(trigger, "shared")
    assert len(cluster.told) == 1
    cluster.offset = timedelta(minutes=11)
    cluster.gate.resolve(trigger, "shared")
    assert len(cluster.told) == 2
    other = cluster.trigger(name="other", sources=SHARED)
    cluster.gate.resolve(cluster.store.get(cluster.ref(other)).model, "shared")
    assert len(cluster.told) == 3


@virtual
async def test_a_refused_source_is_never_asked():
    """The credential of a cluster source does nothing for a namespace that it does not allow."""
    made = program()
    made.cluster.change(Ref("WebhookTrigger", "n", "hook"), spec={"sources": SHARED | {"watchOn": {}}})
    shared_spec = {"repoUri": "https://x/a", "allowedNamespaces": {}}
    made.cluster.put({"kind": "ClusterGitRepo", "metadata": {"name": "shared"}, "spec": shared_spec})
    await made.check(source="shared")
    assert (made.git.asked, made.jobs()) == (0, [])


@virtual
async def test_finished_jobs_and_other_namespaces_do_not_count():
    """What waits or runs counts, and what is being made just now."""
    cluster = Cluster()
    cluster.surroundings()
    cluster.policy = Policy(unfinished_runs_per_namespace=3)
    trigger = cluster.trigger()
    ref, uid = cluster.ref(trigger), trigger["metadata"]["uid"]
    for number in (1, 2):
        cluster.job(trigger, number)
    cluster.put({**cluster.job(trigger, 3), "status": ended("Complete")})
    assert cluster.gate.no_room(ref, uid, 0) is None
    assert cluster.gate.no_room(ref, uid, 1).reason == "NamespaceLimitReached"
    cluster.job(trigger, 4)
    assert cluster.gate.no_room(ref, uid, 0).reason == "NamespaceLimitReached"
    assert cluster.gate.no_room(Ref("WebhookTrigger", "elsewhere", "x"), "u", 0) is None
    cluster.policy = Policy()
    assert cluster.gate.no_room(ref, uid, 99) is None


class _Vault:
    """Secrets; those of the API server are refused as `error` says, reading the existing one as `reading`."""

    def __init__(self, error=None, existing=None):
        self.error, self.existing, self.created = error, existing, []

    async def get(self, *where):
        if isinstance(where[0], Ref):
            if isinstance(self.existing, Exception):
                raise self.existing
            return self.existing
        return {"token": b"Bearer x", "username": b"me", "password": b"word"}

    async def create(self, kind, obj, **_):
        if self.error:
            raise self.error
        self.created.append(obj)
        return obj

    def forget(self, *where):
        """Nothing is kept."""


@virtual
async def test_a_copy_is_made_by_the_policy_of_that_moment():
    """Closed to the namespace since the Job was queued: no copy, and the reason is the policy's."""
    cluster, vault = Cluster(), _Vault()
    cluster.surroundings()
    trigger = shared(cluster)
    job = {"metadata": {"name": "j", "namespace": "n", "uid": "1"}}
    copies = SecretCopier(api=vault, resolve=cluster.gate.resolve, secrets=vault)
    await copies.copy_for(job, trigger, "shared")
    assert len(vault.created) == 1
    cluster.change(Ref("ClusterGitRepo", None, "shared"), spec={"allowedNamespaces": {"names": ["other"]}})
    with pytest.raises(SecretUnusable) as refused:
        await copies.copy_for(job, trigger, "shared")
    assert (refused.value.reason, len(vault.created)) == ("NamespaceNotAllowed", 1)


@virtual
async def test_a_copy_holds_the_login_of_the_proxy():
    """The Secret of a cluster source's proxy is copied beside the source's own, under the names of the files."""
    cluster, vault = Cluster(), _Vault()
    cluster.surroundings()
    way = {"url": "http://proxy:3128", "secretRef": {"name": "way", "namespace": "vault"}}
    trigger = shared(cluster, proxy=way)
    copies = SecretCopier(api=vault, resolve=cluster.gate.resolve, secrets=vault)
    await copies.copy_for({"metadata": {"name": "j", "namespace": "n", "uid": "1"}}, trigger, "shared")
    [copy] = vault.created
    login = {"proxy-username": "bWU=", "proxy-password": "d29yZA=="}
    assert copy["data"] == {"token": "QmVhcmVyIHg="} | login


@virtual
@pytest.mark.parametrize(
    ("existing", "good"),
    [
        ({"metadata": {"ownerReferences": [{"uid": "1"}]}}, True),
        ({"metadata": {"ownerReferences": [{"uid": "2"}]}}, False),
        ({"metadata": {}}, False),
        (ApiForbidden("may not read"), True),
    ],
    ids=["own", "of another Job", "of nobody", "unreadable"],
)
async def test_a_copy_that_is_there_already_must_be_the_jobs(existing, good):
    """By its owner; roles let the controller create copies everywhere, and read them where it may read Secrets."""
    cluster, vault = Cluster(), _Vault(ApiAlreadyExists("there"), existing)
    cluster.surroundings()
    trigger = shared(cluster)
    copies = SecretCopier(api=vault, resolve=cluster.gate.resolve, secrets=vault)
    work = copies.copy_for({"metadata": {"name": "j", "namespace": "n", "uid": "1"}}, trigger, "shared")
    if good:
        await work
    else:
        with pytest.raises(ApiConflict):
            await work
    assert vault.created == []
    await asyncio.sleep(0)


def test_nothing_resolves_past_the_gate():
    """No other module of the controller imports the resolution, so that no new place can forget the policy.

    The command line explains what the gate decides, with the caller's rights, and `local` reports before it starts what
    the policy refuses in its manifests: both start nothing by it.
    """
    package = Path(gate.__file__).parents[2]
    importers = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"rules\.resolve import [^\n]*\bresolve\b", path.read_text()) and "cli" not in path.parts
    ]
    assert sorted(importers) == ["flow/checks/gate.py", "local/policy.py"]
