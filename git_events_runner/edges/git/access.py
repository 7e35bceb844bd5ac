"""What a transport needs in addition to the URL: for SSH our key and the right host keys, for HTTP a proxy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from git_events_runner.errors import SecretUnusable
from git_events_runner.resources.description import KEY_FILE, KNOWN_HOSTS_FILE, PASSPHRASE_FILE, PROXY_FILES
from git_events_runner.resources.ssh import problem_of

_SOCKS_BYTES = 255


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SshAccess:
    """Never shown: it holds a private key.

    Attributes:
        private_key: In any form that OpenSSH writes; None: the login uses no key.
        passphrase: Of an encrypted private key.
        known_hosts: Lines of known hosts; a host with other keys, or not among them, is refused.
        insecure: Any host key is accepted.
    """

    private_key: str | None = None
    passphrase: str | None = None
    known_hosts: str = ""
    insecure: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """What distinguishes one access from another, for a digest."""
        return ("ssh", self.private_key or "", self.passphrase or "", self.known_hosts, str(self.insecure))

    def __repr__(self) -> str:
        return "SshAccess(***)"


def access_of(files: Mapping[str, str], *, known_hosts: str, any_host_key: bool) -> SshAccess:
    """The access from a Secret's values; known hosts in the Secret replace `known_hosts` and `any_host_key`.

    Raises:
        SecretUnusable: They cannot be read.
    """
    own = files.get(KNOWN_HOSTS_FILE, "").strip()
    if problem := problem_of(own):
        raise SecretUnusable(f"the Secret's key {KNOWN_HOSTS_FILE}: {problem}", reason="SecretInvalid")
    passphrase = files.get(PASSPHRASE_FILE, "").rstrip("\r\n")
    return SshAccess(
        private_key=files.get(KEY_FILE),
        passphrase=passphrase or None,
        known_hosts=own or known_hosts,
        insecure=any_host_key and not own,
    )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ProxyAccess:
    """The proxy that a source names. Never shown: it may hold a password.

    Attributes:
        url: Of the proxy, as in `resources.proxy`.
        username: Set together with `password`; None for a proxy that requires none.
        password: See `username`.
    """

    url: str
    username: str | None = None
    password: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """What distinguishes one access from another, for a digest."""
        return ("proxy", self.url, self.username or "", self.password or "")

    @property
    def address(self) -> str:
        """Host and port of the proxy."""
        return self.url.partition("://")[2].lower()

    def __repr__(self) -> str:
        return "ProxyAccess(***)"


def proxy_of(url: str, files: Mapping[str, str]) -> ProxyAccess:
    """The access from a proxy's URL and, if the source names a Secret, from the Secret's values.

    Raises:
        SecretUnusable: The user name or password cannot be sent to a proxy.
    """
    if not any(file in files for file in PROXY_FILES.values()):
        return ProxyAccess(url=url)
    name, word = (files.get(PROXY_FILES[key], "").rstrip("\r\n") for key in ("username", "password"))
    problem = None
    if not name or not word:
        problem = "the user name or the password is empty"
    elif ":" in name:
        problem = "the user name holds a colon"
    elif max(len(name.encode()), len(word.encode())) > _SOCKS_BYTES:
        problem = f"the user name or the password is longer than {_SOCKS_BYTES} bytes"
    elif url.startswith("socks") and not (name + word).isascii():
        problem = "a SOCKS proxy can be given ASCII characters only"
    if problem is not None:
        raise SecretUnusable(f"the Secret that spec.proxy.secretRef names: {problem}", reason="SecretInvalid")
    return ProxyAccess(url=url, username=name, password=word)
