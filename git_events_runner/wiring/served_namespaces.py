"""Reports namespaces that are no longer served: the Lease names those that the last leader served.

What is left in such a namespace does not show it: triggers stay as they were last recorded, and Jobs that wait stay
suspended. This process has no rights there any more, so that people have to delete them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import structlog

from git_events_runner.edges.kube.store import Store
from git_events_runner.edges.ports import EventRecorder
from git_events_runner.resources.kinds import GROUP
from git_events_runner.resources.ref import Ref

log = structlog.get_logger(target="namespaces")

_ANNOTATION = f"{GROUP}/served-namespaces"
_ALL = "*"
_NAMED = 20


class ServedNamespaces:
    """What a leader writes into the Lease, and what it finds there."""

    def __init__(self, *, served: Collection[str], store: Store, announcer: EventRecorder, ref: Ref) -> None:
        """`served`: the namespaces of the settings, none where all are. `ref` is the object whose Events report it."""
        self._served = frozenset(served)
        self._store = store
        self._announcer = announcer
        self._ref = ref

    @property
    def annotations(self) -> Mapping[str, str]:
        """Those of the Lease."""
        return {_ANNOTATION: ",".join(sorted(self._served)) or _ALL}

    def replaced(self, former: Mapping[str, str]) -> None:
        """The Lease had these annotations."""
        left = self._left(former.get(_ANNOTATION) or "")
        if not left:
            return
        log.warning("namespace.left", namespace=left)
        config = self._store.get(self._ref)
        if config is not None:
            note = (
                "no longer served, so that Jobs that wait there stay suspended and triggers show what was recorded "
                f"last (delete them, or serve the namespace again): {left}"
            )
            self._announcer.publish(self._ref, config.uid, kind="Warning", reason="NamespaceLeft", note=note)

    def _left(self, former: str) -> str:
        if not self._served or not former:
            return ""
        if former == _ALL:
            return f"all namespaces except {', '.join(sorted(self._served)[:_NAMED])}"
        left = sorted(set(former.split(",")) - self._served)
        more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        return ", ".join(left[:_NAMED]) + more
