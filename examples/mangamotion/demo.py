"""Hand in pages as a customer, have the worker make a film of them, and fetch it."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from tollhouse.cli.output import progress, show
from tollhouse_client import Client

PAPER = (800, 1200)
MARGIN, GUTTER = 40, 30


def run(url: str, folder: Path) -> None:
    """Three pages from carol's hands to a film, by a worker in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = [_drawn(folder / f"page-{number}.png", number) for number in (1, 2, 3)]
    with Client(url) as client, _at_work(url):
        id = client.create_job("carol", "animate", pages)["id"]
        job = _ended(client, id)
        client.download(id, folder / "motion.webp")
        cost = client.job_billing(id)["job_cost"]
    told = job["result"]
    row = (job["id"], told["pages"], sum(told["panels"]), told["frames"], job["compute_seconds"], f"{cost:f}")
    names = ("job", "pages", "panels", "frames", "compute seconds", "cost, USD")
    show(job, False, names, [row], f"\nA film of manga, at {folder / 'motion.webp'}")


@contextmanager
def _at_work(url: str) -> Iterator[None]:
    """The worker, as a user would start it."""
    command = [sys.executable, "-m", "examples.mangamotion.worker"]
    worker = subprocess.Popen(command, env=os.environ | {"TOLLHOUSE_URL": url}, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(30)


def _ended(client: Client, id: str) -> dict[str, Any]:
    """The job once it has ended, with a bar on the way."""
    deadline = time.monotonic() + 120
    with progress("make a film of three pages", 100) as advance:
        while (job := client.job(id))["status"] in ("pending", "processing"):
            if time.monotonic() > deadline:
                raise SystemExit(f"The film was not made in two minutes; the job is {job['status']}.")
            advance(job["progress"])
            time.sleep(0.1)
    if job["status"] != "completed":
        raise SystemExit(f"The film was not made: {job['error']}")
    return job


def _drawn(path: Path, seed: int) -> Path:
    """A page of panels, each with something in it to look at."""
    chance = random.Random(seed)  # noqa: S311  # drawings, not secrets
    page = Image.new("RGB", PAPER, "white")
    draw = ImageDraw.Draw(page)
    top = MARGIN
    for height in (360, 400, PAPER[1] - 2 * MARGIN - 760 - 2 * GUTTER):
        columns, left = chance.choice((1, 2, 2, 3)), MARGIN
        width = (PAPER[0] - 2 * MARGIN - (columns - 1) * GUTTER) // columns
        for _ in range(columns):
            box = (left, top, left + width, top + height)
            draw.rectangle(box, fill=(chance.randrange(190, 245),) * 3, outline="black", width=5)
            x, y, size = left + width // 2, top + height // 2, min(width, height) // 4
            draw.ellipse(
                (x - size, y - size, x + size, y + size), fill=tuple(chance.randrange(90, 230) for _ in range(3)), outline="black", width=4
            )
            draw.arc((x - size // 2, y - size // 3, x + size // 2, y + size // 2), 20, 160, fill="black", width=4)
            left += width + GUTTER
        top += height + GUTTER
    page.save(path)
    return path
