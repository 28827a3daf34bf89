"""Identifiers of our own things: a prefix that says what it is, then 26 characters that sort by time.

The 26 characters are a ULID: 48 bits of milliseconds and 80 random bits in Crockford's base 32
(https://github.com/ulid/spec). Within a millisecond one process counts on, as the specification's monotonic kind does, so
that what it made later also sorts later.
"""

import secrets
import threading
import time
from datetime import timedelta

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_lock = threading.Lock()
_last = 0


def new(prefix: str) -> str:
    """A fresh identifier such as `org_01jd…`, unique without asking anyone."""
    global _last  # noqa: PLW0603  # the one thing that has to be remembered
    fresh = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    with _lock:
        _last = fresh if fresh >> 80 > _last >> 80 else _last + 1
        number = _last
    return prefix + "_" + _text(number)


def _text(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def least(id: str, before: timedelta) -> str:
    """The least identifier of the same kind that was made at most so long before this one."""
    prefix, _, text = id.rpartition("_")
    made = sum(_ALPHABET.index(letter) << 5 * (25 - at) for at, letter in enumerate(text)) >> 80
    number = max(0, made - before // timedelta(milliseconds=1)) << 80
    return prefix + "_" + _text(number)
