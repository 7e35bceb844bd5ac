"""What SSH needs beside the URL: who we are, and which host keys are right."""

from __future__ import annotations

from dataclasses import dataclass


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
