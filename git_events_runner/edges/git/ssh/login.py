"""One SSH connection by asyncssh: host key, login, channels; with `keys` the only module that imports the library.

Host keys: the algorithms of the known keys are requested first, so that a server with several keys shows a known one;
the others follow, so that an error can name a changed key. Certificates count where an authority is known.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

import asyncssh

from git_events_runner.edges.git.access import SshAccess
from git_events_runner.edges.git.allowed_addresses import Addresses, refused, unreachable
from git_events_runner.edges.git.http.framing import SSH_WINDOW_BYTES, Meter, MeteredTunnel
from git_events_runner.edges.git.request import Repository, shown
from git_events_runner.edges.git.resolver import Names
from git_events_runner.errors import (
    GitAuthRequired,
    GitError,
    GitHostKeyChanged,
    GitHostKeyUnknown,
    GitProtocolError,
    GitTimeout,
    GitUnreachable,
)
from git_events_runner.resources.ssh import HostKey, SshAddress, fingerprint, host_keys

from .keys import Keys

_RSA = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")
_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-ed448",
    *_RSA,
)
_CERTIFICATES = (
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
)
_CONNECT_S = 15.0
_TRIED = 3
_BANNER_CHARS = 64 * 1024
_FLOOD = "the server sends too many bytes that are not part of its response"


class _Client(asyncssh.SSHClient):
    """Validates what the server shows before it is trusted."""

    def __init__(self, *, insecure: bool) -> None:
        self.offered = ""
        self.flooded = False
        self.on_lost: Callable[[], object] = lambda: None
        self._insecure = insecure
        self._banner_chars = 0
        self.meter = Meter()
        self._connection: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the library's signature
        self.on_lost()

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        """A key that is not among the known ones."""
        self.offered = " ".join(key.export_public_key("openssh").decode("ascii").split()[:2])
        return self._insecure

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        """An authority that is not among the known ones."""
        self.offered = " ".join(key.export_public_key("openssh").decode("ascii").split()[:2])
        return False

    def auth_banner_received(self, msg: str, lang: str) -> None:  # noqa: ARG002  the library's signature
        """A text for people, which is ignored here; a flood of them ends the connection."""
        self._banner_chars += len(msg)
        if self._banner_chars > _BANNER_CHARS and self._connection is not None:
            self.flooded = True
            self._connection.abort()

    def kbdint_auth_requested(self) -> None:
        """No prompt is ever answered."""

    def password_auth_requested(self) -> None:
        """No prompt is ever answered."""


class Login:
    """A connection on which commands can be started."""

    def __init__(self, connection: asyncssh.SSHClientConnection, client: _Client, place: str) -> None:
        self._connection = connection
        self._client = client
        self._place = place
        self.closed = False
        self.on_lost: Callable[[], object] = lambda: None
        client.on_lost = self._lost

    @classmethod
    async def to(
        cls,
        repository: Repository,
        address: SshAddress,
        access: SshAccess,
        addresses: Addresses,
        names: Names,
        keys: Keys,
    ) -> Login:
        """Connect and log in.

        Raises:
            GitHostKeyUnknown: No key is known for the host.
            GitHostKeyChanged: It shows another one than the known ones.
            GitAddressRefused: The host's addresses are not allowed.
            GitAuthRequired: The key is not accepted, or there is none.
            SecretUnusable: The key cannot be read.
            GitError: Any other of its classes.
        """
        known = () if access.insecure else host_keys(access.known_hosts.splitlines(), address)
        client = _Client(insecure=access.insecure)
        key = await keys.of(access, owner=repository.owner)
        lines = "\n".join(f"{each.marker} * {each.key}".lstrip() for each in known)
        try:
            async with asyncio.timeout(_CONNECT_S):
                connection = await _connect(
                    await _allowed(address, addresses, names),
                    address.port,
                    client_factory=lambda: client,
                    username=address.user,
                    client_keys=[key] if key else None,
                    known_hosts=asyncssh.import_known_hosts(lines) if known else ([], [], []),
                    host_key_alias=address.host,
                    server_host_key_algs=_algorithms(known),
                    config=None,
                    agent_path=None,
                    public_key_auth=key is not None,
                    password_auth=False,
                    kbdint_auth=False,
                    host_based_auth=False,
                    gss_kex=False,
                    gss_auth=False,
                    x509_trusted_certs=None,
                    compression_algs=None,
                    tunnel=MeteredTunnel(client.meter),
                    connect_timeout=None,
                    login_timeout=0,
                )
        except TimeoutError as error:
            raise GitTimeout(f"{repository}: the SSH login took longer than {_CONNECT_S:g} s") from error
        except (asyncssh.Error, OSError, ValueError) as error:
            raise _translate(repository, address, client, known, error) from error
        return cls(connection, client, str(repository))

    async def start(self, channel: Any, command: str, environment: Sequence[str]) -> None:
        """Run a command.

        Raises:
            GitProtocolError: The server does not allow one more.
            GitUnreachable: The connection is closed.
        """
        meter = self._client.meter
        meter.begin()
        channel.on_bytes, channel.on_end = meter.content, meter.end
        try:
            await self._connection.create_session(
                lambda: channel, command, env=[*environment], encoding=None, window=SSH_WINDOW_BYTES
            )
        except asyncssh.ChannelOpenError as error:
            if meter.passed:
                raise GitProtocolError(f"{self._place}: {_FLOOD}") from error
            reason = shown(error.reason)
            raise GitProtocolError(f"{self._place}: the server does not start a session: {reason}") from error
        except (asyncssh.Error, OSError) as error:
            raise GitUnreachable(f"{self._place}: the server closed the connection") from error

    def close(self) -> None:
        """Close the connection immediately."""
        self.closed = True
        self._connection.abort()

    async def wait_closed(self) -> None:
        """Return when it is closed."""
        await self._connection.wait_closed()

    def _lost(self) -> None:
        self.closed = True
        self.on_lost()


async def _allowed(address: SshAddress, addresses: Addresses, names: Names) -> list[str]:
    """The addresses of a host that may be connected to.

    Raises:
        GitAddressRefused: The host is a refused address, or has no other.
        OSError: The name does not resolve.
    """
    addresses.check(address.host)
    found = await names.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    good = [place for place in dict.fromkeys(str(each[4][0]) for each in found) if addresses.allows(place)]
    if not good:
        raise refused()
    return good[:_TRIED]


async def _connect(places: Sequence[str], port: int, **options: Any) -> asyncssh.SSHClientConnection:
    """A connection to the first of the addresses that answers."""
    _name_local_user()
    for place in places[:-1]:
        try:
            return await asyncssh.connect(place, port, **options)
        except OSError:
            continue
    return await asyncssh.connect(places[-1], port, **options)


def _name_local_user() -> None:
    """The library refuses to connect without a name of the local user, which it never sends.

    A cluster that chooses the user id itself (OpenShift) takes one that is in no `/etc/passwd`.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = "git-events-runner"


