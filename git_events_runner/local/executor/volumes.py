"""The volumes of a pod as folders: empty ones, and Secrets and ConfigMaps as files that only this user can read."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from git_events_runner.edges.ports import KubeReader
from git_events_runner.errors import ApiNotFound, ConfigError
from git_events_runner.resources.ref import Ref

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700


class Volumes:
    """The folders of one Job: `work` for what the cloner and the worker share, `secrets` for the rest."""

    def __init__(self, *, reader: KubeReader, namespace: str, work: Path, secrets: Path) -> None:
        self._reader = reader
        self._namespace = namespace
        self._work = work
        self._secrets = secrets

    async def make(self, pod: Mapping[str, Any]) -> dict[str, Path]:
        """Make every volume of a pod; volume name → folder.

        Raises:
            ConfigError: A Secret, ConfigMap or key that a volume names is missing.
            ApiError: They cannot be read.
        """
        folders: dict[str, Path] = {}
        for volume in pod.get("volumes") or ():
            empty = "emptyDir" in volume
            folder = (self._work if empty else self._secrets) / volume["name"]
            folder.mkdir(parents=True, mode=_FOLDER_MODE)
            if not empty:
                for source in _sources(volume):
                    await self._fill(folder, source)
            folders[volume["name"]] = folder
        return folders

    async def _fill(self, folder: Path, source: Mapping[str, Any]) -> None:
        for kind, field in (("Secret", "secret"), ("ConfigMap", "configMap")):
            if field in source:
                await self._write(folder, kind, source[field])

    async def _write(self, folder: Path, kind: str, source: Mapping[str, Any]) -> None:
        name = source.get("name") or source.get("secretName") or ""
        try:
            found = await self._reader.get(Ref(kind, self._namespace, name))
        except ApiNotFound as error:
            if source.get("optional"):
                return
            if name == "kube-root-ca.crt":  # every namespace of a cluster has it; there is no cluster here
                return
            raise ConfigError(f"there is no {kind} {self._namespace}/{name}; add it to the manifests") from error
        data = found.get("data") or {}
        wanted = source.get("items") or [{"key": key, "path": key} for key in data]
        for item in wanted:
            if item["key"] not in data and source.get("optional"):
                continue
            if item["key"] not in data:
                raise ConfigError(f"the {kind} {self._namespace}/{name} has no key {item['key']}; add it there")
            text = data[item["key"]]
            _store(folder / item["path"], base64.b64decode(text) if kind == "Secret" else text.encode())


def _sources(volume: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "projected" in volume:
        yield from volume["projected"].get("sources") or ()
    yield volume


def _store(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


async def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, also what a command has made read-only."""
    await asyncio.to_thread(_remove, folder)


def _remove(folder: Path) -> None:
    for path, _, _ in os.walk(folder):
        with contextlib.suppress(FileNotFoundError):  # the end of the program may remove it at the same time
            Path(path).chmod(stat.S_IRWXU)
    shutil.rmtree(folder, ignore_errors=True)
