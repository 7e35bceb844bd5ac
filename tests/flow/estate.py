"""A leader with thousands of triggers: its long-running parts on the cluster in memory, fed by informers as in life."""

import asyncio
from collections import deque
from contextlib import asynccontextmanager

from git_events_runner.concurrency.fairness import equal
from git_events_runner.edges.kube.informer import Informer
from git_events_runner.edges.kube.page import Page
from git_events_runner.edges.kube.store import StoreWriter
from git_events_runner.errors import ApiGone
from git_events_runner.flow.annotation_requests import AnnotatedRequests
from git_events_runner.flow.checks.keyed_workers import KeyedWorkers
from git_events_runner.flow.checks.open_requests import OpenRequests
from git_events_runner.flow.jobs.results import JobEvents, JobLog, JobMetrics, Results
from git_events_runner.flow.jobs.starts import Starts
from git_events_runner.flow.reconciler import Reconciler
from git_events_runner.flow.scheduler import Scheduler
from git_events_runner.flow.trigger_cleanup import TriggerCleanup
from git_events_runner.flow.webhooks import SecretChecks
from git_events_runner.resources.kinds import KINDS, OURS
from git_events_runner.rules.ledger.mutations import rfc3339
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.ledger.report import Report
from git_events_runner.serving import running
from git_events_runner.wiring.live_triggers import LiveTriggers
from git_events_runner.wiring.source_hosts import SourceHosts
from tests.flow.test_queue import queue_of
from tests.flow.virtual import until
from tests.flow.world import START, Cluster, Fence, NoMessages, recorded, status_writer, tracking_of

NAMESPACES = 12
PAGE = 500
WATCHED = (*OURS, "Namespace", "Job")


class Feed:
    """List and watch of the cluster's objects; what happens between two reads comes as one burst."""

    def __init__(self, cluster):
        self.cluster, self.lists = cluster, 0
        self.events = {kind: deque() for kind in WATCHED}
        self.wake = {kind: asyncio.Event() for kind in WATCHED}

    def send(self, kind, *events):
        self.events[kind].extend(events)
        self.wake[kind].set()

    def compact(self, *kinds):
        """The versions that are watched from are too old: everything of these kinds is listed."""
        for kind in kinds:
            self.send(kind, None)

    async def list_page(self, kind, *, continue_token=None, **_):
        self.lists += 1
        found = [obj for ref, obj in self.cluster.objects.items() if ref.kind == kind.name]
        first = int(continue_token or 0)
        await asyncio.sleep(0.001)
        after = first + PAGE
        more = str(after) if after < len(found) else None
        return Page(items=found[first:after], resource_version=str(self.cluster.version), continue_token=more)

    @asynccontextmanager
    async def watch(self, kind, **_):
        yield self._events(kind.name)

    async def _events(self, kind):
        while True:
            while self.events[kind]:
                event = self.events[kind].popleft()
                if event is None:
                    raise ApiGone("too old")
                yield event
            self.wake[kind].clear()
            await self.wake[kind].wait()


class Told:
    """The collaborators that others take something from: what they got."""

    def __init__(self):
        self.checked, self.hosts = [], ()

    def keep_hosts(self, hosts):
        self.hosts = hosts

    async def check(self, request):
        self.checked.append(request)
        await asyncio.sleep(0.001)

    async def get(self, namespace, name, *keys, live=False):
        await asyncio.sleep(0.001)
        return dict.fromkeys(keys, b"0123456789abcdef")


