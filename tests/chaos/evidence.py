"""What a trial knows of itself: every push, every delivery with its answer, every change of every Job."""

from dataclasses import dataclass, field

PREFIX = "git-events-runner.rs/"


@dataclass(slots=True, kw_only=True)
class Source:
    """A trigger with one source, on a repository of its own; `commits` in the order of their pushes."""

    name: str
    kind: str
    uid: str
    every: bool = False  # one run for each delivery, not only for changes
    commits: list = field(default_factory=list)

    @property
    def called(self):
        """Whether it is checked when it is called, and not by a schedule."""
        return self.kind == "WebhookTrigger"


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One attempt of a delivery: sent after push number `push`; the status is 0 until an answer came."""

    trigger: str
    push: int
    key: str  # the same for all attempts of one delivery
    pod: int
    sent_at: float
    answered_at: float = 0.0
    status: int = 0


@dataclass(slots=True, kw_only=True)
class JobChange:
    """A Job as it was after a change (`deleted`: as it was last), and when that was seen.

    `recorded` is the phase that the status had at its deletion; None: it showed another Job, or was not read.
    """

    at: float
    deleted: bool
    job: dict
    recorded: str | None = None

    @property
    def name(self):
        """Its name."""
        return self.job["metadata"]["name"]

    @property
    def line(self):
        """For people who look for the cause of a finding."""
        conditions = [each["type"] for each in (self.job.get("status") or {}).get("conditions") or ()]
        state = "deleted" if self.deleted else "suspended" if self.job["spec"].get("suspend") else "resumed"
        version = self.job["metadata"].get("resourceVersion")
        return f"{self.at:.3f} version {version}: {self.name} is {state}, conditions {conditions}"


@dataclass(slots=True, kw_only=True)
class Evidence:
    """The facts that are judged. `since` is the change of Jobs from which on runs are unique (a restore moves it).

    `expires`: Jobs that wait for long are to be deleted.
    """

    limit: int
    expires: bool = False
    sources: dict = field(default_factory=dict)
    deliveries: list = field(default_factory=list)
    changes: list = field(default_factory=list)
    statuses: dict = field(default_factory=dict)
    since: int = 0

    def accepted(self, name):
        """The deliveries of a trigger that were accepted (200: it was before, and its answer was lost), one of each."""
        taken = {200, 202}
        found = {each.key: each for each in list(self.deliveries) if each.trigger == name and each.status in taken}
        return list(found.values())

    def attempted(self, name):
        """How many deliveries there were, however often each was sent; a refused one may have been recorded as well."""
        return len({each.key for each in list(self.deliveries) if each.trigger == name})

    def owed(self, name):
        """The number of the newest push that has to run: that of an accepted delivery, or for a schedule the last."""
        if not self.sources[name].called:
            return len(self.sources[name].commits) - 1
        return max((each.push for each in self.accepted(name)), default=-1)

    def runs(self, source):
        """Each run of a trigger as (number, commit, name of the Job), in the order of creation."""
        found = {}
        for change in list(self.changes)[self.since :]:
            annotations = change.job["metadata"].get("annotations") or {}
            uid, _, number = (annotations.get(f"{PREFIX}run") or "//").split("/")
            if uid == source.uid:
                found.setdefault(change.name, (int(number), annotations.get(f"{PREFIX}commit"), change.name))
        return list(found.values())

    def holding(self):
        """The names of the Jobs that hold a slot, as far as was seen."""
        newest = {change.name: change for change in list(self.changes)[self.since :]}
        return {name for name, change in newest.items() if not change.deleted and holds_slot(change.job)}

    def last_run_at(self):
        """When the newest of all Jobs was first seen."""
        first = {}
        for change in list(self.changes):
            first.setdefault(change.name, change.at)
        return max(first.values(), default=0.0)


def holds_slot(job):
    """Whether a Job counts against the limit: unsuspended, and neither ended nor ending."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    over = {"Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"}
    ended = any(each["type"] in over and each["status"] == "True" for each in conditions)
    return not (job["spec"].get("suspend") or ended or job["metadata"].get("deletionTimestamp"))
