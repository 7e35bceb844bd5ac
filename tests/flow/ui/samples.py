"""A company's triggers and runs, as the API server would list them, for tests and pictures of the status page."""

import random
from datetime import UTC, datetime, timedelta

from git_events_runner.edges.kube.store import Store, StoreWriter
from git_events_runner.flow.ui import Decision, Decisions, Facts, HostFacts
from git_events_runner.resources.job import RunKey, job_name
from git_events_runner.resources.kinds import KINDS, OURS
from git_events_runner.resources.queuemarks import ConcurrencyLimit

NOW = datetime(2026, 5, 6, 9, 41, 7, tzinfo=UTC)
G = "git-events-runner.rs/"
_HOSTS = (
    "https://github.com/acme",
    "git@gitlab.com:acme",
    "https://git.acme.example/platform",
    "ssh://git@code.acme.example:2222/infra",
)
_NAMES = (
    "storefront",
    "checkout",
    "search",
    "billing",
    "identity",
    "mailer",
    "docs",
    "terraform-network",
    "helm-charts",
    "data-pipeline",
    "mobile-api",
    "ledger",
)
_SPACES = ("shop", "payments", "platform", "data")


def at(**ago):
    """A moment before NOW, as the API server writes it."""
    return (NOW - timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Company:
    """Objects in a store; `add` puts or replaces one."""

    def __init__(self):
        self.store, self.version = Store(), 0
        self.writers = {kind: StoreWriter(self.store, kind) for kind in KINDS}
        for kind in (*OURS, "Job", "Namespace", "ConfigMap"):
            self.writers[kind].replace([], version="0")
        self.decisions = Decisions()
        self.facts = Facts(
            version="1.1.0",
            replica="git-events-runner-6d9f7-x2k4p",
            leader="git-events-runner-6d9f7-x2k4p",
            slots=16,
            share=12,
            hosts=(
                HostFacts(host="github.com", requests=18_204, failures=3, last_at=NOW - timedelta(seconds=4)),
                HostFacts(
                    host="gitlab.com",
                    requests=9_120,
                    failures=41,
                    last_at=NOW - timedelta(seconds=50),
                    backs_off_until=NOW + timedelta(seconds=90),
                ),
                HostFacts(host="git.acme.example", requests=4_410, last_at=NOW - timedelta(seconds=9)),
                HostFacts(
                    host="code.acme.example:2222",
                    requests=812,
                    failures=120,
                    last_at=NOW - timedelta(hours=2),
                    last_problem="Unreachable",
                    problem_at=NOW - timedelta(seconds=33),
                ),
            ),
        )

    def add(
        self,
        kind,
        namespace,
        name,
        *,
        uid=None,
        created=None,
        generation=1,
        labels=None,
        annotations=None,
        owners=None,
        **parts,
    ):
        self.version += 1
        metadata = {
            "name": name,
            "uid": uid or f"uid-{kind}-{namespace}-{name}",
            "resourceVersion": str(self.version),
            "generation": generation,
        }
        metadata |= {"namespace": namespace} if namespace else {}
        metadata |= {"creationTimestamp": created or at(days=30)}
        for key, value in (("labels", labels), ("annotations", annotations), ("ownerReferences", owners)):
            metadata |= {key: value} if value else {}
        obj = {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": metadata, **parts}
        self.writers[kind].apply(obj)
        return obj

    def trigger(self, namespace, name, *, kind="ScheduleTrigger", sources=None, status=None, spec=None):
        own = (
            {"schedule": {"interval": "15m"}}
            if kind == "ScheduleTrigger"
            else {
                "webhook": {
                    "multiSource": True,
                    "authConfig": {"type": "github", "secretRef": {"name": "hook"}, "key": "token"},
                }
            }
        )
        body = (
            {"sources": {"names": sources or [name]}, "action": {"kind": "Action", "name": "build"}}
            | own
            | (spec or {})
        )
        ready = {
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "Succeeded",
                    "message": "watching",
                    "lastTransitionTime": at(days=3),
                }
            ]
        }
        return self.add(kind, namespace, name, spec=body, status=ready if status is None else status)

    def run(
        self,
        trigger,
        number,
        *,
        source=None,
        ago_s,
        phase="Succeeded",
        took_s=90,
        waited_s=3,
        commit=None,
        reason="fire-changed",
        exit_code=None,
        annotations=None,
        generation=1,
    ):
        """A Job of a run that was created `ago_s` before NOW."""
        name, uid = trigger["metadata"]["name"], trigger["metadata"]["uid"]
        source = source or trigger["spec"]["sources"]["names"][0]
        key = RunKey(trigger_uid=uid, source=source, number=number)
        created = NOW - timedelta(seconds=ago_s)
        started, ended = created + timedelta(seconds=waited_s), created + timedelta(seconds=waited_s + took_s)
        status = {} if phase == "Queued" else {"startTime": started.isoformat(), "ready": 1, "active": 1}
        if phase in {"Succeeded", "Failed", "CloneFailed"}:
            kind = "Complete" if phase == "Succeeded" else "Failed"
            condition = {
                "type": kind,
                "status": "True",
                "lastTransitionTime": ended.isoformat(),
                "reason": "PodFailurePolicy",
            }
            container = "action-cloner" if phase == "CloneFailed" else "action-worker"
            condition["message"] = (
                f"Container {container} for pod {name}-x failed with exit code {exit_code or 1} matching FailJob rule"
            )
            status |= {"conditions": [condition], "active": 0, "ready": 0}
        return self.add(
            "Job",
            trigger["metadata"]["namespace"],
            job_name(name, key),
            created=created.isoformat(),
            generation=generation,
            uid=f"job-{uid}-{source}-{number}",
            labels={f"{G}trigger-kind": trigger["kind"], f"{G}trigger-name": name},
            annotations={
                f"{G}run": str(key),
                f"{G}commit": commit or sha(f"{name}{number}"),
                f"{G}reason": reason,
                f"{G}admission": "waiting" if phase == "Queued" else "admitted",
                **(annotations or {}),
            },
            spec={
                "suspend": phase == "Queued",
                "parallelism": 1,
                "template": {"spec": {"initContainers": [{"name": "action-cloner"}]}},
            },
            status=status,
        )


