"""What a file is, judged by what is in it and not by what it is called or claimed to be.

Refused are: an empty or oversized file, a type that is not on the list, a file that is two things at once (a picture
that is also an archive or a document), and an archive that unpacks to far more than it is (a "zip bomb") or whose
entries lead out of it. The limits on archives are those that https://www.bamsoftware.com/hacks/zipbomb/ shows to matter:
the sum of what the directory declares, the ratio, the number of entries, and entries that overlap. Then each entry has to
be what was declared.
"""

import hashlib
import re
import stat
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

import filetype

from tollhouse.jobs import unpacking
from tollhouse.kit.errors import TooLarge, Unprocessable

_HEAD = 8192
_END = b"PK\x05\x06"
_END_BYTES = 22
_ENTRY_BYTES = 46
# An archive's end record with its longest comment, and before it the longest entry of its directory.
_TAIL = _END_BYTES + 65_535 + _ENTRY_BYTES + 3 * 65_535
_NAME_BYTES = 512  # of an entry's name and extras, on the average
_SPOKEN = {
    "application/x-zip-compressed": "application/zip",
    "application/vnd.comicbook+zip": "application/zip",
    "application/x-cbz": "application/zip",
    "audio/x-wav": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/mp3": "audio/mpeg",
    "image/jpg": "image/jpeg",
}
_TEXTS = {".csv": "text/csv", ".json": "application/json", ".ndjson": "application/x-ndjson", ".md": "text/markdown"}
_MARKUP = re.compile(rb"^\s*(?:\xef\xbb\xbf)?\s*<(?:!|\?|[a-z])", re.IGNORECASE)
_SCRIPT = re.compile(rb"<(?:script|html|body|iframe|svg|\?php)\b", re.IGNORECASE)
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f/\\]")


@dataclass(frozen=True)
class FileLimits:
    """What is accepted. Sizes are in bytes; `types` are media types, and none means any."""

    file_bytes: int = 100 << 20
    job_bytes: int = 1 << 30
    job_files: int = 200
    unpacked_bytes: int = 2 << 30
    unpacked_ratio: int = 200
    entries: int = 5000
    types: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Inspected:
    """A file that was found good: what it may be called, its size in bytes, its media type and the SHA-256 of it all."""

    name: str
    size: int
    content_type: str
    sha256: str


def inspect(file: IO[bytes], name: str, limits: FileLimits) -> Inspected:
    """Judge an open, seekable file; raises Unprocessable or TooLarge, and leaves the file at its beginning."""
    name = safe_name(name)
    digest, size = _read_through(file)
    if size == 0:
        raise Unprocessable(f"{name}: the file is empty; send one with something in it.")
    if size > limits.file_bytes:
        raise TooLarge(f"{name}: the file has {size} bytes; at most {limits.file_bytes} are accepted.")
    head, tail = _ends(file, size)
    content_type = sniff(head, name)
    if limits.types and content_type not in limits.types:
        allowed = ", ".join(sorted(limits.types))
        raise Unprocessable(f"{name}: its content is {content_type}, which is not accepted; send one of {allowed}.")
    _check_single(name, content_type, head, tail)
    if _is_archive(head):
        _check_archive(file, name, size, tail, limits)
    file.seek(0)
    return Inspected(name, size, content_type, digest)


def safe_name(name: str) -> str:
    """The name if it is one; raises Unprocessable for a path or a name that no file can have."""
    if (
        not name.strip()
        or name in (".", "..")
        or len(name.encode(errors="replace")) > 200
        or _NOT_IN_NAMES.search(name)
        or not name.isprintable()
    ):
        shown = name[:80].encode("unicode_escape").decode()
        raise Unprocessable(f"The file name '{shown}' cannot be used; send a plain name such as page-1.png, without a path.")
    return name


def sniff(head: bytes, name: str) -> str:
    """The media type that the first bytes show; a text's is refined by its name, nothing else's is."""
    guessed: str | None = filetype.guess_mime(head)
    if guessed is not None:
        return plain_type(guessed)
    if b"\0" in head or not _is_text(head):
        return "application/octet-stream"
    if _MARKUP.search(head):
        return "text/html"  # or XML, or SVG: what a browser might run
    return _TEXTS.get(PurePosixPath(name.lower()).suffix, "text/plain")


