"""Files in a bucket: they go there and come from there by S3's own addresses, and processes die on the way."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
import sqlalchemy as sa

from tests.contract.test_objects import moto, rclone  # noqa: F401  # fixtures
from tests.jobs.conftest import LIMIT
from tests.jobs.customer import claim, complete, hand_in, kept, litter, named, refused
from tests.jobs.direct import PAGE, a_day_later, alone, create, in_bucket, presigned, send
from tests.scenarios.serving import House, Tenant
from tollhouse import jobs
from tollhouse.jobs import Inspected, Upload
from tollhouse.kit.errors import Unavailable
from tollhouse.settings import Settings
from tollhouse.web.intake import Intake


@pytest.fixture(params=["rclone", "moto"])
def on_s3(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[House, Tenant]]:
    """Alice's organization in a Tollhouse whose files lie in a bucket."""
    with alone(Settings(data=tmp_path / "data", max_upload_bytes=LIMIT, **in_bucket(request.getfixturevalue(request.param)))) as both:
        yield both


def test_on_s3_a_file_goes_straight_to_the_bucket_and_comes_straight_from_it(on_s3: tuple[House, Tenant]) -> None:
    house, manga = on_s3
    place = presigned(manga)
    assert urlsplit(place["url"]).netloc == house.tollhouse.settings.s3_endpoint
    assert "X-Amz-Signature" in place["url"]
    assert send(place).status_code == 200
    job = create(manga, place)
    held = claim(manga.api)
    assert httpx.get(held["files"][0]["url"], trust_env=False).content == PAGE
    complete(manga.api, held, ("result 1.png", PAGE))
    link = manga.api.get(f"/api/jobs/{job['id']}/download").json()
    assert urlsplit(link["download_url"]).netloc == house.tollhouse.settings.s3_endpoint
    assert "X-Amz-Expires=3600" in link["download_url"]
    fetched = httpx.get(link["download_url"], trust_env=False)
    assert fetched.content == PAGE
    picture_of = manga.api.get(f"/api/jobs/{job['id']}/thumbnail").json()
    assert httpx.get(picture_of["thumbnail_url"], trust_env=False).headers["content-type"] == "image/webp"


def test_on_s3_a_result_is_saved_and_not_shown(on_s3: tuple[House, Tenant]) -> None:
    _, manga = on_s3
    hand_in(manga.api)
    job = complete(manga.api, claim(manga.api), ("日本.html", b"<html>"))
    fetched = httpx.get(manga.api.get(f"/api/jobs/{job['id']}/download").json()["download_url"], trust_env=False)
    assert fetched.headers["content-disposition"].startswith("attachment;")


@pytest.mark.parametrize("on_s3", ["moto"], indirect=True)
def test_on_s3_an_address_names_its_one_object_and_its_hour(on_s3: tuple[House, Tenant]) -> None:
    _, manga = on_s3
    place, other = presigned(manga), presigned(manga)
    signed = urlsplit(place["url"])
    assert signed.path.endswith(quote(place["key"]))
    assert "X-Amz-Expires=3600" in signed.query
    assert parse_qs(signed.query)["X-Amz-Signature"] != parse_qs(urlsplit(other["url"]).query)["X-Amz-Signature"]


def test_on_s3_the_same_is_refused_as_in_a_directory(on_s3: tuple[House, Tenant]) -> None:
    house, manga = on_s3
    place = presigned(manga)
    assert "page.png" in create(manga, place, status=422)  # nothing was sent
    send(place, PAGE + b"x")
    assert str(len(PAGE)) in create(manga, place, status=422)  # another size
    send(place)
    create(manga, place, status=404, user="dave")
    create(manga, place)
    create(manga, place, status=404)
    (given,) = kept(house.tollhouse, manga.id)
    fake = presigned(manga, b"<html>")
    send(fake, b"<html>")
    assert "text/html" in create(manga, fake, status=422)
    refused(
        manga.api.post("/api/jobs", data={"kind": "animate", "user_id": "carol"}, files=named(("page.png", PAGE), ("page.png", b"<html>"))),
        422,
    )
    assert kept(house.tollhouse, manga.id) == sorted([given, fake["key"]])
    a_day_later(house)
    house.tollhouse.sweep_uploads()
    assert litter(house.tollhouse, manga.id) == [given]


def test_on_s3_what_is_sent_after_the_job_was_made_changes_nothing_and_is_swept_away(on_s3: tuple[House, Tenant]) -> None:
    house, manga = on_s3
    place = presigned(manga)
    send(place)
    create(manga, place)
    (given,) = kept(house.tollhouse, manga.id)
    assert send(place, b"<html>" + bytes(500_000)).status_code == 200
    (file,) = claim(manga.api)["files"]
    assert httpx.get(file["url"], trust_env=False).content == PAGE
    assert len(kept(house.tollhouse, manga.id)) == 2
    create(manga, place, status=404)
    a_day_later(house)
    house.tollhouse.sweep_uploads()
    assert kept(house.tollhouse, manga.id) == [given]
    assert rows(house, manga) == []


