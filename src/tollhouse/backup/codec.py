"""How a record is stored: compressed, and encrypted where the repository is; and how content gets its id.

The format is written down in docs/backup-format.md.
"""

import hashlib
import hmac
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import zstandard

from tollhouse.kit.errors import Damaged

Kind = Literal["data", "list", "footer", "index", "snapshot", "xdoomed"]
MAGIC = b"THB1"
MOST_BYTES = 512 << 20  # what a record may unpack to
LEVEL = 3
_local = threading.local()


class Codec(ABC):
    """One repository's way to store records."""

    @abstractmethod
    def id(self, content: bytes) -> str:
        """The id of content, 64 hexadecimal digits."""

    @abstractmethod
    def seal(self, kind: Kind, id: str, content: bytes) -> bytes:
        """Content as it is stored."""

    @abstractmethod
    def seal_all(self, kind: Kind, blobs: Sequence[tuple[str, bytes]]) -> list[bytes]:
        """Many small ones, each id with its content, in less time and mostly beside other threads."""

    @abstractmethod
    def unseal(self, kind: Kind, id: str, stored: bytes | memoryview) -> bytes:
        """The content of a record; raises Damaged for anything that was not sealed so."""

    @abstractmethod
    def checksum(self, content: bytes) -> str:
        """What shows that the configuration is ours and unchanged."""

    def blob(self, kind: Kind, id: str, stored: bytes | memoryview) -> bytes:
        """The content of a blob, checked against its id."""
        content = self.unseal(kind, id, stored)
        if self.id(content) != id:
            raise Damaged(f"The blob {id[:12]}… holds something else than its id says.")
        return content


class PlainCodec(Codec):
    """zstd alone: readable with its command line."""

    def id(self, content: bytes) -> str:
        return hashlib.sha256(content).hexdigest()

    def seal(self, kind: Kind, id: str, content: bytes) -> bytes:
        return _compressed(content)

    def seal_all(self, kind: Kind, blobs: Sequence[tuple[str, bytes]]) -> list[bytes]:
        return _all_compressed([content for _, content in blobs])

    def unseal(self, kind: Kind, id: str, stored: bytes | memoryview) -> bytes:
        return _decompressed(stored)

    def checksum(self, content: bytes) -> str:
        return hashlib.sha256(b"tollhouse config" + content).hexdigest()


class EncryptedCodec(Codec):
    """zstd, then AES-256-GCM; ids are keyed."""

    def __init__(self, master: bytes) -> None:
        from tollhouse.backup.cipher import Cipher, derived  # noqa: PLC0415  # it says why

        self._cipher = Cipher(derived(master, b"tollhouse data"))
        self._ids = derived(master, b"tollhouse ids")
        self._config = derived(master, b"tollhouse config")

    def id(self, content: bytes) -> str:
        return hmac.digest(self._ids, content, "sha256").hex()

    def seal(self, kind: Kind, id: str, content: bytes) -> bytes:
        nonce = os.urandom(12)
        header = MAGIC + kind[0].encode()
        return header + nonce + self._cipher.seal(nonce, _compressed(content), header + id.encode())

    def seal_all(self, kind: Kind, blobs: Sequence[tuple[str, bytes]]) -> list[bytes]:
        header, seal = MAGIC + kind[0].encode(), self._cipher.seal
        nonces, packed = os.urandom(12 * len(blobs)), _all_compressed([content for _, content in blobs])
        sealed = []
        for at, (id, _) in enumerate(blobs):
            nonce = nonces[12 * at : 12 * at + 12]
            sealed.append(header + nonce + seal(nonce, packed[at], header + id.encode()))
        return sealed

    def unseal(self, kind: Kind, id: str, stored: bytes | memoryview) -> bytes:
        header = MAGIC + kind[0].encode()
        if stored[:5] != header or len(stored) < 17:
            raise Damaged("A record does not begin as one of this repository does.")
        packed = self._cipher.unseal(stored[5:17], stored[17:], header + id.encode())
        if packed is None:
            raise Damaged("A record is damaged or was sealed with another key.")
        return _decompressed(packed)

    def checksum(self, content: bytes) -> str:
        return hmac.digest(self._config, content, "sha256").hex()


def _compressed(content: bytes) -> bytes:
    packed: bytes = _compressor().compress(content)
    return packed


def _all_compressed(contents: list[bytes]) -> list[bytes]:
    """Each by itself, in one call that leaves the interpreter to others all the while."""
    if "multi_compress_to_buffer" not in zstandard.backend_features:
        return [_compressed(content) for content in contents]
    packed = _compressor().multi_compress_to_buffer(contents)  # type: ignore[arg-type]  # it does not change the list
    return [packed[at].tobytes() for at in range(len(contents))]


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_local, "compressor"):  # one a thread: they are not to be shared
        _local.compressor = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True, write_checksum=True)
    compressor: zstandard.ZstdCompressor = _local.compressor
    return compressor


def _decompressed(stored: bytes | memoryview) -> bytes:
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    try:
        parameters = zstandard.get_frame_parameters(stored)
        if parameters.content_size > MOST_BYTES:
            raise Damaged("A record says that it is larger than any that we write.")
        content: bytes = _local.decompressor.decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Damaged(f"A record is damaged: {error}.") from None
    return content
