"""Settings: flags and environment, fixed for the life of the process; all problems are reported together."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from git_events_runner.edges.kube.lease import Timing
from git_events_runner.errors import ConfigError
from git_events_runner.rules.rate_limit import Rate

from .options import OPTIONS

LISTENING_HOST = "0.0.0.0"  # noqa: S104  a pod serves its complete network; policies of the cluster narrow it
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_RETRIES_IN_RENEWAL = 5
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# Environment variables, with what they mean; the order is that of the documentation.
VARIABLES: dict[str, str] = {
    "GIT_EVENTS_RUNNER_LOG": "log filter: a level, or `target=level` lists; default `info`",
    "RUST_LOG": "the same, read when GIT_EVENTS_RUNNER_LOG is unset",
    "OPENTELEMETRY_ENDPOINT_URL": (
        "a collector that accepts OTLP over gRPC, such as http://host:4317; webhooks, checks and Jobs become spans; "
        "the task id of a 202 is the id of its trace; unset: no traces"
    ),
    "KUBECONFIG": "kubeconfig file, used also in a pod; unset: the pod's service account, else `~/.kube/config`",
    "POD_NAMESPACE": "namespace of the controller; unset: that of its service account, else `default`",
    "POD_NAME": "identity of this replica; unset: host name and a random part",
    "POD_IPS": "addresses of this replica, separated by commas: no source may point there",
    "KUBERNETES_SERVICE_HOST": "address of the API server's Service, set by Kubernetes: no source may point there",
    "GIT_EVENTS_RUNNER_ALLOW_LOOPBACK": (
        "`true`: sources may point to the loopback addresses of this machine; for development, never set by the chart"
    ),
    "GIT_EVENTS_RUNNER_JOB_NAMESPACES": "namespaces whose triggers are served, separated by commas; unset or with "
    "`*`: all",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Certificate and key of the webhook port, as files in PEM form."""

    cert_path: str
    key_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSecret:
    """Certificate and key of the webhook port, as a Secret of type kubernetes.io/tls; no namespace: the own one."""

    name: str
    namespace: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the process was started with. `rates`: by scope (as global, trigger); no `job_namespaces`: all.

    `own_addresses` and `allow_loopback` define where sources may not, and may, point to.
    Without `send_notifications`, messages of Notifiers are logged and not sent.
    """

    webhooks_port: int
    utility_port: int
    ui: bool
    webhooks_parallelism: int
    schedule_parallelism: int
    secrets_cache_time_s: float
    source_clone_folder: str
    config_map_name: str
    leader_lease_name: str
    lease: Timing
    metrics_prefix: str
    metrics_by_trigger: str
    rates: Mapping[str, Rate | None]
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    tls: TlsFiles | TlsSecret | None
    json_logs: bool
    log_filter: str
    otlp_endpoint: str | None
    kubeconfig: str | None
    namespace: str
    identity: str
    job_namespaces: tuple[str, ...]
    own_addresses: tuple[str, ...] = ()
    allow_loopback: bool = False
    send_notifications: bool = True
    host: str = LISTENING_HOST

    @classmethod
    def of(cls, given: Mapping[str, str | None], environ: Mapping[str, str], *, json_logs: bool = False) -> Settings:
        """Settings from option texts (by `Option.field`; absent or None: the default) and environment variables.

        Raises:
            ConfigError: Something is wrong; every problem is named.
        """
        problems: list[str] = []
        values: dict[str, Any] = {}
        for option in OPTIONS:
            text = given.get(option.field)
            text = option.default if text is None else text
            try:
                values[option.field] = None if text is None else option.read(text)
            except ValueError as error:
                problems.append(f"--{option.name}: {error} (found {text!r})")
        tls = _tls(values, problems)
        duration, grace = values.get("leader_lease_duration"), values.get("leader_lease_grace")
        if duration is not None and grace is not None and grace >= duration:
            problems.append(f"--leader-lease-grace: must be below --leader-lease-duration (found {grace}, {duration})")
        if values.get("webhooks_port") is not None and values["webhooks_port"] == values.get("utility_port"):
            problems.append(f"--utility-port: must differ from --webhooks-port (found {values['utility_port']} twice)")
        endpoint = environ.get("OPENTELEMETRY_ENDPOINT_URL") or None
        if endpoint and not re.match(r"https?://[^/\s]", endpoint):
            problems.append(f"OPENTELEMETRY_ENDPOINT_URL: must be an http or https URL (found {endpoint!r})")
        namespaces = _namespaces(environ.get("GIT_EVENTS_RUNNER_JOB_NAMESPACES", ""), problems)
        if problems:
            raise ConfigError(*problems)
        return cls(
            webhooks_port=values["webhooks_port"],
            utility_port=values["utility_port"],
            ui=values["ui"],
            webhooks_parallelism=values["webhooks_parallelism"],
            schedule_parallelism=values["schedule_parallelism"],
            secrets_cache_time_s=values["secrets_cache_time"],
            source_clone_folder=values["source_clone_folder"],
            config_map_name=values["config_map_name"],
            leader_lease_name=values["leader_lease_name"],
            lease=timing(values["leader_lease_duration"], values["leader_lease_grace"]),
            metrics_prefix=values["metrics_prefix"],
            metrics_by_trigger=values["metrics_by_trigger"],
            rates={scope: values[f"hooks_rrl_{scope}"] for scope in ("global", "address", "trigger", "source")},
            trusted_proxies=values["hooks_trusted_proxies"] or (),
            tls=tls,
            json_logs=json_logs,
            log_filter=environ.get("GIT_EVENTS_RUNNER_LOG") or environ.get("RUST_LOG") or "info",
            otlp_endpoint=endpoint,
            kubeconfig=environ.get("KUBECONFIG") or None,
            namespace=environ.get("POD_NAMESPACE") or _own_namespace(),
            identity=environ.get("POD_NAME") or f"{socket.gethostname()}-{secrets.token_hex(4)}",
            job_namespaces=namespaces,
            own_addresses=_own_addresses(environ),
            allow_loopback=environ.get("GIT_EVENTS_RUNNER_ALLOW_LOOPBACK", "").strip().lower() == "true",
        )


def timing(duration_s: int, grace_s: int) -> Timing:
    """A leader may act for the duration less the grace since its last renewal, and renews five times in that.

    >>> timing(15, 5)
    Timing(duration_s=15, renew_deadline_s=10, retry_s=2.0)
    """
    renew_deadline_s = duration_s - grace_s
    return Timing(
        duration_s=duration_s, renew_deadline_s=renew_deadline_s, retry_s=renew_deadline_s / _RETRIES_IN_RENEWAL
    )


def _tls(values: Mapping[str, Any], problems: list[str]) -> TlsFiles | TlsSecret | None:
    cert, key = values.get("tls_cert_path"), values.get("tls_key_path")
    name, namespace = values.get("tls_secret_name"), values.get("tls_secret_namespace")
    if (cert or key) and (name or namespace):
        problems.append("--tls-cert-path and --tls-key-path exclude --tls-secret-name and --tls-secret-namespace")
    elif bool(cert) != bool(key):
        given, missing = ("cert", "key") if cert else ("key", "cert")
        problems.append(f"--tls-{missing}-path: is required with --tls-{given}-path")
    elif namespace and not name:
        problems.append("--tls-secret-name: is required with --tls-secret-namespace")
    elif cert and key:
        return TlsFiles(cert_path=cert, key_path=key)
    elif name:
        return TlsSecret(name=name, namespace=namespace)
    return None


def _namespaces(text: str, problems: list[str]) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or "*" in names:
        return ()
    wrong = [name for name in names if not _NAMESPACE.fullmatch(name)]
    if wrong:
        problems.append(f"GIT_EVENTS_RUNNER_JOB_NAMESPACES: no names of namespaces: {', '.join(wrong)}")
    return tuple(dict.fromkeys(names))


def _own_addresses(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Those that the environment names; a name (some clouds set one for the API server) is none."""
    found = []
    for text in (*environ.get("POD_IPS", "").split(","), environ.get("KUBERNETES_SERVICE_HOST", "")):
        try:
            found.append(str(ipaddress.ip_address(text.strip())))
        except ValueError:
            continue
    return tuple(found)


def _own_namespace() -> str:
    try:
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"
