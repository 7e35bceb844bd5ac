"""What the controller hands the init container: where the repository is, and which files near it hold the credential.

The environment variable `GIT_EVENTS_RUNNER_SOURCE` of the init container holds `SourceDescription.to_json()`, for
example

    {"url": "https://git.example/app.git", "auth": {"type": "basic"}, "tls": {"noVerifySsl": false, "caFile": true},
     "secretDir": "/var/run/git-events-runner/source"}

and the needed keys of the source's Secrets are mounted as files under `secretDir`, independent of the names of their
keys there: `username` and `password` (basic), `token` (token), `ssh-privatekey` (ssh), `ca.crt` (when `caFile` is
true). For ssh there may be `passphrase` and `known_hosts` too, and the description lists which host keys are accepted:
`"ssh": {"knownHosts": ["git.example ssh-ed25519 AAAA…"], "insecure": false}`. With a proxy of the source,
`"proxy": {"url": "http://proxy.example:3128", "auth": true}` is in it, and `auth` means that `proxy-username` and
`proxy-password` are mounted too. `"limits": {"bytes": 10737418240, "files": 2000000}` limits how much the clone may
write. No secret is in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from git_events_runner.errors import ConfigError

SOURCE_VARIABLE = "GIT_EVENTS_RUNNER_SOURCE"
# Of an init container that keeps `.git`: what its commit was found by, as `branch main`.
REFERENCE_VARIABLE = "GIT_EVENTS_RUNNER_REFERENCE"
# For how many seconds the cloner waits for the mounted files: a kubelet learns of a new Secret within two minutes.
WAIT_VARIABLE = "GIT_EVENTS_RUNNER_WAIT_SECONDS"
SECRET_DIR = "/var/run/git-events-runner/source"  # noqa: S105 - a path
CA_FILE = "ca.crt"
KEY_FILE, PASSPHRASE_FILE, KNOWN_HOSTS_FILE = "ssh-privatekey", "passphrase", "known_hosts"
PROXY_FILES = {"username": "proxy-username", "password": "proxy-password"}
AuthType = Literal["basic", "token", "ssh"]
# File names under the secret directory by the kind of authentication; the values of `authConfig.keys` are mounted to
# these.
AUTH_FILES: dict[AuthType, dict[str, str]] = {
    "basic": {"username": "username", "password": "password"},
    "token": {"token": "token"},
    "ssh": {"privateKey": KEY_FILE},
}
# Keys of the Secret that are mounted under their own names if they are there.
OPTIONAL_FILES: dict[AuthType, tuple[str, ...]] = {"ssh": (PASSPHRASE_FILE, KNOWN_HOSTS_FILE)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """A source, resolved. `auth_type` None means without a credential; `has_ca` that `ca.crt` is mounted.

    `host_keys` are lines of known hosts for an SSH URL; with `any_host_key` every key is accepted. `proxy_url` None
    means that the source names no proxy; `proxy_auth` that its user name and password are mounted. `max_bytes` and
    `max_files` bound what the clone writes; None: the cloner's own limits.
    """

    url: str
    auth_type: AuthType | None = None
    no_verify_ssl: bool = False
    has_ca: bool = False
    secret_dir: str = SECRET_DIR
    host_keys: tuple[str, ...] = ()
    any_host_key: bool = False
    proxy_url: str | None = None
    proxy_auth: bool = False
    max_bytes: int | None = None
    max_files: int | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that must be mounted under `secret_dir`."""
        auth = tuple(AUTH_FILES[self.auth_type].values()) if self.auth_type else ()
        proxy = tuple(PROXY_FILES.values()) if self.proxy_auth else ()
        return (*auth, *((CA_FILE,) if self.has_ca else ()), *proxy)

    @property
    def optional_files(self) -> tuple[str, ...]:
        """Names of the files that may be mounted there."""
        return OPTIONAL_FILES.get(self.auth_type, ()) if self.auth_type else ()

    def to_json(self) -> str:
        """The value of the environment variable; the same text for the same description.

        >>> SourceDescription(url="https://x/y", secret_dir="/s").to_json()
        '{"auth":null,"secretDir":"/s","tls":{"caFile":false,"noVerifySsl":false},"url":"https://x/y"}'
        """
        value: dict[str, Any] = {
            "url": self.url,
            "auth": {"type": self.auth_type} if self.auth_type else None,
            "tls": {"noVerifySsl": self.no_verify_ssl, "caFile": self.has_ca},
            "secretDir": self.secret_dir,
        }
        if self.host_keys or self.any_host_key:
            value["ssh"] = {"knownHosts": list(self.host_keys), "insecure": self.any_host_key}
        if self.proxy_url is not None:
            value["proxy"] = {"url": self.proxy_url, "auth": self.proxy_auth}
        limits = {"bytes": self.max_bytes, "files": self.max_files}
        if found := {name: limit for name, limit in limits.items() if limit is not None}:
            value["limits"] = found
        return json.dumps(value, sort_keys=True, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> SourceDescription:
        """Read what `to_json` wrote; unknown fields are ignored, so that an older cloner reads a newer description.

        Raises:
            ConfigError: It is no JSON object, or fields are missing or of the wrong type (all are named).
        """
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"{SOURCE_VARIABLE} is not JSON") from error
        if not isinstance(value, dict):
            raise ConfigError(f"{SOURCE_VARIABLE} is not a JSON object")
        names = ("auth", "tls", "ssh", "proxy", "limits")
        auth, tls, ssh, proxy, limits = (value.get(name) or {} for name in names)
        fields: dict[str, tuple[Any, type]] = {
            "url": (value.get("url"), str),
            "auth": (auth, dict),
            "tls": (tls, dict),
            "ssh": (ssh, dict),
            "proxy": (proxy, dict),
            "limits": (limits, dict),
            "secretDir": (value.get("secretDir", SECRET_DIR), str),
        }
        problems = [
            f"{name} is missing or wrong" for name, (got, wanted) in fields.items() if not isinstance(got, wanted)
        ]
        if not problems:
            kind = auth.get("type")
            no_verify, has_ca = tls.get("noVerifySsl", False), tls.get("caFile", False)
            if kind is not None and kind not in AUTH_FILES:
                problems.append("auth.type is none of basic, token, ssh")
            if not isinstance(no_verify, bool) or not isinstance(has_ca, bool):
                problems.append("tls.noVerifySsl and tls.caFile must be true or false")
            host_keys, any_host_key = ssh.get("knownHosts") or [], ssh.get("insecure", False)
            if not isinstance(host_keys, list) or not all(isinstance(line, str) for line in host_keys):
                problems.append("ssh.knownHosts must be a list of lines")
            if not isinstance(any_host_key, bool):
                problems.append("ssh.insecure must be true or false")
            problems += _proxy_problems(proxy)
            bounds = (limits.get(name) for name in ("bytes", "files"))
            if not all(bound is None or (type(bound) is int and bound > 0) for bound in bounds):
                problems.append("limits.bytes and limits.files must be whole numbers above 0")
        if problems:
            raise ConfigError(*(f"{SOURCE_VARIABLE}: {problem}" for problem in problems))
        return cls(
            url=value["url"],
            auth_type=kind,
            no_verify_ssl=no_verify,
            has_ca=has_ca,
            secret_dir=value.get("secretDir", SECRET_DIR),
            host_keys=tuple(host_keys),
            any_host_key=any_host_key,
            proxy_url=proxy.get("url"),
            proxy_auth=proxy.get("auth", False),
            max_bytes=limits.get("bytes"),
            max_files=limits.get("files"),
        )


def _proxy_problems(proxy: dict[str, Any]) -> list[str]:
    problems = []
    if proxy and not isinstance(proxy.get("url"), str):
        problems.append("proxy.url must be a URL")
    if not isinstance(proxy.get("auth", False), bool):
        problems.append("proxy.auth must be true or false")
    return problems
