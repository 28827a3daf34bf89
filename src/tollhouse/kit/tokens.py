"""Secrets that are shown once and kept only as a hash.

An API key is 32 random bytes, so a plain SHA-256 is enough at rest: there is nothing to guess that a
slow hash would protect, and the check runs on every request.
"""

import hashlib
import hmac
import secrets


def new(prefix: str) -> str:
    """A secret such as `sk_…` with 256 random bits."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def fingerprint(secret: str) -> str:
    """What is stored instead of the secret: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())
