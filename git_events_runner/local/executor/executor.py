"""Runs Jobs as local processes: cloner, then worker; conditions, deadlines and clean-up as in a cluster."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from git_events_runner.edges.kube.snapshot import Snapshot
from git_events_runner.edges.kube.store import Store
from git_events_runner.errors import ApiError, ApiNotFound, ConfigError, bug_report
from git_events_runner.local.apiserver.metadata import rfc3339
from git_events_runner.local.ignored import ignored
from git_events_runner.resources.ref import Ref

from .containers import LocalCommand, PodFolders, cloner_command, worker_command
from .job_status import FAILED, SUCCEEDED, TOO_LONG, Ending, ended, ending, started, stopped, working
from .processes import execute
from .retries import after, next_pod_s
from .variables import Variables
from .volumes import Volumes, remove

_SWEEP_S = 1.0
_WRITES = 5


class JobApi(Protocol):
    """What the executor needs of the API server."""

    async def get(self, ref: Ref) -> dict[str, Any]:
        """The object as it is now."""

    async def patch(self, ref: Ref, body: dict[str, Any], *, subresource: str | None = None) -> dict[str, Any]:
        """Apply a merge patch."""

    async def delete(self, ref: Ref, *, uid: str | None = None) -> dict[str, Any]:
        """Delete an object."""


class Reporter(Protocol):
    """Gets the events of Jobs."""

    def job_started(self, job: Ref) -> None:
        """A Job's processes begin."""

    def job_printed(self, job: Ref, line: str) -> None:
        """A Job's process printed a line."""

    def job_ended(self, job: Ref, reason: str, why: str) -> None:
        """A Job ended: reason of its last condition, and why in words."""


