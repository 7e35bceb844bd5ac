"""Rate limits: `N/S` is a bucket of N, one token comes back every S/N seconds."""

from __future__ import annotations

from dataclasses import dataclass

from git_events_runner.errors import InvalidObject

_MOST = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A limit: `burst` requests immediately, and again over `seconds`."""

    burst: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """Read `N/S`.

        >>> Rate.parse("5/60").interval_s
        12.0

        Raises:
            InvalidObject: It is not two whole numbers from 1 to a million.
        """
        burst, found, seconds = text.partition("/")
        numbers = [
            int(n) if n.isascii() and n.isdigit() and len(n) < len(str(_MOST)) + 1 else 0 for n in (burst, seconds)
        ]
        if not found or not all(1 <= number <= _MOST for number in numbers):
            raise InvalidObject("rate limit", f"{text!r} is not BURST/SECONDS, as 5/60")
        return cls(burst=numbers[0], seconds=numbers[1])

    @property
    def interval_s(self) -> float:
        """Seconds until one token is back."""
        return self.seconds / self.burst


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Tokens left as of `at` (any clock, seconds)."""

    tokens: float
    at: float

    def spend(self, rate: Rate, now: float) -> tuple[Bucket, float]:
        """The bucket after one request, and how many seconds that request has to wait (0: it may pass)."""
        tokens = min(self.tokens + max(now - self.at, 0.0) / rate.interval_s, float(rate.burst))
        if tokens >= 1:
            return Bucket(tokens=tokens - 1, at=now), 0.0
        return Bucket(tokens=tokens, at=now), (1 - tokens) * rate.interval_s
