"""Runs that do not overlap, on a real node: pods with workers that trap SIGTERM and take their time to end."""

import os
import random
import signal
import time
from itertools import pairwise

import pytest

from tests.cluster.plane import wait_until
from tests.e2e.pods import PodHistory
from tests.e2e.processes import of_pod

_NAMESPACE = "overlaps"
_PUSHES, _PAUSE_S = 10, 5.0
_KILLS, _AWAITED = (2, 6), (4, 8)  # after these pushes a replica is killed; these runs begin before the next push
# Each line: what happened, when, and of which run. `began` to `stopped` or `finished` is the worker's life.
_WORKER = """
note() {
    echo "$1 $(date +%s.%N) $ACTION_JOB_TRIGGER_NAME $ACTION_JOB_RUN_NUMBER $ACTION_JOB_TRIGGER_SOURCE_COMMIT" \
        >>/notes/lines
}
trap 'note stopping; sleep 3; note stopped; exit 1' TERM
note began
sleep 8 &
wait $!
note finished
"""


class Notes:
    """What the workers wrote into the folder that all of them mount."""

    def __init__(self, folder):
        self._file = folder / "lines"

    def lines(self):
        """Word, time in seconds, trigger, number of the run, and commit of each line, in order."""
        if not self._file.exists():
            return []
        found = [line.split() for line in self._file.read_text().splitlines()]
        return [(word, float(at), trigger, int(number), commit) for word, at, trigger, number, commit in found]

    def has(self, *wanted):
        """Whether there is a line with that word, trigger and commit."""
        return any((word, trigger, commit) == wanted for word, _, trigger, _, commit in self.lines())

    def lives(self):
        """Beginning and end of each worker, in order; one without an end is an error."""
        began, ended = {}, {}
        for word, at, trigger, number, _ in self.lines():
            if word != "stopping":
                (began if word == "began" else ended)[trigger, number] = at
        return sorted((at, ended[run]) for run, at in began.items())


@pytest.fixture
def notes(cluster, release, tmp_path):
    """A folder of the node that the workers of the Action `slow` may write to, which no pod security level forbids."""
    tmp_path.chmod(0o777)
    job = {
        "command": ["/bin/sh", "-c", _WORKER],
        "volumes": [{"name": "notes", "hostPath": {"path": str(tmp_path), "type": "Directory"}}],
        "volumeMounts": [{"name": "notes", "mountPath": "/notes"}],
    }
    name = tmp_path.name.replace("_", "-").lower()[-40:].strip("-")
    cluster.api.ours("Action", _NAMESPACE, name, {"actionJob": job})
    found = Notes(tmp_path)
    found.action = name
    return found


def _delivered(cluster, release, name):
    """Whether a delivery was accepted; a replica that was killed may have closed its connection."""
    try:
        return cluster.webhook(release, f"/{_NAMESPACE}/{name}")[0] == 202
    except OSError:
        return False


def _kill(cluster, release, dice):
    """Kill the program of one replica that runs, as the kernel would for lack of memory."""
    pods = [(pod["metadata"]["name"], _program(pod)) for pod in cluster.replicas(release)]
    name, program = dice.choice(sorted((name, program) for name, program in pods if program is not None))
    os.kill(program, signal.SIGKILL)
    return name


def _program(pod):
    for folder in of_pod(pod["metadata"]["uid"]):
        words = (folder / "cmdline").read_bytes().split(b"\0")
        if any(word.endswith(b"git-events-runner") for word in words):
            return int(folder.name)
    return None


@pytest.mark.parametrize("triggers", [1, 3])
def test_never_two_pods_of_a_group_are_alive_and_the_last_head_runs(cluster, release, notes, triggers):
    """Replace, pushes at random times, two replicas killed: one pod at a time by the API, the kubelet and the workers.

    A run that is replaced has a pod until its worker, which traps SIGTERM, has ended; only then the next one begins.
    """
    repository = cluster.git.repository()
    head = repository.push({"README": "0\n"})
    source = f"moving-{triggers}"
    cluster.api.ours("GitRepo", _NAMESPACE, source, {"repoUri": repository.url})
    names = [f"replacing-{triggers}-{number}" for number in range(triggers)]
    concurrency = {"policy": "Replace"} | ({"group": "one-state"} if triggers > 1 else {})
    for name in names:
        spec = {
            "webhook": {"multiSource": True},
            "concurrency": concurrency,
            "sources": {"kind": "GitRepo", "names": [source]},
            "action": {"kind": "Action", "name": notes.action},
        }
        cluster.api.ours("WebhookTrigger", _NAMESPACE, name, spec)
    dice, killed = random.Random(18), []
    with PodHistory(cluster.api, _NAMESPACE) as pods:
        for number in range(1, _PUSHES + 1):
            head = repository.push({"README": f"{number}\n"})
            for name in names:
                wait_until("it is accepted", lambda name=name: _delivered(cluster, release, name), timeout_s=60)
            if number in _KILLS:
                killed.append(_kill(cluster, release, dice))
            if number in _AWAITED:
                wait_until("it begins", lambda at=head: notes.has("began", names[0], at), timeout_s=240)
            else:
                time.sleep(dice.uniform(0, _PAUSE_S))  # the interval of the pushes
        for name in names:
            wait_until("the last head runs", lambda name=name: notes.has("finished", name, head), timeout_s=240)
        wait_until("no pod is left", lambda: not pods.alive, timeout_s=60)
    workers, kubelet = notes.lives(), pods.lives()
    stopped = sum(word == "stopped" for word, *_ in notes.lines())
    gap_s = min(after[0] - before[1] for before, after in pairwise(workers))
    print(
        f"{triggers} triggers, {_PUSHES} pushes, {len(killed)} kills: {len(pods.last)} pods, {len(workers)} workers,",
        f"{stopped} of them stopped; most pods alive {pods.most}, shortest gap between workers {gap_s:.2f} s",
    )
    assert pods.failure is None
    assert pods.most == 1
    assert stopped > 0
    assert gap_s > 0
    assert all(before[1] <= after[0] for before, after in pairwise(kubelet))
    for name in names:
        numbers = [number for word, _, trigger, number, _ in notes.lines() if (word, trigger) == ("began", name)]
        assert numbers == sorted(set(numbers))
