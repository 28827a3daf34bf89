"""The master key of a repository, wrapped by a passphrase and by a recovery key that is kept offline."""

import base64
import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tollhouse.kit.errors import BadInput, Damaged

N, R, P = 1 << 16, 8, 1
SHORTEST = 8
NAMES = ("passphrase", "recovery")


@dataclass(frozen=True)
class NewKeys:
    """What a new repository needs: the master key, the wrapped keys by file name, and the recovery key to be shown once."""

    master: bytes
    files: dict[str, dict[str, Any]]
    recovery: str


def make(passphrase: str) -> NewKeys:
    """Fresh keys; raises BadInput for a passphrase that is too short."""
    if len(passphrase) < SHORTEST:
        raise BadInput(f"The passphrase is too short; choose at least {SHORTEST} characters.")
    master, recovery = secrets.token_bytes(32), recovery_text(secrets.token_bytes(32))
    return NewKeys(master, {"passphrase": wrap(master, passphrase), "recovery": wrap(master, recovery)}, recovery)


def wrap(master: bytes, secret: str) -> dict[str, Any]:
    """The master key under a secret."""
    salt, nonce = os.urandom(32), os.urandom(12)
    sealed = AESGCM(_stretched(secret, salt, N, R, P)).encrypt(nonce, master, b"tollhouse master key")
    return {"kdf": "scrypt", "n": N, "r": R, "p": P, "salt": salt.hex(), "nonce": nonce.hex(), "key": sealed.hex()}


def unwrap(wrapped: dict[str, Any], secret: str) -> bytes | None:
    """The master key, or None where the secret is another one; raises Damaged for what is no wrapped key of ours."""
    try:
        if (wrapped["kdf"], wrapped["n"], wrapped["r"], wrapped["p"]) != ("scrypt", N, R, P):
            raise Damaged("A key file asks for another way to stretch the passphrase than version 1 has.")
        key = _stretched(secret, bytes.fromhex(wrapped["salt"]), N, R, P)
        return AESGCM(key).decrypt(bytes.fromhex(wrapped["nonce"]), bytes.fromhex(wrapped["key"]), b"tollhouse master key")
    except InvalidTag:
        return None
    except (KeyError, TypeError, ValueError):
        raise Damaged("A key file is damaged.") from None


def recovery_text(key: bytes) -> str:
    """A key in groups that can be read aloud."""
    text = base64.b32encode(key).decode().rstrip("=")
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


def _stretched(secret: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(secret.strip().encode(), salt=salt, n=n, r=r, p=p, maxmem=256 << 20, dklen=32)
