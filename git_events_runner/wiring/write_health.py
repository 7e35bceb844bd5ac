"""Whether writes of this replica succeed: one whose writes fail for long answers every webhook with 503."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

_EACH_S = 2.0
_FRESH_S = 10.0


class Client(Protocol):
    """Sends all requests to the API server."""

    @property
    def written_at(self) -> float:
        """The loop's time when a write last succeeded."""


class Lease(Protocol):
    """The lease of the leader election."""

    @property
    def follows(self) -> bool:
        """Whether another replica held the lease, and renewed it in time, when it was last read."""

    async def try_write(self) -> bool:
        """Whether a write of this replica reaches the lease: a dry run."""


class WriteHealth:
    """Evaluates a replica by its last write that succeeded.

    The leader renews the lease every few seconds; a replica that is not the leader may have nothing to write for hours,
    and tries with a dry run. It is not ready while its writes fail and another replica is the leader. The only replica
    stays ready: without it no sender would be requested to send again.
    """

    def __init__(
        self,
        *,
        client: Client,
        lease: Lease,
        limit_s: float,
        report_problem: Callable[[str | None], None],
        note: Callable[[list[str]], None],
    ) -> None:
        """`report_problem` gets why this replica is not ready, `note` a line for `/ready` where it stays ready."""
        self._client = client
        self._lease = lease
        self._limit_s = limit_s
        self._report_problem = report_problem
        self._note = note

    async def run(self) -> None:
        """Evaluate until cancelled."""
        loop = asyncio.get_running_loop()
        succeeded_at = loop.time()
        while True:
            succeeded_at = max(succeeded_at, self._client.written_at)
            if loop.time() - succeeded_at >= _FRESH_S and self._lease.follows and await self._lease.try_write():
                succeeded_at = loop.time()
            silent_s = loop.time() - succeeded_at
            follows = self._lease.follows
            text = f"no write has succeeded for {silent_s:.0f} s" if silent_s > self._limit_s else None
            self._report_problem(f"{text}, and another replica is the leader" if text and follows else None)
            self._note([f"writes: {text}"] if text and not follows else [])
            await asyncio.sleep(_EACH_S)
