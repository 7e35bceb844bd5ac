"""Faults of the replicas: they stall, are killed, or start again."""

import time

from tests.chaos.arena import LEASE_S
from tests.chaos.scenario import EVER, scenario

_AWAY_S = 1.0


def still(process, span_s):
    """SIGSTOP for so many seconds."""
    process.send(19)  # SIGSTOP
    try:
        time.sleep(span_s)
    finally:
        process.send(18)  # SIGCONT


@scenario("leader stalls", span_s=(0.5 * LEASE_S, 2.5 * LEASE_S))
def leader_stopped(arena, dice, span_s):
    still(arena.chosen("leader").replica.process, span_s)


@scenario("leader stalls, its watches are late then", replicas=(2,), span_s=(1.2 * LEASE_S, 3 * LEASE_S), run_s=3.0)
def leader_stopped_late(arena, dice, span_s):
    pod = arena.chosen("leader")
    pod.proxy.rule("GET", "watch=true", "late", times=EVER, seconds=4.0)
    pod.proxy.rule("GET", "/leases/", "delay", times=EVER, seconds=1.5)
    pod.proxy.reset()
    time.sleep(1.0)
    still(pod.replica.process, span_s)
    time.sleep(4.0)


@scenario("leader stalls while its successor fills the slots", replicas=(2,), span_s=(1.0, 2.0), run_s=6.0)
def leader_stopped_full(arena, dice, span_s):
    """What it knows from before shows free slots, and requests wait for it; its Lease read takes half a second."""
    arena.workload.hush()
    old, other = arena.chosen("leader"), arena.chosen("other")
    steps = [arena.until(lambda: not arena.evidence.holding())]
    old.proxy.rule("GET", "watch=true", "late", times=EVER, seconds=60.0)
    old.proxy.reset()
    time.sleep(1.5)
    old.proxy.rule("GET", "/leases/", "delay", times=EVER, seconds=0.5)
    old.stand_still()
    try:
        steps.append(arena.until(lambda: other.replica.leads))
        for name in ("each", "signed"):
            arena.workload.push(name, to=other.number)
        steps.append(arena.until(lambda: len(arena.evidence.holding()) == arena.evidence.limit))
        for name in ("hook", "poll"):
            arena.workload.push(name, to=old.number)
        time.sleep(0.2)
    finally:
        old.go_on()
    arena.reached = all(steps)
    time.sleep(span_s)
    old.proxy.clear()
    old.proxy.reset()


@scenario("other replica stalls", replicas=(2,))
def other_stopped(arena, dice, span_s):
    still(arena.chosen("other").replica.process, span_s)


@scenario("kill -9 of the leader")
def leader_killed(arena, dice, span_s):
    pod = arena.chosen("leader")
    pod.kill()
    time.sleep(span_s if len(arena.pods) > 1 else _AWAY_S)
    pod.start()


@scenario("kill -9 of the other replica", replicas=(2,))
def other_killed(arena, dice, span_s):
    pod = arena.chosen("other")
    pod.kill()
    time.sleep(span_s)
    pod.start()


@scenario("kill -9 again and again", run_s=1.0, span_s=(10.0, 18.0))
def kill_loop(arena, dice, span_s):
    until = time.monotonic() + span_s
    while time.monotonic() < until:
        pod = dice.choice(arena.pods)
        pod.kill()
        time.sleep(dice.uniform(0.0, 0.5))
        pod.start()
        time.sleep(dice.uniform(0.5, 5.0))


@scenario("crash loop of short lives", span_s=(16.0, 24.0))
def crash_loop(arena, dice, span_s):
    """All replicas live for a few seconds, again and again."""
    until = time.monotonic() + span_s
    while time.monotonic() < until:
        for pod in arena.pods:
            pod.kill()
        for pod in arena.pods:
            pod.start()
        time.sleep(dice.uniform(4.0, 8.0))


@scenario("rolling restart")
def rolled(arena, dice, span_s):
    for pod in arena.pods:
        pod.terminate()
        pod.start()
        pod.wait_ready()
