"""`--once`: when every source of every ScheduleTrigger was looked at and every run has ended, and how that went."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.ref import Ref

from .manifests import Manifest

_POLL_S = 0.05
_UNFINISHED = frozenset(("restart", "dropped", "fence-lost"))
_FAILED = frozenset(("git-failed", "api-failed", "crashed", "wrong-config", "invalid", "refused"))


class Once:
    """Listens to the log; `wait` returns when all is done."""

    def __init__(self, manifests: Iterable[Manifest]) -> None:
        self._open: set[tuple[str | None, str, str]] = set()
        for one in manifests:
            if one.ref.kind == "ScheduleTrigger":
                self._open |= {(one.ref.namespace, one.ref.name, name) for name in one.obj["spec"]["sources"]["names"]}
        self._checks = len(self._open)
        self.failed_checks: list[str] = []
        self.failed_jobs: list[Ref] = []
        self.jobs = 0

    @property
    def checks(self) -> int:
        """How many sources are looked at."""
        return self._checks

    def heard(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take an event of the log."""
        if event != "check.finished" or fields.get("kind") != "ScheduleTrigger":
            return
        key = (fields["namespace"], fields["name"], fields["source"])
        verdict = str(fields["verdict"])
        if key not in self._open or verdict in _UNFINISHED:
            return
        self._open.discard(key)
        if verdict in _FAILED:
            self.failed_checks.append(f"{key[0]}/{key[1]} {key[2]}")

    def job_ended(self, job: Ref, reason: str) -> None:
        """Take the end of a Job."""
        self.jobs += 1
        if reason != "CompletionsReached":
            self.failed_jobs.append(job)

    async def wait(self, store: Store) -> None:
        """Return when every check was done and every Job has ended."""
        while self._open or any(not snapshot.model.finished for snapshot in store.all("Job")) or not _seen(store, self):
            await asyncio.sleep(_POLL_S)

    @property
    def summary(self) -> str:
        """One line on how it went."""
        ran = f"{self.jobs} run{'' if self.jobs == 1 else 's'}"
        if self.failed_checks or self.failed_jobs:
            wrong = [*self.failed_checks, *(str(job) for job in self.failed_jobs)]
            return f"checked {self._checks} sources, {ran}; failed: {', '.join(wrong)}"
        return f"checked {self._checks} sources, {ran}, all succeeded"


def _seen(store: Store, once: Once) -> bool:
    return len(store.all("Job")) <= once.jobs
