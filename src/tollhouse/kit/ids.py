"""Identifiers of our own things: a prefix that says what it is, then 26 characters that sort by time.

The 26 characters are a ULID: 48 bits of milliseconds and 80 random bits in Crockford's base 32
(https://github.com/ulid/spec).
"""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new(prefix: str) -> str:
    """A fresh identifier such as `org_01jd…`, unique without asking anyone."""
    number = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    return prefix + "_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
