"""Resources that a worker needs because a ResourceQuota of its namespace covers CPU or memory.

Kubernetes refuses a pod that has a container without a value which a quota covers, unless a LimitRange sets it
(https://kubernetes.io/docs/concepts/policy/resource-quotas/#compute-resource-quota). Jobs of other namespaces stay as
they are, and so do values that the Action or a LimitRange sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from git_events_runner.rules.quantities import quantity

_RESOURCES = ("cpu", "memory")  # of others a quota is counted, and no container has to name them
_COVERED = {"cpu": ("requests", "cpu"), "memory": ("requests", "memory")} | {
    f"{part}.{name}": (part, name) for part in ("requests", "limits") for name in _RESOURCES
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which pods a quota covers: `spec.scopes` or an expression of `spec.scopeSelector`."""

    name: str
    operator: str = "Exists"
    values: frozenset[str] = frozenset()

    def has(self, *, any_value: bool, priority_class: str | None) -> bool:
        """Whether it has a Job's pod; what cannot be known of the pod counts as no."""
        match self.name:
            case "NotTerminating":  # the Job has the deadline, its pod has none
                return True
            case "NotBestEffort":
                return any_value
            case "PriorityClass":
                return self._has_class(priority_class or "")
        return False

    def _has_class(self, name: str) -> bool:
        match self.operator:
            case "In":
                return name in self.values
            case "NotIn":
                return name not in self.values
            case "Exists":
                return bool(name)
            case "DoesNotExist":
                return not name
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one quota covers, as (`requests` or `limits`, resource), of pods that are in all its scopes."""

    covers: frozenset[tuple[str, str]]
    scopes: tuple[Scope, ...] = ()

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Quota:
        """From a ResourceQuota."""
        spec = raw.get("spec") or {}
        selector = (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
        scopes = [Scope(name=str(name)) for name in spec.get("scopes") or ()]
        scopes += [
            Scope(name=str(one["scopeName"]), operator=str(one["operator"]), values=frozenset(one.get("values") or ()))
            for one in selector
        ]
        covers = frozenset(_COVERED[name] for name in spec.get("hard") or {} if name in _COVERED)
        return cls(covers=covers, scopes=tuple(scopes))


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeRules:
    """What the quotas of a namespace cover, and what its LimitRanges set: (`requests` or `limits`, resource) → value.

    A LimitRange with a minimum or maximum sets values, too: the API server stores them as its defaults.
    """

    quotas: tuple[Quota, ...] = ()
    ranges: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def of(cls, quotas: Iterable[Mapping[str, Any]], ranges: Iterable[Mapping[str, Any]]) -> ComputeRules:
        """From the ResourceQuotas and LimitRanges of a namespace."""
        found = {
            (part, name): str(value)
            for one in ranges
            for limit in (one.get("spec") or {}).get("limits") or ()
            if limit.get("type") == "Container"
            for part, key in (("requests", "defaultRequest"), ("limits", "default"))
            for name, value in (limit.get(key) or {}).items()
            if name in _RESOURCES
        }
        parsed = dict.fromkeys(Quota.of(raw) for raw in quotas)
        return cls(quotas=tuple(one for one in parsed if one.covers), ranges=found)

    def complete(
        self,
        worker: Mapping[str, Any],
        *,
        cloner: Mapping[str, Any],
        defaults: Mapping[str, Mapping[str, str]],
        priority_class: str | None,
    ) -> dict[str, Any]:
        """A worker's resources with those that a quota needs and nothing else sets.

        A limit is never below the request that it is for; a request that no party sets is the default one, since
        Kubernetes would make it the limit.
        """
        any_value = bool(self.ranges or _values(worker) or _values(cloner))
        covered = {
            one
            for quota in self.quotas
            if all(scope.has(any_value=any_value, priority_class=priority_class) for scope in quota.scopes)
            for one in quota.covers
        }
        requests, limits = dict(worker.get("requests") or {}), dict(worker.get("limits") or {})
        for name in _RESOURCES:
            self._complete(name, covered, requests, limits, defaults)
        own = {key: value for key, value in worker.items() if key not in {"requests", "limits"}}
        return own | {key: found for key, found in (("requests", requests), ("limits", limits)) if found}

    def _complete(
        self,
        name: str,
        covered: set[tuple[str, str]],
        requests: dict[str, Any],
        limits: dict[str, Any],
        defaults: Mapping[str, Mapping[str, str]],
    ) -> None:
        needed, default = covered - self.ranges.keys(), defaults.get("requests", {}).get(name)
        request = requests.get(name, self.ranges.get(("requests", name), default))
        limit = defaults.get("limits", {}).get(name)
        if name not in limits and ("limits", name) in needed and limit:
            limits[name] = limit if request is None else _larger(limit, str(request))
        elif name in limits or name in requests or ("requests", name) not in needed:
            return
        if request is not None:
            requests[name] = request


NO_RULES = ComputeRules()


def needs_values(resources: Mapping[str, Any]) -> bool:
    """Whether a quota could need more values of a container: one that has both limits has requests, too."""
    return not {*_RESOURCES} <= (resources.get("limits") or {}).keys()


def _values(resources: Mapping[str, Any]) -> bool:
    return any(name in (resources.get(part) or {}) for part in ("requests", "limits") for name in _RESOURCES)


def _larger(one: str, other: str) -> str:
    first, second = quantity(one), quantity(other)
    return other if first is not None and second is not None and second > first else one