class Executor:
    """Runs every unsuspended Job of the store once; a Job that is deleted or suspended is stopped."""

    def __init__(
        self, *, api: JobApi, store: Store, folder: Path, keep: bool, reporter: Reporter, machine: Mapping[str, str]
    ) -> None:
        self._api = api
        self._store = store
        self._folder = folder
        self._keep = keep
        self._reporter = reporter
        self._machine = machine
        self._running: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[str] = set()
        self._done: set[str] = set()
        self._starts: dict[str, int] = {}  # how often each Job was started
        self._over_at: dict[str, datetime] = {}

    async def run(self) -> None:
        """Run Jobs until cancelled; then everything that still runs is stopped."""
        async with asyncio.TaskGroup() as group:
            with self._store.subscribe("Job") as changes:
                while True:
                    self._start_new(group)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_SWEEP_S):
                            await changes.wait()
                    changes.drain()

    @property
    def idle(self) -> bool:
        """Whether no Job's process runs."""
        return not self._running

    def _start_new(self, group: asyncio.TaskGroup) -> None:
        jobs = {snapshot.uid: snapshot for snapshot in self._store.all("Job")}
        for uid, task in list(self._running.items()):
            snapshot = jobs.get(uid)
            unwanted = snapshot is None or snapshot.model.deleting or snapshot.model.suspended
            if unwanted and uid not in self._stopping:  # a second cancel would cut the clean-up short
                self._stopping.add(uid)
                task.cancel()
        self._stopping &= self._running.keys()
        self._done &= jobs.keys()
        self._starts = {uid: starts for uid, starts in self._starts.items() if uid in jobs}
        self._over_at = {uid: at for uid, at in self._over_at.items() if uid in jobs}
        for uid, snapshot in jobs.items():
            if uid not in self._running and uid not in self._done and snapshot.model.holds_slot:
                self._running[uid] = task = group.create_task(self._live(snapshot))
                task.add_done_callback(lambda _, uid=uid: self._running.pop(uid, None))  # type: ignore[misc]  # uid is bound here
            elif self._is_over(snapshot):
                group.create_task(self._expire(snapshot))

    async def _live(self, snapshot: Snapshot) -> None:
        """One Job from its start to its last condition."""
        ref, starts = snapshot.ref, self._starts.get(snapshot.uid, 0)
        self._starts[snapshot.uid] = starts + 1
        folder = self._folder / (f"{snapshot.uid}-{starts}" if starts else snapshot.uid)
        folder.mkdir(mode=0o700)
        try:
            job = await self._api.get(ref)
            await self._write(ref, started(_now()))
            self._reporter.job_started(ref)
            how, why, failures = await self._outcome(job, ref, snapshot.uid, folder)
            await self._write(ref, ending(how, _now()))
            await self._write(ref, ended(how, _now(), failures=failures))
            self._reporter.job_ended(ref, how.reason, why)
            self._done.add(snapshot.uid)
        except asyncio.CancelledError:
            if snapshot.uid in self._stopping:
                await self._note_stopped(ref)
            raise
        except ApiNotFound:
            self._done.add(snapshot.uid)
        except ApiError as error:
            self._reporter.job_printed(ref, f"the Job's status could not be written: {error}")
        finally:
            if not self._keep:
                await remove(folder)

    async def _note_stopped(self, ref: Ref) -> None:
        """Its processes have ended: a Job deleted in the foreground is removed then, a suspended one may restart."""
        found = self._store.get(ref)
        if found is not None:
            with contextlib.suppress(ApiError):
                await self._write(ref, stopped(_now(), suspended=found.model.suspended))

    async def _outcome(self, job: Mapping[str, Any], ref: Ref, uid: str, folder: Path) -> tuple[Ending, str, int]:
        """How the Job ended, why in words, and how many of its pods failed."""
        deadline_s = job["spec"].get("activeDeadlineSeconds")
        failures = counted = 0
        if names := ignored(job):
            self._reporter.job_printed(ref, f"without a cluster these settings do nothing: {', '.join(names)}")
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    failed = await self._pod(job, ref, uid, folder / str(failures))
                    if failed is None:
                        return SUCCEEDED, "exit code 0", failures
                    container, what, code = failed
                    failures += 1
                    decided = after(job, counted, container, code)
                    why = f"the {what} ended with exit code {code}"
                    if isinstance(decided, Ending):
                        return decided, why, failures
                    counted = decided
                    pause_s = next_pod_s(failures)
                    self._reporter.job_printed(ref, f"{why}; tried again in {pause_s:.0f} s")
                    await asyncio.sleep(pause_s)
        except TimeoutError:
            return TOO_LONG, f"it ran longer than activeDeadlineSeconds ({deadline_s} s) and was stopped", failures + 1
        except ConfigError as error:
            return FAILED, str(error), failures + 1
        except (OSError, ValueError) as error:
            return FAILED, f"the working directory or the command cannot be prepared: {error}", failures + 1
        except ApiError:
            raise
        except Exception as error:  # noqa: BLE001  the border of one Job: a bug in it must not end the others
            return FAILED, bug_report(error), failures + 1

    async def _pod(self, job: Mapping[str, Any], ref: Ref, uid: str, folder: Path) -> tuple[str, str, int] | None:
        """One pod: the container that failed, what it is in words and its exit code; None where all is well."""
        pod = job["spec"]["template"]["spec"]
        await asyncio.to_thread(folder.mkdir, mode=0o700)
        try:
            volumes = Volumes(
                reader=self._api, namespace=ref.namespace or "", work=folder / "work", secrets=folder / "secrets"
            )
            folders, variables = await volumes.make(pod), Variables(reader=self._api, job=job)
            at = PodFolders(volumes=folders, machine=self._machine, cwd=folder)
            workers = [worker_command(one, await variables.of(one), at) for one in pod["containers"]]
            cloners = [cloner_command(one, await variables.of(one), at) for one in pod.get("initContainers") or ()]
            for what, commands in (("cloner", cloners), ("command", workers)):
                if commands is workers:
                    await self._write(ref, working())
                for command in commands:
                    code = await self._execute(command, ref, uid)
                    if code:
                        return command.container, what, code
            return None
        finally:
            await remove(folder / "secrets")

    async def _execute(self, command: LocalCommand, ref: Ref, uid: str) -> int:
        output: Callable[[str], None] = lambda line: self._reporter.job_printed(ref, line)  # noqa: E731  one line
        return await execute(command, mark=uid, output=output)

    async def _write(self, ref: Ref, patch: dict[str, Any]) -> None:
        for attempt in range(_WRITES):
            try:
                self._store.observe(await self._api.patch(ref, patch, subresource="status"))
            except ApiNotFound:
                raise
            except ApiError as error:
                if not error.retryable or attempt == _WRITES - 1:
                    raise
                await asyncio.sleep(0.05 * 2**attempt)
            else:
                return

    def _is_over(self, snapshot: Snapshot) -> bool:
        """Whether a finished Job's time to live has passed, or has still to be read."""
        view = snapshot.model
        if not view.finished or not view.has_ttl or view.deleting or snapshot.uid in self._running:
            return False
        return snapshot.uid not in self._over_at or datetime.now(UTC) >= self._over_at[snapshot.uid]

    async def _expire(self, snapshot: Snapshot) -> None:
        """Note when a finished Job's time to live is over, and delete it then."""
        with contextlib.suppress(ApiError):
            job = await self._api.get(snapshot.ref)
            ttl_s, ended_at = job["spec"].get("ttlSecondsAfterFinished"), snapshot.model.ended_at
            if ttl_s is None or ended_at is None:
                return
            self._over_at[snapshot.uid] = ended_at + timedelta(seconds=ttl_s)
            if datetime.now(UTC) >= self._over_at[snapshot.uid]:
                await self._api.delete(snapshot.ref, uid=snapshot.uid)


def _now() -> str:
    return rfc3339(datetime.now(UTC))
