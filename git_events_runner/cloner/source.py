"""Where to clone from: the mounted description with its files, as the controller renders it into Jobs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from git_events_runner.edges.git.described import repository_of
from git_events_runner.edges.git.request import Repository
from git_events_runner.errors import SecretUnusable
from git_events_runner.resources.description import SourceDescription

_POLL_S = 0.5


async def wait_for_files(description: SourceDescription, timeout_s: float) -> None:
    """Return when the mounted files are there, or after that time: the Secret may be made after the pod has started."""
    folder, deadline = Path(description.secret_dir), asyncio.get_running_loop().time() + timeout_s
    while not all((folder / name).exists() for name in description.files):
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            return
        await asyncio.sleep(min(_POLL_S, left_s))


def described_repository(description: SourceDescription) -> Repository:
    """The repository of a description, its secrets read from the mounted files.

    Raises:
        SecretUnusable: A file is missing, unreadable or not UTF-8.
    """
    folder = Path(description.secret_dir)
    read = {name: _read(folder / name) for name in description.files}
    read |= {name: _read(folder / name) for name in description.optional_files if (folder / name).exists()}
    return repository_of(description, read)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SecretUnusable(f"the mounted file {path} cannot be read: {type(error).__name__}") from error
