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
        self._default = default
        self._announcer = announcer
        self._metrics = metrics
        self._read: int | None = None
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
        """Take over what the ConfigMap says now; none: the defaults."""
        found = self._store.get(self._ref)
        if found is None:
            if self._read is not None:
                log.info("config.removed", name=self._ref.name)
            self._read, self.current = None, self._default
            self._metrics.config_valid(valid=True)
            return
        if found.version == self._read:
            return
        self._read = found.version
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
