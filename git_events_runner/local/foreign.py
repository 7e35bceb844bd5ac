"""Which documents are ours, which are of other programs and are ignored, and which are ours with a mistake."""

from __future__ import annotations

import difflib
from typing import Any

from git_events_runner.resources.hints import meant
from git_events_runner.resources.kinds import GROUP, KINDS, OURS

CORE = ("Secret", "ConfigMap", "Namespace")
ACCEPTED = (*OURS, *CORE)
# Kinds of the core group that are ignored here; any other name in that group is a mistake.
_OTHER_CORE = frozenset(
    (
        "Endpoints",
        "Event",
        "LimitRange",
        "Node",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "Pod",
        "PodTemplate",
        "ReplicationController",
        "ResourceQuota",
        "Service",
        "ServiceAccount",
    )
)
_SIMILAR = 0.85


def is_foreign(obj: Any, *, explicit: bool) -> bool:
    """Whether a document is no business of ours: an object of another API, or, in a folder, no object at all.

    >>> is_foreign({"apiVersion": "apps/v1", "kind": "Deployment"}, explicit=True)
    True
    >>> is_foreign({"apiVersion": "v1", "kind": "Secrets"}, explicit=True)
    False
    """
    if not isinstance(obj, dict):
        return False
    version, kind = obj.get("apiVersion"), obj.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str):
        return not explicit and version is None and kind is None
    group = version.rpartition("/")[0]
    if not group:
        return version == "v1" and kind in _OTHER_CORE
    if group == GROUP:
        return False
    return not (kind in OURS and difflib.SequenceMatcher(None, group, GROUP).ratio() > _SIMILAR)


def is_list(obj: Any) -> bool:
    """Whether it is a list of objects, as `kubectl get -o yaml` prints them."""
    named = isinstance(obj, dict) and isinstance(obj.get("kind"), str) and isinstance(obj.get("apiVersion"), str)
    return named and obj["kind"].endswith("List") and isinstance(obj.get("items"), list)


def wrong_type(obj: dict[str, Any]) -> tuple[str, str] | None:
    """The field and what is wrong with kind or apiVersion; None for a kind that is taken."""
    kind = obj.get("kind")
    if kind is None:
        return "kind", f"is required: one of {', '.join(ACCEPTED)}"
    if kind not in ACCEPTED:
        hint = meant(str(kind), ACCEPTED, f"known are {', '.join(ACCEPTED)}")
        return "kind", f"{kind} is no kind that is known here; {hint}"
    wanted = KINDS[kind].api_version
    if obj.get("apiVersion") != wanted:
        return "apiVersion", f"must be {wanted} for a {kind} (found {obj.get('apiVersion')!r})"
    return None


def titled(obj: dict[str, Any]) -> str:
    """What a foreign document is, in a few words.

    >>> titled({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}})
    'Deployment web (apps/v1)'
    """
    if not obj.get("kind"):
        return "no Kubernetes object"
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return f"{obj['kind']}{f' {name}' if name else ''} ({obj.get('apiVersion')})"
