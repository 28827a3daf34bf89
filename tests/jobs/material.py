"""Files for tests, made here: pictures, documents, archives and sounds, good ones and bad ones."""

import io
import struct
import time
import wave
import zipfile
from collections.abc import Mapping
from typing import Any

from PIL import Image

EOCD = b"PK\x05\x06"


def picture(format: str = "PNG", size: tuple[int, int] = (64, 48), colour: str = "teal", **options: Any) -> bytes:
    """An image of one colour."""
    written = io.BytesIO()
    Image.new("RGB", size, colour).save(written, format, **options)
    return written.getvalue()


def animation(format: str, colours: tuple[str, ...] = ("red", "blue", "lime"), size: tuple[int, int] = (64, 48)) -> bytes:
    """An animated image: one frame a colour."""
    frames = [Image.new("RGB", size, colour) for colour in colours]
    written = io.BytesIO()
    frames[0].save(written, format, save_all=True, append_images=frames[1:], duration=100, loop=0)
    return written.getvalue()


def document(colour: str = "navy", size: tuple[int, int] = (200, 300)) -> bytes:
    """A PDF of one page, the same one at any time: tests that are named by it have to have one name in every process."""
    return picture("PDF", size, colour, creationDate=time.gmtime(0), modDate=time.gmtime(0))


def archive(entries: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as packed:
        for name, content in entries.items():
            packed.writestr(zipfile.ZipInfo(name), content, method)
    return written.getvalue()


def comic(pages: int = 3) -> bytes:
    """A CBZ: an archive of pages."""
    return archive({f"page-{at:02}.png": picture(colour=("red", "green", "blue")[at % 3]) for at in range(pages)}, zipfile.ZIP_STORED)


def overlapping(content: bytes, times: int) -> bytes:
    """An archive whose directory names the same bytes several times over."""
    packed = archive({"a": content}, zipfile.ZIP_STORED)
    at = packed.index(b"PK\x01\x02")
    end = packed.index(EOCD)
    directory = packed[at:end] * times
    tail = struct.pack("<4s4H2LH", EOCD, 0, 0, times & 0xFFFF, times & 0xFFFF, len(directory), at, 0)
    return packed[:at] + directory + tail


def encrypted(content: bytes = b"secret") -> bytes:
    """An archive that says that its entry needs a password."""
    packed = bytearray(archive({"a.txt": content}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(mark) + offset] |= 1
    return bytes(packed)


def sound() -> bytes:
    """A WAV."""
    written = io.BytesIO()
    with wave.open(written, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(b"\0\1" * 400)
    return written.getvalue()


GOOD: dict[str, tuple[str, bytes]] = {
    "page.png": ("image/png", picture("PNG")),
    "page.jpg": ("image/jpeg", picture("JPEG")),
    "page.gif": ("image/gif", picture("GIF")),
    "page.webp": ("image/webp", picture("WEBP")),
    "moving.gif": ("image/gif", animation("GIF")),
    "moving.webp": ("image/webp", animation("WEBP")),
    "paper.pdf": ("application/pdf", document()),
    "book.zip": ("application/zip", archive({"a.txt": b"a", "b/c.txt": b"c"})),
    "book.cbz": ("application/zip", comic()),
    "sound.wav": ("audio/wav", sound()),
    "sound.flac": ("audio/flac", b"fLaC\0\0\0\x22" + bytes(60)),
    "sound.mp3": ("audio/mpeg", b"ID3\x03\0\0\0\0\0\x0f" + bytes(60)),
    "film.mp4": ("video/mp4", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(60)),
    "film.webm": ("video/webm", b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81\1B\xf2\x81\4B\xf3\x81\x08B\x82\x84webm" + bytes(60)),
    "data.json": ("application/json", b'{"pages": 3}'),
    "data.csv": ("text/csv", b"page,panels\n1,6\n"),
    "notes.txt": ("text/plain", "Übergröße, 日本語".encode()),
}
"""Every type that uploads may have, by a name for it, with the type that its content shows."""
