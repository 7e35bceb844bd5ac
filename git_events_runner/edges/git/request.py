"""A request to a git server, and its result: plain values that do not depend on a transport.

A `GitRequest` is the unit of sharing: two triggers that need the same reference of the same repository with the same
credential share one exchange. `Repository.key` defines "the same", and a schedule's phase is a hash of it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from git_events_runner.errors import GitReferenceNotFound, GitUnsupported, SecretUnusable
from git_events_runner.resources.proxy import problem_of

from .access import ProxyAccess, SshAccess

ReferenceType = Literal["branch", "tag", "commit", "pull"]
_OBJECT_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
# git-check-ref-format(1): no control characters, space, ~ ^ : ? * [ \, no "..", "@{", "//", no component that starts
# with a dot or ends with ".lock", no slash at either end, no dot at the end.
_BAD_NAME = re.compile(
    r"[\x00-\x20\x7f~^:?*\[\\\ud800-\udfff]|\.\.|@\{|//|(?:^|/)\.|\.lock(?:/|\Z)|^/|/\Z|\.\Z|^@\Z|^\Z"
)
_NAME_LIMIT = 1024
_URL_LIMIT = 2048
_SCHEMES = frozenset({"http", "https", "ssh"})
_SCP = re.compile(r"[\w.-]+@[A-Za-z0-9][\w.-]*:")
_BAD_URL = re.compile(r"[\x00-\x20\x7f\\]")
# A name (not beginning with a dash), an IPv4 or a bracketed IPv6 address, perhaps with a port.
_HOST = re.compile(r"(?:[^\W_](?:[\w.-]*\w)?\.?|\[[0-9a-f:.]+\])(?::\d{1,5})?")
_SHOWN_LIMIT = 200


def shown(text: str) -> str:
    r"""Text of a user or a server fit for a message: control characters escaped, cut to 200 characters.

    >>> shown("a\x1b[31m")
    'a\\x1b[31m'
    """
    cut = text if len(text) <= _SHOWN_LIMIT else text[:_SHOWN_LIMIT] + "…"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in cut)


def is_object_id(text: str) -> bool:
    """Whether this is a full object id, sha1 or sha256, in lower-case hex."""
    return _OBJECT_ID.match(text) is not None


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """The value of the Authorization header; never shown. Made by `basic` or `token`."""

    authorization: str

    @classmethod
    def basic(cls, username: str, password: str) -> Credential:
        """HTTP Basic (RFC 7617), UTF-8.

        Raises:
            SecretUnusable: The user name holds a colon, which Basic does not allow.
        """
        name, word = username.rstrip("\r\n"), password.rstrip("\r\n")
        if ":" in name:
            raise SecretUnusable("the user name holds a colon, which HTTP Basic cannot carry", reason="SecretInvalid")
        return cls("Basic " + base64.b64encode(f"{name}:{word}".encode()).decode())

    @classmethod
    def token(cls, authorization: str) -> Credential:
        """The value verbatim as the Authorization header, so `Bearer x` or `token x` is the user's choice.

        Raises:
            SecretUnusable: The value cannot be in a header (line breaks inside, characters beyond Latin-1).
        """
        value = authorization.strip("\r\n")
        if not value or any(ord(c) < 0x20 or ord(c) == 0x7F or ord(c) > 0xFF for c in value):  # noqa: PLR2004 - Latin-1
            raise SecretUnusable(
                "the token cannot be an HTTP header: it is empty or holds control characters", reason="SecretInvalid"
            )
        return cls(value)

    @property
    def bare(self) -> bool:
        """Whether it is a token alone, without the scheme that an Authorization header begins with."""
        return " " not in self.authorization

    def __repr__(self) -> str:
        return "Credential(***)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository as one credential sees it. Equal when `key` is equal; `key` holds no secret but is derived from one.

    Attributes:
        url: As in the source's `repoUri`.
        ca_pem: The only certificates to trust instead of the system's, PEM; None means the system's.
        verify: False accepts any certificate (`noVerifySsl`).
        ssh: For ssh URLs, instead of the credential.
        proxy: For http(s) URLs, instead of that of the environment.
        owner: Namespace of the request, for its turn at hosts and in pools of threads, and for its share of memory.
        key: Hex digest of URL, credential, TLS, SSH and proxy; the same in every replica and after a restart.
    """

    url: str = field(compare=False, repr=False)
    credential: Credential | None = field(default=None, compare=False)
    ca_pem: str | None = field(default=None, compare=False, repr=False)
    verify: bool = field(default=True, compare=False)
    ssh: SshAccess | None = field(default=None, compare=False)
    proxy: ProxyAccess | None = field(default=None, compare=False)
    owner: str = field(default="", compare=False, repr=False)
    key: str = field(init=False)
    _scheme: str = field(init=False, compare=False, repr=False)
    _host: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        secret = self.credential.authorization if self.credential else ""
        parts: tuple[str, ...] = (self.url.rstrip("/"), secret, self.ca_pem or "", str(self.verify))
        parts += self.ssh.parts if self.ssh else ()
        parts += self.proxy.parts if self.proxy else ()
        digest = hashlib.sha256(b"\0".join(part.encode("utf-8", "surrogatepass") for part in parts))
        scheme, host = _parts(self.url)
        for name, value in (("key", digest.hexdigest()[:32]), ("_scheme", scheme), ("_host", host)):
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        """The URL fit for a message: without userinfo, printable, cut."""
        scheme, mark, rest = self.url.partition("://")
        address, slash, path = rest.partition("/")
        return shown(f"{scheme}{mark}{address.rpartition('@')[2]}{slash}{path}" if mark else self.url)

    def check(self) -> None:
        """Validate the URL before it is used.

        Raises:
            GitUnsupported: It holds control characters or spaces, is too long, or lacks a usable scheme or host; or
                its proxy cannot be used for it.
        """
        if self.proxy is not None and (problem := problem_of(self.proxy.url, self.url)):
            raise GitUnsupported(f"{self}: spec.proxy {problem}")
        if self._scheme and self._host:
            return
        if len(self.url) > _URL_LIMIT or _BAD_URL.search(self.url):
            raise GitUnsupported(f"{self}: the URL holds spaces or control characters, or is too long")
        _ = self.scheme, self.host  # one of them raises

    @property
    def scheme(self) -> str:
        """One of http, https, ssh (also for the `git@host:path` form).

        Raises:
            GitUnsupported: Any other scheme.
        """
        if not self._scheme:
            raise GitUnsupported(f"{self}: only http, https and ssh URLs are supported")
        return self._scheme

    @property
    def credential_key(self) -> str:
        """Digest of the credential, by which a host identifies the caller; empty without one."""
        parts = self.ssh.parts if self.ssh else (self.credential.authorization,) if self.credential else ()
        if not parts:
            return ""
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @property
    def throttled_as(self) -> str:
        """The key of rate and throttling: the host, and separate from it the host through each proxy.

        The author of a source may name any proxy, and that proxy must not slow down others.
        """
        return f"{self.host} through {self.proxy.address}" if self.proxy is not None else self.host

    @property
    def host(self) -> str:
        """Host and port, in lower case: the key of counters.

        Raises:
            GitUnsupported: The URL has no usable host.
        """
        if not self._host:
            raise GitUnsupported(f"{self}: the URL has no host, or one that cannot be")
        return self._host


