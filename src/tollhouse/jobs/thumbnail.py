"""A small picture of a result: the image itself, or the first page or frame of what holds several.

Images, animated or not, and archives of images are read by Pillow, PDF documents by PDFium. Nothing here is trusted: a
picture's pixels are counted before they are unpacked, and whatever cannot be drawn has no thumbnail, only an icon.
"""

import io
import threading
import zipfile
from typing import IO

import pypdfium2
import structlog
from PIL import Image, ImageOps

log = structlog.get_logger()
SIDE = 480
MOST_PIXELS = 80_000_000
MOST_BYTES = 64 << 20
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_pdfium = threading.Lock()  # PDFium is not thread-safe


def draw(file: IO[bytes], content_type: str) -> bytes | None:
    """A WebP of at most 480 by 480 pixels, or None where the content has no picture to show."""
    file.seek(0)
    try:
        if content_type == "application/pdf":
            picture: Image.Image | None = _first_page(file)
        elif content_type == "application/zip":
            picture = _first_in_archive(file)
        elif content_type.startswith("image/"):
            picture = _opened(file)
        else:
            return None
        return None if picture is None else _small(picture)
    except Exception as error:  # decoders stumble over bad files in more ways than they name
        log.info("a file has no thumbnail", content_type=content_type, reason=f"{type(error).__name__}: {error}"[:200])
        return None
    finally:
        file.seek(0)


def _opened(file: IO[bytes]) -> Image.Image | None:
    picture = Image.open(file, formats=_FORMATS)
    if picture.width * picture.height > MOST_PIXELS:
        return None
    picture.draft("RGB", (SIDE, SIDE))  # a JPEG is decoded at a fraction of its size
    return ImageOps.exif_transpose(picture)


def _first_page(file: IO[bytes]) -> Image.Image:
    content = file.read(MOST_BYTES)
    with _pdfium:
        document = pypdfium2.PdfDocument(content)
        try:
            page = document[0]
            width, height = page.get_size()
            picture: Image.Image = page.render(scale=2 * SIDE / max(width, height, 1)).to_pil().copy()
        finally:
            document.close()
    return picture


def _first_in_archive(file: IO[bytes]) -> Image.Image | None:
    with zipfile.ZipFile(file) as archive:
        pictures = sorted(entry.filename for entry in archive.infolist() if entry.filename.lower().endswith(_PICTURES))
        if not pictures or archive.getinfo(pictures[0]).file_size > MOST_BYTES:
            return None
        with archive.open(pictures[0]) as entry:
            return _opened(io.BytesIO(entry.read(MOST_BYTES)))


def _small(picture: Image.Image) -> bytes:
    picture.thumbnail((SIDE, SIDE))
    mode = "RGBA" if "A" in picture.getbands() or "transparency" in picture.info else "RGB"
    written = io.BytesIO()
    picture.convert(mode).save(written, "WEBP", quality=80)
    return written.getvalue()
