"""Standard output of the commands: a reader that ends early is no error, a full disk is one, and neither is a bug."""

from __future__ import annotations

import contextlib
import os
import sys

FAILED = 1


def printed(text: str) -> int:
    """Write a text; the exit code: 0 also where the reader ended early (`| head`), 1 where it cannot be written."""
    try:
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        discard()
    except OSError as error:
        discard()
        return failed(error)
    return 0


def failed(error: OSError) -> int:
    """Report on standard error that nothing can be written to standard output; the exit code."""
    sys.stderr.write(f"git-events-runner: standard output cannot be written: {error.strerror or error}\n")
    return FAILED


def discard() -> None:
    """Send what is still to come to nowhere, so that the end of the program does not fail at it."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
