"""What comes out of a job is reached by an address that names one file, for an hour; and looked at as a small picture."""

import io
import zipfile
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.jobs.customer import claim, complete, done_job, hand_in, refused
from tests.jobs.floor import Clock
from tests.jobs.material import GOOD, animation, archive, comic, document, picture, sound
from tests.scenarios.serving import Tenant
from tollhouse.jobs import draw

PAGE, OTHER = picture(colour="teal"), picture(colour="maroon")


def link(tenant: Tenant, job: dict[str, Any], **params: str) -> dict[str, Any]:
    answer = tenant.api.get(f"/api/jobs/{job['id']}/download", params=params)
    assert answer.status_code == 200, answer.text
    offered: dict[str, Any] = answer.json()
    return offered


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False)


def test_a_link_gives_the_result_to_whoever_holds_it(manga: Tenant) -> None:
    job = done_job(manga.api, ("page 1.png", PAGE))
    offered = link(manga, job)
    assert (offered["job_id"], offered["expires_in"], offered["content_type"]) == (job["id"], 3600, "image/png")
    assert (offered["name"], offered["size"]) == ("page 1.png", len(PAGE))
    fetched = get(offered["download_url"])
    assert (fetched.status_code, fetched.content) == (200, PAGE)
    assert (fetched.headers["content-type"], fetched.headers["content-length"]) == ("image/png", str(len(PAGE)))


@pytest.mark.parametrize(
    ("name", "content"), [("page.png", PAGE), ("evil.html", b"<script>alert(1)</script>"), ("evil.svg", b"<svg onload='alert(1)'/>")]
)
def test_a_result_is_saved_and_never_runs_as_a_page_of_ours(manga: Tenant, name: str, content: bytes) -> None:
    headers = get(link(manga, done_job(manga.api, (name, content)))["download_url"]).headers
    assert headers["content-disposition"].startswith(f'attachment; filename="{name}"')
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert "no-store" in headers["cache-control"]


def test_a_name_in_another_script_is_kept_for_whoever_saves_the_file(manga: Tenant) -> None:
    offered = link(manga, done_job(manga.api, ("日本 (1);.png", PAGE)))
    fetched = get(offered["download_url"])
    assert fetched.content == PAGE
    assert (
        fetched.headers["content-disposition"]
        == "attachment; filename=\"__ (1)_.png\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC%20%281%29%3B.png"
    )


def test_a_link_is_refused_after_its_hour(manga: Tenant, clock: Clock) -> None:
    url = link(manga, done_job(manga.api, ("page.png", PAGE)))["download_url"]
    clock.forward(minutes=59, seconds=58)
    assert get(url).status_code == 200
    clock.forward(seconds=2)
    assert refused(get(url), 403) == "This link has expired; ask for a new one."


def test_a_new_link_is_good_when_the_old_one_has_expired(manga: Tenant, clock: Clock) -> None:
    job = done_job(manga.api, ("page.png", PAGE))
    link(manga, job)
    clock.forward(hours=2)
    assert get(link(manga, job)["download_url"]).content == PAGE


def test_a_link_with_a_changed_character_is_refused(manga: Tenant) -> None:
    url = link(manga, done_job(manga.api, ("page.png", PAGE)))["download_url"]
    base, token, name = url.rsplit("/", 2)
    for at in range(0, len(token), 7):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        refused(get(f"{base}/{changed}/{name}"), 403, "not one of ours")
    refused(get(f"{base}/{token[:-1]}/{name}"), 403)
    refused(get(f"{base}/x/{name}"), 403)


def test_a_link_is_for_its_one_file(manga: Tenant) -> None:
    one, other = (
        link(manga, done_job(manga.api, (name, content)))["download_url"] for name, content in (("a.png", PAGE), ("b.png", OTHER))
    )
    base, token, _ = one.rsplit("/", 2)
    refused(get(f"{base}/{token}/b.png"), 404)
    refused(get(f"{base}/{token}/A.png"), 404)
    mixed = token.partition(".")[0] + "." + other.rsplit("/", 2)[1].partition(".")[2]
    refused(get(f"{base}/{mixed}/a.png"), 403)
    refused(httpx.put(f"{base}/{token}", content=PAGE, trust_env=False), 403)
    assert get(one).content == PAGE


def test_a_customer_is_given_links_to_their_own_results_only(manga: Tenant, beats: Tenant) -> None:
    job = done_job(manga.api, ("page.png", PAGE))
    assert link(manga, job, user_id="carol")["name"] == "page.png"
    for what in ("download", "thumbnail"):
        refused(manga.api.get(f"/api/jobs/{job['id']}/{what}", params={"user_id": "dave"}), 404)
        refused(manga.api.get(f"/api/jobs/{job['id']}/{what}", headers={"x-user-id": "dave"}), 404)
        refused(beats.api.get(f"/api/jobs/{job['id']}/{what}"), 404)


