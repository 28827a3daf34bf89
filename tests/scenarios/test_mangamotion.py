"""Manga to motion, for real: pages are drawn here, and a server and a worker process make a film of them."""

import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from examples.mangamotion.motion import HOLD_MS, MOST_FRAMES, SIZE, Scene, frames_of
from examples.mangamotion.order import in_reading_order
from examples.mangamotion.pages import pages_of
from examples.mangamotion.panels import Box, find_panels
from PIL import Image, ImageDraw

from tests.scenarios.serving import Server, surroundings, wait_until
from tollhouse_client import Client, Permanent

ROOT = Path(__file__).parents[2]
PAPER = (900, 1300)
# Two panels, one across, and then a tall one beside two small ones, each in the order of a manga, and in a colour of its own.
LAYOUT = {
    Box(470, 40, 860, 420): "#c03030",
    Box(40, 40, 440, 420): "#30a040",
    Box(40, 460, 860, 760): "#3050c0",
    Box(560, 800, 860, 1260): "#c0a020",
    Box(40, 800, 520, 1010): "#20a0a0",
    Box(40, 1050, 520, 1260): "#a040a0",
}
LEFT_TO_RIGHT = [1, 0, 2, 4, 5, 3]


def drawn(panels: dict[Box, str], paper: str = "white", size: tuple[int, int] = PAPER) -> Image.Image:
    """A page with panels in a frame each."""
    page = Image.new("RGB", size, paper)
    pen = ImageDraw.Draw(page)
    for box, colour in panels.items():
        pen.rectangle((box.left, box.top, box.right - 1, box.bottom - 1), fill=colour, outline="#808080", width=6)
    return page


def png(page: Image.Image, format: str = "PNG") -> bytes:
    """The page as a file."""
    written = io.BytesIO()
    page.save(written, format)
    return written.getvalue()


def near(found: Sequence[Box], drawn: Sequence[Box], pixels: int = 4) -> bool:
    return len(found) == len(drawn) and all(
        abs(one - other) <= pixels for box, right in zip(found, drawn, strict=True) for one, other in zip(box, right, strict=True)
    )


@pytest.mark.parametrize("paper", ["white", "black", "#f0e8d8"])
def test_every_panel_is_found_and_read_from_right_to_left(paper: str) -> None:
    panels = in_reading_order(find_panels(drawn(LAYOUT, paper)))
    assert near(panels, list(LAYOUT))


def test_comics_are_read_from_left_to_right_when_asked() -> None:
    panels = in_reading_order(find_panels(drawn(LAYOUT)), right_to_left=False)
    assert near(panels, [list(LAYOUT)[at] for at in LEFT_TO_RIGHT])


def test_panels_that_are_only_outlined_are_found() -> None:
    assert near(in_reading_order(find_panels(drawn(dict.fromkeys(LAYOUT, "white")))), list(LAYOUT))


def test_page_number_and_specks_are_no_panels() -> None:
    page = drawn(LAYOUT)
    pen = ImageDraw.Draw(page)
    pen.text((450, 1280), "17", fill="black")
    pen.point([(20, 430), (450, 100), (880, 900)], fill="black")
    assert near(in_reading_order(find_panels(page)), list(LAYOUT))


@pytest.mark.parametrize("page", [drawn({}), drawn({}, "black"), Image.new("RGB", (1, 1)), Image.new("RGB", PAPER, "red")])
def test_page_without_gutters_is_one_panel(page: Image.Image) -> None:
    assert find_panels(page) == [Box(0, 0, *page.size)]


def test_pages_come_in_natural_order_and_hidden_files_do_not_count(tmp_path: Path) -> None:
    names = ["ch1/page10.png", "ch1/page9.PNG", "ch1/.page8.png", "__MACOSX/ch1/page9.png", "ch1/notes.txt", "ch2/page1.jpg"]
    with zipfile.ZipFile(tmp_path / "b.cbz", "w") as archive:
        for name in names:
            archive.writestr(name, png(drawn({}, size=(10, 10)), "JPEG" if name.endswith("jpg") else "PNG"))
    (tmp_path / "a.png").write_bytes(png(drawn({}, size=(10, 10))))
    found = pages_of([("b.cbz", tmp_path / "b.cbz"), ("a.png", tmp_path / "a.png")])
    assert [page.name for page in found] == ["a.png", "page9.PNG", "page10.png", "page1.jpg"]
    assert {page.picture().size for page in found} == {(10, 10)}


