"""A small cluster in memory: objects with versions, JSON Patch with tests, answers that are lost on demand."""

import asyncio
from datetime import UTC, datetime, timedelta

from git_events_runner.edges.kube.doubtful_jobs import DoubtfulJobs
from git_events_runner.edges.kube.store import Store, StoreWriter
from git_events_runner.errors import ApiAlreadyExists, ApiConflict, ApiInvalid, ApiNotFound, FenceLost
from git_events_runner.flow.checks.gate import ConfiguredPolicyGate
from git_events_runner.flow.jobs.tracking import Tracking
from git_events_runner.flow.status_writer import GroupedStatusWriter
from git_events_runner.local.apiserver import patch as patches
from git_events_runner.local.apiserver.refusal import Refusal
from git_events_runner.resources.job import RunKey, job_name
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.ledger.mutations import Outcome
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.policy import Policy
from git_events_runner.telemetry.metrics import Metrics
from git_events_runner.wiring.deletions import Deletions

START = datetime(2026, 5, 6, 7, 0, 0, tzinfo=UTC)
A, B = "a" * 40, "b" * 40
WEBHOOK = {"multiSource": True, "authConfig": {"secretRef": {"name": "hook"}, "key": "token"}}


def copied(value):
    """A copy of JSON; `copy.deepcopy` takes ten times as long, which counts for large statuses."""
    if isinstance(value, dict):
        return {name: copied(part) for name, part in value.items()}
    return [copied(part) for part in value] if isinstance(value, list) else value


