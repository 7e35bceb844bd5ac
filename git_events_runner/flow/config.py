"""The runtime config: read from its ConfigMap, again at every change; the last good one stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import structlog

from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ConfigError
from git_events_runner.resources.ref import Ref
from git_events_runner.telemetry import Metrics

log = structlog.get_logger(target="config")

DATA_KEY = "runtimeConfig"
_T = TypeVar("_T")


class Announcer(Protocol):
    """Publishes Events."""

    def publish(self, ref: Ref, uid: str, *, kind: str, reason: str, note: str) -> None:
        """Publish one, some time."""


class Config(Generic[_T]):
    """Holds the config of now; `run` keeps it true to the ConfigMap."""

    def __init__(
        self,
        *,
        store: Store,
        ref: Ref,
        parse: Callable[[str], _T],
        default: _T,
        announcer: Announcer,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._ref = ref
        self._parse = parse
        self._announcer = announcer
        self._metrics = metrics
        self._read: int | None = None
        self._uid = ""
        self.current: _T = default

    async def run(self) -> None:
        """Follow the ConfigMap until cancelled."""
        with self._store.subscribe("ConfigMap") as changes:
            self.read()
            while True:
                await changes.wait()
                if self._ref in changes.take():
                    self.read()

    def read(self) -> None:
        """Take over what the ConfigMap says now; none at start: the defaults; deleted later: what it said stays."""
        found = self._store.get(self._ref)
        if found is None:
            if self._read is not None:
                log.warning("config.removed", name=self._ref.name)
                note = "the ConfigMap was deleted; the last good runtime config stays until it is there again"
                self._announcer.publish(self._ref, self._uid, kind="Warning", reason="RuntimeConfigInvalid", note=note)
            self._metrics.config_valid(valid=self._read is None)
            self._read = None
            return
        if found.version == self._read:
            return
        self._read, self._uid = found.version, found.uid
        try:
            self.current = self._parse(str((found.raw.get("data") or {}).get(DATA_KEY) or ""))
        except ConfigError as error:
            self._metrics.config_valid(valid=False)
            log.warning("config.rejected", name=self._ref.name, error=str(error))
            note = f"the last good runtime config stays: {error}"
            self._announcer.publish(self._ref, found.uid, kind="Warning", reason="RuntimeConfigInvalid", note=note)
        else:
            self._metrics.config_valid(valid=True)
            log.info("config.loaded", name=self._ref.name)
