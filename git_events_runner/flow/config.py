"""The runtime config: read from its ConfigMap at every change; the last valid one stays.

At start there is no last valid one. An invalid document then means the defaults, as in v0.4, unless it tries
to restrict something: defaults restrict little, so the replica waits, not ready, until it is valid (fail closed).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder
from git_events_runner.errors import ConfigError
from git_events_runner.resources.ref import Ref
from git_events_runner.telemetry.metrics import Metrics

log = structlog.get_logger(target="config")

DATA_KEY = "runtimeConfig"
_T = TypeVar("_T")


class Config(Generic[_T]):
    """Has the current config; `run` keeps it equal to the ConfigMap."""

    def __init__(
        self,
        *,
        store: Store,
        ref: Ref,
        parse: Callable[[str], _T],
        restricts: Callable[[str], bool],
        default: _T,
        announcer: EventRecorder,
        metrics: Metrics,
        report_problem: Callable[[str | None], None],
    ) -> None:
        """`restricts`: whether the defaults would allow more than an invalid text intends.

        `report_problem` is called with why this replica cannot start with the current config, or None.
        """
        self._store = store
        self._ref = ref
        self._parse = parse
        self._restricts = restricts
        self._announcer = announcer
        self._metrics = metrics
        self._report_problem = report_problem
        self._usable = asyncio.Event()
        self._good = False
        self._read: int | None = None
        self._uid = ""
        self.current: _T = default

    async def wait_usable(self) -> None:
        """Return when this replica may start: immediately, unless a document with restrictions is invalid."""
        with self._store.subscribe("ConfigMap") as changes:
            self.read()
            while not self._usable.is_set():
                await changes.wait()
                changes.drain()
                self.read()

    async def run(self) -> None:
        """Follow the ConfigMap until cancelled."""
        with self._store.subscribe("ConfigMap") as changes:
            self.read()
            while True:
                await changes.wait()
                if self._ref in changes.drain():
                    self.read()

    def read(self) -> None:
        """Load the current ConfigMap; none at start: the defaults; deleted later: its last config stays."""
        found = self._store.get(self._ref)
        if found is None:
            if self._read is not None:
                log.warning("config.removed", name=self._ref.name)
                note = "the ConfigMap was deleted; the last valid runtime config stays in use until it is created again"
                self._announcer.publish(self._ref, self._uid, kind="Warning", reason="RuntimeConfigInvalid", note=note)
            self._metrics.config_valid(valid=self._read is None)
            self._read = None
            self._use()
            return
        if found.version == self._read:
            return
        self._read, self._uid = found.version, found.uid
        text = str((found.raw.get("data") or {}).get(DATA_KEY) or "")
        try:
            self.current = self._parse(text)
        except ConfigError as error:
            self._reject(text, error)
        else:
            self._good = True
            self._metrics.config_valid(valid=True)
            log.info("config.loaded", name=self._ref.name)
            self._use()

    def _reject(self, text: str, error: ConfigError) -> None:
        """The last valid config stays; without one the defaults apply, or nothing starts."""
        if self._good:
            meanwhile = "the last valid runtime config stays in use"
        elif self._usable.is_set() or not self._restricts(text):
            meanwhile = "the defaults are in use, because no valid runtime config was read since the start"
        else:
            meanwhile = "this replica does not start, because the defaults would allow more than the document"
            self._report_problem(f"the runtime config cannot be read: {error}")
        if self._good or not self._restricts(text):
            self._use()
        self._metrics.config_valid(valid=False)
        log.warning("config.rejected", name=self._ref.name, error=str(error), reason=meanwhile)
        note = f"{meanwhile}: {error}"
        self._announcer.publish(self._ref, self._uid, kind="Warning", reason="RuntimeConfigInvalid", note=note)

    def _use(self) -> None:
        self._usable.set()
        self._report_problem(None)
