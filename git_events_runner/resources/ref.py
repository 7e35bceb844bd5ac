"""Identity of an object in the cluster: a value, never a joined string."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Kind, namespace (None for cluster-scoped kinds) and name of one object.

    >>> str(Ref("GitRepo", "team", "app"))
    'GitRepo team/app'
    """

    kind: str
    namespace: str | None
    name: str

    def __str__(self) -> str:
        """The form for messages: kind, then namespace/name."""
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"


def named(kind: str, namespace: str | None, name: str) -> Ref:
    """The object of a name in a trigger or an action of this namespace: kinds of the cluster have none.

    >>> str(named("GitRepo", "team", "app")), str(named("ClusterGitRepo", "team", "app"))
    ('GitRepo team/app', 'ClusterGitRepo app')
    """
    return Ref(kind, None if kind.startswith("Cluster") else namespace, name)