def test_on_s3_what_is_exchanged_while_it_is_judged_is_not_what_the_worker_is_given(
    on_s3: tuple[House, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, manga = on_s3
    place = presigned(manga)
    send(place)
    plain = jobs.inspect

    def inspect(*judged: Any) -> Inspected:
        found = plain(*judged)
        assert send(place, b"<html>".ljust(len(PAGE))).status_code == 200
        return found

    monkeypatch.setattr(jobs, "inspect", inspect)
    create(manga, place)
    (file,) = claim(manga.api)["files"]
    assert httpx.get(file["url"], trust_env=False).content == PAGE


def test_on_s3_a_file_has_the_type_that_it_shows_and_not_the_one_it_was_sent_with(on_s3: tuple[House, Tenant]) -> None:
    _, manga = on_s3
    place = presigned(manga)
    assert httpx.put(place["url"], content=PAGE, headers={"content-type": "text/html"}, trust_env=False).status_code == 200
    create(manga, place)
    fetched = httpx.get(claim(manga.api)["files"][0]["url"], trust_env=False)
    assert fetched.headers["content-type"] == "image/png"
    assert fetched.headers["content-disposition"].startswith("attachment;")


def test_on_s3_a_file_too_large_for_one_put_is_refused_before_it_is_sent(on_s3: tuple[House, Tenant]) -> None:
    house, manga = on_s3
    parts = house.tollhouse.parts
    parts.jobs = parts.intake.terms = replace(parts.jobs, limits=replace(parts.jobs.limits, file_bytes=1 << 40))
    wanted = {"filename": "film.mp4", "contentType": "video/mp4", "fileSizeBytes": 5 << 30, "user_id": "carol"}
    assert manga.api.post("/api/presign", json=wanted).status_code == 200
    refused(manga.api.post("/api/presign", json=wanted | {"fileSizeBytes": (5 << 30) + 1}), 422, str(5 << 30))


# Wherever files lie, processes die


@pytest.fixture(params=["directory", "rclone", "moto"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[House, Tenant]]:
    """Alice's organization, with files in a directory or a bucket."""
    bucket = {} if request.param == "directory" else in_bucket(request.getfixturevalue(request.param))
    with alone(Settings(data=tmp_path / "data", **bucket)) as both:
        yield both


def rows(house: House, tenant: Tenant) -> list[str]:
    """The keys of all uploads that are known."""
    with house.tollhouse.records.reading() as session:
        return list(session.scalars(sa.select(Upload.key).where(Upload.organization == tenant.id)))


def bill(tenant: Tenant) -> Any:
    return tenant.api.get("/api/billing/summary", params={"user_id": "carol"}).json()["bytes_processed"]


def test_a_process_that_dies_between_copy_and_job_leaves_an_upload_that_can_be_used(stored: tuple[House, Tenant]) -> None:
    house, manga = stored
    place = presigned(manga)
    send(place)
    parts = house.tollhouse.parts
    (copy,) = parts.intake.collect(manga.id, "carol", [place["key"]], parts.clock())
    assert kept(house.tollhouse, manga.id) == sorted([place["key"], copy.key])
    create(manga, place)
    assert bill(manga) == len(PAGE)
    a_day_later(house)
    house.tollhouse.sweep_uploads()
    (given,) = kept(house.tollhouse, manga.id)
    assert given not in (place["key"], copy.key)
    assert rows(house, manga) == []


def test_a_process_that_dies_between_job_and_deletion_leaves_nothing_for_long(
    stored: tuple[House, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    house, manga = stored
    place = presigned(manga)
    send(place)
    monkeypatch.setattr(Intake, "empty", lambda *_: None)
    create(manga, place)
    assert len(kept(house.tollhouse, manga.id)) == 2
    create(manga, place, status=404)
    assert bill(manga) == len(PAGE)
    a_day_later(house)
    house.tollhouse.sweep_uploads()
    (given,) = kept(house.tollhouse, manga.id)
    assert given != place["key"]
    assert rows(house, manga) == []
    assert bill(manga) == len(PAGE)


def test_a_job_that_cannot_be_made_leaves_its_uploads_and_no_copies(stored: tuple[House, Tenant], monkeypatch: pytest.MonkeyPatch) -> None:
    house, manga = stored
    places = [presigned(manga), presigned(manga, b"<html>")]
    for place, content in zip(places, (PAGE, b"<html>"), strict=True):
        send(place, content)
    assert "text/html" in create(manga, *places, status=422)

    def broken(*_: Any) -> NoReturn:
        raise Unavailable()

    monkeypatch.setattr(jobs, "create", broken)
    create(manga, places[0], status=503)
    assert kept(house.tollhouse, manga.id) == sorted(place["key"] for place in places)
    monkeypatch.undo()
    create(manga, places[0])
