"""Reading through content in constant memory."""

import hashlib
from typing import IO

PIECE = 1 << 20


def sha256_of(content: IO[bytes]) -> tuple[int, str]:
    """Its size and SHA-256."""
    digest, size = hashlib.sha256(), 0
    while piece := content.read(PIECE):
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


def copied(content: IO[bytes], into: IO[bytes]) -> int:
    """Copy; returns how many bytes."""
    size = 0
    while piece := content.read(PIECE):
        size += len(piece)
        written = into.write(piece)
        while written < len(piece):  # a file without a buffer takes less where a disk is about to be full
            written += into.write(memoryview(piece)[written:])
    return size