class Estate:
    """The objects, and one replica's parts."""

    def __init__(self, *, schedules, webhooks):
        self.cluster = Cluster()
        self.cluster.lagging = set(KINDS)
        self.feed = Feed(self.cluster)
        self.told = Told()
        self._objects(schedules, webhooks)
        self._parts()

    # --- objects -----------------------------------------------------------------------------------------------

    def _objects(self, schedules, webhooks):
        self.put("ClusterAction", None, "build", {"actionJob": {}})
        for number in range(NAMESPACES):
            self.put("Namespace", None, f"team{number}")
        for number in range(schedules + webhooks):
            place, name = f"team{number % NAMESPACES}", f"t{number}"
            self.put("GitRepo", place, name, {"repoUri": f"https://git{number % 50}.example/{name}"})
            spec = {"sources": {"names": [name]}, "action": {"kind": "ClusterAction", "name": "build"}}
            if number < schedules:
                interval = {"interval": "1h" if number % NAMESPACES == 1 else "3h"}
                text = {"cron": f"{number % 60} {number // 60 % 24} * * *"} if number % 4 == 0 else interval
                self.put("ScheduleTrigger", place, name, spec | {"schedule": text}, status=self._status(name))
            else:
                auth = {"secretRef": {"name": "hook"}, "key": "token"}
                self.put(
                    "WebhookTrigger",
                    place,
                    name,
                    spec | {"webhook": {"multiSource": True, "authConfig": auth}},
                    self._status(name),
                )

    @staticmethod
    def _status(source):
        """What an earlier leader has recorded: nothing is wrong, nothing is due."""
        entry = recorded(answeredAt=START.isoformat())["checkedSources"]["app"]
        good = Report(source=None, problem=None, generation=1, now=rfc3339(START))
        return combine({"checkedSources": {source: entry}, "deliveries": ""}, [good])[0]

    def put(self, kind, namespace, name, spec=None, status=None):
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        obj = {"kind": kind, "metadata": metadata, "spec": spec or {}}
        return self.cluster.put(obj | ({"status": status} if status else {}))

    def refs(self, *kinds):
        return [ref for ref in self.cluster.objects if ref.kind in kinds]

    def add(self, kind, namespace, name, spec=None, status=None):
        """Create an object that the informers see."""
        return self.show(self.put(kind, namespace, name, spec, status))

    def show(self, obj):
        """The informers see an object that was created."""
        self.feed.send(obj["kind"], {"type": "ADDED", "object": obj})
        return obj

    def changed(self, *refs):
        """The informers see what these are now."""
        for ref in refs:
            self.feed.send(ref.kind, {"type": "MODIFIED", "object": self.cluster.objects[ref]})

    def relabel(self, ref):
        """Another label, and no more."""
        held = self.cluster.objects[ref]
        labels = {"at": str(asyncio.get_running_loop().time())}
        self.cluster.put(held | {"metadata": held["metadata"] | {"labels": labels}})
        self.changed(ref)

    def delete(self, *refs):
        for ref in refs:
            obj = self.cluster.objects[ref]
            self.cluster.drop(ref)
            self.feed.send(ref.kind, {"type": "DELETED", "object": obj})

    # --- the replica -------------------------------------------------------------------------------------------

    def _parts(self):
        cluster = self.cluster
        shared = {"store": cluster.store, "now": cluster.now}
        self.writer = status_writer(cluster, cluster.store, cluster.metrics)
        written = {"api": cluster, "writer": self.writer, "announcer": cluster, "metrics": cluster.metrics}
        self.lanes = KeyedWorkers(
            check=self.told.check,
            schedule_parallelism=16,
            webhook_parallelism=16,
            longest_backoff_s=60.0,
            weight=equal,
        )
        self.requests = OpenRequests(**shared, submit=self.lanes.submit, pending=self.lanes.pending)
        self.checks = SecretChecks(**shared, secrets=self.told, writer=self.writer, announcer=cluster, weight=equal)
        self.scheduler = Scheduler(
            **shared,
            gate=cluster.gate,
            submit=self.lanes.submit,
            forget=self.lanes.forget,
            edited=lambda *_: None,
            weight=equal,
        )
        self.leading = {
            "queue": queue_of(cluster, limit=16),
            "tracking": tracking_of(cluster),
            "results": Results(
                **shared,
                api=cluster,
                writer=self.writer,
                observers=(JobLog(), JobMetrics(cluster.metrics), JobEvents(cluster)),
                submit=self.lanes.submit,
                deleted_as={}.get,
                job_deleted=tracking_of(cluster).is_deleted,
                trigger_deleted=LiveTriggers(reader=cluster, store=cluster.store).is_deleted,
                most_retries=lambda: 10,
                messages=NoMessages(),
                request_timeout_s=5.0,
                weight=equal,
            ),
            "annotated": AnnotatedRequests(
                **shared, writer=self.writer, submit=self.lanes.submit, announcer=cluster, weight=equal
            ),
            "starts": Starts(**shared, metrics=cluster.metrics),
            "reconciler": Reconciler(**shared, **written, gate=cluster.gate, requests=self.requests, weight=equal),
            "checks": self.checks,
            "scheduler": self.scheduler,
        }
        self.informers = {
            kind: Informer(
                client=self.feed,
                kind=KINDS[kind],
                writer=StoreWriter(cluster.store, kind),
                failed=lambda kind, error: None,
                absent=lambda: False,
            )
            for kind in WATCHED
        }

    @asynccontextmanager
    async def replica(self):
        """The parts of each replica."""
        cluster = self.cluster
        gone = TriggerCleanup(
            store=cluster.store,
            forget_lane=self.lanes.forget,
            forget_metrics=cluster.metrics.forget,
            with_metrics=cluster.metrics.triggers,
        )
        hosts = SourceHosts(store=cluster.store, keep=self.told.keep_hosts)
        async with running(**{name: informer.run() for name, informer in self.informers.items()}):
            await until(lambda: len(cluster.store.all("GitRepo")) == len(self.refs("GitRepo")))
            async with running(
                status=self.writer.run(),
                lanes=self.lanes.run(),
                gone=gone.run(),
                hosts=hosts.run(),
                secrets=self.checks.run(),
            ):
                yield

    @asynccontextmanager
    async def leader(self):
        """The leader's parts."""
        async with running(**{name: part.run_as_leader(Fence()) for name, part in self.leading.items()}):
            yield

    async def settle(self):
        """Return when no status is written any more."""
        while True:
            calls = len(self.cluster.calls)
            await asyncio.sleep(10)
            if len(self.cluster.calls) == calls:
                return
