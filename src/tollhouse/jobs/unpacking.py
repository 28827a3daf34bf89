"""What an archive's entry holds, and not what the archive's directory says of it: a "zip bomb" may say that it is small.

The entry is unpacked without being kept, and no further than is declared. Two methods of packing are known, stored and deflated:
those that ISO/IEC 21320-1 allows, and that every program reads. The local header is described in APPNOTE.TXT, section 4.3.7.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADER = struct.Struct("<4s22xHH")
_UTF8 = 0x800
_PART = 1 << 16


def is_as_declared(file: IO[bytes], entry: zipfile.ZipInfo) -> bool:
    """Whether the entry has the name, the size and the checksum that the directory says it has."""
    file.seek(entry.header_offset)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return False
    mark, name_bytes, extra_bytes = _HEADER.unpack(header)
    name = file.read(name_bytes)
    if mark != b"PK\x03\x04" or name != entry.orig_filename.encode("utf-8" if entry.flag_bits & _UTF8 else "cp437"):
        return False
    file.seek(extra_bytes, 1)
    size = checksum = 0
    for part in _unpacked(file, entry):
        size += len(part)
        checksum = zlib.crc32(part, checksum)
        if size > entry.file_size:
            return False
    return (size, checksum) == (entry.file_size, entry.CRC)


def _unpacked(file: IO[bytes], entry: zipfile.ZipInfo) -> Iterator[bytes]:
    if entry.compress_type == zipfile.ZIP_STORED:
        yield from _packed(file, entry.compress_size)
        return
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    for part in _packed(file, entry.compress_size):
        left = part
        while left and not inflate.eof:
            yield inflate.decompress(left, _PART)
            left = inflate.unconsumed_tail
    yield inflate.flush()


def _packed(file: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0 and (part := file.read(min(size, _PART))):
        size -= len(part)
        yield part
