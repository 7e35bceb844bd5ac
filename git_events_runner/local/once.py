"""`--once`: when every source of every ScheduleTrigger was looked at and every run has ended, and how that went."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from git_events_runner.resources.ref import Ref

_UNFINISHED = frozenset(("restart", "dropped", "fence-lost"))
_FAILED = frozenset(("git-failed", "api-failed", "crashed", "wrong-config", "invalid", "refused"))
_GONE = frozenset(("job.expired", "job.cancelled"))


class Once:
    """Listens to the log and to the executor; `wait` returns when all is done."""

    def __init__(self, triggers: Iterable[tuple[Ref, Iterable[str]]]) -> None:
        self._open = {(trigger.namespace, trigger.name, source) for trigger, sources in triggers for source in sources}
        self._checks = len(self._open)
        self._created = 0
        self._ended = 0
        self._failed: list[str] = []
        self._done = asyncio.Event()
        self._judge()

    def heard(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take an event of the log."""
        if event == "job.created":
            self._created += 1
        elif event in _GONE:
            self.job_ended(str(fields.get("job")), succeeded=False)
        elif event == "check.finished" and fields.get("kind") == "ScheduleTrigger":
            self._checked((fields["namespace"], fields["name"], fields["source"]), str(fields["verdict"]))

    def _checked(self, key: tuple[str | None, str, str], verdict: str) -> None:
        if key not in self._open or verdict in _UNFINISHED:
            return
        self._open.discard(key)
        if verdict in _FAILED:
            self._failed.append(f"{key[0]}/{key[1]} {key[2]}")
        self._judge()

    def job_ended(self, job: str, *, succeeded: bool) -> None:
        """Take the end of a Job."""
        self._ended += 1
        if not succeeded:
            self._failed.append(f"job {job}")
        self._judge()

    def _judge(self) -> None:
        if not self._open and self._ended >= self._created:
            self._done.set()

    async def wait(self) -> None:
        """Return when every check was done and every Job has ended."""
        await self._done.wait()

    @property
    def failed(self) -> bool:
        """Whether a check or a run failed."""
        return bool(self._failed)

    @property
    def summary(self) -> str:
        """One line on how it went."""
        what = f"{_count(self._checks, 'source')} checked, {_count(self._ended, 'run')}"
        return f"{what}; failed: {', '.join(self._failed)}" if self._failed else f"{what}, none failed"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