def test_any_file_of_the_job_can_be_asked_for_and_no_other_jobs(manga: Tenant) -> None:
    hand_in(manga.api, ("input.png", OTHER))
    job = complete(manga.api, claim(manga.api), ("one.png", PAGE), ("two.pdf", document()))
    ids = {file["name"]: file["id"] for file in job["files"]}
    assert set(ids) == {"input.png", "one.png", "two.pdf"}
    assert link(manga, job)["name"] == "one.png"
    assert get(link(manga, job, file=ids["two.pdf"])["download_url"]).headers["content-type"] == "application/pdf"
    assert get(link(manga, job, file=ids["input.png"])["download_url"]).content == OTHER
    other = done_job(manga.api, ("page.png", PAGE))
    refused(manga.api.get(f"/api/jobs/{job['id']}/download", params={"file": other["files"][0]["id"]}), 404)
    refused(manga.api.get(f"/api/jobs/{job['id']}/download", params={"file": "fil_x"}), 404)


def test_a_job_that_is_not_completed_has_no_link(manga: Tenant) -> None:
    job = hand_in(manga.api, ("input.png", PAGE))
    path = f"/api/jobs/{job['id']}/download"
    refused(manga.api.get(path), 409, "pending")
    held = claim(manga.api)
    refused(manga.api.get(path), 409, "processing")
    manga.api.post(f"/api/jobs/{job['id']}/fail", json={"fence": held["fence"], "retry": False})
    refused(manga.api.get(path), 409, "failed")
    manga.api.post(f"/api/jobs/{job['id']}/retry")
    manga.api.post(f"/api/jobs/{job['id']}/cancel")
    refused(manga.api.get(path), 409, "cancelled")
    manga.api.post(f"/api/jobs/{job['id']}/retry")
    complete(manga.api, claim(manga.api), status="skipped")
    refused(manga.api.get(path), 409, "skipped")


def test_a_job_that_was_completed_without_a_file_says_so(manga: Tenant) -> None:
    refused(manga.api.get(f"/api/jobs/{done_job(manga.api)['id']}/download"), 404, "without a file")


# Thumbnails


def thumbnail(tenant: Tenant, job: dict[str, Any]) -> httpx.Response:
    answer = tenant.api.get(f"/api/jobs/{job['id']}/thumbnail")
    assert answer.status_code == 200, answer.text
    offered = answer.json()
    fetched = get(offered["thumbnail_url"])
    assert (fetched.status_code, fetched.headers["content-type"]) == (200, offered["content_type"])
    return fetched