def _parts(url: str) -> tuple[str, str]:
    """Scheme and host of a URL, in lower case; each is empty if there is none, or none that can be."""
    if len(url) > _URL_LIMIT or _BAD_URL.search(url):
        return "", ""
    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower() if mark else "ssh" if _SCP.match(url) else ""
    scheme = scheme if scheme in _SCHEMES else ""
    address = rest.partition("/")[0] if mark else url.partition(":")[0]
    host = address.rpartition("@")[2].lower()
    return scheme, host if _HOST.fullmatch(host) else ""


@dataclass(frozen=True, slots=True)
class Reference:
    """A branch, tag, commit or pull request by its name; one that starts with `refs/` is full, and taken verbatim."""

    type: ReferenceType
    name: str

    def __str__(self) -> str:
        return f"{self.type} {shown(self.name)}"

    @property
    def full_name(self) -> str:
        """The full reference name, as `refs/heads/main`.

        Raises:
            GitReferenceNotFound: No server can have a reference of that name (git-check-ref-format).
        """
        if len(self.name) > _NAME_LIMIT or _BAD_NAME.search(self.name):
            raise GitReferenceNotFound(f"{self} does not exist: git does not allow such a name")
        if self.name.startswith("refs/"):
            return self.name
        return f"refs/{'tags' if self.type == 'tag' else 'heads'}/{self.name}"

    @property
    def commit(self) -> str:
        """The object id of a commit reference, in lower case.

        Raises:
            GitReferenceNotFound: The name is not a full object id.
        """
        name = self.name.lower()
        if not is_object_id(name):
            raise GitReferenceNotFound(f"{self} is not a full commit id: give all 40 (sha256: 64) hexadecimal digits")
        return name


@dataclass(frozen=True, slots=True)
class GitRequest:
    """A request for the commit of a reference of a repository."""

    repository: Repository
    reference: Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedReference:
    """The commit; an annotated tag's own id; and the loop's time just before the request was sent."""

    commit: str
    tag_object: str | None
    sent_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceList:
    """A complete answer: full name → (commit, an annotated tag's own id), and the loop's time before it was sent.

    `alive`: the repository shows its HEAD or a reference that was requested. Where it shows nothing at all, no
    reference counts as deleted.
    """

    refs: Mapping[str, tuple[str, str | None]]
    alive: bool
    sent_at: float


class TreeEntry(NamedTuple):
    """One file, symbolic link (mode 0o120000) or submodule (0o160000); `path` is bytes decoded with surrogateescape."""

    path: str
    mode: int
    blob: str
