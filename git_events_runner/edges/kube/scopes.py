"""Which namespaces the API server refuses to show, kind by kind: what is not known of them is not missing.

A namespace whose roles are removed, or are not there yet, answers 403; so does one that does not exist, because its
roles are deleted with it. What was known before stays, nothing is concluded from what is not there, and no other
namespace waits.
"""

from __future__ import annotations


class Scopes:
    """The refusals of now, by namespace and kind. Written by the informers, read by all."""

    def __init__(self) -> None:
        self._refused: dict[str, dict[str, str]] = {}
        self._passed: set[tuple[str, str]] = set()

    def refuse(self, namespace: str, kind: str, why: str) -> bool:
        """The kind cannot be listed or watched in the namespace; whether that is news."""
        kinds = self._refused.setdefault(namespace, {})
        news = kind not in kinds
        kinds[kind] = why
        return news

    def pass_over(self, namespace: str, kind: str) -> None:
        """Nothing waits for the kind in the namespace until it is admitted."""
        self._passed.add((namespace, kind))

    def passed_over(self, namespace: str, kind: str) -> bool:
        """Whether nothing waits for the kind in the namespace."""
        return (namespace, kind) in self._passed

    def admit(self, namespace: str, kind: str) -> bool:
        """The kind was listed, or is watched, in the namespace; whether it was refused before."""
        self._passed.discard((namespace, kind))
        kinds = self._refused.get(namespace)
        if kinds is None or kinds.pop(kind, None) is None:
            return False
        if not kinds:
            del self._refused[namespace]
        return True

    def refused(self, namespace: str | None, *kinds: str) -> bool:
        """Whether one of the kinds is refused in the namespace; without kinds: any.

        >>> scopes = Scopes()
        >>> scopes.refuse("team", "Job", "jobs.batch is forbidden")
        True
        >>> scopes.refused("team"), scopes.refused("team", "Job"), scopes.refused("team", "GitRepo")
        (True, True, False)
        """
        found = self._refused.get(namespace or "")
        return found is not None and (not kinds or not found.keys().isdisjoint(kinds))

    def of(self, kind: str) -> frozenset[str]:
        """The namespaces in which the kind is refused."""
        return frozenset(namespace for namespace, kinds in self._refused.items() if kind in kinds)

    def lines(self) -> list[str]:
        """A line for each namespace of which something is refused."""
        return [f"namespace {namespace}: {self.why(namespace)}" for namespace in sorted(self._refused)]

    def why(self, namespace: str | None) -> str | None:
        """What is refused in the namespace, in one line; None: nothing."""
        found = self._refused.get(namespace or "")
        if not found:
            return None
        more = f" (and {len(found) - 1} more kinds)" if len(found) > 1 else ""
        return f"{min(found.items())[1]}{more}"
