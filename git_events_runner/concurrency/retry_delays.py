"""How long to wait before an attempt that follows failures: twice as long each time, up to a limit."""

from __future__ import annotations

_DOUBLINGS = 60  # beyond it every limit is reached


def delay_s(failures: int, *, first_s: float, longest_s: float) -> float:
    """Seconds to wait after that many failures in a row.

    >>> [delay_s(failures, first_s=1.0, longest_s=5.0) for failures in range(1, 6)]
    [1.0, 2.0, 4.0, 5.0, 5.0]
    >>> delay_s(10_000, first_s=1.0, longest_s=60.0)
    60.0
    """
    return min(first_s * 2.0 ** min(max(failures - 1, 0), _DOUBLINGS), longest_s)
