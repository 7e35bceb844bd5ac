"""The faults: of the control plane, of answers, of clocks and hands; those of replicas and points have their files."""

import shutil
import time

import tests.chaos.points  # noqa: F401  registers its faults
from tests.chaos import replicas
from tests.chaos.arena import LEASE_S
from tests.chaos.scenario import EVER, FOUND, Scenario, scenario
from tests.cluster.api import OURS
from tests.system.test_log_output import Unwritable

# --- the control plane ---------------------------------------------------------------------------------------------


def _away(arena, processes, span_s):
    for process in processes:
        process.kill()
    time.sleep(span_s)
    for process in reversed(processes):
        process.start()
    arena.plane.wait_ready()


# An API server that has just started refuses with 403 until it knows its roles; a Secret is then "not readable".
_ROLES = {"allowed": ("answered with 500",)}


@scenario("API server killed", **_ROLES)
def api_killed(arena, dice, span_s):
    _away(arena, [arena.plane.apiserver], span_s)


@scenario("etcd killed")
def etcd_killed(arena, dice, span_s):
    _away(arena, [arena.plane.etcd], span_s)


@scenario("API server and etcd killed", **_ROLES)
def both_killed(arena, dice, span_s):
    _away(arena, [arena.plane.apiserver, arena.plane.etcd], span_s)


@scenario("API server stalls", span_s=(4.0, 10.0))
def api_stopped(arena, dice, span_s):
    replicas.still(arena.plane.apiserver, span_s)


@scenario("etcd stalls", span_s=(4.0, 10.0))
def etcd_stopped(arena, dice, span_s):
    replicas.still(arena.plane.etcd, span_s)


@scenario(
    "etcd restored from an older snapshot",
    span_s=(1.0, 3.0),
    bound_s=60.0,
    may_exit=True,
    **_ROLES,
)
def restored(arena, dice, span_s):
    """What was accepted after the snapshot is lost with it; what comes later must run."""
    plane = arena.plane
    saved = plane.folder / "etcd-saved"
    shutil.rmtree(saved, ignore_errors=True)
    plane.apiserver.kill()
    plane.etcd.kill()
    shutil.copytree(plane.folder / "etcd", saved)
    plane.etcd.start()
    plane.apiserver.start()
    plane.wait_ready()
    _run_everywhere(arena)
    time.sleep(span_s)
    plane.apiserver.kill()
    plane.etcd.kill()
    shutil.rmtree(plane.folder / "etcd")
    saved.rename(plane.folder / "etcd")
    arena.history.forget()
    arena.evidence.deliveries.clear()
    plane.etcd.start()
    plane.apiserver.start()
    plane.wait_ready()


def _run_everywhere(arena):
    """Runs of every trigger that the restore removes: what a replica still knows of them is of another history."""
    sources = arena.evidence.sources
    known = {name: len(arena.evidence.runs(source)) for name, source in sources.items()}
    for name in sources:
        arena.workload.push(name)
    arena.until(lambda: all(len(arena.evidence.runs(source)) > known[name] for name, source in sources.items()))


# --- answers -------------------------------------------------------------------------------------------------------


def _rules(arena, dice, span_s, *rules, reset=False):
    for pod in arena.pods:
        for verb, path, what, more in rules:
            pod.proxy.rule(verb, path, what, times=EVER, dice=dice, **more)
        if reset:
            pod.proxy.reset()
    time.sleep(span_s)
    for pod in arena.pods:
        pod.proxy.clear()


@scenario("429 with Retry-After")
def too_many(arena, dice, span_s):
    more = {"status": 429, "headers": {"Retry-After": "1"}, "chance": dice.uniform(0.3, 1.0)}
    _rules(arena, dice, span_s, ("*", ".", "status", more))


@scenario("5xx at random")
def server_errors(arena, dice, span_s):
    rules = [("*", ".", "status", {"status": status, "chance": 0.2}) for status in (500, 502, 503, 504)]
    _rules(arena, dice, span_s, *rules)


@scenario("slow answers", span_s=(4.0, 10.0))
def slow(arena, dice, span_s):
    rules = [("*", ".", "delay", {"seconds": s, "chance": 0.3}) for s in (0.2, 1.0, 4.0)]
    _rules(arena, dice, span_s, *rules)


@scenario("answers of writes lost")
def answers_lost(arena, dice, span_s):
    _rules(arena, dice, span_s, ("write", ".", "drop-after-ack", {"chance": dice.uniform(0.3, 0.9)}))


@scenario("requests lost")
def requests_lost(arena, dice, span_s):
    _rules(arena, dice, span_s, ("*", ".", "drop-before", {"chance": dice.uniform(0.2, 0.7)}))


