"""AES-256-GCM (NIST SP 800-38D) and HKDF (RFC 5869).

Whoever needs it imports it late, with the first encrypted repository: six megabytes that a server without backups does without.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Cipher:
    """A key of 32 bytes. `about` is bound to what is sealed: it opens with the same words only."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, nonce: bytes, content: bytes, about: bytes) -> bytes:
        """Content, encrypted and authenticated; a nonce of 12 bytes is used once."""
        return self._aead.encrypt(nonce, content, about)

    def unseal(self, nonce: bytes | memoryview, sealed: bytes | memoryview, about: bytes) -> bytes | None:
        """The content, or None for what was not sealed with this key, nonce and words."""
        try:
            return self._aead.decrypt(nonce, sealed, about)
        except InvalidTag:
            return None


def derived(master: bytes, purpose: bytes) -> bytes:
    """A key of 32 bytes for one purpose."""
    return HKDF(SHA256(), 32, None, purpose).derive(master)
