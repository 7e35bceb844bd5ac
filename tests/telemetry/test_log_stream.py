"""Logging never blocks and never breaks work."""

import contextlib
import os
import threading
import time
from pathlib import Path

import pytest

from git_events_runner.telemetry.log_stream import LogStream
from tests.cluster.plane import wait_until


def unchanged(measure, seconds=0.2):
    """The value of a measure if it stays what it is for so long."""
    value = measure()
    time.sleep(seconds)
    return value if measure() == value else None


@contextlib.contextmanager
def pipe():
    """Both ends of a pipe, closed at the end."""
    ends = list(os.pipe())
    try:
        yield ends
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                os.close(end)


def counted(stream):
    """The numbers of lines that the stream drops."""
    dropped = []
    stream.on_drop = dropped.append
    return dropped


def test_what_is_written_arrives_in_order():
    """Also more than the pipe holds, and what is queued when it ends."""
    with pipe() as (reading, writing):
        stream = LogStream(writing)
        found = bytearray()

        def read():
            while data := os.read(reading, 65536):
                found.extend(data)

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(20_000):
            stream.write(f"line {number}\n")
        stream.finish(20)
        os.close(writing)
        reader.join(20)
        assert found.decode().splitlines() == [f"line {number}" for number in range(20_000)]


def test_an_unread_pipe_drops_lines_and_blocks_nobody():
    """The buffer is bounded; each write returns; what was dropped is counted; a reader gets what waits."""
    with pipe() as (reading, writing):
        stream = LogStream(writing, limit_bytes=200_000)
        dropped = counted(stream)
        began = time.process_time()
        for _ in range(10_000):
            stream.write("x" * 99 + "\n")
        assert time.process_time() - began < 5
        assert 5_000 < sum(dropped) < 10_000
        stuck_since = wait_until("the pipe is full", lambda: unchanged(stream.moved_at))
        held = 0
        while held < (10_000 - sum(dropped)) * 100:
            held += len(os.read(reading, 65536))
        wait_until("nothing waits", lambda: stream.moved_at() > stuck_since)


@pytest.mark.parametrize("case", ["closed pipe", "full disk"])
def test_what_cannot_be_written_is_dropped(case):
    """EPIPE and ENOSPC raise no error in the writer; the stream counts as stuck until it can write again."""
    with pipe() as (reading, writing), Path("/dev/full").open("wb", buffering=0) as full:
        os.close(reading)
        stream = LogStream(writing if case == "closed pipe" else full.fileno())
        dropped = counted(stream)
        assert stream.write("lost\n") == 5
        wait_until("the drop", lambda: dropped == [1])
        failing_since = wait_until("it is stuck", lambda: unchanged(stream.moved_at))
        stream.write("lost, too\n")
        wait_until("the second drop", lambda: sum(dropped) == 2)
        assert stream.moved_at() == failing_since
        stream.finish(5)


def test_a_stream_that_can_be_written_again_is_in_order(tmp_path):
    """After an error the next line that is written ends the failure."""
    with Path("/dev/full").open("wb", buffering=0) as full, (tmp_path / "log").open("wb", buffering=0) as log:
        descriptor = os.dup(full.fileno())
        stream = LogStream(descriptor)
        dropped = counted(stream)
        stream.write("lost\n")
        wait_until("the drop", lambda: dropped == [1])
        os.dup2(log.fileno(), descriptor)
        stream.write("kept\n")
        wait_until("the line", lambda: (tmp_path / "log").read_text() == "kept\n")
        wait_until("in order", lambda: time.monotonic() - stream.moved_at() < 0.05)
        stream.finish(5)
        os.close(descriptor)
