"""What SSH needs beside the URL: who we are, and which host keys are right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from git_events_runner.errors import SecretUnusable
from git_events_runner.resources.description import KEY_FILE, KNOWN_HOSTS_FILE, PASSPHRASE_FILE
from git_events_runner.resources.ssh import problem_of


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SshAccess:
    """Never shown: it holds a private key.

    Attributes:
        private_key: In any form that OpenSSH writes; None: the server is asked without one.
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
        """What tells one access from another, for a digest."""
        return ("ssh", self.private_key or "", self.passphrase or "", self.known_hosts, str(self.insecure))

    def __repr__(self) -> str:
        return "SshAccess(***)"


def access_of(files: Mapping[str, str], *, known_hosts: str, any_host_key: bool) -> SshAccess:
    """The access that a Secret's values make; known hosts in the Secret decide alone.

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