@scenario("watches cut again and again")
def watches_cut(arena, dice, span_s):
    until = time.monotonic() + span_s
    for pod in arena.pods:
        pod.proxy.rule("GET", "watch=true", "cut", times=EVER, dice=dice, chance=0.7)
    while time.monotonic() < until:
        dice.choice(arena.pods).proxy.reset()
        time.sleep(dice.uniform(0.2, 1.5))


@scenario("watches late")
def watches_late(arena, dice, span_s):
    _rules(arena, dice, span_s, ("GET", "watch=true", "late", {"seconds": dice.uniform(1.0, 5.0)}), reset=True)


@scenario("watches frozen")
def watches_frozen(arena, dice, span_s):
    _rules(arena, dice, span_s, ("GET", "watch=true", "freeze", {}), reset=True)


@scenario("watches ended with 410")
def watches_expired(arena, dice, span_s):
    _rules(arena, dice, span_s, ("GET", "watch=true", "error-event", {"chance": 0.7}), reset=True)


@scenario("all replicas cut off")
def all_cut_off(arena, dice, span_s):
    _cut_off(arena.pods, span_s)


@scenario("leader cut off", replicas=(2,), span_s=(2.0, 2.5 * LEASE_S))
def leader_cut_off(arena, dice, span_s):
    _cut_off([arena.chosen("leader")], span_s)


@scenario("other replica cut off", replicas=(2,))
def other_cut_off(arena, dice, span_s):
    _cut_off([arena.chosen("other")], span_s)


def _cut_off(pods, span_s):
    if not pods:
        time.sleep(span_s)
        return
    with pods[0].proxy.down():
        _cut_off(pods[1:], span_s)


# --- clocks and hands ----------------------------------------------------------------------------------------------


def _clock(role, seconds):
    def step(arena, dice, span_s):
        pod = arena.chosen(role)
        pod.set_clock(dice.choice(seconds))
        time.sleep(span_s)
        pod.set_clock(0.0)

    return step


scenario("clock of the leader a day off", span_s=(5.0, 15.0))(_clock("leader", (86400.0, -86400.0)))
scenario("clock of the leader minutes off", span_s=(5.0, 15.0))(_clock("leader", (600.0, -600.0)))
scenario("clock of the other replica off", replicas=(2,), span_s=(5.0, 15.0))(_clock("other", (86400.0, 600.0, -600.0)))


@scenario("status edited by hand", replicas=(1, 2), span_s=(2.0, 4.0), allowed=("run 9",))
def edited(arena, dice, span_s):
    """`handled` above `requested`, far ahead."""
    for name in ("hook", "each", "signed"):
        path = f"{OURS}/namespaces/{arena.namespace}/webhooktriggers/{name}/status"
        value = {"handled": dice.choice((100, 10_000, 10**9))}
        arena.api.patch(path, {"status": {"checkedSources": {name: value}}})
    time.sleep(span_s)


@scenario("tracking label removed from running Jobs", span_s=(3.0, 5.0))
def unlabelled(arena, dice, span_s):
    path = f"/apis/batch/v1/namespaces/{arena.namespace}/jobs"
    until = time.monotonic() + span_s
    while time.monotonic() < until:
        for job in arena.api.items(path):
            labels = {name: None for name in job["metadata"]["labels"] if name.startswith("git-events-runner.rs/")}
            if labels and not (job.get("status") or {}).get("conditions"):
                arena.api.patch(f"{path}/{job['metadata']['name']}", {"metadata": {"labels": labels}})
        time.sleep(0.1)


def _unwritable(case):
    def block(arena, dice, span_s):
        output, pod = Unwritable(case), arena.chosen("leader")
        try:
            pod.kill()
            pod.start(stdout=output.writing)
            pod.wait_ready()
            time.sleep(span_s)
            pod.kill()
        finally:
            output.close()

    return block


scenario("standard output unread", span_s=(4.0, 6.0))(_unwritable("unread pipe"))
scenario("standard output full", span_s=(4.0, 6.0))(_unwritable("full disk"))


@scenario("two faults at the same time", replicas=(2,), span_s=(4.0, 8.0))
def mixed(arena, dice, span_s):
    """The watches of one replica are late while the leader is killed and answers get lost."""
    for pod in arena.pods:
        pod.proxy.rule("GET", "watch=true", "late", times=EVER, seconds=dice.uniform(0.5, 3.0))
        pod.proxy.rule("write", ".", "drop-after-ack", times=EVER, dice=dice, chance=0.3)
        pod.proxy.reset()
    time.sleep(span_s / 2)
    pod = arena.chosen("leader")
    pod.kill()
    time.sleep(span_s / 2)
    pod.start()


SCENARIOS = {each.name: each for each in FOUND}


def chosen(pattern=""):
    """The scenarios whose names contain a text, each with each number of replicas."""
    return [(each, number) for each in SCENARIOS.values() if pattern in each.name for number in each.replicas]


__all__ = ["SCENARIOS", "Scenario", "chosen"]
