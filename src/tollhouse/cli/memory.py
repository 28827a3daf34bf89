"""How a command that moves gigabytes keeps its memory small."""

import ctypes
from contextlib import suppress

_ARENA_MAX = -8  # M_ARENA_MAX of mallopt(3)


def in_one_arena() -> None:
    """Let all threads allocate from one heap, where the C library is glibc.

    It gives each thread a heap of its own, and what packs of 16 MB leave in each is not given back: a restore of a gigabyte took
    370 MB so and 260 MB with one heap, and a tenth less time.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
