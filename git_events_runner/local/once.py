"""`--once`: when all sources of triggers with a schedule were checked and all runs have ended, and their result."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from git_events_runner.resources.ref import Ref
from git_events_runner.rules.check_result import CheckResult

_UNFINISHED = frozenset((CheckResult.RESTART, CheckResult.FENCE_LOST))
_WRONG = frozenset((CheckResult.WRONG_CONFIG, CheckResult.INVALID, CheckResult.DROPPED))
_REMOVED = frozenset(("job.expired", "job.cancelled"))
_REQUESTS = frozenset(("request.recorded", "request.invalid"))
_UNSCHEDULED = frozenset(("trigger.rejected", "trigger.crashed"))
# The schedule that triggers have here: checked at the start, as every new trigger, and not again in a lifetime.
NEVER_AGAIN = {"interval": "100y"}


class Once:
    """Listens to the log and to the executor; `wait` returns when all is done."""

    def __init__(
        self, triggers: Iterable[tuple[Ref, Iterable[str]]], requested: Iterable[tuple[Ref, bool]] = ()
    ) -> None:
        """`requested`: the triggers with an annotation that requests a run (True) or a check."""
        self._open = {(trigger, source) for trigger, sources in triggers for source in sources}
        self._requested = set(requested)
        self._runs = set[tuple[Ref, str]]()  # that were requested by annotation, and are not made yet
        self._checks = len(self._open)
        self._created = 0
        self._ended = 0
        self._failed: list[str] = []
        self._done = asyncio.Event()
        self._set_when_done()

    def restored(self, jobs: int) -> None:
        """That many runs of an earlier start are still to end."""
        self._created += jobs
        self._done.clear()
        self._set_when_done()

    def observe(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take an event of the log."""
        if event == "job.created":
            self._created += 1
        elif event in _REMOVED:
            self.job_ended(str(fields.get("job")), succeeded=False)
        elif event in _REQUESTS:
            self._recorded(event, fields)
        elif event == "notification.refused":
            self._failed.append(f"message of {fields['name']} about {fields['job']}")
        elif event == "check.finished":
            trigger = Ref(fields["kind"], fields["namespace"], fields["name"])
            self._checked((trigger, fields["source"]), CheckResult(fields["verdict"]))
        elif event in _UNSCHEDULED:
            place = (fields.get("namespace"), fields.get("name"))
            for key in [one for one in self._open if (one[0].namespace, one[0].name) == place]:
                self._checked(key, CheckResult.INVALID)

    def _recorded(self, event: str, fields: Mapping[str, Any]) -> None:
        """A request by annotation is recorded, and its runs follow; or it is wrong, and nothing follows."""
        trigger, run = Ref(fields["kind"], fields["namespace"], fields["name"]), bool(fields["run"])
        if event == "request.invalid" and (trigger, run) in self._requested:
            self._failed.append(f"{trigger.namespace}/{trigger.name}: {fields['error']}")
        self._requested.discard((trigger, run))
        if event == "request.recorded" and run:
            self._runs.update((trigger, source) for source in fields["sources"])
        self._set_when_done()

    def _checked(self, key: tuple[Ref, str], result: CheckResult) -> None:
        if result is CheckResult.FIRE_REQUESTED:  # the scheduled check is still to come
            self._runs.discard(key)
        elif result in _UNFINISHED or not (key in self._open or key in self._runs):
            return
        else:
            self._open.discard(key)
            if result.is_error or result in _WRONG:
                self._runs.discard(key)
                self._failed.append(f"{key[0].namespace}/{key[0].name} {key[1]}")
        self._set_when_done()

    def job_ended(self, job: str, *, succeeded: bool) -> None:
        """Take the end of a Job."""
        self._ended += 1
        if not succeeded:
            self._failed.append(f"job {job}")
        self._set_when_done()

    def _set_when_done(self) -> None:
        if not (self._open or self._requested or self._runs) and self._ended >= self._created:
            self._done.set()

    def not_sent(self) -> None:
        """Messages wait, and no receiver has accepted them."""
        self._failed.append("messages that no receiver has accepted")

    async def wait(self) -> None:
        """Return when every check was done and every Job has ended."""
        await self._done.wait()

    @property
    def failed(self) -> bool:
        """Whether a check, a run or a message failed."""
        return bool(self._failed)

    @property
    def summary(self) -> str:
        """One line with the result."""
        if not (self._checks or self._ended or self._failed):
            return "nothing to check: no trigger has a schedule, except suspended ones"
        what = f"{_count(self._checks, 'source')} checked, {_count(self._ended, 'run')}"
        return f"{what}; failed: {', '.join(self._failed)}" if self._failed else f"{what}, none failed"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
