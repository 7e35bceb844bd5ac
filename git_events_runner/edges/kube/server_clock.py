"""The API server's clock, from the `Date` of its answers (RFC 9110, section 6.6.1), and how far this machine's is off.

An answer bounds the server's time: its `Date`, cut to the second, was written after the request was sent and before the
answer came. Bounds of several answers are intersected; where they contradict one another a clock was set, and the last
one counts. In between the time continues by the monotonic clock, so that setting this machine's clock changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

TOLERATED_S = 10.0
_DATE_S = 1.0
_EACH_S = 1.0


class ServerClock:
    """Wall time that all replicas agree on: this machine's own while it is about right, else the API server's."""

    def __init__(
        self, *, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._lower: float | None = None  # of what is added to the monotonic clock
        self._upper = 0.0
        self._read_at = float("-inf")

    def begin(self) -> float:
        """To be called when a request is sent; what `observe` needs of it."""
        return self._monotonic()

    def observe(self, date: str | None, sent_at: float) -> None:
        """An answer with that `Date` came to a request sent at `sent_at`; one that cannot be read is ignored."""
        received_at = self._monotonic()
        if date is None or received_at - self._read_at < _EACH_S:
            return
        try:
            moment = parsedate_to_datetime(date)
        except ValueError:
            return
        if moment.tzinfo is None:
            return
        self._read_at = received_at
        lower, upper = moment.timestamp() - received_at, moment.timestamp() + _DATE_S - sent_at
        if self._lower is not None and max(lower, self._lower) <= min(upper, self._upper):
            lower, upper = max(lower, self._lower), min(upper, self._upper)
        self._lower, self._upper = lower, upper

    @property
    def skew_s(self) -> float | None:
        """How far this machine's clock is ahead of the API server's (negative: behind); None: not known yet."""
        if self._lower is None:
            return None
        return self._wall() - self._monotonic() - (self._lower + self._upper) / 2

    @property
    def wrong(self) -> bool:
        """Whether this machine's clock is too far off to be used."""
        skew_s = self.skew_s
        return skew_s is not None and abs(skew_s) > TOLERATED_S

    def now(self) -> datetime:
        """The time, aware; before the first answer this machine's."""
        skew_s = self.skew_s if self.wrong else None
        return datetime.fromtimestamp(self._wall() - (skew_s or 0.0), tz=UTC)
