"""The C heap of the process, in one of its own."""

import subprocess
import sys

import pytest

_MAPPED = """
import ctypes, sys
from git_events_runner.c_heap import limit_c_heap

class Usage(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for names in ("arena ordblks smblks hblks hblkhd", "usmblks fsmblks uordblks fordblks keepcost")
        for name in names.split()
    ]

libc = ctypes.CDLL(None)
if getattr(libc, "mallinfo2", None) is None:
    print("unknown")
    sys.exit()
libc.malloc.restype, libc.mallinfo2.restype = ctypes.c_void_p, Usage
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
if sys.argv[1] == "limited":
    limit_c_heap()
libc.free(libc.malloc(4 * 2**20))
before = libc.mallinfo2().hblks
libc.malloc(2**20)
print(libc.mallinfo2().hblks - before)
"""


def mapped(how):
    """How many blocks of their own a large buffer takes after a larger one was freed."""
    command = [sys.executable, "-c", _MAPPED, how]
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
    if found == "unknown":
        pytest.skip("the C library shows no usage")
    return int(found)


def test_a_large_buffer_is_returned_to_the_system_whatever_was_freed_before():
    """It is mapped by itself; else glibc would put it between small blocks once a larger one was freed."""
    assert mapped("as it is") == 0
    assert mapped("limited") == 1
