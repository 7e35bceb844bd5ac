"""Storms of pushes and deliveries on two replicas, with and without `kill -9`: one Job for each change, none lost."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.finisher import Finisher
from tests.cluster.plane import wait_until
from tests.system.conftest import sources

_COMMIT = "git-events-runner.rs/commit"


def commits(api, namespace):
    """The commits that ran, in the order of their runs."""
    jobs = api.jobs(namespace)
    number = "git-events-runner.rs/run"
    ordered = sorted(jobs, key=lambda job: int(job["metadata"]["annotations"][number].rpartition("/")[2]))
    return [job["metadata"]["annotations"][_COMMIT] for job in ordered]


class Reaper:
    """Kills one replica or the other at random times and starts it again two seconds later."""

    def __init__(self, replicas, *, every_s):
        self._replicas, self._every_s = replicas, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.kills = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(30)

    def _work(self):
        chance = random.Random(7)
        while not self._stop.wait(chance.uniform(0.5, 1.5) * self._every_s):
            replica = chance.choice(self._replicas)
            replica.kill()
            self.kills += 1
            time.sleep(2)
            replica.restart()


def deliver(pool, replicas, path, *, times):
    """POST to every replica at once, `times` each; forges send again what was not answered with 202."""

    def send(replica):
        for _ in range(20):
            if replica.post(path) == 202:
                return 202
            time.sleep(0.5)
        return 0

    return [pool.submit(send, replica) for replica in replicas for _ in range(times)]


def test_fifty_pushes_delivered_eight_times_each_run_once_each(world, installation, repository, replicas):
    """Two replicas, four deliveries of each push to both at once: 50 pushes, 50 Jobs, in the order of the pushes."""
    world.ours("WebhookTrigger", installation, "hook", sources() | {"webhook": {"multiSource": True}})
    both = [replicas(0), replicas(1)]
    pushed = []
    with Finisher(world, installation), ThreadPoolExecutor(16) as pool:
        for number in range(50):
            started = time.monotonic()
            pushed.append(repository.push({"README": f"{number}\n"}))
            answers = deliver(pool, both, f"/{installation}/hook", times=4)
            assert {answer.result() for answer in answers} == {202}
            time.sleep(max(0.0, 1.0 - (time.monotonic() - started)))
        wait_until("the last Job", lambda: pushed[-1] in commits(world, installation))
    assert commits(world, installation) == pushed


def test_kill_9_during_a_storm_loses_and_repeats_nothing(world, installation, repository, replicas):
    """Either replica is killed at random times: what stayed the head for 20 s ran, the last did, none twice."""
    world.ours("WebhookTrigger", installation, "hook", sources() | {"webhook": {"multiSource": True}})
    both = [replicas(0), replicas(1)]
    pushed, kept = [], []
    with Finisher(world, installation), ThreadPoolExecutor(32) as pool, Reaper(both, every_s=5) as reaper:
        for number in range(50):
            started = time.monotonic()
            pushed.append(repository.push({"README": f"{number}\n"}))
            deliver(pool, both, f"/{installation}/hook", times=4)
            if number == 24:
                kept.append(pushed[-1])
                time.sleep(20)
            time.sleep(max(0.0, 1.0 - (time.monotonic() - started)))
    kept.append(pushed[-1])
    wait_until("the last Job", lambda: pushed[-1] in commits(world, installation), timeout_s=60)
    ran = commits(world, installation)
    assert reaper.kills >= 5
    assert len(set(ran)) == len(ran)
    assert [commit for commit in pushed if commit in ran] == ran
    assert set(kept) <= set(ran)


@pytest.mark.parametrize("kills", [False, True])
def test_a_schedule_of_one_second_runs_every_push(world, installation, repository, replicas, kills):
    """50 pushes 3 s apart through an interval of 1 s, also with kill -9: every one that stayed 20 s, none twice."""
    world.ours("ScheduleTrigger", installation, "every", sources() | {"schedule": {"interval": "1s"}})
    both = [replicas(0, "--leader-lease-duration", "6", "--leader-lease-grace", "2"), None]
    both[1] = replicas(1, "--leader-lease-duration", "6", "--leader-lease-grace", "2")
    wait_until("the first Job", lambda: commits(world, installation))
    pushed = commits(world, installation)
    kept = []
    reaper = Reaper(both, every_s=12)
    with Finisher(world, installation):
        if kills:
            reaper.__enter__()
        try:
            for number in range(50 if kills else 20):
                pushed.append(repository.push({"README": f"{number}\n"}))
                if number % 17 == 16:
                    kept.append(pushed[-1])
                    time.sleep(20 if kills else 3)
                time.sleep(3)
        finally:
            if kills:
                reaper.__exit__()
        wait_until("the last Job", lambda: pushed[-1] in commits(world, installation), timeout_s=60)
    ran = commits(world, installation)
    assert len(set(ran)) == len(ran)
    assert [commit for commit in pushed if commit in ran] == ran
    assert set(kept) <= set(ran)
    if kills:
        assert reaper.kills >= 5
    else:
        assert ran == pushed
