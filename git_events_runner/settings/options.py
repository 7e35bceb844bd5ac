"""The options of `run`: names, defaults and forms, from which the command line, the checks and the docs are made."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from git_events_runner.errors import InvalidObject
from git_events_runner.rules.rate_limit import Rate

_PORT_MAX = 65535
_PARALLELISM_MAX = 255
_LEASE_MAX_S = 300
_COUNT_MAX = 2**31 - 1
_NAME_CHARS = 253


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of `run`: `read` turns its text into a value or raises ValueError with what it must be."""

    name: str
    short: str | None
    default: str | None
    read: Callable[[str], Any]
    form: str
    help: str

    @property
    def field(self) -> str:
        """The key of its value."""
        return self.name.replace("-", "_")


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """A reader of whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        digits = text.removeprefix("=")  # `-w=8080` is as good as `-w 8080`
        if not (digits.isascii() and digits.isdigit()) or not least <= int(digits[:12]) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(digits)

    return read


def rate_limit(text: str) -> Rate:
    """Read `BURST/SECONDS`.

    >>> rate_limit("10/60").burst
    10
    """
    try:
        return Rate.parse(text)
    except InvalidObject:
        raise ValueError("must be BURST/SECONDS, two whole numbers above 0, as 10/60") from None


def networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Read networks or addresses, separated by commas.

    >>> [str(network) for network in networks("10.0.0.0/8, ::1")]
    ['10.0.0.0/8', '::1/128']
    """
    try:
        found = tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        found = ()
    if not found:
        raise ValueError("must be networks separated by commas, as 10.0.0.0/8,fd00::/8")
    return found


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


_DETAILS = ("sums", "histograms", "lean")


def _metric_prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_:][A-Za-z0-9_:]*", text):
        raise ValueError("must be letters, digits and _, not beginning with a digit")
    return text


def _detail(text: str) -> str:
    if text not in _DETAILS:
        raise ValueError(f"must be one of {', '.join(_DETAILS)}")
    return text


def _switch(text: str) -> bool:
    if text not in {"on", "off"}:
        raise ValueError("must be on or off")
    return text == "on"


def _object_name(text: str) -> str:
    if len(text) > _NAME_CHARS or not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", text):
        raise ValueError("must be the name of an object: lower-case letters, digits, - and .")
    return text


def _option(
    name: str,
    short: str | None,
    default: str | None,
    read: Callable[[str], Any],
    form: str,
    help_text: str,
) -> Option:
    return Option(name=name, short=short, default=default, read=read, form=form, help=help_text)


_port = whole_number(1, _PORT_MAX)
_parallelism = whole_number(1, _PARALLELISM_MAX)
_lease = whole_number(1, _LEASE_MAX_S)
OPTIONS: tuple[Option, ...] = (
    _option("webhooks-port", "w", "8080", _port, "PORT", "port for webhooks"),
    _option("utility-port", "u", "3000", _port, "PORT", "port for probes and metrics"),
    _option("ui", None, "off", _switch, "on|off", "serve the status page at /ui of the utility port, without a login"),
    _option(
        "webhooks-parallelism",
        None,
        "16",
        _parallelism,
        "N",
        "checks by webhooks of one namespace at the same time, 1 to 255",
    ),
    _option(
        "schedule-parallelism",
        None,
        "16",
        _parallelism,
        "N",
        "checks by schedules of one namespace at the same time, 1 to 255",
    ),
    _option(
        "secrets-cache-time",
        None,
        "60",
        whole_number(1, _COUNT_MAX),
        "SECONDS",
        "how long a Secret is cached after it was read",
    ),
    _option(
        "source-clone-folder",
        None,
        "/tmp/git-events-runner",  # noqa: S108  kept for old command lines, nothing is written there
        _text,
        "PATH",
        "accepted for old command lines; nothing is cloned in the controller",
    ),
    _option(
        "config-map-name",
        None,
        "git-events-runner-config",
        _object_name,
        "NAME",
        "ConfigMap whose key runtimeConfig is the runtime config",
    ),
    _option("leader-lease-name", None, "git-events-runner-leader-lock", _object_name, "NAME", "Lease of the leader"),
    _option(
        "leader-lease-duration",
        None,
        "15",
        _lease,
        "SECONDS",
        "how long a leader stays the leader without a renewal, 1 to 300",
    ),
    _option(
        "leader-lease-grace",
        None,
        "5",
        _lease,
        "SECONDS",
        "how long before the end of the lease a leader that cannot renew it stops acting, 1 to 300",
    ),
    _option("metrics-prefix", None, "git_events_runner", _metric_prefix, "PREFIX", "first part of every metric's name"),
    _option(
        "metrics-by-trigger",
        None,
        "sums",
        _detail,
        "DETAIL",
        "metrics of each trigger: sums (durations as sums and counts, buckets for all triggers together), histograms "
        "(buckets for each, as in v0.4) or lean (as sums, without v0.4's names of counters)",
    ),
    _option("hooks-rrl-global", None, None, rate_limit, "BURST/SECONDS", "rate limit of all webhook requests"),
    _option("hooks-rrl-trigger", None, None, rate_limit, "BURST/SECONDS", "rate limit of each trigger"),
    _option("hooks-rrl-source", None, None, rate_limit, "BURST/SECONDS", "rate limit of each source of a trigger"),
    _option(
        "hooks-rrl-address",
        None,
        None,
        rate_limit,
        "BURST/SECONDS",
        "rate limit of each sender's address; behind a proxy only with --hooks-trusted-proxies",
    ),
    _option(
        "hooks-trusted-proxies",
        None,
        None,
        networks,
        "NETWORKS",
        "proxies whose X-Forwarded-For is trusted, such as 10.0.0.0/8,fd00::/8",
    ),
    _option("tls-cert-path", None, None, _text, "PATH", "certificate of the webhook port (PEM file)"),
    _option("tls-key-path", None, None, _text, "PATH", "key of the certificate (PEM file)"),
    _option("tls-secret-name", None, None, _object_name, "NAME", "Secret with tls.crt and tls.key, instead of paths"),
    _option(
        "tls-secret-namespace", None, None, _object_name, "NAME", "namespace of that Secret; unset: the controller's"
    ),
)
