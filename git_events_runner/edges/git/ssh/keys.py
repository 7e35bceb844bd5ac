"""Reads SSH private keys from their text with asyncssh, within bounds and once each.

RSA keys are read without the library's check that their primes are primes: it holds the interpreter's lock, with a key
of 15 KiB for minutes. What can be checked cheaply is checked here (`key_bounds`).
"""

from __future__ import annotations

import hashlib

import asyncssh
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from git_events_runner.concurrency.fairness import FairCache, Room, no_room
from git_events_runner.concurrency.pools import Pool
from git_events_runner.edges.git.access import SshAccess
from git_events_runner.errors import SecretUnusable

from .key_bounds import KeyBounds, KeyRefused, bounded_pem, check_rsa

_KEPT = 256
_Read = asyncssh.SSHKey | str


class Keys:
    """Reads private keys in a pool of two threads; what a text holds, or what is wrong with it, is remembered."""

    def __init__(self, bounds: KeyBounds, room: Room = no_room) -> None:
        """`room` is how many keys of a namespace are remembered in any case."""
        self._bounds = bounds
        self._pool = Pool("keys", threads=2, own=1)
        self._known: FairCache[bytes, _Read] = FairCache(limit=_KEPT, room=room)

    async def of(self, access: SshAccess, *, owner: str) -> asyncssh.SSHKey | None:
        """The private key of an access; None: it has none.

        Args:
            access: Its text and passphrase.
            owner: Namespace that it is read for; no namespace has more than one of the threads.

        Raises:
            SecretUnusable: It cannot be read, or costs more than the bounds allow.
        """
        if not access.private_key:
            return None
        parts = (access.private_key, access.passphrase or "", str(access.passphrase is None))
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
        found = self._known.get(digest)
        if found is None:
            found = await self._pool.run(read_key, access.private_key, access.passphrase, self._bounds, owner=owner)
            self._known.put(owner, digest, found)
        if isinstance(found, str):
            raise SecretUnusable(f"the SSH private key {found}", reason="SecretInvalid")
        return found


def read_key(text: str, passphrase: str | None, bounds: KeyBounds) -> asyncssh.SSHKey | str:
    """The key, or what is wrong with it; decryption is slow by design."""
    try:
        pem = bounded_pem(text, passphrase, bounds)
        key = asyncssh.import_private_key(pem, passphrase, unsafe_skip_rsa_key_validation=True)
        _check(key, bounds)
    except KeyRefused as refused:
        return str(refused)
    except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as error:
        encrypted = isinstance(error, asyncssh.KeyEncryptionError) or "passphrase" in str(error).lower()
        if passphrase and (encrypted or "ENCRYPTED" in text):
            return "cannot be decrypted: the Secret's key passphrase does not fit"
        if encrypted:
            return "cannot be decrypted; put its passphrase into the Secret under the key passphrase"
        return "cannot be read; it must be complete, in OpenSSH or PEM form"
    except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError):
        return "cannot be read; it must be complete, in OpenSSH or PEM form"
    return key


def _check(key: asyncssh.SSHKey, bounds: KeyBounds) -> None:
    if isinstance(key.pyca_key, RSAPrivateKey):
        private = key.pyca_key.private_numbers()
        public = private.public_numbers
        check_rsa(
            (public.n, public.e, private.d, private.p, private.q, private.dmp1, private.dmq1, private.iqmp), bounds
        )
    elif getattr(key.pyca_key, "key_size", 0) > bounds.bits:
        raise KeyRefused(f"has more than {bounds.bits} bits; use a key of the type ed25519")