def _algorithms(known: tuple[HostKey, ...]) -> list[str]:
    """What to request from the server, best first; every algorithm, certificates only where one can be validated."""
    first: list[str] = []
    for each in known:
        if each.marker == "@cert-authority":
            first += _CERTIFICATES
        elif not each.marker:
            first += _RSA if each.type == "ssh-rsa" else (each.type,)
    usable = {*_ALGORITHMS, *_CERTIFICATES}
    return list(dict.fromkeys(each for each in (*first, *_ALGORITHMS) if each in usable))


def _translate(
    repository: Repository, address: SshAddress, client: _Client, known: tuple[HostKey, ...], error: Exception
) -> GitError:
    """Our error for one of the library's."""
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return _host_key(repository, address, client.offered, known, error)
    if isinstance(error, asyncssh.PermissionDenied):
        if repository.ssh is None or repository.ssh.private_key is None:
            return GitAuthRequired(f"{repository}: the server wants a key; give the source an authConfig of type ssh")
        return GitAuthRequired(
            f"{repository}: the server does not accept the key as {shown(address.user)}; add it there as a deploy key"
        )
    if client.flooded:
        return GitProtocolError(f"{repository}: the server sends a banner without end")
    if client.meter.passed:
        return GitProtocolError(f"{repository}: {_FLOOD}")
    if isinstance(error, asyncssh.ConnectionLost):
        return GitUnreachable(f"{repository}: the server closed the connection before the login")
    if isinstance(error, asyncssh.DisconnectError):
        return GitProtocolError(f"{repository}: no SSH login: {shown(error.reason)}")
    if isinstance(error, OSError):
        return unreachable(repository, address.host, address.port, error)
    return GitProtocolError(f"{repository}: no SSH login: {type(error).__name__}")


def _host_key(
    repository: Repository, address: SshAddress, offered: str, known: tuple[HostKey, ...], error: Exception
) -> GitError:
    if not offered:
        # A revoked key, or a certificate that is not valid: the library reports which.
        return GitHostKeyChanged(f"{repository}: {address.known_hosts_name}: {shown(str(error))}", offered="")
    seen = fingerprint(offered)
    if not known:
        return GitHostKeyUnknown(
            f"the host key of {address.known_hosts_name} is not known: it shows {seen}", offered=offered
        )
    wanted = ", ".join(sorted({fingerprint(each.key) for each in known if each.marker != "@revoked"}))
    return GitHostKeyChanged(
        f"the host key of {address.known_hosts_name} has changed: {wanted} is known, it shows {seen}", offered=offered
    )
