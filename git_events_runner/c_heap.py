"""The C heap of the process: what a burst needed is returned to the system.

Buffers of TLS and of lists take hundreds of kilobytes for a moment. glibc maps such a block by itself, but raises the
size from which it does so with each one that is freed, up to 32 MiB: from then on they lie between small blocks, and
the heap stays as large as its worst moment. A size that is set is not raised. Each thread that allocates has a heap of
its own, unless their number is limited.

https://www.gnu.org/software/libc/manual/html_node/Malloc-Tunable-Parameters.html
https://man7.org/linux/man-pages/man3/mallopt.3.html
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h
_MAPPED_BYTES = 128 * 1024  # glibc's value at its start
_TRIMMED_BYTES = 1024 * 1024
_ARENAS = 2


def limit_c_heap() -> None:
    """Set glibc's parameters; nothing where the C library has none."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in (
        (_MMAP_THRESHOLD, _MAPPED_BYTES),
        (_TRIM_THRESHOLD, _TRIMMED_BYTES),
        (_ARENA_MAX, _ARENAS),
    ):
        mallopt(parameter, value)
