"""Where to clone from without a description: source and Secrets from the API server, as in the cloner of v0.4.

Needs a service account that may `get` the source and its Secrets. Plain HTTPS calls: three GETs are not worth a
client library.
"""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from git_events_runner.edges.git.described import repository_of
from git_events_runner.edges.git.request import Repository
from git_events_runner.errors import ApiNotFound, ConfigError, GitUnreachable, SecretUnusable
from git_events_runner.resources.description import AUTH_FILES, CA_FILE, OPTIONAL_FILES, PROXY_FILES, SourceDescription
from git_events_runner.resources.kinds import KINDS, SOURCES

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_S = 15.0
_ANSWER_BYTES = 4 * 2**20
_NOT_FOUND, _SERVER = 404, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAccess:
    """How to reach the API server from a pod; the token is never shown."""

    address: str
    token: str
    namespace: str
    ca_pem: str | None

    def __repr__(self) -> str:
        return f"ApiAccess({self.address!r}, namespace={self.namespace!r})"


def in_cluster(environment: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT) -> ApiAccess:
    """The access that Kubernetes gives every pod with a service account token.

    Raises:
        ConfigError: This is no such pod.
    """
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        token, ca_pem, namespace = (
            (service_account / name).read_text().strip() for name in ("token", "ca.crt", "namespace")
        )
    except OSError:
        host = None
        token = ca_pem = namespace = ""
    if not host:
        raise ConfigError(
            "there is neither a source description in the environment nor a service account token: "
            "run in a Job of the controller, or in a pod whose account may read the source and its Secret"
        )
    shown = f"[{host}]" if ":" in host else host
    return ApiAccess(address=f"https://{shown}:{port}", token=token, namespace=namespace, ca_pem=ca_pem)


def looked_up_repository(access: ApiAccess, kind: str, name: str) -> Repository:
    """The repository of a GitRepo in the own namespace, or of a ClusterGitRepo.

    Raises:
        ConfigError: No such kind or object, or its spec is wrong, or the account may not read it.
        SecretUnusable: Its Secret or a key in it is missing.
        GitUnreachable: The API server does not answer.
    """
    if kind not in SOURCES:
        raise ConfigError(f"--kind must be one of {', '.join(SOURCES)}")
    source = _get(access, _path(kind, access.namespace, name), f"{kind} {name}")
    spec = source.get("spec")
    url = spec.get("repoUri") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(url, str):
        raise ConfigError(f"{kind} {name} has no spec.repoUri")
    auth, tls = spec.get("authConfig") or {}, spec.get("tlsConfig") or {}
    auth_type = auth.get("type") if auth else None
    if auth_type is not None and auth_type not in AUTH_FILES:
        raise ConfigError(f"{kind} {name}: spec.authConfig.type is none of basic, token, ssh")
    secrets: dict[str, str] = {}
    if auth_type is not None:
        names, keys = AUTH_FILES[auth_type], auth.get("keys") or {}
        data = _secret(access, kind, auth.get("secretRef") or {})
        secrets = {file: _value(data, keys.get(field) or file) for field, file in names.items()}
        secrets |= {name: _value(data, name) for name in OPTIONAL_FILES.get(auth_type, ()) if name in data}
    if (ca := tls.get("caCert")) is not None:
        secrets[CA_FILE] = _value(_secret(access, kind, ca.get("secretRef") or {}), ca.get("key") or CA_FILE)
    proxy_url = None
    if (proxy := spec.get("proxy")) is not None:
        proxy_url = proxy.get("url") if isinstance(proxy, dict) else None
        if not isinstance(proxy_url, str):
            raise ConfigError(f"{kind} {name}: spec.proxy has no url")
        if (reference := proxy.get("secretRef")) is not None:
            data = _secret(access, kind, reference)
            secrets |= {file: _value(data, key) for key, file in PROXY_FILES.items()}
    pinned = (source.get("status") or {}).get("hostKeys") or ()
    description = SourceDescription(
        url=url,
        auth_type=auth_type,
        no_verify_ssl=tls.get("noVerifySsl") is True,
        host_keys=tuple(line for line in pinned if isinstance(line, str)),
        proxy_url=proxy_url,
    )
    return repository_of(description, secrets)


def _secret(access: ApiAccess, kind: str, reference: Mapping[str, Any]) -> Mapping[str, str]:
    name = reference.get("name")
    if not isinstance(name, str):
        raise ConfigError("the source's secretRef has no name")
    elsewhere = reference.get("namespace") if kind == "ClusterGitRepo" else None
    namespace = elsewhere or access.namespace
    try:
        found = _get(access, _path("Secret", namespace, name), f"Secret {namespace}/{name}")
    except ConfigError as error:
        raise SecretUnusable(str(error)) from error
    data = found.get("data")
    return data if isinstance(data, dict) else {}


def _value(data: Mapping[str, str], key: str) -> str:
    try:
        return base64.b64decode(data[key], validate=True).decode("utf-8")
    except (KeyError, ValueError, TypeError) as error:
        raise SecretUnusable(f"the source's Secret has no usable key {key}", reason="SecretKeyMissing") from error


def _path(kind: str, namespace: str, name: str) -> str:
    try:
        return KINDS[kind].path(namespace, name)
    except ApiNotFound as error:
        raise ConfigError(str(error)) from error


def _get(access: ApiAccess, path: str, what: str) -> Mapping[str, Any]:
    request = urllib.request.Request(
        access.address + path, headers={"Authorization": f"Bearer {access.token}", "Accept": "application/json"}
    )
    context = ssl.create_default_context(cadata=access.ca_pem) if access.ca_pem else None
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=context) as answer:
            value = json.loads(answer.read(_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code >= _SERVER:
            raise GitUnreachable(f"the API server fails with HTTP {error.code} for {what}") from error
        problem = "does not exist" if error.code == _NOT_FOUND else f"may not be read by this pod (HTTP {error.code})"
        raise ConfigError(f"{what} {problem}") from error
    except OSError as error:
        raise GitUnreachable(f"the API server does not answer for {what}: {type(error).__name__}") from error
    except ValueError as error:
        raise GitUnreachable(f"the API server's answer for {what} is not JSON") from error
    return value if isinstance(value, dict) else {}
