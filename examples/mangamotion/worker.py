"""The worker: takes jobs of the kind `animate`, and returns a film for the pages that came with each.

python -m examples.mangamotion.worker
"""

import logging

from PIL import Image

from examples.mangamotion.motion import Film, Scene, frames_of
from examples.mangamotion.order import in_reading_order
from examples.mangamotion.pages import Page, pages_of
from examples.mangamotion.panels import find_panels
from tollhouse_client import Job, Permanent, Result, Worker

worker = Worker()
READING = 20  # per cent of the work that goes into finding the panels


@worker.job("animate")
def animate(job: Job) -> Result:
    """An animated WebP of the pages. `data` may say `{"direction": "ltr"}` for comics that are read from left to right."""
    direction = job.data.get("direction", "rtl")
    if direction not in ("rtl", "ltr"):
        raise Permanent(f"direction: {str(direction)[:40]!r} is none; send rtl (right to left, as manga are) or ltr.")
    pages = pages_of([(file.name, file.path()) for file in job.files])
    scenes = [_scene(job, pages, number, direction == "rtl") for number in range(len(pages))]
    frames = frames_of(scenes)

    def load(number: int) -> Image.Image:
        part = READING + (100 - READING) * number // len(pages)
        job.progress(part, f"page {number + 1} of {len(pages)}")
        return pages[number].picture()

    film = job.scratch / "motion.webp"
    Film(frames, load).write(film)
    told = {"pages": len(pages), "panels": [len(scene.panels) for scene in scenes], "frames": len(frames), "direction": direction}
    return Result([film], told | {"milliseconds": sum(frame.milliseconds for frame in frames)})


def _scene(job: Job, pages: list[Page], number: int, right_to_left: bool) -> Scene:
    job.progress(READING * number / len(pages), f"reading page {number + 1} of {len(pages)}")
    picture = pages[number].picture()
    return Scene(picture.size, in_reading_order(find_panels(picture), right_to_left))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    worker.run()