class Cluster:
    """Objects by reference, and a store that follows at once (or not: `lagging`).

    `faults` are taken one for each call: an error raised before it ("before", error), or after it was done ("after",
    error). `calls` are (verb, ref, body, options); `told` the Events; `asked` the checks that were asked for.
    """

    def __init__(self, *, store=None):
        self.objects, self.faults, self.calls, self.told, self.asked = {}, [], [], [], []
        self.deferred = []
        self.store, self.lagging, self.offset = store or Store(), set(), timedelta()
        self.metrics = Metrics(prefix="git_events_runner")
        self.version, self.latency_s = 0, 0.001
        self._writers = {kind: StoreWriter(self.store, kind) for kind in KINDS}
        for writer in self._writers.values():
            writer.replace([], version="0")
        self.policy = Policy()
        self.gate = ConfiguredPolicyGate(store=self.store, policy=lambda: self.policy, announcer=self, now=self.now)

    def now(self):
        """The wall clock: the loop's time since START, and what somebody set it by."""
        return START + timedelta(seconds=asyncio.get_running_loop().time()) + self.offset

    # --- objects ---------------------------------------------------------------------------------------------

    def put(self, obj):
        """Create or change an object from outside."""
        return self._put(copied(obj))

    def _put(self, obj):
        ref = self.ref(obj)
        self.version += 1
        obj["apiVersion"] = KINDS[ref.kind].api_version
        obj["metadata"] = {"uid": f"uid-{self.version}", "generation": 1} | obj["metadata"]
        obj["metadata"]["resourceVersion"] = str(self.version)
        self.objects[ref] = obj
        if ref.kind not in self.lagging:
            self._writers[ref.kind].apply(obj)
        return obj

    def change(self, ref, **fields):
        """Change top-level fields (spec: a new generation)."""
        obj = copied(self.objects[ref])
        if "spec" in fields:
            obj["metadata"]["generation"] += 1
        for name, value in fields.items():
            obj[name] = {**(obj.get(name) or {}), **value}
        return self.put(obj)

    def drop(self, ref, **last):
        """Delete an object; `last` is laid over the state that the deletion shows."""
        obj = self.objects.pop(ref)
        self.version += 1
        obj = obj | last
        obj["metadata"] = obj["metadata"] | {"resourceVersion": str(self.version)}
        if ref.kind not in self.lagging:
            self._writers[ref.kind].remove(obj)

    def catch_up(self, kind):
        """The store follows again."""
        self.lagging.discard(kind)
        found = [obj for ref, obj in self.objects.items() if ref.kind == kind]
        self._writers[kind].replace(found, version=str(self.version))

    def refuse(self, *kinds, namespace="n"):
        """The API server refuses to show these kinds in a namespace: what is known of them stays, and grows old."""
        self.put({"kind": "Namespace", "metadata": {"name": namespace}})
        self._refused = {kind: StoreWriter(self.store, kind, namespace=namespace, optional=True) for kind in kinds}
        self.lagging |= set(kinds)
        for kind, writer in self._refused.items():
            writer.refuse(f"{KINDS[kind].plural} is forbidden")

    def allow(self):
        """It shows them again: they are listed one after the other."""
        for kind, writer in self._refused.items():
            self.catch_up(kind)
            writer.admit()

    @staticmethod
    def ref(obj):
        metadata = obj["metadata"]
        return Ref(obj["kind"], metadata.get("namespace"), metadata["name"])

    def trigger(self, kind="WebhookTrigger", name="hook", *, names=("app",), status=None, **spec):
        """A trigger on GitRepo `app` and Action `build` in namespace `n`."""
        own = {"webhook": WEBHOOK} if kind == "WebhookTrigger" else {"schedule": {"interval": "1h"}}
        body = {"sources": {"names": list(names)}, "action": {"kind": "Action", "name": "build"}} | own | spec
        obj = {"kind": kind, "metadata": {"name": name, "namespace": "n"}, "spec": body}
        return self.put(obj | ({"status": status} if status else {}))

    def surroundings(self):
        """The GitRepo and the Action."""
        self.put({"kind": "GitRepo", "metadata": {"name": "app", "namespace": "n"}, "spec": {"repoUri": "https://x/a"}})
        self.put({"kind": "Action", "metadata": {"name": "build", "namespace": "n"}, "spec": {"actionJob": {}}})

    def job(
        self,
        trigger,
        number=1,
        *,
        source="app",
        age_s=0.0,
        suspend=True,
        commit=A,
        labels=None,
        namespace="n",
        parallelism=1,
        **annotations,
    ):
        """A Job of a run of a trigger."""
        run = RunKey(trigger_uid=trigger["metadata"]["uid"], source=source, number=number)
        prefix = "git-events-runner.rs/"
        given = {f"{prefix}{name.replace('_', '-')}": value for name, value in annotations.items()}
        metadata = {
            "name": job_name(trigger["metadata"]["name"], run),
            "namespace": namespace,
            "creationTimestamp": (START + timedelta(seconds=age_s)).isoformat(),
            "labels": {
                f"{prefix}source-kind": trigger.get("spec", {}).get("sources", {}).get("kind", "GitRepo"),
                f"{prefix}trigger-kind": trigger["kind"],
                f"{prefix}trigger-name": trigger["metadata"]["name"],
                **(labels or {}),
            },
            "annotations": {f"{prefix}run": str(run), f"{prefix}commit": commit} | given,
        }
        spec = {"suspend": suspend, "parallelism": parallelism}
        return self.put({"kind": "Job", "metadata": metadata, "spec": spec})

    def legacy_job(self, trigger, name="build-20260506-xy", *, source="app", **spec):
        """A running Job as v0.4 makes it, of the Action `build`."""
        metadata = trigger["metadata"]
        action = Ref("Action", metadata["namespace"], "build")
        if action not in self.objects:
            self.surroundings()
        roles = {"action": ("Action", "build"), "source": ("GitRepo", source)}
        roles["trigger"] = (trigger["kind"], metadata["name"])
        labels = {f"git-events-runner.rs/{role}-kind": kind for role, (kind, _) in roles.items()}
        labels |= {f"git-events-runner.rs/{role}-name": found for role, (_, found) in roles.items()}
        labels["git-events-runner.rs/controller-identity"] = "git-events-runner"
        uid = self.objects[action]["metadata"]["uid"]
        owner = {"kind": "Action", "name": "build", "uid": uid, "controller": True}
        place = {"name": name, "namespace": metadata["namespace"], "labels": labels, "ownerReferences": [owner]}
        return self.put({"kind": "Job", "metadata": place, "spec": {"suspend": False, "parallelism": 1} | spec})

    def finish(self, job, kind="Complete"):
        """The Job ended."""
        self.change(self.ref(job), status=ended(kind))

    # --- the API, as clients know it ---------------------------------------------------------------------------

    async def _call(self, verb, ref, body, options, act):
        await asyncio.sleep(self.latency_s)
        fault = self.faults.pop(0) if self.faults else None
        if fault and fault[0] == "before":
            self.calls.append((verb, ref, body, options))
            raise fault[1]
        self.calls.append((verb, ref, body, options))
        found = act()
        if fault:
            raise fault[1]
        return copied(found)

    def _held(self, ref):
        if ref not in self.objects:
            raise ApiNotFound(f"{ref} does not exist")
        return self.objects[ref]

    async def get(self, ref, **options):
        await asyncio.sleep(0.001)
        self.calls.append(("get", ref, None, options))
        return copied(self._held(ref))

    async def list(self, kind, *, namespace=None, label_selector=None):
        self.calls.append(("list", kind.name, None, {}))
        for ref, obj in list(self.objects.items()):
            if ref.kind == kind.name:
                yield copied(obj)

    async def create(self, kind, obj, **options):
        ref = self.ref(obj)

        def act():
            if ref in self.objects:
                raise ApiAlreadyExists(f"{ref} exists")
            made = {**obj, "metadata": {**obj["metadata"], "creationTimestamp": self.now().isoformat()}}
            return self.put(made)

        return await self._call("create", ref, obj, options, act)

    async def patch(self, ref, body, **options):
        def act():
            try:
                change, held = patches.apply if isinstance(body, list) else patches.merge, self._held(ref)
                changed = change(copied(held), body)
                if changed.get("spec") != held.get("spec"):
                    changed["metadata"]["generation"] += 1
                return self.put(changed)
            except Refusal as refused:
                raise ApiInvalid(str(refused.body)) from refused

        return await self._call("patch", ref, body, options, act)

    async def replace(self, kind, obj, **options):
        ref = self.ref(obj)

        def act():
            held = self._held(ref)
            if held["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                raise ApiConflict("changed")
            return self.put({**held, "status": obj["status"]})

        return await self._call("replace", ref, obj, options, act)

    async def delete(self, ref, *, uid=None, resource_version=None, **options):
        def act():
            held = self._held(ref)["metadata"]
            if uid not in {None, held["uid"]} or resource_version not in {None, held["resourceVersion"]}:
                raise ApiConflict("precondition")
            if options.get("propagation") == "Foreground":  # the object is there until a test drops it
                return self.change(ref, metadata={"deletionTimestamp": self.now().isoformat()})
            self.drop(ref)
            return {}

        options |= {"uid": uid, "resource_version": resource_version}
        return await self._call("delete", ref, None, options, act)

    def made(self, verb, kind=None):
        """The calls of a verb (on a kind)."""
        return [
            call for call in self.calls if call[0] == verb and (kind is None or getattr(call[1], "kind", "") == kind)
        ]

    # --- collaborators -----------------------------------------------------------------------------------------

    async def write(self, ref, uid, *mutations):
        """A status writer that writes at once."""
        await asyncio.sleep(0.001)
        if self.faults:
            raise self.faults.pop(0)[1]
        held = self._held(ref)
        if held["metadata"]["uid"] != uid:
            raise ApiNotFound("another one")
        status, outcomes = combine(held.get("status"), mutations)
        if status != (held.get("status") or {}):
            self.calls.append(("write", ref, mutations, {}))
            self._put({**held, "status": status})
        return outcomes

    def defer(self, ref, uid, mutation, *, unwritten):
        """A status writer that writes some time: when `flush` is awaited."""
        self.deferred.append((ref, uid, mutation, unwritten))

    async def flush(self):
        """Write what was deferred."""
        deferred, self.deferred = self.deferred, []
        for ref, uid, mutation, unwritten in deferred:
            if Outcome.STALE in await self.write(ref, uid, mutation):
                unwritten()

    def publish(self, ref, uid, *, kind, reason, note):
        """An Event."""
        self.told.append((ref, reason, note))

    async def record(self, ref, uid, *, kind, reason, note):
        """An Event that the API server has when this returns."""
        await self._call("create", Ref("Event", ref.namespace, reason), None, {}, lambda: None)
        self.told.append((ref, reason, note))

    def submit(self, request):
        """A check is asked for."""
        self.asked.append((asyncio.get_running_loop().time(), request))

    @property
    def reasons(self):
        """Reasons of the Events."""
        return [reason for _, reason, _ in self.told]

    def series(self, start):
        """Sum of the series of the metrics that begin so."""
        lines = self.metrics.render().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"git_events_runner_{start}"))


