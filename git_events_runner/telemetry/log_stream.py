"""Standard output that never blocks and never breaks work: a full disk or an unread pipe costs log lines only.

A write to a pipe that is not read blocks, and one to a full disk or a closed pipe raises an error; in the event loop
either stops the controller. Here a thread writes, from a bounded buffer; what does not fit, or cannot be written, is
dropped and counted.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections import deque
from collections.abc import Callable

_BUFFER_BYTES = 4 * 2**20
_CHUNK_LINES = 200
_RETRY_S = 0.5


class LogStream(io.TextIOBase):
    """A text stream over a file descriptor; `write` returns immediately and never raises an error."""

    def __init__(
        self, descriptor: int, *, limit_bytes: int = _BUFFER_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`limit_bytes` is what may wait to be written; `clock` is in seconds."""
        super().__init__()
        self._descriptor = descriptor
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._lines: deque[bytes] = deque()
        self._held_bytes = 0
        self._changed = threading.Condition()
        self._moved_at = clock()
        self._working = False
        self._failing_since: float | None = None
        self._closing = False
        self.on_drop: Callable[[int], None] = _ignore
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def writable(self) -> bool:
        """It is a stream for writing."""
        return True

    def write(self, text: str, /) -> int:
        """Queue a text (complete lines, by convention) to be written; dropped if too much waits already."""
        line = text.encode(errors="backslashreplace")
        with self._changed:
            fits = self._held_bytes + len(line) <= self._limit_bytes
            if fits:
                if not self._working:
                    self._moved_at = self._clock()  # until now there was nothing to write
                self._working = True
                self._lines.append(line)
                self._held_bytes += len(line)
                self._changed.notify()
        if not fits:
            self.on_drop(1)
        return len(text)

    def moved_at(self) -> float:
        """When it was last in order, in the clock's time: now, unless lines wait, or the last write failed."""
        with self._changed:
            if self._failing_since is not None:
                return self._failing_since
            return self._moved_at if self._working else self._clock()

    def finish(self, timeout_s: float) -> None:
        """Wait until what is queued is written, for at most so many seconds; what comes later is dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._lines:
                    self._working = False
                    if self._closing:
                        return
                    self._changed.wait()
                lines = [self._lines.popleft() for _ in range(min(len(self._lines), _CHUNK_LINES))]
                self._held_bytes -= sum(map(len, lines))
            self._write_all(lines)

    def _write_all(self, lines: list[bytes]) -> None:
        chunk = memoryview(b"".join(lines))
        try:
            while chunk:
                chunk = chunk[os.write(self._descriptor, chunk) :]
                with self._changed:
                    self._moved_at, self._failing_since = self._clock(), None
        except OSError:
            self.on_drop(len(lines))
            with self._changed:
                if self._failing_since is None:
                    self._failing_since = self._clock()
                self._changed.wait_for(lambda: self._closing, timeout=_RETRY_S)


def _ignore(_: int) -> None:
    """Nothing counts drops yet."""
