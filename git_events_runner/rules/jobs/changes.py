"""The small volume that lists a run's changed files: the cloner writes it, the worker reads it.

It is mounted next to the working directory, never in it, so that no file of a repository can replace it.
"""

from __future__ import annotations

from typing import Any

from git_events_runner.resources.changes import CHANGES_VARIABLE, FILE, MOUNT_PATH, PREVIOUS_VARIABLE

VOLUME_NAME = "git-events-runner-changes"
# Next to a working directory that has the usual path.
_OTHER_PATH = "/git-events-runner-changes"
# Twice what the cloner writes at most.
_SIZE_LIMIT = "128Mi"
_OTHER_SOURCE = "the Action clones another source than the one that changed (sourceOverride)"
_NONE_RECORDED = "no previous commit is recorded"


def folder_of(workdir: str) -> str:
    """Where the volume is mounted.

    >>> folder_of("/action_workdir"), folder_of("/git-events-runner/src/")
    ('/git-events-runner', '/git-events-runner-changes')
    """
    return _OTHER_PATH if f"{workdir.rstrip('/')}/".startswith(f"{MOUNT_PATH}/") else MOUNT_PATH


def file_of(workdir: str) -> str:
    """Path of the list, as the worker sees it."""
    return f"{folder_of(workdir)}/{FILE}"


def volume() -> dict[str, Any]:
    """The pod's volume."""
    return {"name": VOLUME_NAME, "emptyDir": {"sizeLimit": _SIZE_LIMIT}}


def mount(workdir: str, *, read_only: bool) -> dict[str, Any]:
    """A container's mount of it."""
    found: dict[str, Any] = {"name": VOLUME_NAME, "mountPath": folder_of(workdir)}
    return found | {"readOnly": True} if read_only else found


def cloner_variables(workdir: str, previous_commit: str | None, *, override: bool) -> list[dict[str, str]]:
    """What the cloner has to compare with, and the path of the result.

    An override's cloner has no credential of the source that changed.
    """
    previous = f"none: {_OTHER_SOURCE}" if override else previous_commit or f"none: {_NONE_RECORDED}"
    return [
        {"name": PREVIOUS_VARIABLE, "value": previous},
        {"name": CHANGES_VARIABLE, "value": folder_of(workdir)},
    ]