def ended(kind="Complete"):
    """The status of a Job that ended."""
    when = START.isoformat()
    return {"startTime": when, "conditions": [{"type": kind, "status": "True", "lastTransitionTime": when}]}


def kept(asked):
    """How many runs a status keeps: as many as the trigger says, else ten."""
    return 10 if asked is None else asked


def unscheduled(ref):
    """No trigger has a next scheduled time."""


def status_writer(api, store, metrics, *, gather_s=0.01):
    """The writer of statuses, with as many runs kept as by default."""
    return GroupedStatusWriter(
        api=api, store=store, metrics=metrics, history_limit=kept, next_check=unscheduled, gather_s=gather_s
    )


def recorded(runs=1, commit=A, **fields):
    """A trigger's status with one source."""
    whole = {"commitHash": commit, "fileHash": None, "changed": None, "runs": runs, "requested": 0, "handled": 0}
    return {"checkedSources": {"app": whole | fields}, "deliveries": "", "history": []}


class NoMessages:
    """No Notifier: nothing is recorded."""

    def keeps(self, job):
        return False

    async def cancelling(self, job, result):
        """Record nothing."""

    async def lost(self, trigger, source, name):
        """Record nothing."""


def deletions_of(cluster, messages=None):
    """Deletions as the controller makes them."""
    return Deletions(
        api=cluster,
        writer=cluster,
        events=cluster,
        messages=messages or NoMessages(),
        request_timeout_s=5.0,
        now=cluster.now,
    )


def tracking_of(cluster):
    """Tracking as the controller has it."""
    doubts = DoubtfulJobs() if cluster.store.doubts is None else cluster.store.doubts
    return Tracking(api=cluster, store=cluster.store, doubts=doubts, announcer=cluster, request_timeout_s=5.0)


class Fence:
    """Leadership that a test may end."""

    def __init__(self):
        self.lost = False

    def check(self):
        if self.lost:
            raise FenceLost("lost")