def plain_type(media_type: str) -> str:
    """The one name that we use for a media type which has several: a comic archive is an archive."""
    plain = media_type.partition(";")[0].strip().lower()
    return _SPOKEN.get(plain, plain)


def _is_text(head: bytes) -> bool:
    try:
        head[:-4].decode() if len(head) == _HEAD else head.decode()  # the end may cut a character in two
    except UnicodeDecodeError as error:
        return len(head) == _HEAD and error.start > _HEAD - 8
    return True


def _read_through(file: IO[bytes]) -> tuple[str, int]:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest(), file.tell()


def _ends(file: IO[bytes], size: int) -> tuple[bytes, bytes]:
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(max(0, size - _TAIL))
    return head, file.read()


def _is_archive(head: bytes) -> bool:
    """Whether it is an archive, or a document of a kind that is packed as one."""
    return head.startswith((b"PK\x03\x04", _END))


def _check_single(name: str, content_type: str, head: bytes, tail: bytes) -> None:
    """Refuse what another program would take for something else than we do."""
    other = None
    if not _is_archive(head) and _END in tail and b"PK\x01\x02" in tail:
        other = "an archive"
    elif content_type != "application/pdf" and b"%PDF-" in head[:1024]:
        other = "a PDF document"
    elif content_type.startswith(("image/", "audio/", "video/")) and _SCRIPT.search(head[:1024]):
        other = "a web page"
    if other is not None:
        raise Unprocessable(f"{name}: the file is {content_type} and {other} at once; send one that is a single thing.")


def _check_archive(file: IO[bytes], name: str, size: int, tail: bytes, limits: FileLimits) -> None:
    if _directory_bytes(tail) > limits.entries * (_ENTRY_BYTES + _NAME_BYTES):  # it is read into memory as a whole
        raise Unprocessable(f"{name}: the archive has far more than the {limits.entries} entries that are accepted.")
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
        raise Unprocessable(f"{name}: the archive is damaged or cut off; pack it again.") from error
    if not entries:
        raise Unprocessable(f"{name}: the archive is empty; pack something into it.")
    if len(entries) > limits.entries:
        raise Unprocessable(f"{name}: the archive has {len(entries)} entries; at most {limits.entries} are accepted.")
    for entry in entries:
        parts = entry.filename.replace("\\", "/").split("/")
        leads_out = entry.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]
        if leads_out or "\0" in entry.orig_filename or stat.S_ISLNK(entry.external_attr >> 16):
            raise Unprocessable(f"{name}: the archive's entry {entry.filename[:80]!r} leads out of it; pack it with plain names.")
        if entry.flag_bits & 1:
            raise Unprocessable(f"{name}: the archive is encrypted; send it without a password.")
    unpacked, packed = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
    most = min(limits.unpacked_bytes, max(size * limits.unpacked_ratio, 10 << 20))
    # Entries that share their bytes declare more packed bytes than the whole archive has.
    if unpacked > most or packed > size:
        raise Unprocessable(f"{name}: the archive of {size} bytes unpacks to {unpacked}; at most {most} are accepted.")
    _check_entries(file, name, entries)


def _check_entries(file: IO[bytes], name: str, entries: Sequence[zipfile.ZipInfo]) -> None:
    for entry in entries:
        if entry.compress_type not in unpacking.METHODS:
            raise Unprocessable(f"{name}: the archive's entry {entry.filename[:80]!r} is packed in a rare way; pack it as a plain ZIP.")
        try:
            good = unpacking.is_as_declared(file, entry)
        except (zlib.error, ValueError):
            good = False
        if not good:
            raise Unprocessable(f"{name}: the archive is damaged: its entry {entry.filename[:80]!r} is not what it says; pack it again.")


def _directory_bytes(tail: bytes) -> int:
    """How long an archive's end record says that the directory before it is (APPNOTE.TXT, sections 4.3.14 and 4.3.16)."""
    at = len(tail) - _END_BYTES if tail[-_END_BYTES:].startswith(_END) else tail.rfind(_END)
    if at < 0:
        return 0
    stated = int.from_bytes(tail[at + 12 : at + 16], "little")
    if stated == 0xFFFFFFFF and (larger := tail.rfind(b"PK\x06\x06", 0, at)) >= 0:
        return int.from_bytes(tail[larger + 40 : larger + 48], "little")
    return stated
