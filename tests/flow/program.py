"""One replica's checks and runs on the cluster in memory, with a git server that a test tells what to say."""

import asyncio
from dataclasses import dataclass

from git_events_runner.edges.git.request import TreeEntry
from git_events_runner.flow.checks import Checks
from git_events_runner.flow.checks.files import Files
from git_events_runner.flow.checks.handled import HandledTimes
from git_events_runner.flow.checks.runs import Runs
from git_events_runner.flow.waits import Waits
from git_events_runner.resources.commits import CommitText
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.jobs.compute_quota import NO_RULES
from git_events_runner.rules.jobs.run import JobDefaults
from git_events_runner.rules.ledger.entry import entry_of
from git_events_runner.rules.messages import CheckRequest
from tests.flow.world import A, Cluster, recorded

REF = Ref("WebhookTrigger", "n", "hook")
DEFAULTS = JobDefaults(
    active_deadline_s=3600,
    ttl_s=7200,
    waiting_timeout_s=300,
    start_timeout_s=600,
    service_account=None,
    workdir="/w",
    volume_name="w",
    cloner_name="c",
    cloner_image="c:1",
    cloner_api_token=False,
    worker_name="w",
    worker_image="w:1",
    variables_prefix="ACTION_JOB_",
    pod_security="auto",
    quota_resources={"requests": {"cpu": "50m"}, "limits": {"cpu": "1"}},
)


@dataclass(frozen=True)
class Answer:
    commit: str
    tag_object: str | None
    sent_at: float


class Git:
    """The head of every repository; `then` happens while it is asked."""

    def __init__(self):
        self.head, self.error, self.then, self.asked = A, None, None, 0
        self.urgent = False
        self.texts, self.text_error, self.texts_asked = {}, None, 0
        self.paths, self.tree_error, self.trees = ["README.md"], None, 0

    async def learn_host_key(self, source, namespace, ref_type, ref_name):
        raise AssertionError("no other source is cloned")

    async def commit_of(self, source, namespace, ref_type, ref_name, *, urgent, unchanged=None):
        self.asked += 1
        self.urgent = urgent
        sent, head = asyncio.get_running_loop().time(), self.head
        await asyncio.sleep(0.01)
        if self.then:
            then, self.then = self.then, None
            then()
        if self.error:
            raise self.error
        return Answer(head, None, sent)

    async def commit_text(self, source, namespace, commit):
        self.texts_asked += 1
        if self.text_error:
            raise self.text_error
        return self.texts.get(commit, CommitText(name="A U Thor", email="a@example.com", message="Fix it\n"))

    async def tree(self, source, namespace, commit):
        self.trees += 1
        if self.tree_error:
            raise self.tree_error
        return [TreeEntry(path, 0o100644, commit) for path in self.paths]


class Inline:
    """A pool without threads: virtual time does not wait for them."""

    async def run(self, function, *arguments, owner=""):
        return function(*arguments)


class Slots:
    """Places: free or not; what became of them."""

    def __init__(self):
        self.free, self.taken, self.told = True, set(), []

    def acquire_slot(self, ref, limit=None):
        if self.free:
            self.taken.add(ref)
        return self.free

    def release(self, ref):
        self.taken.discard(ref)

    def confirm(self, ref):
        self.taken.discard(ref)


class NoQuotas:
    """Namespaces without quotas."""

    async def read(self, namespace):
        return NO_RULES


class Program:
    """One replica's checks on a cluster."""

    def __init__(self, cluster, *, slots=None, compute=None):
        self.cluster, self.git, self.slots = cluster, Git(), slots or Slots()
        self.runs = Runs(
            api=cluster,
            store=cluster.store,
            gate=cluster.gate,
            writer=cluster,
            slots=self.slots,
            compute=compute or NoQuotas(),
            announcer=cluster,
            defaults=lambda: DEFAULTS,
            identity="pod-1",
            metrics=cluster.metrics,
            now=cluster.now,
        )
        self.pending, self.decided = set(), []
        self.handled = HandledTimes(
            store=cluster.store,
            writer=cluster,
            pending=lambda uid, source: (uid, source) in self.pending,
            now=cluster.now,
        )
        self.waits = Waits(
            store=cluster.store, gate=cluster.gate, submit=cluster.submit, metrics=cluster.metrics, now=cluster.now
        )
        self.write_with(cluster, cluster.submit)

    def write_with(self, writer, submit):
        """Checks write with that writer and submit what is to be checked again."""
        cluster = self.cluster
        self.checks = Checks(
            store=cluster.store,
            gate=cluster.gate,
            reader=cluster,
            git=self.git,
            files=Files(store=cluster.store, git=self.git, writer=cluster, pool=Inline(), now=cluster.now),
            writer=writer,
            runs=self.runs,
            handled=self.handled,
            waits=self.waits,
            submit=submit,
            missed=lambda _request, _commit: None,
            decided=lambda request, result, again: self.decided.append((request, result, again)),
            metrics=cluster.metrics,
            now=cluster.now,
        )

    async def check(self, *, source="app", due=None, fence=None, ref=REF, retry=False):
        uid = self.cluster.objects[ref]["metadata"]["uid"] if ref in self.cluster.objects else "gone"
        again = await self.checks.check(
            CheckRequest(trigger=ref, uid=uid, source=source, due_at=due, fence=fence, tasks=("t",), retry=retry)
        )
        await self.cluster.flush()
        return again

    def entry(self, source="app"):
        return entry_of(self.cluster.objects[REF].get("status"), source)

    def jobs(self):
        return [obj for ref, obj in sorted(self.cluster.objects.items(), key=str) if ref.kind == "Job"]

    def condition(self, kind="Ready"):
        found = self.cluster.objects[REF].get("status", {}).get("conditions") or ()
        return next(((c["status"], c["reason"]) for c in found if c["type"] == kind), None)


def program(*, requested=1, **fields):
    """A trigger with one open request."""
    cluster = Cluster()
    cluster.surroundings()
    cluster.trigger(status=recorded(**({"runs": 0, "commit": None} | fields), requested=requested))
    return Program(cluster)


def annotation(job, name):
    return job["metadata"]["annotations"][f"git-events-runner.rs/{name}"]
