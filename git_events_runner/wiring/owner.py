"""The object that owns what the controller creates for itself."""

from __future__ import annotations

from git_events_runner.edges.kube.store import Store
from git_events_runner.resources.kinds import KINDS
from git_events_runner.resources.ref import Ref


def owner_reference(store: Store, ref: Ref) -> dict[str, str] | None:
    """The owner reference to an object that is there: what it owns is deleted with it, as at an uninstall."""
    found = store.get(ref)
    if found is None:
        return None
    return {"apiVersion": KINDS[ref.kind].api_version, "kind": ref.kind, "name": ref.name, "uid": found.uid}
