"""Commits that a delivery announced and the git server does not show yet: their requests stay open, 30 s at most."""

from __future__ import annotations

from datetime import datetime

from git_events_runner.resources.job import timestamp
from git_events_runner.rules.ledger.entry import Entry

ANNOUNCED_WAIT_S = 30.0
_SHORTEST_WAIT_S = 0.5
_LONGEST_WAIT_S = 8.0


def announced_unseen(entry: Entry, head: str, tag_object: str | None, sent_at: datetime) -> bool:
    """Whether an open request announced a commit that git did not show to a request sent then (30 s at most).

    Its request then stays open, also when another new commit is shown and runs (the model's `fired_waits`). Some forges
    announce the tag object of an annotated tag.
    """
    announced = entry.announced
    if announced is None or announced.commit in {None, head, tag_object} or entry.handled >= entry.requested:
        return False
    return _age_s(announced.at, sent_at) < ANNOUNCED_WAIT_S


def announced_wait_s(entry: Entry, sent_at: datetime) -> float:
    """Delay until the next request for the announced commit: it grows, and one request is sent when 30 s are over."""
    age_s = _age_s(entry.announced.at if entry.announced else None, sent_at)
    return min(max(age_s, _SHORTEST_WAIT_S), _LONGEST_WAIT_S, max(ANNOUNCED_WAIT_S - age_s, _SHORTEST_WAIT_S))


def _age_s(at: str | None, now: datetime) -> float:
    moment = timestamp(at)
    age_s = (now - moment).total_seconds() if moment else ANNOUNCED_WAIT_S
    return age_s if age_s > -ANNOUNCED_WAIT_S else ANNOUNCED_WAIT_S  # a replica's clock is wrong: no wait
