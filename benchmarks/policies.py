"""What the policies of docs/runs.md cost: `python -m benchmarks.policies`.

CPU time of a check that finds nothing, for 1,000 triggers without policies and 1,000 with all of them, measured in
turns in one process on a virtual clock, and writes to the API server; then the bytes of `status.history` at 1,000
sources.
"""

import json
import logging
import statistics
import time
from dataclasses import replace

import structlog

from git_events_runner.resources.history import HISTORY_MAX
from git_events_runner.resources.job import JobView
from git_events_runner.rules.history import HISTORY
from git_events_runner.rules.ledger.mutations import Settle
from git_events_runner.rules.ledger.patch import combine
from git_events_runner.rules.messages import CheckRequest
from tests.flow.replica import Replica
from tests.flow.test_waits_cost import ALL
from tests.flow.virtual import virtual
from tests.flow.world import A, Cluster, Fence, recorded

TRIGGERS, ROUNDS, SOURCES = 1000, 12, 1000
_WRITES = {"write", "patch", "create", "replace", "delete"}


class Installation:
    """A thousand triggers that have nothing new."""

    def __init__(self, **spec):
        self._cluster = Cluster()
        self._cluster.surroundings()
        status = recorded(runs=1, commit=A) | {"lastRun": "2026-05-06T07:00:00Z", "observedGeneration": 1}
        triggers = [
            self._cluster.trigger("ScheduleTrigger", name=f"t{number}", status=status, **spec)
            for number in range(TRIGGERS)
        ]
        self._triggers = [(self._cluster.ref(one), one["metadata"]["uid"]) for one in triggers]
        self._replica = Replica(self._cluster)

    async def check(self, number):
        """Milliseconds of CPU time for a check, of one of each trigger."""
        fence, started = Fence(), time.process_time()
        for ref, uid in self._triggers:
            due = f"2026-05-06T07:{number:02}:00Z"
            request = CheckRequest(trigger=ref, uid=uid, source="app", due_at=due, fence=fence)
            await self._replica.checks.check(request)
        return 1000 * (time.process_time() - started) / TRIGGERS

    @property
    def writes(self):
        """Requests that change something."""
        return sum(call[0] in _WRITES for call in self._cluster.calls)


@virtual
async def checks():
    """The two installations in turns."""
    plain, policies = Installation(), Installation(**ALL)
    for one in (plain, policies):
        await one.check(0)
    before = plain.writes, policies.writes
    ratios, costs = [], []
    for number in range(1, ROUNDS + 1):
        first, second = (plain, policies) if number % 2 else (policies, plain)
        found = {id(one): await one.check(number) for one in (first, second)}
        costs.append((found[id(plain)], found[id(policies)]))
        ratios.append(found[id(policies)] / found[id(plain)])
    without, with_all = (statistics.median(column) for column in zip(*costs, strict=True))
    writes = plain.writes - before[0], policies.writes - before[1]
    print(f"a check that finds nothing: {without:.3f} ms without policies, {with_all:.3f} ms with all")
    print(f"ratio: median {statistics.median(ratios):.3f} of {ROUNDS} rounds of {TRIGGERS} checks; writes {writes}")


@virtual
async def history():
    """A status of 1,000 sources, each of which ran, with the longest history."""
    cluster, names = Cluster(), [f"source-{number:04}-{'x' * 40}" for number in range(SOURCES)]
    entry = recorded(runs=0)["checkedSources"]["app"]
    status = recorded() | {"checkedSources": dict.fromkeys(names, entry)}
    trigger = cluster.trigger(names=names, status=status)
    for number, name in enumerate(names):
        job = cluster.job(trigger, source=name, age_s=number, reason="fire-changed")
        settle = Settle.from_job(job["metadata"]["name"], JobView.of(job), now=cluster.now())
        status, _ = combine(status, [replace(settle, history_limit=HISTORY_MAX)])
    size = len(json.dumps(status[HISTORY], ensure_ascii=False, separators=(",", ":")).encode())
    print(f"history of {SOURCES} sources that ran: {len(status[HISTORY])} runs, {size} bytes")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    checks()
    history()
