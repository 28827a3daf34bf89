"""Files that are sent to an address of their own: judged when their job is made, and kept as they were judged."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.jobs.conftest import LIMIT
from tests.jobs.customer import claim, files_of, hand_in, kept, litter, nothing_left, refused
from tests.jobs.direct import PAGE, alone, create, presigned, send
from tests.jobs.floor import Clock
from tests.jobs.material import comic
from tests.scenarios.serving import House, Tenant
from tollhouse.jobs import JobFile
from tollhouse.settings import Settings


def test_a_file_that_was_sent_directly_becomes_a_jobs(house: House, manga: Tenant) -> None:
    one, other = presigned(manga), presigned(manga, comic(), "chapter #3.cbz")
    assert (one["method"], one["headers"], one["expires_in"]) == ("PUT", {"Content-Type": "image/png"}, 3600)
    assert send(one).json() == {"key": one["key"], "size": len(PAGE)}
    assert send(other, comic()).status_code == 200
    job = create(manga, one, other)
    assert files_of(job) == [("page.png", len(PAGE), "image/png"), ("chapter #3.cbz", len(comic()), "application/zip")]
    assert job["bytes"] == len(PAGE) + len(comic())
    with house.tollhouse.records.reading() as session:
        given = sorted(session.scalars(sa.select(JobFile.key).where(JobFile.organization == manga.id)))
    assert litter(house.tollhouse, manga.id) == given
    assert len(given) == 2
    assert not {one["key"], other["key"]} & set(given)


def test_a_directory_keeps_no_folder_of_an_upload(tmp_path: Path) -> None:
    with alone(Settings(data=tmp_path / "data")) as (house, manga):
        place = presigned(manga)
        send(place)
        create(manga, place)
        folders = [path for path in (tmp_path / "data" / "objects").rglob("*") if path.is_dir()]
        assert [path.name for path in folders] == ["files", manga.id]
        assert len(kept(house.tollhouse, manga.id)) == 1


def test_a_file_may_be_sent_again_until_its_job_is_made(manga: Tenant) -> None:
    place = presigned(manga)
    other = bytearray(PAGE)
    other[-1] ^= 1
    assert send(place, bytes(other)).status_code == 200
    assert send(place).status_code == 200
    create(manga, place)
    refused(send(place, bytes(other)), 409)
    (file,) = claim(manga.api)["files"]
    assert httpx.get(file["url"], trust_env=False).content == PAGE


@pytest.mark.parametrize(("content", "status"), [(b"", 422), (PAGE[:-1], 422), (PAGE + b"x", 413), (PAGE * 1000, 413)])
def test_a_file_of_another_size_than_announced_is_not_kept(house: House, manga: Tenant, content: bytes, status: int) -> None:
    place = presigned(manga)
    refused(send(place, content), status, str(len(PAGE)))
    assert kept(house.tollhouse, manga.id) == []
    create(manga, place, status=422)


def test_a_file_that_has_not_been_sent_makes_no_job(manga: Tenant) -> None:
    assert "page.png" in create(manga, presigned(manga), status=422)


def test_a_file_is_judged_when_its_job_is_made(manga: Tenant) -> None:
    content = b"<html><script>alert(1)</script></html>"
    place = presigned(manga, content)
    assert send(place, content).status_code == 200
    assert "text/html" in create(manga, place, status=422)
    assert manga.api.get("/api/jobs").json()["total"] == 0


def test_an_upload_of_another_customer_or_organization_is_not_there(manga: Tenant, beats: Tenant) -> None:
    place = presigned(manga, user="carol")
    send(place)
    create(manga, place, status=404, user="dave")
    create(beats, place, status=404)
    create(manga, place)


def test_an_upload_is_used_once(manga: Tenant) -> None:
    place, other = presigned(manga), presigned(manga)
    send(place)
    send(other)
    assert "twice" in create(manga, place, place, status=422)
    create(manga, place)
    create(manga, place, status=404)
    create(manga, other, place, status=404)
    create(manga, other)


def test_a_key_that_was_made_up_is_not_there(house: House, manga: Tenant) -> None:
    job = hand_in(manga.api, ("page.png", PAGE))
    (taken,) = kept(house.tollhouse, manga.id)
    for key in ("x", "../x", f"files/{manga.id}/x/page.png", taken, "files/" + "x" * 400):
        create(manga, {"key": key}, status=404)
    assert files_of(manga.api.get(f"/api/jobs/{job['id']}").json())


def test_an_address_is_good_for_an_hour(manga: Tenant, clock: Clock) -> None:
    place = presigned(manga)
    clock.forward(minutes=59)
    assert send(place).status_code == 200
    clock.forward(minutes=1)
    refused(send(place), 403, "expired")
    create(manga, place)


def test_an_upload_that_nobody_used_in_time_is_gone(house: House, manga: Tenant, clock: Clock) -> None:
    place = presigned(manga)
    send(place)
    clock.forward(hours=24)
    create(manga, place, status=404)
    house.tollhouse.sweep_uploads()
    nothing_left(house, manga)


def test_an_address_is_not_good_for_longer_than_its_upload_is_known(tmp_path: Path) -> None:
    with alone(Settings(data=tmp_path / "data", upload_hours=0.5)) as (house, manga):
        assert presigned(manga)["expires_in"] == 1800
        parts = house.tollhouse.parts
        place = presigned(manga)
        parts.clock = Clock(parts.clock() + timedelta(minutes=30))
        refused(send(place), 403, "expired")


def test_an_address_is_for_its_one_object_and_for_sending(manga: Tenant) -> None:
    place, other = presigned(manga), presigned(manga)
    token = place["url"].rsplit("/", 1)[1]
    for changed in (
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        token[1:],
        "x",
        other["url"].rsplit("/", 1)[1].partition(".")[0] + "." + token.partition(".")[2],
    ):
        refused(httpx.put(place["url"].replace(token, changed), content=PAGE, trust_env=False), 403)
    refused(httpx.get(f"{place['url']}/page.png", trust_env=False), 403)
    assert httpx.get(place["url"], trust_env=False).status_code == 405


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"filename": "../evil.png"}, 422, "evil.png"),
        ({"filename": ""}, 422, "name"),
        ({"filename": "x" * 300}, 422, "filename"),
        ({"contentType": "text/html"}, 422, "text/html"),
        ({"fileSizeBytes": 0}, 422, "fileSizeBytes"),
        ({"fileSizeBytes": LIMIT + 1}, 422, str(LIMIT)),
        ({"fileSizeBytes": "9"}, 422, "fileSizeBytes"),
        ({"user_id": None}, 422, "user_id"),
        ({"surprise": 1}, 422, "surprise"),
    ],
)
def test_an_announcement_that_makes_no_sense_reserves_nothing(
    small: House, limited: Tenant, change: dict[str, Any], status: int, word: str
) -> None:
    wanted = {"filename": "page.png", "contentType": "image/png", "fileSizeBytes": 9, "user_id": "carol"} | change
    refused(limited.api.post("/api/presign", json=wanted), status, word)
    nothing_left(small, limited)


def test_more_uploads_than_a_job_may_have_are_refused(small: House, limited: Tenant) -> None:
    places = [presigned(limited) for _ in range(4)]
    for place in places:
        send(place)
    create(limited, *places, status=422)
    create(limited, *places[:3])


def test_direct_uploads_that_are_too_much_together_are_refused(small: House, limited: Tenant) -> None:
    content = b"x" * LIMIT
    places = [presigned(limited, content, f"{at}.txt") for at in range(3)]
    for place in places:
        assert send(place, content).status_code == 200
    assert str(2 * LIMIT) in create(limited, *places, status=422)
    create(limited, *places[:2])