def test_page_is_upright_on_white_paper_whatever_its_kind(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    grey = Image.new("I;16", (40, 20), 0x8000)
    lying = Image.new("RGB", (20, 40), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    clear.save(tmp_path / "1.png")
    grey.save(tmp_path / "2.png")
    lying.save(tmp_path / "3.jpg", exif=exif)
    pictures = [page.picture() for page in pages_of((path.name, path) for path in tmp_path.iterdir())]
    assert [picture.size for picture in pictures] == [(40, 20)] * 3
    assert [picture.getpixel((5, 5)) for picture in pictures[:2]] == [(255, 255, 255), (128, 128, 128)]


def test_page_with_too_many_pixels_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    Image.new("1", (8000, 8000)).save(tmp_path / "huge.png")
    (page,) = pages_of([("huge.png", tmp_path / "huge.png")])
    with pytest.raises(Permanent, match=r"huge\.png has 8000 by 8000 pixels"):
        page.picture()


def test_film_stays_within_its_frames_however_many_panels_there_are() -> None:
    scene = Scene(PAPER, list(LAYOUT))
    assert len(frames_of([scene] * 400)) <= MOST_FRAMES
    with pytest.raises(Permanent, match="3000 panels on 500 pages"):
        frames_of([scene] * 500)


@pytest.fixture(scope="module")
def worker(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The example as its README says it is started."""
    environment = surroundings(
        {"TOLLHOUSE_URL": server.url, "TOLLHOUSE_API_KEY": server.secret, "TMPDIR": str(tmp_path_factory.mktemp("scratch"))}
    )
    process = subprocess.Popen([sys.executable, "-m", "examples.mangamotion.worker"], cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    try:
        yield
        process.terminate()
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0, said.decode()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def app(server: Server, worker: None) -> Iterator[Client]:
    with Client(server.url, server.secret, spool_dir=None) as client:
        yield client


def watched(app: Client, job: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[int, str]]]:
    """The job when it has ended, and the progress that was seen on the way."""
    seen: list[tuple[int, str]] = []

    def look() -> dict[str, Any] | None:
        now = app.job(job["id"])
        if now["status"] == "processing" and (not seen or seen[-1] != (now["progress"], now["message"])):
            seen.append((now["progress"], now["message"]))
        return now if now["status"] in ("completed", "failed") else None

    ended: dict[str, Any] = wait_until(look, "the job to end", 90)
    return ended, seen


def held(film: Image.Image) -> list[tuple[int, int, int]]:
    """The colour in the middle of each frame on which the camera rests."""
    colours = []
    for frame in range(film.n_frames):  # type: ignore[attr-defined]
        film.seek(frame)
        film.load()
        if film.info["duration"] >= HOLD_MS:
            red, green, blue = film.convert("RGB").getpixel((SIZE[0] // 2, SIZE[1] // 2))  # type: ignore[misc]
            colours.append((red, green, blue))
    return colours


def alike(seen: tuple[int, int, int], wanted: str) -> bool:
    right = (int(wanted[1:3], 16), int(wanted[3:5], 16), int(wanted[5:7], 16))
    return all(abs(one - other) < 24 for one, other in zip(seen, right, strict=True))


def test_chapter_becomes_a_film_that_rests_on_each_panel_in_order(app: Client, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "chapter.cbz", "w") as archive:
        for number in (1, 2):
            archive.writestr(f"page-{number}.png", png(drawn(LAYOUT)))
    last = {Box(40, 40, 860, 600): "#805020", Box(40, 640, 860, 1260): "#205080"}
    made = app.create_job("manga-carol", "animate", [tmp_path / "chapter.cbz", ("page-3.jpg", png(drawn(last), "JPEG"))])
    job, seen = watched(app, made)
    assert job["status"] == "completed", job["error"]
    assert [(file["role"], file["name"]) for file in job["files"]][-1] == ("result", "motion.webp")
    assert (job["result"]["pages"], job["result"]["panels"]) == (3, [6, 6, 2])
    assert {"page 1 of 3", "page 2 of 3", "page 3 of 3"} <= {message for _, message in seen}
    assert [percent for percent, _ in seen] == sorted(percent for percent, _ in seen)

    with Image.open(app.download(job["id"], tmp_path, "manga-carol")) as film:
        assert (film.format, film.size) == ("WEBP", SIZE)
        assert film.n_frames == job["result"]["frames"] > 100  # type: ignore[attr-defined]
        colours = held(film)
    wanted = [*LAYOUT.values(), *LAYOUT.values(), *last.values()]
    assert len(colours) == len(wanted)
    assert all(alike(*pair) for pair in zip(colours, wanted, strict=True)), (colours, wanted)

    thumbnail = app.thumbnail(job["id"])
    assert thumbnail["content_type"] == "image/webp"
    with Image.open(io.BytesIO(httpx.get(thumbnail["thumbnail_url"]).content)) as picture:
        assert max(picture.size) == 480
    billed = wait_until(lambda: app.summary("manga-carol")["jobs_completed"] and app.summary("manga-carol"), "the bill")
    assert billed["bytes_processed"] == sum(file["size"] for file in job["files"] if file["role"] == "input")
    assert billed["compute_seconds"] == job["compute_seconds"] > 0
    assert app.job_billing(job["id"])["job_cost"] > 0


def test_direction_of_reading_can_be_turned_around(app: Client, tmp_path: Path) -> None:
    made = app.create_job("manga-dave", "animate", [("page.png", png(drawn(LAYOUT)))], {"direction": "ltr"})
    job, _ = watched(app, made)
    with Image.open(app.download(job["id"], tmp_path)) as film:
        colours = held(film)
    wanted = [list(LAYOUT.values())[at] for at in LEFT_TO_RIGHT]
    assert all(alike(*pair) for pair in zip(colours, wanted, strict=True)), (colours, wanted)


@pytest.mark.parametrize(
    ("file", "data", "said"),
    [
        (("notes.txt", b"no picture"), {}, "There is no page in what was uploaded; send PNG, JPEG or CBZ."),
        (("cut.png", png(drawn(LAYOUT))[:3000]), {}, "cut.png cannot be read as a picture; send it again as PNG or JPEG."),
        (("page.png", png(drawn(LAYOUT))), {"direction": "up"}, "direction: 'up' is none; send rtl (right to left, as manga are) or ltr."),
    ],
    ids=["text", "cut off", "direction"],
)
def test_what_cannot_be_used_fails_at_once_with_a_sentence(app: Client, file: tuple[str, bytes], data: dict[str, Any], said: str) -> None:
    job, _ = watched(app, app.create_job("manga-dave", "animate", [file], data))
    assert (job["status"], job["attempt"], job["error"]) == ("failed", 1, said)
