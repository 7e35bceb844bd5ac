"""What an init container gets to clone a source: the description, and the Secret keys to mount.

A GitRepo's Secrets are in its own namespace, independent of its references; a ClusterGitRepo's are in the namespace of
the reference, else of the trigger.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from git_events_runner.resources.description import (
    AUTH_FILES,
    CA_FILE,
    OPTIONAL_FILES,
    PROXY_FILES,
    AuthType,
    SourceDescription,
)
from git_events_runner.resources.ssh import HostKeyPolicy, SshAddress, known_for
from git_events_runner.rules.resolve import Resolved

from .run import Clone, CloneBounds, Pointer, SecretKeys


def secrets_of(source: Any, namespace: str) -> tuple[SecretKeys, ...]:
    """The Secrets (keys → file names) that a GitRepo or ClusterGitRepo model names; `namespace` is the trigger's."""
    spec = source.spec
    wanted: list[SecretKeys] = []
    auth, tls = spec.auth_config, spec.tls_config
    if auth is not None:
        kind: AuthType = auth.type
        names = {
            "username": auth.keys.username,
            "password": auth.keys.password,
            "token": auth.keys.token,
            "privateKey": auth.keys.private_key,
        }
        files = {names[field]: file for field, file in AUTH_FILES[kind].items()}
        place, name = _secret_namespace(source, auth, namespace), auth.secret_ref.name
        wanted.append(SecretKeys(namespace=place, name=name, files=files, optional=OPTIONAL_FILES.get(kind, ())))
    if tls is not None and tls.ca_cert is not None:
        place = _secret_namespace(source, tls.ca_cert, namespace)
        wanted.append(SecretKeys(namespace=place, name=tls.ca_cert.secret_ref.name, files={tls.ca_cert.key: CA_FILE}))
    if spec.proxy is not None and spec.proxy.secret_ref is not None:
        place, name = _secret_namespace(source, spec.proxy, namespace), spec.proxy.secret_ref.name
        wanted.append(SecretKeys(namespace=place, name=name, files=PROXY_FILES))
    return tuple(wanted)


def describe(
    source: Any, policy: HostKeyPolicy, pinned: Iterable[str] = (), bounds: CloneBounds | None = None
) -> SourceDescription:
    """The source without its secrets; for SSH, with the host keys that are accepted (`pinned`: the source's own)."""
    auth, tls, proxy = source.spec.auth_config, source.spec.tls_config, source.spec.proxy
    address = SshAddress.of(source.spec.repo_uri)
    return SourceDescription(
        url=source.spec.repo_uri,
        auth_type=auth.type if auth is not None else None,
        no_verify_ssl=bool(tls is not None and tls.no_verify_ssl),
        has_ca=tls is not None and tls.ca_cert is not None,
        host_keys=known_for(address, policy, pinned) if address and not policy.insecure else (),
        any_host_key=address is not None and policy.insecure,
        proxy_url=proxy.url if proxy is not None else None,
        proxy_auth=proxy is not None and proxy.secret_ref is not None,
        max_bytes=bounds.max_bytes if bounds is not None else None,
        max_files=bounds.max_files if bounds is not None else None,
    )


def clone_of(
    resolved: Resolved, namespace: str, policy: HostKeyPolicy, pinned: Iterable[str], bounds: CloneBounds | None = None
) -> Clone:
    """What the init container of a run clones: the watched source, or the action's override."""
    pointer: Pointer = resolved.cloned
    model = resolved.cloned_model
    return Clone(
        pointer=pointer,
        description=describe(model, policy, pinned, bounds).to_json(),
        secrets=secrets_of(model, namespace),
    )


def phase_key(source: Any, namespace: str) -> str:
    """Input of a schedule's phase: URL, proxy, location of credentials; equal sources are checked together."""
    parts = [source.spec.repo_uri, *([source.spec.proxy.url] if source.spec.proxy is not None else [])]
    parts += [f"{keys.namespace}/{keys.name}/{'/'.join(sorted(keys.files))}" for keys in secrets_of(source, namespace)]
    return "\n".join(parts)


def _secret_namespace(source: Any, holder: Any, namespace: str) -> str:
    own = source.ref.namespace
    return own or holder.secret_ref.namespace or namespace
