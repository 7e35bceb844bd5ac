"""Packs without contents of files; of a server that offers them but refuses this (`uploadpackfilter`) complete ones."""

from __future__ import annotations

from collections.abc import Callable

from git_events_runner.errors import GitFilterRefused

from .limits import Transport
from .request import Repository
from .shape import ONE_COMMIT, FetchShape


async def fetch_partial(
    transport: Transport,
    repository: Repository,
    commit: str,
    *,
    write: Callable[[bytes], object],
    shape: FetchShape = ONE_COMMIT,
) -> str:
    """Write the pack of a commit, without contents of files if the server can leave them out; gives the object format.

    A refusal comes before the first byte of a pack.

    Raises:
        GitReferenceNotFound: The server does not have the commit, or does not give it.
        GitError: Any other of its classes.
    """
    try:
        return await transport.fetch(repository, commit, blobless=True, write=write, shape=shape)
    except GitFilterRefused:
        return await transport.fetch(repository, commit, blobless=False, write=write, shape=shape)
