"""Why each waiting run waits: its concurrency group, an older run, a back-off, or slots. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from git_events_runner.resources.job import JobView
from git_events_runner.rules.concurrency import groups_of, occupies
from git_events_runner.rules.starting import backs_off_until, is_not_starting

from .parts import When, trigger_path, when
from .rows import RunRow

_Key = tuple[str, str]  # namespace and group, or uid of a trigger and source
_FEW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitView:
    """What a run waits for, in words; `runs` are those that it waits for (the first few), `until` a time."""

    words: str
    group: str = ""
    runs: Sequence[tuple[RunRow, str]] = ()
    more: int = 0
    until: When | None = None


class Waits:
    """The runs that are active now, as those that wait see them."""

    def __init__(self, active: Sequence[RunRow], *, slots: int | None, share: int | None) -> None:
        """`slots` and `share` are the limits of running Jobs, of all and of one namespace; None: not known."""
        self._slots, self._share = slots, share
        self._held: dict[_Key, list[RunRow]] = {}
        self._first: dict[_Key, RunRow] = {}
        self._running: dict[str, int] = {}
        for run in active:
            if run.view is not None:
                self._add(run, run.view)

    def _add(self, run: RunRow, job: JobView) -> None:
        namespace = run.trigger.namespace or ""
        if occupies(job):
            for group in groups_of(job):
                self._held.setdefault((namespace, group), []).append(run)
        if job.holds_slot:
            self._running[namespace] = self._running.get(namespace, 0) + 1
        if job.waits and job.run is not None:
            key = (job.run.trigger_uid, job.run.source)
            first = self._first.setdefault(key, run)
            if (run.number or 0) < (first.number or 0):
                self._first[key] = run

    def of(self, run: RunRow, now: datetime) -> WaitView | None:
        """What a run waits for; None: it does not wait, or that is not known."""
        job = run.view
        if job is None or job.finished or job.holds_slot:
            return None
        if not job.waits:
            return WaitView(words="another queue admits it" if job.queued_elsewhere else "suspended by another party")
        if is_not_starting(job, now):
            return WaitView(words="no pod of it started; tried again", until=when(backs_off_until(job), now))
        return self._of_group(run, job) or self._of_slots(run)

    def _of_group(self, run: RunRow, job: JobView) -> WaitView | None:
        limit = job.limit
        if limit is None or job.run is None:
            return None
        held = self._held.get((run.trigger.namespace or "", limit.group), [])
        same = [each.view.limit.limit for each in held if each.view and each.view.limit]
        lowest = min(same, default=limit.limit)
        if len(held) >= min(limit.limit, lowest):  # the lowest limit of a group holds for all of it
            runs = [(each, trigger_path(each.trigger)) for each in held[:_FEW]]
            group = limit.group if "/" not in limit.group else ""  # one with a slash is a trigger's or a source's own
            return WaitView(words="waits for", group=group, runs=runs, more=len(held) - len(runs))
        first = self._first.get((job.run.trigger_uid, job.run.source), run)
        return None if first is run else WaitView(words="waits for", runs=[(first, trigger_path(first.trigger))])

    def _of_slots(self, run: RunRow) -> WaitView:
        here = self._running.get(run.trigger.namespace or "", 0)
        if self._share and here >= self._share:
            return WaitView(words=f"its namespace has all {self._share} slots that it may have")
        if self._slots is not None and sum(self._running.values()) >= self._slots:
            return WaitView(words=f"waits for one of the {self._slots} slots")
        return WaitView(words="waits for a slot")


def waits_of(page: Sequence[RunRow], waits: Waits, now: datetime) -> Mapping[str, WaitView]:
    """What the runs of a page wait for, by namespace and Job."""
    found = ((f"{run.trigger.namespace}/{run.job}", waits.of(run, now)) for run in page)
    return {key: view for key, view in found if view is not None}