def near(content: bytes, colour: tuple[int, int, int]) -> Image.Image:
    shown = Image.open(io.BytesIO(content))
    assert shown.format == "WEBP"
    assert max(shown.size) <= 480
    middle = shown.convert("RGB").getpixel((shown.width // 2, shown.height // 2))
    assert isinstance(middle, tuple)
    assert all(abs(one - other) < 30 for one, other in zip(middle, colour, strict=True)), middle
    return shown


@pytest.mark.parametrize(
    ("name", "content", "colour"),
    [
        ("page.png", picture("PNG", (2000, 1000), "teal"), (0, 128, 128)),
        ("page.jpg", picture("JPEG", (2000, 1000), "maroon"), (128, 0, 0)),
        ("page.gif", picture("GIF"), (0, 128, 128)),
        ("moving.webp", animation("WEBP"), (255, 0, 0)),
        ("moving.gif", animation("GIF"), (255, 0, 0)),
        ("book.cbz", comic(), (255, 0, 0)),
        ("book.zip", archive({"z.png": picture(colour="blue"), "notes.txt": b"x", "a/1.jpg": picture("JPEG", colour="lime")}), (0, 255, 0)),
        ("paper.pdf", document("navy"), (0, 0, 128)),
    ],
)
def test_a_result_with_a_picture_in_it_has_a_thumbnail(manga: Tenant, name: str, content: bytes, colour: tuple[int, int, int]) -> None:
    fetched = thumbnail(manga, done_job(manga.api, (name, content)))
    near(fetched.content, colour)
    assert fetched.headers["content-disposition"] == "inline"
    assert fetched.headers["content-security-policy"] == "default-src 'none'; sandbox"


def test_a_thumbnail_keeps_the_proportions_and_what_is_transparent() -> None:
    written = io.BytesIO()
    Image.new("RGBA", (1000, 500), (255, 0, 0, 0)).save(written, "PNG")
    content = draw(written, "image/png")
    assert content is not None
    shown = Image.open(io.BytesIO(content))
    assert shown.size == (480, 240)
    assert shown.convert("RGBA").getpixel((5, 5))[3] == 0  # type: ignore[index]


def test_the_first_result_with_a_picture_is_shown(manga: Tenant) -> None:
    job = done_job(
        manga.api, ("notes.txt", b"text"), ("sound.wav", sound()), ("page.png", picture(colour="teal")), ("b.png", picture(colour="red"))
    )
    near(thumbnail(manga, job).content, (0, 128, 128))
    assert [file["role"] for file in job["files"]] == ["result"] * 4


@pytest.mark.parametrize(
    ("name", "content", "icon"),
    [
        ("notes.txt", b"text", "text"),
        ("sound.wav", sound(), "audio"),
        ("film.mp4", GOOD["film.mp4"][1], "video"),
        ("book.zip", archive({"notes.txt": b"x"}), "file"),
        ("data.bin", bytes(100), "file"),
        ("page.png", picture()[:60], "image"),
        ("paper.pdf", b"%PDF-1.4\n" + bytes(50), "file"),
    ],
)
def test_a_result_without_a_picture_has_an_icon(manga: Tenant, name: str, content: bytes, icon: str) -> None:
    job = done_job(manga.api, (name, content))
    offered = manga.api.get(f"/api/jobs/{job['id']}/thumbnail").json()
    assert offered["content_type"] == "image/svg+xml"
    assert offered["thumbnail_url"].endswith(f"/static/icons/{icon}.svg")
    assert b"<svg" in thumbnail(manga, job).content


def test_a_job_without_a_result_has_an_icon(manga: Tenant) -> None:
    assert thumbnail(manga, hand_in(manga.api, ("page.png", PAGE))).headers["content-type"] == "image/svg+xml"


def bomb(side: tuple[int, int]) -> bytes:
    """A picture that is small as long as nobody unpacks it."""
    written = io.BytesIO()
    Image.new("1", side).save(written, "PNG")
    return written.getvalue()


@pytest.mark.parametrize("side", [(9_000, 9_000), (12_000, 10_000), (30_000, 20_000)])
def test_a_picture_that_unpacks_to_too_many_pixels_is_not_drawn(manga: Tenant, side: tuple[int, int]) -> None:
    content = bomb(side)
    assert len(content) < 200_000
    assert draw(io.BytesIO(content), "image/png") is None
    assert draw(io.BytesIO(archive({"page.png": content})), "application/zip") is None
    assert thumbnail(manga, done_job(manga.api, ("page.png", content))).headers["content-type"] == "image/svg+xml"


def test_an_archive_that_is_packed_in_a_way_we_do_not_know_is_not_drawn() -> None:
    strange = bytearray(archive({"page.png": picture()}))
    for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        strange[strange.index(mark) + offset] = 99
    assert draw(io.BytesIO(bytes(strange)), "application/zip") is None


def test_an_archive_whose_page_is_damaged_is_not_drawn() -> None:
    packed = bytearray(archive({"page.png": bytes(500) + picture()}, zipfile.ZIP_DEFLATED))
    packed[45] ^= 0xFF
    assert draw(io.BytesIO(bytes(packed)), "application/zip") is None


TURNED = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\3\0\1\0\0\0\6\0\0\0\0\0\0\0"
DRAWABLE = {name: file for name, file in GOOD.items() if file[0].startswith(("image/", "application/"))} | {
    "scan.tiff": ("image/tiff", picture("TIFF")),
    "scan.bmp": ("image/bmp", picture("BMP")),
    "turned.jpg": ("image/jpeg", picture("JPEG", exif=TURNED)),
}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(list(DRAWABLE)), st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=10), st.integers(0, 300))
def test_whatever_is_damaged_is_drawn_or_not_and_nothing_else_happens(name: str, changes: list[tuple[int, int]], cut: int) -> None:
    content_type, whole = DRAWABLE[name]
    content = bytearray(whole)
    for at, value in changes:
        content[at % len(content)] = value
    drawn = draw(io.BytesIO(bytes(content[: len(content) - cut % len(content)])), content_type)
    assert drawn is None or drawn.startswith(b"RIFF")


def test_a_picture_that_was_taken_sideways_is_shown_upright() -> None:
    drawn = draw(io.BytesIO(picture("JPEG", (400, 100), exif=TURNED)), "image/jpeg")
    assert drawn is not None
    assert Image.open(io.BytesIO(drawn)).size == (100, 400)
