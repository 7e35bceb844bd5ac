"""The points: before and after each kind of write."""

import threading
import time

from tests.chaos.arena import LEASE_S
from tests.chaos.scenario import scenario

_DELETION = "the deletion of a Job that waited too long"
_WRITES = {
    "the record of a delivery": ("write", "webhooktriggers/.*/status", "requested"),
    "the creation of a Job": ("POST", "/jobs", '"(hook|each|signed)-'),
    "the record of a run": ("write", "triggers/.*/status", "lastJob"),
    "the admission of a Job": ("PATCH", "/jobs/", "suspend"),
    "a renewal of the lease": ("PUT", "/leases/", ""),
    "an Event": ("POST", "/events", ""),
    _DELETION: ("DELETE", "/jobs/", ""),
}
_SLOTS = {  # that are full when the write is to come
    "the admission of a Job": {"run_s": 2.0},
    _DELETION: {"run_s": 6.0, "waiting_s": 3, "bound_s": 35.0},
}


def _point(write, moment, act):
    verb, path, body = _WRITES[write]

    def at_point(arena, dice, span_s):
        hit, struck = [], threading.Event()

        def strike(pod):
            hit.append(pod)
            arena.workload.hush()
            if act == "kill":
                pod.kill()
            elif act == "stop":
                pod.stand_still()
            struck.set()

        nth = dice.randint(1, 3)
        rules = []
        for pod in arena.pods:
            more = {"seconds": 16.0} if act == "delay" else {moment: lambda pod=pod: None if hit else strike(pod)}
            what = "delay" if act == "delay" else "drop-before" if (act, moment) == ("kill", "before") else "pass"
            rules.append(pod.proxy.rule(verb, path, what, body=body, nth=nth, **more))
        until = time.monotonic() + 2 * span_s
        while not struck.wait(0.05) and time.monotonic() < until + (30.0 if hit else 0.0):
            pass
        arena.reached = any(rule.hits for rule in rules)
        time.sleep(16.0 if act == "delay" else dice.uniform(0.0, 2.0) if act == "kill" else span_s)

    return at_point


for _write in _WRITES:
    for _moment in ("before", "after"):
        _more = {"bound_s": 10.0} | _SLOTS.get(_write, {})
        scenario(f"kill -9 {_moment} {_write}", span_s=(2.0, 4.0), **_more)(_point(_write, _moment, "kill"))
    _more = _SLOTS.get(_write, {})
    scenario(f"SIGSTOP before {_write}", replicas=(2,), span_s=(LEASE_S, 2.5 * LEASE_S), **_more)(
        _point(_write, "before", "stop")
    )
for _write in ("the creation of a Job", "the admission of a Job", "the record of a run"):
    scenario(f"{_write} arrives 16 s late", replicas=(2,), span_s=(2.0, 4.0), run_s=2.0)(
        _point(_write, "before", "delay")
    )
