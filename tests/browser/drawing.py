"""Pages of manga, drawn for tests."""

import io
import random
from functools import cache

from PIL import Image, ImageDraw


@cache
def page_of_manga(seed: int) -> bytes:
    """A PNG of 600 by 900 pixels with six panels."""
    chance = random.Random(seed)
    page = Image.new("RGB", (600, 900), "white")
    draw = ImageDraw.Draw(page)
    for at in range(6):
        left, top = 20 + at % 2 * 290, 20 + at // 2 * 290
        grey = chance.randrange(120, 240)
        draw.rectangle((left, top, left + 270, top + 270), outline="black", width=4, fill=(grey, grey, grey))
        for _ in range(3):
            x, y, size = left + chance.randrange(40, 180), top + chance.randrange(40, 180), chance.randrange(20, 70)
            draw.ellipse((x, y, x + size, y + size), outline="black", width=3, fill=(chance.randrange(256), 120, 160))
    written = io.BytesIO()
    page.save(written, "PNG")
    return written.getvalue()
