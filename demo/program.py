"""`git-events-runner local` as a process: its lines are passed on and can be waited for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STOP_S = 30.0
_COLOR = re.compile(r"\x1b\[\d*m")


class TooSlow(Exception):
    """Raised when a line did not come in time, or the program ended before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that the program printed, without colours, and when (monotonic)."""

    text: str
    at: float


class Program:
    """The running program; `lines` grows."""

    def __init__(self, process: subprocess.Popen[str], show: Callable[[str], None], ends_at: float) -> None:
        self._process = process
        self._show = show
        self._ends_at = ends_at
        self._news = threading.Condition()
        self._over = False
        self.lines: list[Line] = []

    def read(self) -> None:
        """Pass lines on until the program ends."""
        for line in self._process.stdout or ():
            self._show(line.rstrip("\n"))
            with self._news:
                self.lines.append(Line(text=_COLOR.sub("", line.rstrip("\n")), at=time.monotonic()))
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    def wait(self, pattern: str, *, after: int = 0) -> Line:
        """The first line from number `after` in which a pattern is found.

        Raises:
            TooSlow: It did not come in time.
        """
        wanted = re.compile(pattern)
        with self._news:
            while True:
                for line in self.lines[after:]:
                    if wanted.search(line.text):
                        return line
                after = len(self.lines)
                left_s = self._ends_at - time.monotonic()
                if self._over or not self._news.wait(max(left_s, 0)):
                    why = "the program ended" if self._over else "the time is over"
                    raise TooSlow(f"{why}; no line with {pattern!r} came")


@contextmanager
def running(paths: list[Path], *, show: Callable[[str], None], color: bool, ends_at: float) -> Iterator[Program]:
    """The program at work on free ports while entered; then it is stopped in order (SIGTERM)."""
    ports = ("--webhooks-port", "0", "--utility-port", "0")
    command = [sys.executable, "-m", "git_events_runner", "local", *ports, "--ui"]
    env = {**os.environ, "FORCE_COLOR": "1"} if color else dict(os.environ)
    with subprocess.Popen(
        [*command, *map(str, paths)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=env
    ) as process:
        program = Program(process, show, ends_at)
        reader = threading.Thread(target=program.read)
        reader.start()
        try:
            yield program
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            finally:
                process.kill()
                reader.join()
