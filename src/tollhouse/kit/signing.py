"""Signed tokens: a few fields that come back unchanged, or not at all.

A token is `base64url(JSON)` `.` `base64url(HMAC-SHA256(key, purpose NUL JSON))`. The purpose keeps a token that was made
for one thing from being used for another. `until`, in seconds since 1970, is part of every token.
"""

import base64
import hashlib
import hmac
import json
from typing import Any

from tollhouse.kit.errors import Forbidden, LinkExpired

MOST_CHARACTERS = 4096


def sign(key: bytes, purpose: str, until: int, **fields: Any) -> str:
    """A token that holds the fields until that second."""
    # Letters of other scripts as they are: escaped, a long name would make a token longer than `unsign` reads.
    payload = json.dumps({**fields, "until": until}, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    return f"{_text(payload)}.{_text(_seal(key, purpose, payload))}"


def unsign(key: bytes, purpose: str, token: str, now: int) -> dict[str, Any]:
    """The fields of a token; raises Forbidden where it is not ours and LinkExpired where it is too old."""
    try:
        if len(token) > MOST_CHARACTERS:
            raise ValueError
        payload, seal = (_bytes(part) for part in token.split("."))
    except (ValueError, UnicodeEncodeError):
        raise Forbidden("This link is not one of ours, or part of it is missing; ask for a new one.") from None
    if not hmac.compare_digest(seal, _seal(key, purpose, payload)):
        raise Forbidden("This link is not one of ours, or part of it is missing; ask for a new one.")
    fields: dict[str, Any] = json.loads(payload)
    if fields["until"] <= now:
        raise LinkExpired("This link has expired; ask for a new one.")
    return fields


def _seal(key: bytes, purpose: str, payload: bytes) -> bytes:
    return hmac.digest(key, purpose.encode() + b"\0" + payload, hashlib.sha256)


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    content = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(content) != text:  # one spelling only
        raise ValueError
    return content
