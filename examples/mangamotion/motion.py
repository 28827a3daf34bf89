"""The film: a camera that looks at each page, and then pans and zooms from panel to panel.

The moves are eased (no jerk at either end) and zoom by equal ratios in equal times, so that they look even. Frames are drawn
when the encoder asks for them: a film takes the memory of one page and of what is encoded, not of its frames.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from examples.mangamotion.panels import Box
from tollhouse_client import Permanent

SIZE = (480, 640)
MOVE_MS = 80  # a frame of a move: 12.5 a second
MOVE_FRAMES = 10
HOLD_MS = 1100
PAGE_MS = 700
MOST_FRAMES = 3000
MARGIN = 1.06
CLOSER = 0.85  # how much of a page without panels is left in sight when the camera has moved in


class Camera(NamedTuple):
    """Where it looks, and how many pixels of the page it sees from left to right."""

    x: float
    y: float
    width: float


@dataclass(frozen=True)
class Frame:
    """What one frame shows, and for how long."""

    page: int
    camera: Camera
    milliseconds: int


@dataclass(frozen=True)
class Scene:
    """A page: its size, and its panels in reading order."""

    size: tuple[int, int]
    panels: Sequence[Box]


def frames_of(scenes: Sequence[Scene]) -> list[Frame]:
    """The film of those pages; many panels have shorter moves between them, so that it stays within `MOST_FRAMES`.

    Raises Permanent where there are too many even so.
    """
    stops = sum(len(scene.panels) + 1 for scene in scenes)
    if stops > MOST_FRAMES:
        raise Permanent(f"There are {stops - len(scenes)} panels on {len(scenes)} pages; send fewer pages at a time.")
    steps = min(MOVE_FRAMES, MOST_FRAMES // stops)
    frames: list[Frame] = []
    for number, scene in enumerate(scenes):
        whole = _whole(scene.size)
        frames.append(Frame(number, whole, PAGE_MS))
        before = whole
        for panel in scene.panels:
            after = _on(panel, whole)
            if after == whole:
                after = whole._replace(width=CLOSER * whole.width)
            frames += [Frame(number, _between(before, after, _eased(step / steps)), MOVE_MS) for step in range(1, steps)]
            frames.append(Frame(number, after, HOLD_MS))
            before = after
    return frames


class Film(Image.Image):
    """A picture with many frames, each of which is drawn when it is sought. `load` gives a page by its number."""

    def __init__(self, frames: Sequence[Frame], load: Callable[[int], Image.Image]) -> None:
        super().__init__()
        self._mode, self._size = "RGB", SIZE
        self._frames, self._load_page = frames, load
        self._at, self._page = -1, -1
        self.n_frames = len(frames)
        self.seek(0)

    def tell(self) -> int:
        """The number of the frame."""
        return self._at

    def seek(self, frame: int) -> None:
        """Draw that frame."""
        if frame == self._at:
            return
        shown = self._frames[frame]
        if shown.page != self._page:
            self._sheet, self._page = _Sheet(self._load_page(shown.page)), shown.page
        self.im = self._sheet.seen_by(shown.camera).im
        self._at = frame

    def write(self, path: Path) -> None:
        """Save it as an animated WebP that starts again at its end."""
        self.save(path, "WEBP", save_all=True, duration=[frame.milliseconds for frame in self._frames], loop=0, quality=72, method=1)


def _whole(size: tuple[int, int]) -> Camera:
    """Sees all of a page."""
    width, height = size
    return Camera(width / 2, height / 2, max(width, height * SIZE[0] / SIZE[1]))


def _on(panel: Box, whole: Camera) -> Camera:
    """Sees all of a panel in its middle, with a little of what is around it."""
    width = min(whole.width, max(panel.width, panel.height * SIZE[0] / SIZE[1]) * MARGIN)
    return Camera((panel.left + panel.right) / 2, (panel.top + panel.bottom) / 2, width)


def _between(start: Camera, end: Camera, part: float) -> Camera:
    width = math.exp(math.log(start.width) * (1 - part) + math.log(end.width) * part)
    return Camera(start.x + (end.x - start.x) * part, start.y + (end.y - start.y) * part, width)


def _eased(part: float) -> float:
    """Ken Perlin's "smootherstep" (2002): 0 to 1 with neither speed nor acceleration at the ends."""
    return part**3 * (part * (6 * part - 15) + 10)


class _Sheet:
    """A page on a sheet so large that the camera never looks beyond it, in the colour of the page's corner."""

    def __init__(self, page: Image.Image) -> None:
        whole = _whole(page.size)
        self._left = math.ceil(whole.width / 2)
        self._top = math.ceil(self._left * SIZE[1] / SIZE[0])
        self._sheet = Image.new("RGB", (page.width + 2 * self._left, page.height + 2 * self._top), page.getpixel((0, 0)))
        self._sheet.paste(page, (self._left, self._top))

    def seen_by(self, camera: Camera) -> Image.Image:
        """What the camera sees, as large as the film."""
        wide, high = camera.width, camera.width * SIZE[1] / SIZE[0]
        left, top = camera.x - wide / 2 + self._left, camera.y - high / 2 + self._top
        return self._sheet.resize(SIZE, Image.Resampling.BICUBIC, (left, top, left + wide, top + high), reducing_gap=2.0)
