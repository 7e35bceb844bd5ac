"""What a request to a git server may cost at most, and the interface of a transport."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from .protocol import RemoteRef
from .request import Repository
from .shape import ONE_COMMIT, FetchShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one request; times in seconds, sizes in bytes.

    Attributes:
        deadline_s: For the complete request, waiting for a free slot at the host included.
        idle_s: Longest silence of the server while it answers; None means only the deadline counts (for long clones).
        host_concurrency: Requests under way at one host.
        host_rate: Requests per second to one host, in the long run.
        host_burst: Requests that may be sent immediately after a quiet time.
        refs_bytes: Answer to ls-refs.
        advertisement_bytes: References of a server without protocol v2, read line by line and not stored.
        pack_bytes: Pack of a fetch, as received.
        inflated_bytes: All objects of a tree's pack, inflated (contents are scanned and dropped immediately).
        tree_bytes: Trees and commits among them, which are held; 200 bytes more for each, 8 for a step of a delta.
        tree_entries: Files of one tree, objects of its pack; its paths may have 128 times as many characters.
        kept_entries: Files of all trees that are kept for the next caller (about 60 bytes each).
        key_bits: Of an RSA private key of SSH: a signature of 4096 takes 10 ms of the loop, of 8192 70 ms.
        key_rounds: Of the bcrypt of an encrypted SSH private key: each takes 7 ms of a thread.
        remembered: Repositories, or requests, of which something is remembered independent of the configuration.
    """

    deadline_s: float = 20.0
    idle_s: float | None = None
    host_concurrency: int = 16
    host_rate: float = 50.0
    host_burst: int = 100
    refs_bytes: int = 4 * 2**20
    advertisement_bytes: int = 64 * 2**20
    pack_bytes: int = 64 * 2**20
    inflated_bytes: int = 512 * 2**20
    tree_bytes: int = 64 * 2**20
    tree_entries: int = 1_000_000
    kept_entries: int = 100_000
    key_bits: int = 4096
    key_rounds: int = 256
    remembered: int = 4096


class Transport(Protocol):
    """A way to reach git servers. Its methods raise the errors.Git* classes; cancelling drops the connection."""

    async def ls_refs(self, repository: Repository, names: Collection[str]) -> Mapping[str, RemoteRef]:
        """Those of the full reference names that exist, from one request sent after the call."""
        ...

    async def fetch(
        self,
        repository: Repository,
        commit: str,
        *,
        blobless: bool,
        write: Callable[[bytes], object],
        shape: FetchShape = ONE_COMMIT,
    ) -> str:
        """Write the pack of a commit, by default without history; gives the object format, `sha1` or `sha256`."""
        ...

    def forget(self, keys: Collection[str]) -> None:
        """Drop what is remembered of repositories that are no longer configured, by `Repository.key`."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
