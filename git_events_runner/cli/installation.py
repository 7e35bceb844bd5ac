"""Where the controller runs: its Deployment, Lease and ConfigMap, as far as the caller may read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from git_events_runner.errors import ApiError, ConfigError
from git_events_runner.resources.kinds import DEPLOYMENT
from git_events_runner.resources.ref import Ref
from git_events_runner.settings.document import parse_runtime_config
from git_events_runner.settings.runtime import CONFIG_KEY, RuntimeConfig

from .session import Session

_LABELS = "app.kubernetes.io/name=git-events-runner"
_LEASE, _CONFIG = "git-events-runner-leader-lock", "git-events-runner-config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What can be read of it; `unread` names what cannot, and why."""

    namespace: str | None = None
    deployment: Mapping[str, Any] | None = None
    lease: Mapping[str, Any] | None = None
    config: RuntimeConfig = field(default_factory=RuntimeConfig)
    config_known: bool = False
    config_problem: str | None = None
    unread: Mapping[str, str] = field(default_factory=dict)


async def find_installation(session: Session, namespace: str | None) -> Installation:
    """The installation in a namespace; None: that of the Deployment with the chart's labels."""
    unread: dict[str, str] = {}
    deployment = await _deployment(session, namespace, unread)
    if deployment is not None:
        namespace = deployment["metadata"]["namespace"]
    if namespace is None:
        return Installation(unread=unread)
    names = _options(deployment)
    lease = await _read(session, Ref("Lease", namespace, names.get("leader-lease-name", _LEASE)), unread)
    stored = await _read(session, Ref("ConfigMap", namespace, names.get("config-map-name", _CONFIG)), unread)
    config, problem = RuntimeConfig(), None
    text = ((stored or {}).get("data") or {}).get(CONFIG_KEY)
    if isinstance(text, str):
        try:
            config = parse_runtime_config(text)
        except ConfigError as error:
            problem = str(error)
    return Installation(
        namespace=namespace,
        deployment=deployment,
        lease=lease,
        config=config,
        config_known=stored is not None and problem is None,
        config_problem=problem,
        unread=unread,
    )


async def _deployment(session: Session, namespace: str | None, unread: dict[str, str]) -> dict[str, Any] | None:
    try:
        found = await session.all(DEPLOYMENT, namespace=namespace, labels=_LABELS)
    except ApiError as error:
        unread["Deployments"] = str(error)
        return None
    return found[0] if found else None


async def _read(session: Session, ref: Ref, unread: dict[str, str]) -> dict[str, Any] | None:
    try:
        found = await session.find(ref)
    except ApiError as error:
        unread[str(ref)] = str(error)
        return None
    if found is None:
        unread[str(ref)] = "does not exist"
    return found


def _options(deployment: Mapping[str, Any] | None) -> dict[str, str]:
    """The options that the controller's container is started with."""
    pod = (((deployment or {}).get("spec") or {}).get("template") or {}).get("spec") or {}
    words = [str(word) for container in pod.get("containers") or () for word in container.get("args") or ()]
    pairs = (word.removeprefix("--").partition("=") for word in words if word.startswith("--"))
    return {name: value for name, equal, value in pairs if equal}
