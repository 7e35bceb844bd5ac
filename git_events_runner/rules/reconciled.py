"""What reconciling reads of a trigger, as a value that can be compared, and v0.4's finalizer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .ledger.entry import entry_of
from .ledger.report import Warn
from .problems import RecordedWarning, source_problems, warnings_of
from .references import source_of

FINALIZER = "scheduletriggers.git-events-runner.rs"
_STATUS = ("conditions", "observedGeneration", "state", "lastRunNumber", "problems", "warnings")
_OPEN = "spec.webhook.authConfig is not set: everyone who can connect to the port may call"


def reconciled_parts(raw: Mapping[str, Any], generation: int) -> tuple[object, ...]:
    """All that reconciling reads of a trigger; the rest of its status changes with each delivery."""
    status, finalizers = raw.get("status") or {}, raw["metadata"].get("finalizers")
    entries = status.get("checkedSources")
    known = {name: entry_of(status, name) for name in entries} if isinstance(entries, dict) else {}
    runs = {name: entry.runs for name, entry in known.items()} if isinstance(entries, dict) else None
    opened = {name for name, entry in known.items() if entry.pull is not None and not entry.pull.closed}
    return (generation, finalizers, runs, opened, source_problems(status), *(status.get(name) for name in _STATUS))


def without_finalizer(raw: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The JSON Patch that removes the finalizer that v0.4 set on ScheduleTriggers; None if there is none.

    >>> without_finalizer({"metadata": {"finalizers": ["a", FINALIZER]}})[1]
    {'op': 'remove', 'path': '/metadata/finalizers/1'}
    """
    finalizers = list(raw["metadata"].get("finalizers") or ())
    if FINALIZER not in finalizers:
        return None
    path = f"/metadata/finalizers/{finalizers.index(FINALIZER)}"
    return [{"op": "test", "path": path, "value": FINALIZER}, {"op": "remove", "path": path}]


def open_webhook(spec: Any) -> list[Warn]:
    """The warning of a webhook without credentials, or its end; nothing for a trigger without a webhook."""
    webhook = getattr(spec, "webhook", None)
    if webhook is None:
        return []
    return [Warn(reason="WebhookOpen", source=None, message=_OPEN if webhook.auth_config is None else None)]


def warnings_of_removed(status: Mapping[str, Any], named: Collection[str]) -> list[RecordedWarning]:
    """The warnings of sources that the trigger no longer names."""
    return [one for one in warnings_of(status) if one.source is not None and source_of(one.source) not in named]
