"""SSH addresses of repositories, and texts of known hosts: which lines speak of a host, and whether they can be read.

The text form is OpenSSH's (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): patterns, negation, `[host]:port`, hashed names,
and the markers `@cert-authority` and `@revoked`. A pinned key is such a line too, so that it names its host.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_SCP = re.compile(r"(?P<user>[\w.-]+)@(?P<host>[A-Za-z0-9][\w.-]*):(?P<path>[^\x00-\x20\x7f]+)\Z", re.ASCII)
_URL = re.compile(
    r"ssh://(?:(?P<user>[\w.-]+)@)?(?P<host>[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^\x00-\x20\x7f]*)\Z",
    re.ASCII | re.IGNORECASE,
)
_DEFAULT_PORT = 22
_HIGHEST_PORT = 65535
_LINE_CHARS = 16 * 1024
_MARKERS = frozenset({"@cert-authority", "@revoked"})
_KEY_TYPE = re.compile(r"[a-z0-9][a-z0-9.@-]{2,63}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAddress:
    """Where a repository is on which host."""

    user: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> SshAddress | None:
        """The address that `user@host:path` or `ssh://` gives; None when it is neither, or not one to use.

        >>> SshAddress.of("git@Git.example:team/app.git").known_hosts_name
        'git.example'
        >>> SshAddress.of("ssh://git.example:2222/~me/app").path
        '~me/app'
        """
        found = _URL.match(url) or _SCP.match(url)
        if found is None:
            return None
        parts = found.groupdict()
        port, path = int(parts.get("port") or _DEFAULT_PORT), parts["path"]
        if not 0 < port <= _HIGHEST_PORT:
            return None
        return cls(
            user=parts["user"] or "git",
            host=parts["host"].strip("[]").lower(),
            port=port,
            path=path[1:] if path.startswith("/~") else path,
        )

    @property
    def known_hosts_name(self) -> str:
        """The host as known hosts name it: `host`, or `[host]:port` when it is not port 22."""
        return self.host if self.port == _DEFAULT_PORT else f"[{self.host}]:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKeyPolicy:
    """The installation's settings of host keys: `mode` is pin, strict or insecure; a text of known hosts."""

    mode: str = "pin"
    known_hosts: str = ""

    @property
    def insecure(self) -> bool:
        """Whether any key is accepted."""
        return self.mode == "insecure"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """One line of known hosts: for which hosts, which key, and `marker` (empty, `@cert-authority` or `@revoked`)."""

    marker: str
    hosts: str
    key: str

    @property
    def type(self) -> str:
        """The key's type, as `ssh-ed25519`."""
        return self.key.partition(" ")[0]

    def of(self, host: str) -> bool:
        """Whether the line speaks of a host, given in the form of `SshAddress.known_hosts_name`."""
        return _speaks(self.hosts, host, _places(host))


def _places(host: str) -> Mapping[str, int]:
    """For each character of a host's name, where it is: bit n for the character after n others."""
    found: dict[str, int] = {}
    for at, character in enumerate(host):
        found[character] = found.get(character, 0) | 1 << at
    return found


def _speaks(hosts: str, host: str, places: Mapping[str, int]) -> bool:
    """Whether the first field of a line means a host; most lines are seen at a glance to mean another one."""
    if hosts.startswith("|1|"):
        return _hashed(hosts, host)
    matched = False
    for pattern in hosts.lower().split(","):
        name = pattern.removeprefix("!")
        if "*" in name or "?" in name:
            if not _fits(name, len(host), places):
                continue
        elif name != host:
            continue
        if name != pattern:
            return False
        matched = True
    return matched


def _fits(pattern: str, size: int, places: Mapping[str, int]) -> bool:
    """Whether `*` (any characters) and `?` (one) make a pattern fit a host of so many characters.

    Bit n of `ends`: the pattern so far fits the first n characters. Each of its characters costs the same, so that a
    text of known hosts cannot be made expensive.

    >>> _fits("*.ex?mple", len("git.example"), _places("git.example"))
    True
    """
    ends, all_ends = 1, (1 << size + 1) - 1
    for character in pattern:
        if character == "*":
            ends = all_ends & -(ends & -ends)
        elif character == "?":
            ends = ends << 1 & all_ends
        else:
            ends = (ends & places.get(character, 0)) << 1
        if not ends:
            return False
    return bool(ends >> size & 1)


def _hashed(hosts: str, host: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in hosts[3:].split("|"))
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.new(salt, host.encode(), hashlib.sha1).digest(), digest)


def fingerprint(key: str) -> str:
    """A key as people compare it: its type and the digest that `ssh-keygen -l` shows.

    >>> fingerprint("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl")
    'ssh-ed25519 SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU'
    """
    kind, _, blob = key.partition(" ")
    digest = hashlib.sha256(base64.b64decode(blob)).digest()
    return f"{kind} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def read_host_key(line: str) -> HostKey | None:
    """One line; None when it is empty or a comment.

    Raises:
        ValueError: It is neither that nor a known host; the text states what is wrong, without the line itself.
    """
    words = line.split()
    if not words or words[0].startswith("#"):
        return None
    marker = words.pop(0) if words[0].startswith("@") else ""
    if marker and marker not in _MARKERS:
        raise ValueError("the marker is none of @cert-authority and @revoked")
    if len(words) < 3 or len(line) > _LINE_CHARS:  # noqa: PLR2004  host, type, key
        raise ValueError("a line is: host names, key type, key")
    hosts, kind, blob = words[:3]
    try:
        raw = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the key is not base64") from None
    name = kind.encode()
    if not _KEY_TYPE.match(kind) or not raw.startswith(len(name).to_bytes(4) + name):
        raise ValueError("the key is not of the type that is named before it")
    return HostKey(marker=marker, hosts=hosts, key=f"{kind} {blob}")


def problem_of(text: str) -> str | None:
    """What is wrong with a text of known hosts, by line; None when it can be used."""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            read_host_key(line)
        except ValueError as error:
            return f"line {number}: {error}"
    return None


def host_keys(lines: Iterable[str], address: SshAddress) -> tuple[HostKey, ...]:
    """The keys known for an address; lines that cannot be read are ignored.

    As with OpenSSH, a host on another port than 22 that is not listed with its port is looked for without.
    """
    exact: list[HostKey] = []
    without_port: list[HostKey] = []
    wanted = [
        (known_hosts_name, _places(known_hosts_name), found)
        for known_hosts_name, found in ((address.known_hosts_name, exact), (address.host, without_port))
    ]
    for line in lines:
        words = line.split(None, 2)
        hosts = words[words[0].startswith("@")] if len(words) > 1 else ""
        for known_hosts_name, places, found in wanted:
            if _speaks(hosts, known_hosts_name, places):
                with contextlib.suppress(ValueError):
                    if read := read_host_key(line):
                        found.append(read)
    return tuple(exact or without_port)


def known_for(address: SshAddress, policy: HostKeyPolicy, pinned: Iterable[str]) -> tuple[str, ...]:
    """The lines that decide about an address: the installation's if it lists the host, else what is pinned."""
    found = host_keys(policy.known_hosts.splitlines(), address) or host_keys(pinned, address)
    return tuple(f"{each.marker} {address.known_hosts_name} {each.key}".lstrip() for each in found)
