"""A container of a Job as a local command: arguments, variables and paths as the kubelet would give them, moved.

Each volume of the pod is a folder; where a container has the mount path, the local command has that folder.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from git_events_runner.errors import ConfigError

from .variables import expand

# What a container would find in its image, and what a machine behind a proxy or an own CA needs.
_PASSED = frozenset((
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCommand:
    """What to execute for a container: argument list, complete environment, working directory."""

    container: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFolders:
    """Where a pod runs: its volumes' folders, the machine's environment, and the folder of what names none."""

    volumes: Mapping[str, Path]
    machine: Mapping[str, str]
    cwd: Path


def moved(text: str, folders: Mapping[str, Path]) -> str:
    """Put local folders where a text names mount paths (longest first), alone or with something below them.

    >>> moved("/repo/a:/repo /repository x/repo", {"/repo": Path("/tmp/w")})
    '/tmp/w/a:/tmp/w /repository x/repo'
    """
    for mount in sorted(folders, key=len, reverse=True):
        pattern = rf"(?<![\w./-]){re.escape(mount.rstrip('/'))}(?![\w.-])"
        text = re.sub(pattern, str(folders[mount]).replace("\\", r"\\"), text)
    return text


def mounts(container: Mapping[str, Any], volumes: Mapping[str, Path]) -> dict[str, Path]:
    """Mount path → local folder."""
    found = container.get("volumeMounts") or ()
    return {mount["mountPath"]: volumes[mount["name"]] for mount in found if mount["name"] in volumes}


def cloner_command(container: Mapping[str, Any], variables: Mapping[str, str], at: PodFolders) -> LocalCommand:
    """The init container: our own cloner, for any image."""
    folders = mounts(container, at.volumes)
    env = _environment(variables, folders, at.machine)
    package = Path(__file__).parents[3]
    env["PYTHONPATH"] = str(package)  # it must be found where this program runs from a checkout
    args = [moved(expand(arg, env), folders) for arg in container.get("args") or ()]
    argv = (sys.executable, "-m", "git_events_runner.cloner", *args)
    return LocalCommand(container=container["name"], argv=argv, env=env, cwd=at.cwd)


def worker_command(container: Mapping[str, Any], variables: Mapping[str, str], at: PodFolders) -> LocalCommand:
    """The worker: `command` and `args`, in its working directory.

    Raises:
        ConfigError: It has no command: only its image knows what it would run.
    """
    if not container.get("command"):
        raise ConfigError(
            f"the action has no spec.actionJob.command: without a cluster it is unknown what the image "
            f"{container.get('image')} would run; write the command into the action"
        )
    folders = mounts(container, at.volumes)
    env = _environment(variables, folders, at.machine)
    words = [*container["command"], *(container.get("args") or ())]
    argv = tuple(moved(expand(word, env), folders) for word in words)
    where = container.get("workingDir")
    cwd = Path(moved(where, folders)) if where else at.cwd
    return LocalCommand(container=container["name"], argv=argv, env=env, cwd=cwd)


def _environment(
    variables: Mapping[str, str], folders: Mapping[str, Path], machine: Mapping[str, str]
) -> dict[str, str]:
    env = {name: value for name, value in machine.items() if name in _PASSED}
    return env | {name: moved(value, folders) for name, value in variables.items()}
