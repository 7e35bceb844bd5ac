"""Runs a local command in its own process group, passes its output on by lines, and leaves nothing of it behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from .containers import LocalCommand

MARK = "GIT_EVENTS_RUNNER_PROCESS"
_TERM_S = 5.0
_OUTPUT_S = 1.0
_CHUNK_BYTES = 64 * 1024
_LINE_BYTES = 16 * 1024
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


async def execute(command: LocalCommand, *, mark: str, output: Callable[[str], None]) -> int:
    """Run a command to its end; its exit code (128 + number for a signal, as in a shell).

    When it ends, and when this is cancelled, everything that it started is stopped: its process group, and on Linux
    also what has left the group, recognised by `mark` in its environment.
    """
    reading_end, writing_end = os.pipe()
    stream = asyncio.StreamReader(limit=_CHUNK_BYTES)
    loop = asyncio.get_running_loop()
    # uvloop closes the descriptor itself, and then the file: by then a thread may have got its number for another one
    closes = not type(loop).__module__.startswith("uvloop")
    file = os.fdopen(reading_end, "rb", buffering=0, closefd=closes)
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), file)
    try:
        # a pipe of our own: with asyncio's, wait() waits for all that still hold its other end
        process = await asyncio.create_subprocess_exec(
            *command.argv,
            cwd=command.cwd,
            env={**command.env, MARK: mark},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing_end,
            stderr=writing_end,
            start_new_session=True,
        )
    except FileNotFoundError:
        pipe.close()
        output(_missing(command))
        return _NOT_FOUND
    except OSError as error:
        pipe.close()
        output(f"cannot execute {command.argv[0]}: {error.strerror}")
        return _NOT_EXECUTABLE
    finally:
        os.close(writing_end)
    try:
        code = await _follow(process, stream, mark, output)
    finally:
        pipe.close()
    return code if code >= 0 else 128 - code


async def _follow(
    process: asyncio.subprocess.Process, stream: asyncio.StreamReader, mark: str, output: Callable[[str], None]
) -> int:
    """Read what a process prints until it ends, then stop what it has left behind; its return code."""
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_read(stream, output))
        try:
            return await process.wait()
        finally:
            await _stop(process, mark)
            await asyncio.wait((reading,), timeout=_OUTPUT_S)
            reading.cancel()


def _missing(command: LocalCommand) -> str:
    name = command.argv[0]
    if not command.cwd.is_dir():
        return f"the working directory {command.cwd} is not there: spec.actionJob.workdir must be where the clone is"
    if "/" in name:
        return f"command not found: {name}; is it in the repository, and executable?"
    return f"command not found: {name}; install it on this machine, or correct spec.actionJob.command of the action"


async def _read(stream: asyncio.StreamReader, output: Callable[[str], None]) -> None:
    """Pass lines on; a very long one is cut into several."""
    rest = b""
    while chunk := await stream.read(_CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        while len(rest) > _LINE_BYTES:
            lines.append(rest[:_LINE_BYTES])
            rest = rest[_LINE_BYTES:]
        for line in lines:
            output(line.decode(errors="replace").rstrip("\r"))
    if rest:
        output(rest.decode(errors="replace"))


async def _stop(process: asyncio.subprocess.Process, mark: str) -> None:
    """TERM to the group, after a while (immediately when cancelled again) KILL, also to all that have the mark."""
    try:
        if process.returncode is None:
            _signal_group(process.pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TERM_S):
                    await process.wait()
    finally:
        _signal_group(process.pid, signal.SIGKILL)
        for pid in marked(mark):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    await process.wait()


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def marked(mark: str) -> list[int]:
    """The processes that have a mark in their environment; none where the system lacks it (other than Linux)."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if wanted in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
    return found
