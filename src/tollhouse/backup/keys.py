"""The master key of a repository, wrapped by a passphrase (stretched by scrypt, RFC 7914) and by a recovery key that is kept offline."""

import base64
import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tollhouse.kit.errors import BadInput, Damaged

if TYPE_CHECKING:
    from tollhouse.backup.cipher import Cipher

ABOUT = b"tollhouse master key"
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
    sealed = _cipher(secret, salt).seal(nonce, master, ABOUT)
    return {"kdf": "scrypt", "n": N, "r": R, "p": P, "salt": salt.hex(), "nonce": nonce.hex(), "key": sealed.hex()}


def unwrap(wrapped: dict[str, Any], secret: str) -> bytes | None:
    """The master key, or None where the secret is another one; raises Damaged for what is no wrapped key of ours."""
    try:
        if (wrapped["kdf"], wrapped["n"], wrapped["r"], wrapped["p"]) != ("scrypt", N, R, P):
            raise Damaged("A key file asks for another way to stretch the passphrase than version 1 has.")
        cipher = _cipher(secret, bytes.fromhex(wrapped["salt"]))
        return cipher.unseal(bytes.fromhex(wrapped["nonce"]), bytes.fromhex(wrapped["key"]), ABOUT)
    except (KeyError, TypeError, ValueError):
        raise Damaged("A key file is damaged.") from None


def recovery_text(key: bytes) -> str:
    """A key in groups that can be read aloud."""
    text = base64.b32encode(key).decode().rstrip("=")
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


def _cipher(secret: str, salt: bytes) -> "Cipher":
    from tollhouse.backup.cipher import Cipher  # noqa: PLC0415  # it says why

    return Cipher(hashlib.scrypt(secret.strip().encode(), salt=salt, n=N, r=R, p=P, maxmem=256 << 20, dklen=32))
