"""What `local --state FOLDER` keeps between starts: statuses, identities and Jobs, as the API server stores them.

One file, replaced by a rename, so that it is complete whenever the program ends. Secrets are not in it, and manifests
are read again at each start: an object that is no longer in them is dropped, with its runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from git_events_runner.errors import ConfigError
from git_events_runner.local.apiserver.refusal import Refusal
from git_events_runner.local.apiserver.storage import Change
from git_events_runner.resources.job import ADMISSION_ANNOTATION, WAITING, JobView
from git_events_runner.resources.kinds import KINDS, OURS, TRIGGERS, Kind
from git_events_runner.resources.queuemarks import (
    ADMITTED_AT_ANNOTATION,
    REQUEUED_AT_ANNOTATION,
    REQUEUES_ANNOTATION,
)
from git_events_runner.resources.ref import Ref
from git_events_runner.rules.annotated import CHECK_ANNOTATION

_FORMS = "local.git-events-runner.rs/"
FORM = f"{_FORMS}v1"
_FILE, _NEW, _LOCK = "state.json", "state.json.new", "lock"
_OURS = frozenset((_FILE, _NEW, _LOCK))
_KEPT = (*OURS, "Job")
_MARKS = (ADMITTED_AT_ANNOTATION, REQUEUES_ANNOTATION, REQUEUED_AT_ANNOTATION)
_IDENTITY = ("uid", "creationTimestamp", "generation")
_PAUSE_S = 0.2
_START_AGAIN = "remove this file to start without a state"


class Objects(Protocol):
    """The API server's storage."""

    def items(self, kind: Kind, namespace: str | None = None) -> list[dict[str, Any]]:
        """The objects of a kind."""

    def get(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any] | None:
        """An object, or None."""

    def listen(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` at every change."""


class Restorer(Protocol):
    """The API server."""

    @property
    def storage(self) -> Objects:
        """Its objects."""

    def restore(self, obj: Mapping[str, Any]) -> None:
        """Store an object as it is; Refusal states what is wrong with it."""


class State:
    """The state in a folder, which no other process uses; made by `opened`."""

    def __init__(self, folder: Path, saved: Iterable[dict[str, Any]]) -> None:
        self._folder = folder
        self._saved = list(saved)
        self._objects: Objects | None = None
        self._changed = asyncio.Event()
        self._lock = threading.Lock()
        self._dumped = self._written = 0

    def restore(self, server: Restorer, *, now: str) -> list[Ref]:
        """Give the objects of the manifests what is kept of them, and restore Jobs; those that start again.

        A trigger with a schedule is checked at the start: `now`, which no other start has, is the token of its request.

        Raises:
            ConfigError: What is kept is damaged, or does not fit this version.
        """
        try:
            again = self._restored(server, now)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _wrong(self._folder, f"is damaged: {error!r}") from error
        self._objects = server.storage
        server.storage.listen(self._note)
        return again

    def _restored(self, server: Restorer, now: str) -> list[Ref]:
        again: list[Ref] = []
        known: set[str] = set()  # uids
        for saved in sorted(self._saved, key=lambda one: one["kind"] == "Job"):
            kind, metadata = KINDS[saved["kind"]], saved["metadata"]
            present = self._find(server.storage, kind, metadata)
            if kind.name == "Job":
                owners = {str(one.get("uid")) for one in metadata.get("ownerReferences") or ()}
                run = JobView.of(saved).run
                if not owners <= known or run is None or run.trigger_uid not in known:
                    continue
                obj = _queued_again(saved)
                again += [Ref("Job", metadata["namespace"], metadata["name"])] if obj is not saved else []
            elif present is None:
                continue
            else:
                obj = _joined(present, saved)
                known.add(str(metadata["uid"]))
                if kind.name in TRIGGERS:
                    _request(obj, now)
            try:
                server.restore(obj)
            except Refusal as refused:
                what = f"{saved['kind']} {metadata['name']}"
                raise _wrong(self._folder, f"has a {what} that this version refuses: {refused}") from refused
        return again

    @staticmethod
    def _find(objects: Objects, kind: Kind, metadata: Mapping[str, Any]) -> dict[str, Any] | None:
        return objects.get(kind, metadata.get("namespace"), metadata["name"])

    def _note(self, change: Change) -> None:
        if change.kind in _KEPT:
            self._changed.set()

    async def run(self) -> None:
        """Write after changes, until cancelled.

        Raises:
            ConfigError: The file cannot be written.
        """
        while True:
            await self._changed.wait()
            self._changed.clear()
            await asyncio.to_thread(self._write, *self._dump())
            await asyncio.sleep(_PAUSE_S)  # changes in the meantime share the next write

    def save(self) -> None:
        """Write now.

        Raises:
            ConfigError: The file cannot be written.
        """
        self._write(*self._dump())

    def _dump(self) -> tuple[int, bytes]:
        """What is to be written, with a number that rises."""
        self._dumped += 1
        objects = self._objects
        kept = [] if objects is None else [one for kind in _KEPT for one in objects.items(KINDS[kind])]
        content = json.dumps({"form": FORM, "objects": [_slim(one) for one in kept]}, ensure_ascii=False)
        return self._dumped, content.encode()

    def _write(self, number: int, content: bytes) -> None:
        """Replace the file: it has either the former content or the new one.

        A write whose task is cancelled continues in its thread: the next one waits for it; no older content follows.
        """
        new = self._folder / _NEW
        with self._lock:
            if number < self._written:
                return
            self._written = number
            try:
                with _private(new) as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(self._folder / _FILE)
            except OSError as error:
                raise ConfigError(f"--state: {self._folder} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[State]:
    """The state in a folder, which is made if it does not exist; no other process may open it meanwhile.

    Raises:
        ConfigError: The folder has other files, is in use, or has a state that cannot be read.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        others = {one.name for one in folder.iterdir()} - _OURS
        if others and not (folder / _FILE).exists():
            raise ConfigError(f"--state: {folder} has other files, as {min(others)}: name a new or an empty folder")
        lock = _private(folder / _LOCK, os.O_APPEND)  # a file of this name that is not ours keeps its content
    except FileExistsError as error:
        raise ConfigError(f"--state: {folder} is no folder") from error
    except OSError as error:
        raise ConfigError(f"--state: {folder} cannot be used: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            reason = f"--state: {folder} is in use by another `local`: end that one, or name another folder"
            raise ConfigError(reason) from error
        yield State(folder, _read(folder))


def _read(folder: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads((folder / _FILE).read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        raise _wrong(folder, f"cannot be read: {error}") from error
    form = found.get("form") if isinstance(found, dict) else None
    if not isinstance(form, str) or not form.startswith(_FORMS):
        reason = f"--state: {folder / _FILE} has the form of another program: name a new or an empty folder"
        raise ConfigError(reason)
    if form != FORM:
        raise _wrong(folder, f"has the form {form}, and this version reads {FORM}")
    objects = found.get("objects")
    if not isinstance(objects, list) or not all(map(_is_ours, objects)):
        raise _wrong(folder, "is damaged")
    return objects


def _is_ours(obj: Any) -> bool:
    """Whether a value has what is read of every object."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    texts = (metadata.get("name"), metadata.get("uid")) if isinstance(metadata, dict) else (None,)
    return obj.get("kind") in _KEPT and all(isinstance(text, str) for text in texts) if metadata else False


def _wrong(folder: Path, what: str) -> ConfigError:
    return ConfigError(f"--state: {folder / _FILE} {what}; {_START_AGAIN}")


def _private(path: Path, mode: int = os.O_TRUNC) -> BinaryIO:
    """A file to write that only this user can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | mode, 0o600), "wb")


def _slim(obj: Mapping[str, Any]) -> dict[str, Any]:
    return {**obj, "metadata": {name: one for name, one in obj["metadata"].items() if name != "resourceVersion"}}


def _joined(present: Mapping[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """The object of the manifests with its kept identity and status; a changed spec has the next generation."""
    metadata = {
        **present["metadata"],
        **{name: saved["metadata"][name] for name in _IDENTITY if name in saved["metadata"]},
    }
    if present.get("spec") != saved.get("spec") and isinstance(metadata.get("generation"), int):
        metadata["generation"] += 1
    return {**present, "metadata": metadata} | ({"status": saved["status"]} if "status" in saved else {})


def _queued_again(job: dict[str, Any]) -> dict[str, Any]:
    """A Job whose process ended with the program waits for a slot as a new one does; a finished one is as it is."""
    view = JobView.of(job)
    if view.finished:
        return job
    metadata = {**job["metadata"], "generation": 1}
    annotations = {name: one for name, one in (metadata.get("annotations") or {}).items() if name not in _MARKS}
    metadata["annotations"] = {**annotations, ADMISSION_ANNOTATION: WAITING}
    spec = {name: one for name, one in job["spec"].items() if name != "ttlSecondsAfterFinished"}
    return {**job, "metadata": metadata, "spec": {**spec, "suspend": True}, "status": {}}


def _request(trigger: dict[str, Any], now: str) -> None:
    """Request a check of a trigger with a schedule by its annotation, as its scheduled time may be far."""
    spec = trigger.get("spec") or {}
    if spec.get("schedule") and not spec.get("suspend"):
        metadata = trigger["metadata"]
        trigger["metadata"] = {
            **metadata,
            "annotations": {**(metadata.get("annotations") or {}), CHECK_ANNOTATION: now},
        }
