"""What was uploaded as pages in their natural order: pictures, and archives of pictures. Pages are opened one at a time."""

import io
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tollhouse_client import Permanent

FORMATS = ("PNG", "JPEG")
ENDINGS = (".png", ".jpg", ".jpeg")
MOST_PAGES = 200
MOST_PIXELS = 60_000_000
MOST_BYTES = 64 << 20
SIZE = (1600, 2400)
_NUMBER = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Page:
    """One page: its name, the file it is in, and its place in there if that is an archive."""

    name: str
    path: Path
    entry: str | None = None

    def picture(self) -> Image.Image:
        """The page, upright, in RGB, and no larger than is needed; raises Permanent."""
        try:
            with Image.open(io.BytesIO(self._content()), formats=FORMATS) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise Permanent(f"{self.name} has {opened.width} by {opened.height} pixels; send pages of at most 60 million.")
                opened.draft("RGB", SIZE)
                picture = _plain(opened)
        except Image.DecompressionBombError:
            raise Permanent(f"{self.name} has far too many pixels; send pages of at most 60 million.") from None
        except (OSError, ValueError, SyntaxError, zipfile.BadZipFile):
            raise Permanent(f"{self.name} cannot be read as a picture; send it again as PNG or JPEG.") from None
        picture.thumbnail(SIZE)
        return picture

    def _content(self) -> bytes:
        if self.entry is None:
            return self.path.read_bytes()
        with zipfile.ZipFile(self.path) as archive, archive.open(self.entry) as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise Permanent(f"{self.name} is larger than {MOST_BYTES >> 20} MiB; send smaller pages.")
        return content


def pages_of(files: Iterable[tuple[str, Path]]) -> list[Page]:
    """The pages in files that are given by name and path; raises Permanent where there is none, or too many."""
    found: list[Page] = []
    for name, path in sorted(files, key=lambda file: _natural(file[0])):
        found += _in_archive(name, path) if zipfile.is_zipfile(path) else [Page(name, path)] if name.lower().endswith(ENDINGS) else []
    if not found:
        raise Permanent("There is no page in what was uploaded; send PNG, JPEG or CBZ.")
    if len(found) > MOST_PAGES:
        raise Permanent(f"There are {len(found)} pages; send at most {MOST_PAGES} at a time.")
    return found


def _in_archive(name: str, path: Path) -> list[Page]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except (OSError, ValueError, zipfile.BadZipFile):
        raise Permanent(f"{name} cannot be opened as an archive; pack it again.") from None
    pictures = [entry for entry in entries if entry.lower().endswith(ENDINGS) and not _is_hidden(entry)]
    return [Page(entry.rpartition("/")[2], path, entry) for entry in sorted(pictures, key=_natural)]


def _is_hidden(entry: str) -> bool:
    """What a Mac adds to archives, for one."""
    return any(part.startswith((".", "__MACOSX")) for part in entry.split("/"))


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Page 10 comes after page 9."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in _NUMBER.split(name.lower()) if part]


def _plain(opened: Image.Image) -> Image.Image:
    """Upright, on white paper, in RGB."""
    if opened.mode.startswith("I"):  # 16 bits of grey, which convert() would cut off and not scale
        opened = Image.fromarray((np.asarray(opened, dtype=np.uint32) >> 8).astype(np.uint8))
    upright = ImageOps.exif_transpose(opened)
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    paper = Image.new("RGBA", upright.size, "white")
    return Image.alpha_composite(paper, upright.convert("RGBA")).convert("RGB")