def sha(text):
    return "".join(random.Random(text).choices("0123456789abcdef", k=40))


def entries(names, commit, runs, **more):
    return {
        name: {"commitHash": commit, "changed": at(minutes=50), "runs": runs, "requested": 4, "handled": 4} | more
        for name in names
    }


def company():
    """Twelve services in four namespaces: most are fine, one fails at git, one's runs fail, some run."""
    made, dice = Company(), random.Random(7)
    for space in _SPACES:
        made.add("Namespace", None, space)
        made.add("Action", space, "build", spec={"actionJob": {}})
    for place, name in enumerate(_NAMES):
        space = _SPACES[place % 4]
        made.add("GitRepo", space, name, spec={"repoUri": f"{_HOSTS[place % 4]}/{name}.git"})
        kind = "WebhookTrigger" if place % 3 else "ScheduleTrigger"
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Succeeded",
            "message": "watching",
            "lastTransitionTime": at(days=place + 1),
        }
        conditions, spec = [ready], {}
        if name == "ledger":
            message = (
                "source ledger: code.acme.example:2222 cannot be reached (connection refused); check the address in "
                "repoUri and the NetworkPolicy of the controller"
            )
            conditions = [
                ready
                | {
                    "status": "False",
                    "reason": "Unreachable",
                    "message": message,
                    "lastTransitionTime": at(minutes=31),
                },
                {
                    "type": "Reconciling",
                    "status": "True",
                    "reason": "Unreachable",
                    "message": message,
                    "lastTransitionTime": at(minutes=31),
                },
            ]
        if name == "docs":
            spec = {"suspend": True}
        runs = 20 + place
        status = {
            "conditions": conditions,
            "state": "Idle",
            "checkedSources": entries([name], sha(f"{name}{runs}"), runs),
        }
        trigger = made.trigger(space, name, kind=kind, status=status, spec=spec)
        ago = dice.randint(200, 4000)
        for number in range(runs, max(runs - 14, 0), -1):
            failed = (name == "billing" and number > runs - 2) or dice.random() < 0.06
            phase = "Failed" if failed else "Succeeded"
            made.run(
                trigger,
                number,
                ago_s=ago,
                phase=phase,
                took_s=dice.randint(20, 180) + (place % 4) * 60,
                waited_s=dice.randint(1, 12),
                exit_code=2,
            )
            ago += dice.randint(1200, 9000)
        shared = ConcurrencyLimit(policy="Queue", group="payments-db", limit=1).annotations
        grouped = shared if name in {"checkout", "data-pipeline"} else None
        if name in {"checkout", "mobile-api", "search"}:
            ago_s = dice.randint(20, 110)
            made.run(trigger, runs + 1, ago_s=ago_s, phase="Running", waited_s=2, annotations=grouped)
        if name in {"data-pipeline", "storefront"}:
            made.run(trigger, runs + 1, ago_s=dice.randint(5, 40), phase="Queued", annotations=grouped)
        for minute in range(40, 0, -1):
            made.decisions.note(
                trigger["metadata"]["uid"],
                name,
                Decision(
                    result="skip-same",
                    at=NOW - timedelta(minutes=minute),
                    since=NOW - timedelta(minutes=minute),
                    commit=sha(f"{name}{runs}"),
                ),
            )
        if name == "ledger":
            made.decisions.note(
                trigger["metadata"]["uid"],
                name,
                Decision(
                    result="git-failed",
                    at=NOW - timedelta(seconds=33),
                    since=NOW - timedelta(minutes=31),
                    count=14,
                    why="code.acme.example:2222 cannot be reached (connection refused)",
                    until=NOW + timedelta(seconds=140),
                ),
            )
    return made
