"""How soon an accepted delivery runs after a crash: from `kill -9` right after the 202 to its Job.

`python -m benchmarks recovery` is part of `make bench`; `python -m benchmarks.recovery [RUNS] [NAME…]` runs it alone.
Other programs on the machine make a start slower, which is computing, and hardly a wait for a lease: each line says how
slow the machine was meanwhile, and ways that only compute are given without that, too.
"""

import contextlib
import statistics
import sys
import time

from benchmarks.world import World
from tests.cluster.plane import wait_until
from tests.patience import timed
from tests.system.conftest import sources

_WITHIN_S = 90
_LIFE_S = 8.0


class Scene:
    """A webhook trigger in a namespace of its own, on a repository of its own."""

    def __init__(self, world):
        self.world, self.namespace = world, world.namespace()
        self.repository = world.git.repository()
        self.repository.push({"f": "0\n"})
        world.api.ours("GitRepo", self.namespace, "app", {"repoUri": self.repository.url})
        world.api.ours("WebhookTrigger", self.namespace, "hook", sources() | {"webhook": {"multiSource": True}})
        self.pushes = 0

    def deliver(self, replica):
        """Push, deliver, and return how many Jobs there were."""
        before = len(self.world.api.jobs(self.namespace))
        self.pushes += 1
        self.repository.push({"f": f"{self.pushes}\n"})
        wait_until("a 202", lambda: replica.post(f"/{self.namespace}/hook") == 202)
        return before

    def wait_job(self, before):
        """Wait until one more Job is there; how long that took, and how slow the machine was."""
        with timed() as watch:
            wait_until(
                "the Job",
                lambda: len(self.world.api.jobs(self.namespace)) > before,
                timeout_s=_WITHIN_S,
                every_s=0.02,
            )
        return watch

    def lost(self, replica):
        """Deliver and kill until the delivery was recorded and its Job not made; the number of Jobs before."""
        while True:
            before = self.deliver(replica)
            replica.kill()
            time.sleep(0.2)  # what was sent may still arrive
            if len(self.world.api.jobs(self.namespace)) == before:
                return before
            replica.restart()
            replica.wait_ready()


def in_place(world, runs):
    """One replica, restarted under its name: from the start of its process to the Job."""
    scene = Scene(world)
    replica = world.replica(scene.namespace)
    wait_until("it leads", lambda: replica.leads)
    for _ in range(runs):
        before = scene.lost(replica)
        replica.restart()
        yield scene.wait_job(before)
        replica.wait_ready()
    replica.process.stop()


def new_pod(world, runs):
    """One replica, followed by one of another name: from the start of its process to the Job."""
    scene = Scene(world)
    replica = world.replica(scene.namespace, 0)
    wait_until("it leads", lambda: replica.leads)
    for number in range(runs):
        before = scene.lost(replica)
        replica = world.replica(scene.namespace, (number + 1) % 2, wait=False)
        yield scene.wait_job(before)
        replica.wait_ready()
    replica.process.stop()


def recorder_killed(world, runs):
    """Two replicas, the follower that answered is killed for good: from its end to the Job."""
    scene = Scene(world)
    leader = world.replica(scene.namespace, 0)
    wait_until("it leads", lambda: leader.leads)
    for _ in range(runs):
        follower = world.replica(scene.namespace, 1)
        yield scene.wait_job(scene.lost(follower))
    leader.process.stop()


def leader_killed(world, runs):
    """Two replicas, the leader that answered is killed for good: from its end to the Job."""
    scene = Scene(world)
    both = [world.replica(scene.namespace, 0), world.replica(scene.namespace, 1)]
    for number in range(runs):
        leader = wait_until("a leader", lambda: next((one for one in both if one.leads), None))
        yield scene.wait_job(scene.lost(leader))
        both[both.index(leader)] = world.replica(scene.namespace, 2 + number % 2)
    for replica in both:
        replica.process.stop()


def crash_loop(world, runs):
    """Lives of eight seconds, one after another: from the delivery to the Job."""
    scene = Scene(world)
    replica = world.replica(scene.namespace)
    for _ in range(runs):
        before = scene.lost(replica)
        with timed() as watch:
            while len(world.api.jobs(scene.namespace)) == before:
                replica.restart()
                died = time.monotonic() + _LIFE_S
                while time.monotonic() < died:
                    time.sleep(0.02)
                    if len(world.api.jobs(scene.namespace)) > before:
                        break
                else:
                    replica.kill()
        yield watch
        replica.wait_ready()
    replica.process.stop()


ALL = {function.__name__: function for function in (in_place, new_pod, recorder_killed, leader_killed, crash_loop)}
_COMPUTING = {"in_place"}  # it waits for no time to pass


def recovery(world, runs=20, names=tuple(ALL)):
    """Print one line for each way to crash."""
    for name in names:
        with contextlib.redirect_stdout(None):  # what each measurement prints
            watches = list(ALL[name](world, runs))
        slowness = statistics.median(watch.slowness for watch in watches)
        text = f"{_summary(watch.seconds for watch in watches)} over {runs} runs, machine {slowness:.1f} times as slow"
        if name in _COMPUTING:
            text += f" ({_summary(watch.fair_s for watch in watches)} on an idle one)"
        print(f"recovery, {name.replace('_', ' '):18s} {text}", flush=True)


def _summary(seconds):
    times = sorted(seconds)
    return f"p50 {statistics.median(times):.1f} s, max {times[-1]:.1f} s"


if __name__ == "__main__":
    with World() as made:
        recovery(made, int(sys.argv[1]) if len(sys.argv) > 1 else 20, tuple(sys.argv[2:]) or tuple(ALL))
