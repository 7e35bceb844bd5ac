"""An installation for one trial: triggers on repositories of their own, pods behind proxies, Jobs that end."""

import contextlib
import http.client
import itertools
import time

from tests.chaos import oracle
from tests.chaos.evidence import Evidence, Source
from tests.chaos.history import JobHistory
from tests.chaos.pod import Pod
from tests.cluster.api import OURS, Refused
from tests.cluster.plane import wait_until
from tests.forges import deliveries as forge
from tests.system.conftest import sources
from tests.system.roles import bind
from tests.system.sending import secret

LEASE_S = 4
OPTIONS = ("--leader-lease-duration", str(LEASE_S), "--leader-lease-grace", "2", "--secrets-cache-time", "1")
LIMIT = 2
_NUMBERS = itertools.count()
_SIGNED = {"authConfig": {"type": "github", "secretRef": {"name": "hook"}, "key": "token"}}
_TRIGGERS = {
    "hook": ("WebhookTrigger", {"webhook": {"multiSource": True}}, True),
    "each": ("WebhookTrigger", {"webhook": {"multiSource": True} | _SIGNED}, False),
    "poll": ("ScheduleTrigger", {"schedule": {"interval": "2s"}}, True),
    "signed": ("WebhookTrigger", {"webhook": {"multiSource": True} | _SIGNED}, True),
}


class Arena:
    """Everything of one trial, while entered. `finisher` ends the Jobs, unless a real Job controller does."""

    def __init__(self, plane, api, git_server, folder, *, replicas, mutant, finisher, scenario):
        self.plane, self.api, self.folder = plane, api, folder
        self._git, self._replicas, self._mutant = git_server, replicas, mutant
        self._finisher, self._scenario = finisher, scenario
        self._stack = contextlib.ExitStack()
        self.evidence = Evidence(limit=LIMIT, expires=scenario.waiting_s > 0)
        self.repositories, self.pods = {}, []
        self.workload = None  # what is pushed during the fault
        self.reached = True  # whether there was the write at which the fault was to happen

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._prepare(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _prepare(self, stack):
        api, self.namespace = self.api, f"chaos-{next(_NUMBERS)}"
        path = f"/api/v1/namespaces/{self.namespace}"
        api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        stack.callback(self._delete, path)
        bind(api, self.namespace)
        secret(api, self.namespace, "hook", forge.SECRET)
        action = f"maxRunningJobs: {LIMIT}, jobWaitingTimeoutSeconds: {self._scenario.waiting_s or 300}"
        config = {"runtimeConfig": f"action: {{{action}}}\n"}
        name = {"name": "git-events-runner-config"}
        api.post(f"{path}/configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": config})
        api.ours("Action", self.namespace, "build", {"actionJob": {"command": ["true"]}})
        for name, (kind, more, changes) in _TRIGGERS.items():
            repository = self.repositories[name] = self._git.repository()
            first = repository.push({"README": "first\n"})
            api.ours("GitRepo", self.namespace, name, {"repoUri": repository.url})
            spec = sources(onChangeOnly=changes) | more
            spec["sources"] = spec["sources"] | {"names": [name]}
            made = api.ours(kind, self.namespace, name, spec)
            uid = made["metadata"]["uid"]
            self.evidence.sources[name] = Source(name=name, kind=kind, uid=uid, every=not changes, commits=[first])
        self.history = stack.enter_context(JobHistory(api, self.namespace, self.evidence))
        stack.enter_context(self._finisher(api, self.namespace, run_s=self._scenario.run_s))
        for number in range(self._replicas):
            pod = Pod(self.plane, self.folder, self.namespace, number, *OPTIONS, mutant=self._mutant)
            self.pods.append(pod)
            stack.callback(pod.close)
        for pod in self.pods:
            pod.wait_ready()
        wait_until("a leader", self.leader, timeout_s=60)

    def _delete(self, path):
        with contextlib.suppress(Refused, OSError):
            self.api.delete(path)

    def leader(self):
        """The pod that is the leader, if there is one."""
        return next((pod for pod in self.pods if pod.replica.leads), None)

    def chosen(self, role):
        """A pod by its role: `leader` or `other` (of one replica, that one)."""
        leader = self.leader() or self.pods[0]
        return leader if role == "leader" else next((pod for pod in self.pods if pod is not leader), leader)

    @staticmethod
    def until(condition, seconds=30.0):
        """Wait for a condition, but not for ever; whether it came."""
        deadline = time.monotonic() + seconds
        while not (came := condition()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return came

    def recover(self):
        """End every fault that is still there: all pods run, with the right time, and reach the API server."""
        self.plane.wait_ready()
        for pod in self.pods:
            pod.proxy.clear()
            pod.set_clock(0.0)
            pod.go_on()
            pod.start()
        for pod in self.pods:
            pod.wait_ready()

    def read_statuses(self):
        """The statuses of all triggers, into the evidence."""
        for name, source in self.evidence.sources.items():
            path = f"{OURS}/namespaces/{self.namespace}/{source.kind.lower()}s/{name}"
            with contextlib.suppress(OSError, Refused, http.client.HTTPException):
                self.evidence.statuses[name] = self.api.get(path).get("status") or {}

    def broken(self):
        """The promises that are broken, whatever comes later."""
        return [each for each in oracle.violations(self.evidence) if not self._scenario.allows(each)]

    def busy_writes(self, seconds):
        """Objects that are written again and again in a time in which nothing happens: a loop that does not end."""
        places = [len(pod.proxy.log) for pod in self.pods]
        time.sleep(seconds)
        paths = [
            exchange.path.partition("?")[0]
            for pod, place in zip(self.pods, places, strict=True)
            for exchange in pod.proxy.requests(since=place)
            if exchange.mutates
        ]
        return sorted({path for path in paths if paths.count(path) > 2 * seconds})
