"""The kinds that this program reads or writes, and where the API server serves them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from git_events_runner.errors import ApiNotFound

GROUP = "git-events-runner.rs"
VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind: its name, plural, API group ("" is core), version and scope."""

    name: str
    plural: str
    group: str
    version: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects, as `group/version` or `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of a collection (no name) or an object; no namespace: the collection over all namespaces.

        >>> KINDS["Job"].path("team", "x", "status")
        '/apis/batch/v1/namespaces/team/jobs/x/status'

        Raises:
            ApiNotFound: No object can have such a name: it would point elsewhere (names in specs are user input).
        """
        for given in (namespace, name):
            if given is not None and (given in {"", ".", ".."} or "/" in given or "%" in given):
                raise ApiNotFound(f"{self.name} {given!r}: no object can have that name")
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part is not None]
        return "/".join(parts)


def _ours(name: str, *, namespaced: bool) -> Kind:
    return Kind(name=name, plural=name.lower() + "s", group=GROUP, version=VERSION, namespaced=namespaced)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _ours("GitRepo", namespaced=True),
        _ours("ClusterGitRepo", namespaced=False),
        _ours("Action", namespaced=True),
        _ours("ClusterAction", namespaced=False),
        _ours("ScheduleTrigger", namespaced=True),
        _ours("WebhookTrigger", namespaced=True),
        _ours("Notifier", namespaced=True),
        _ours("ClusterNotifier", namespaced=False),
        Kind(name="Job", plural="jobs", group="batch", version="v1", namespaced=True),
        Kind(name="Lease", plural="leases", group="coordination.k8s.io", version="v1", namespaced=True),
        Kind(name="Event", plural="events", group="events.k8s.io", version="v1", namespaced=True),
        Kind(name="Secret", plural="secrets", group="", version="v1", namespaced=True),
        Kind(name="ConfigMap", plural="configmaps", group="", version="v1", namespaced=True),
        Kind(name="Namespace", plural="namespaces", group="", version="v1", namespaced=False),
        Kind(
            name="CustomResourceDefinition",
            plural="customresourcedefinitions",
            group="apiextensions.k8s.io",
            version="v1",
            namespaced=False,
        ),
    )
}
# Listed when a Job is created, and never kept.
RESOURCE_QUOTA = Kind(name="ResourceQuota", plural="resourcequotas", group="", version="v1", namespaced=True)
LIMIT_RANGE = Kind(name="LimitRange", plural="limitranges", group="", version="v1", namespaced=True)
# Read by the command line alone, with its caller's rights.
POD = Kind(name="Pod", plural="pods", group="", version="v1", namespaced=True)
DEPLOYMENT = Kind(name="Deployment", plural="deployments", group="apps", version="v1", namespaced=True)
OURS: tuple[str, ...] = (
    "GitRepo",
    "ClusterGitRepo",
    "Action",
    "ClusterAction",
    "ScheduleTrigger",
    "WebhookTrigger",
    "Notifier",
    "ClusterNotifier",
)
TRIGGERS: tuple[str, ...] = ("ScheduleTrigger", "WebhookTrigger")
SOURCES: tuple[str, ...] = ("GitRepo", "ClusterGitRepo")
ACTIONS: tuple[str, ...] = ("Action", "ClusterAction")
NOTIFIERS: tuple[str, ...] = ("Notifier", "ClusterNotifier")
