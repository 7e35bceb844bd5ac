"""Parts of pages that several of them show: moments, links, pages of a list, bars of durations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

from git_events_runner.resources.ref import Ref

from .rows import RunRow, Tone
from .words import distance, duration, short, stamp

_T = TypeVar("_T")
PAGE_ROWS = 50
_BAR = 100.0
_STRIP_HEIGHT, _STRIP_LEAST, _STRIP_STEP, _STRIP_SLOTS = 64, 4, 12, 24
STRIP_RUNS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """A moment: how far from now, when exactly, and for programs."""

    text: str
    title: str
    iso: str


def when(moment: datetime | None, now: datetime) -> When | None:
    """A moment as pages show it."""
    if moment is None:
        return None
    return When(text=distance(moment, now), title=stamp(moment), iso=moment.isoformat())


def trigger_path(ref: Ref) -> str:
    """The path of a trigger's page below the root of the pages."""
    return "triggers/" + "/".join(quote(part, safe="") for part in (ref.kind, ref.namespace or "", ref.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Paged(Generic[_T]):
    """One page of a list; `before` and `after` are the queries of its neighbours."""

    rows: Sequence[_T]
    total: int
    first: int
    last: int
    before: str | None
    after: str | None


def paged(rows: Sequence[_T], query: Mapping[str, str], size: int = PAGE_ROWS) -> Paged[_T]:
    """The page that the query's `page` names; one that does not exist is the nearest that does."""
    pages = max(math.ceil(len(rows) / size), 1)
    text = query.get("page", "1")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 1  # noqa: PLR2004  digits of a page
    number = min(max(number, 1), pages)
    start = (number - 1) * size

    def link(page: int) -> str | None:
        if not 1 <= page <= pages:
            return None
        return "?" + urlencode({**{name: value for name, value in query.items() if value}, "page": str(page)})

    chosen = rows[start : start + size]
    return Paged(
        rows=chosen,
        total=len(rows),
        first=start + 1 if chosen else 0,
        last=start + len(chosen),
        before=link(number - 1),
        after=link(number + 1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as pages show it; `waited` and `ran` are durations in words, `wait_share` and `run_share` of 100."""

    row: RunRow
    path: str
    commit: str
    at: When | None
    waited: str
    ran: str
    wait_share: float
    run_share: float


def seconds_of(run: RunRow, now: datetime) -> tuple[float | None, float | None]:
    """How long a run waited for its start, and how long it ran (until now, if it has not ended)."""
    end = run.ended_at or (now if not run.finished else None)
    waited = ran = None
    if run.queued_at is not None and (began := run.started_at or end) is not None:
        waited = max((began - run.queued_at).total_seconds(), 0.0)
    if run.started_at is not None and end is not None:
        ran = max((end - run.started_at).total_seconds(), 0.0)
    return waited, ran


def run_views(runs: Sequence[RunRow], now: datetime) -> list[RunView]:
    """Runs with bars to one scale: that of the longest of them."""
    times = [seconds_of(run, now) for run in runs]
    longest = max((sum(part or 0.0 for part in each) for each in times), default=0.0) or 1.0
    return [
        RunView(
            row=run,
            path=trigger_path(run.trigger),
            commit=short(run.commit),
            at=when(run.ended_at or run.started_at or run.queued_at, now),
            waited=duration(waited),
            ran=duration(ran),
            wait_share=round((waited or 0.0) / longest * _BAR, 2),
            run_share=round((ran or 0.0) / longest * _BAR, 2),
        )
        for run, (waited, ran) in zip(runs, times, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class StripBar:
    """One run in the strip: a bar whose height is its duration."""

    x: int
    height: int
    y: int
    tone: Tone
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """The last runs of a trigger as bars, the latest at the right; `summary` is the same in words."""

    bars: Sequence[StripBar]
    width: int
    height: int
    summary: str
    succeeded: int
    failed: int
    usual: str
    longest: str
    waited: str


def strip(runs: Sequence[RunRow], now: datetime) -> Strip | None:
    """The bars of the last runs (`runs`: the latest first); None without any."""
    shown = [run for run in reversed(runs[:STRIP_RUNS]) if run.tone is not Tone.OFF]
    if not shown:
        return None
    times = [seconds_of(run, now) for run in shown]
    took = [ran for _, ran in times]
    longest = max((each for each in took if each is not None), default=0.0) or 1.0
    slots = max(len(shown), _STRIP_SLOTS)
    bars = []
    for place, (run, seconds) in enumerate(zip(shown, took, strict=True), start=slots - len(shown)):
        share = math.sqrt((seconds or 0.0) / longest)
        height = round(_STRIP_LEAST + share * (_STRIP_HEIGHT - _STRIP_LEAST))
        name = f"{run.source} #{run.number}" if run.number is not None else run.job
        title = f"{name}: {run.words}, {duration(seconds)}"
        bars.append(
            StripBar(x=place * _STRIP_STEP, height=height, y=_STRIP_HEIGHT - height, tone=run.tone, title=title)
        )
    succeeded = sum(run.phase == "Succeeded" for run in shown)
    failed = sum(run.failed for run in shown)
    summary = (
        f"The last {len(shown)} runs: {succeeded} succeeded, {failed} failed; the longest took {duration(longest)}."
    )
    return Strip(
        bars=bars,
        width=slots * _STRIP_STEP,
        height=_STRIP_HEIGHT,
        summary=summary,
        succeeded=succeeded,
        failed=failed,
        usual=duration(_median(took)),
        longest=duration(longest),
        waited=duration(_median([waited for waited, _ in times])),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class HourBar:
    """Runs that ended in one hour, as two stacked bars."""

    x: int
    good: float
    bad: float
    title: str


def hours(runs: Sequence[RunRow], now: datetime, *, height: float = 40.0) -> list[HourBar]:
    """The runs that ended in each of the last 24 hours, the present one at the right."""
    first = now - timedelta(hours=24)
    good, bad = [0] * 24, [0] * 24
    for run in runs:
        if run.ended_at is not None and first < run.ended_at <= now:
            hour = min(int((run.ended_at - first).total_seconds() // 3600), 23)
            if run.failed:
                bad[hour] += 1
            elif run.phase == "Succeeded":
                good[hour] += 1
    most = max((one + other for one, other in zip(good, bad, strict=True)), default=0) or 1
    return [
        HourBar(
            x=hour * 10,
            good=round(good[hour] / most * height, 2),
            bad=round(bad[hour] / most * height, 2),
            title=f"{24 - hour} h ago: {good[hour]} succeeded, {bad[hour]} failed",
        )
        for hour in range(24)
    ]
