"""Finds the panels of a page: a recursive XY-cut along the gutters between them.

The page is made black and white by how much it differs from its margin, then cut wherever a whole row or column of it is
empty, rows first, and each piece again until none can be cut (G. Nagy and S. Seth, "Hierarchical Representation of
Optically Scanned Documents", ICPR 1984). Gutters that are slanted, or that a drawing breaks through, are not found: those
panels stay together.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 900
CONTRAST = 48
SPECKS = 1
GUTTER = 0.006
LEAST_SIDE = 0.05
LEAST_AREA = 0.01
Ink = npt.NDArray[np.bool_]


class Box(NamedTuple):
    """A rectangle in pixels; `right` and `bottom` are just outside of it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """From left to right."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """From top to bottom."""
        return self.bottom - self.top


def find_panels(page: Image.Image) -> list[Box]:
    """The panels, from top to bottom and from left to right; the whole page if there are none to be told apart."""
    scale = min(1.0, SIDE / max(page.size))
    small = page.convert("L").resize((max(1, round(page.width * scale)), max(1, round(page.height * scale))), Image.Resampling.BOX)
    ink = _ink(np.asarray(small))
    pieces = _cut(ink, Box(0, 0, small.width, small.height), max(3, round(GUTTER * max(small.size))))
    found = [_enlarged(piece, scale, page) for piece in pieces if _is_panel(piece, small)]
    return found or [Box(0, 0, page.width, page.height)]


def _ink(gray: npt.NDArray[Any]) -> Ink:
    """Where the page differs from its margin, be that white or black."""
    shades = gray.astype(np.int16)
    margin = np.median(np.concatenate([shades[0], shades[-1], shades[:, 0], shades[:, -1]]))
    drawn: Ink = np.abs(shades - margin) > CONTRAST
    return drawn


def _cut(ink: Ink, box: Box, gutter: int) -> list[Box]:
    rows = _segments(ink[box.top : box.bottom, box.left : box.right], 1, gutter)
    if len(rows) != 1:
        return [piece for start, end in rows for piece in _cut(ink, box._replace(top=box.top + start, bottom=box.top + end), gutter)]
    box = box._replace(top=box.top + rows[0][0], bottom=box.top + rows[0][1])
    columns = _segments(ink[box.top : box.bottom, box.left : box.right], 0, gutter)
    pieces = [box._replace(left=box.left + start, right=box.left + end) for start, end in columns]
    if len(pieces) == 1:
        # What was cut away at the sides may have been all that kept two rows together.
        return pieces if pieces[0] == box else _cut(ink, pieces[0], gutter)
    return [leaf for piece in pieces for leaf in _cut(ink, piece, gutter)]


def _segments(ink: Ink, axis: int, gutter: int) -> list[tuple[int, int]]:
    """The stretches with something in them, which gutters part."""
    drawn = np.flatnonzero(np.count_nonzero(ink, axis=axis) > SPECKS)
    if not len(drawn):
        return []
    ends = np.flatnonzero(np.diff(drawn) > gutter)
    starts = [int(drawn[0]), *(int(drawn[end + 1]) for end in ends)]
    return list(zip(starts, [*(int(drawn[end]) + 1 for end in ends), int(drawn[-1]) + 1], strict=True))


def _is_panel(piece: Box, page: Image.Image) -> bool:
    """Not a page number, a speck or a line."""
    return (
        piece.width >= LEAST_SIDE * page.width
        and piece.height >= LEAST_SIDE * page.height
        and piece.width * piece.height >= LEAST_AREA * page.width * page.height
    )


def _enlarged(piece: Box, scale: float, page: Image.Image) -> Box:
    """The same in the pixels of the page."""
    return Box(
        int(piece.left / scale),
        int(piece.top / scale),
        min(page.width, -int(-piece.right // scale)),
        min(page.height, -int(-piece.bottom // scale)),
    )
