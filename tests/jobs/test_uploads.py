"""Files on their way in: accepted whole, or refused with one sentence and nothing left lying anywhere."""

import io
import json
import os
import socket
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx
import pytest

from tests.jobs.conftest import LIMIT
from tests.jobs.customer import claim, complete, files_of, hand_in, kept, litter, named, nothing_left, refused
from tests.jobs.direct import PAGE, create, presigned, send
from tests.jobs.floor import Clock
from tests.jobs.material import archive, comic, document
from tests.scenarios.serving import House, Tenant, running, wait_until
from tollhouse.jobs import FileLimits
from tollhouse.kit.errors import StorageFull, Unavailable
from tollhouse.store.objects import Objects
from tollhouse.web import forms

PAPER = document()
WHOLE_LIMIT = 2 * LIMIT + (1 << 20) + (128 << 10)  # of a request: its files, and room for the form around them


# Forms


def test_a_form_with_several_files_becomes_one_job(house: House, manga: Tenant) -> None:
    fields = {"kind": "animate", "user_id": "carol", "data": json.dumps({"fps": 12, "title": "日本"})}
    sent = named(("page 1.png", PAGE), ("日本.cbz", comic()), ("paper.pdf", PAPER), type="text/html")
    answer = manga.api.post("/api/jobs", data=fields, files=sent)
    assert answer.status_code == 201
    job = answer.json()
    assert (job["status"], job["kind"], job["user_id"], job["data"]) == ("pending", "animate", "carol", {"fps": 12, "title": "日本"})
    assert files_of(job) == [
        ("page 1.png", len(PAGE), "image/png"),
        ("日本.cbz", len(comic()), "application/zip"),
        ("paper.pdf", len(PAPER), "application/pdf"),
    ]
    assert job["bytes"] == len(PAGE) + len(comic()) + len(PAPER)
    held = claim(manga.api)
    assert [httpx.get(file["url"], trust_env=False).content for file in held["files"]] == [PAGE, comic(), PAPER]
    assert len(litter(house.tollhouse, manga.id)) == 3


def test_a_file_is_on_the_disk_when_its_job_is_answered_for(house: House, manga: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    really = os.fsync

    def noted(opened: int) -> None:
        synced.append(Path(f"/proc/self/fd/{opened}").readlink().name)
        really(opened)

    monkeypatch.setattr(os, "fsync", noted)
    hand_in(manga.api, ("page.png", PAGE))
    (stored,) = litter(house.tollhouse, manga.id)
    assert {Path(stored).name, manga.id, "files"} <= set(synced)


@pytest.mark.parametrize("name", ["chapter #3", "page#1", "100%.png", "a b&c=d?.png", "..png", "ü.png", "~", "a+b.png", "%2e%2e"])
def test_a_file_keeps_its_name_whatever_is_in_it(manga: Tenant, name: str) -> None:
    job = hand_in(manga.api, (name, PAGE))
    assert files_of(job) == [(name, len(PAGE), "image/png")]
    (file,) = claim(manga.api)["files"]
    assert httpx.get(file["url"], trust_env=False).content == PAGE


def test_the_customer_may_be_named_in_the_address_the_header_or_the_form(manga: Tenant) -> None:
    ways: list[dict[str, Any]] = [{"params": {"user_id": "dave"}}, {"headers": {"x-user-id": "dave"}}, {"data": {"user_id": "dave"}}]
    for way in ways:
        way["data"] = {"kind": "animate"} | way.get("data", {})
        assert manga.api.post("/api/jobs", files=named(("page.png", PAGE)), **way).json()["user_id"] == "dave"


FIELDS = {"kind": "animate", "user_id": "carol"}


@pytest.mark.parametrize(
    ("fields", "files", "status", "word"),
    [
        ({"kind": "animate"}, [("page.png", PAGE)], 422, "user_id"),
        (FIELDS | {"user_id": "c" * 256}, [("page.png", PAGE)], 422, "user_id"),
        (FIELDS | {"user_id": "a\0b"}, [("page.png", PAGE)], 400, "user_id"),
        ({"user_id": "carol"}, [("page.png", PAGE)], 422, "kind"),
        (FIELDS | {"kind": "a\nb"}, [("page.png", PAGE)], 422, "kind"),
        (FIELDS | {"data": "{"}, [("page.png", PAGE)], 422, "data"),
        (FIELDS | {"data": "[1]"}, [("page.png", PAGE)], 422, "data"),
        (FIELDS | {"data": "[" * 100_000}, [("page.png", PAGE)], 422, "data"),
        (FIELDS | {"data": json.dumps({"text": "x" * (65 << 10)})}, [("page.png", PAGE)], 422, "data"),
        (FIELDS | {"data": "x" * (200 << 10)}, [("page.png", PAGE)], 400, "form"),
        (FIELDS, [("page.png", PAGE), ("page.png", b"")], 422, "empty"),
        (FIELDS, [("page.png", PAGE), ("evil.png", b"<html>")], 422, "text/html"),
        (FIELDS, [("page.png", PAGE), ("../evil.png", PAGE)], 422, "evil.png"),
        (FIELDS, [("page.png", PAGE), ("..\\evil.png", PAGE)], 422, "evil.png"),
        (FIELDS, [("page.png", PAGE), ("both.png", PAGE + comic())], 422, "archive"),
        (FIELDS, [("page.png", PAGE), ("bomb.zip", archive({"0": bytes(20 << 20)}))], 422, "unpacks"),
        (FIELDS, [("page.png", PAGE), ("large.txt", b"x" * (LIMIT + 1))], 413, "large.txt"),
        (FIELDS, [(f"{at}.txt", b"x" * (LIMIT - 9)) for at in range(3)], 422, "together"),
        (FIELDS, [(f"{at}.png", PAGE) for at in range(4)], 400, "3"),
    ],
)
def test_a_form_that_is_refused_leaves_nothing(
    small: House, limited: Tenant, fields: dict[str, str], files: list[tuple[str, bytes]], status: int, word: str
) -> None:
    refused(limited.api.post("/api/jobs", data=fields, files=named(*files)), status, word)
    nothing_left(small, limited)


def test_two_different_customers_named_are_refused(small: House, limited: Tenant) -> None:
    answer = limited.api.post("/api/jobs", params={"user_id": "dave"}, data=FIELDS, files=named(("page.png", PAGE)))
    refused(answer, 422, "user_id")
    nothing_left(small, limited)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data; boundary=b"),
        (b"nonsense", "multipart/form-data; boundary=b"),
        (b"--b\r\n\r\n", "multipart/form-data"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b"),
        (b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nabc', "multipart/form-data; boundary=b"),
        (b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nabc\r\n--b\r\n', "multipart/form-data; boundary=b"),
        (b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nabc\r\n--b', "multipart/form-data; boundary=b"),
        (b'--b\r\nContent-Disposition: form-data; name="kind"\r\n\r\nanimate\r\n', "multipart/form-data; boundary=b"),
        (b"x", f"multipart/form-data; boundary={'b' * 5000}"),
        (b"x", "multipart/mixed"),
    ],
)
def test_a_form_that_is_none_or_is_cut_off_leaves_nothing(small: House, limited: Tenant, body: bytes, content_type: str) -> None:
    answer = limited.api.post("/api/jobs", content=body, headers={"content-type": content_type})
    refused(answer, 400)
    nothing_left(small, limited)


def test_too_many_fields_are_refused(small: House, limited: Tenant) -> None:
    many = {f"field-{at}": "x" for at in range(51)}
    refused(limited.api.post("/api/jobs", data=FIELDS | many, files=named(("page.png", PAGE))), 400, "fields")
    nothing_left(small, limited)


# What the network does


def opened_request(house: House, tenant: Tenant, *headers: str) -> socket.socket:
    """A connection on which a form has been begun."""
    address = urlsplit(house.url)
    assert address.hostname is not None
    assert address.port is not None
    connection = socket.create_connection((address.hostname, address.port), timeout=20)
    lines = ["POST /api/jobs?user_id=carol HTTP/1.1", f"Host: {address.netloc}", f"Authorization: Bearer {tenant.secret}"]
    lines += ["Content-Type: multipart/form-data; boundary=b", "Connection: close", *headers]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


BEGUN = b'--b\r\nContent-Disposition: form-data; name="files"; filename="page.png"\r\n\r\n'


def answer_of(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """The status and the problem document that come back."""
    received = b""
    while part := connection.recv(65_536):
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return int(head.split()[1]), json.loads(body)


def test_an_upload_that_breaks_off_leaves_nothing(small: House, limited: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    class Watched(forms._Parser):
        async def parse(self) -> Any:
            try:
                return await super().parse()
            except BaseException as error:
                ended.append(type(error).__name__)
                assert all(file.closed for file in self._files_to_close_on_error)
                raise

    monkeypatch.setattr(forms, "_Parser", Watched)
    connection = opened_request(small, limited, "Content-Length: 900000")
    connection.sendall(BEGUN + PAGE + bytes(200_000))
    connection.close()
    wait_until(lambda: ended, "the server to notice")
    assert ended == ["ClientDisconnect"]
    nothing_left(small, limited)


def test_a_request_that_announces_too_much_is_refused_before_it_is_sent(small: House, limited: Tenant) -> None:
    with opened_request(small, limited, f"Content-Length: {WHOLE_LIMIT + 1}") as connection:
        status, problem = answer_of(connection)
    assert (status, problem["status"]) == (413, 413)
    assert str(WHOLE_LIMIT) in problem["detail"]
    nothing_left(small, limited)


def test_a_request_that_never_says_how_long_it_is_is_cut_off_at_the_limit(small: House, limited: Tenant) -> None:
    with opened_request(small, limited, "Transfer-Encoding: chunked") as connection:
        sent = 0
        while sent <= WHOLE_LIMIT:
            part = (BEGUN if not sent else b"") + b"x" * 65_536
            sent += len(part)
            connection.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        status, problem = answer_of(connection)
    assert (status, problem["status"]) == (413, 413)
    nothing_left(small, limited)


def test_a_store_that_is_full_is_said_and_nothing_is_left(house: House, manga: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = house.tollhouse.objects
    stored: list[str] = []

    def put(self: Objects, key: str, *rest: Any) -> None:
        if stored:
            raise StorageFull()
        stored.append(key)
        plain(self, key, *rest)

    plain = Objects.put
    monkeypatch.setattr(Objects, "put", put)
    answer = manga.api.post("/api/jobs", data=FIELDS, files=named(("a.png", PAGE), ("b.png", PAGE)))
    refused(answer, 507)
    assert list(objects.list(f"files/{manga.id}")) == []
    nothing_left(house, manga)


# Processes that die


def die(*_: Any) -> NoReturn:
    raise SystemExit("killed")


def test_what_a_process_stored_before_it_died_is_swept_away_in_its_time(house: House, manga: Tenant, clock: Clock) -> None:
    intake = house.tollhouse.parts.intake
    stored = intake.store(manga.id, "carol", [("a.png", io.BytesIO(PAGE)), ("b.png", io.BytesIO(PAGE))], clock.now, FileLimits())
    assert litter(house.tollhouse, manga.id) == sorted(file.key for file in stored)
    clock.forward(hours=24, seconds=-1)
    house.tollhouse.sweep_uploads()
    assert len(litter(house.tollhouse, manga.id)) == 2
    clock.forward(seconds=1)
    house.tollhouse.sweep_uploads()
    nothing_left(house, manga)


def test_what_a_process_was_storing_when_it_died_is_swept_away(
    house: House, manga: Tenant, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Objects.put
    stored: list[str] = []

    def put(self: Objects, key: str, *rest: Any) -> None:
        if stored:
            die()
        stored.append(key)
        plain(self, key, *rest)

    monkeypatch.setattr(Objects, "put", put)
    files = [("a.png", io.BytesIO(PAGE)), ("b.png", io.BytesIO(PAGE))]
    with pytest.raises(SystemExit):
        house.tollhouse.parts.intake.store(manga.id, "carol", files, clock.now, FileLimits())
    monkeypatch.undo()
    assert kept(house.tollhouse, manga.id) == stored
    assert len(litter(house.tollhouse, manga.id)) == 2
    clock.forward(hours=24)
    house.tollhouse.sweep_uploads()
    nothing_left(house, manga)


def test_the_sweep_leaves_the_files_of_jobs_and_uploads_that_may_still_be_used(house: House, manga: Tenant, clock: Clock) -> None:
    job = hand_in(manga.api, ("page.png", PAGE))
    complete(manga.api, claim(manga.api), ("result.png", PAGE))
    of_jobs = kept(house.tollhouse, manga.id)
    assert len(of_jobs) == 3
    old = presigned(manga)
    assert send(old).status_code == 200
    clock.forward(hours=23)
    fresh = presigned(manga)
    clock.forward(hours=1)
    house.tollhouse.sweep_uploads()
    assert litter(house.tollhouse, manga.id) == sorted([*of_jobs, fresh["key"]])
    assert manga.api.get(f"/api/jobs/{job['id']}/download").status_code == 200
    create(manga, old, status=404)


def test_a_sweep_that_finds_the_store_down_goes_on_the_next_time(
    house: House, manga: Tenant, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.tollhouse.parts.intake.store(manga.id, "carol", [("a.png", io.BytesIO(PAGE))], clock.now, FileLimits())
    clock.forward(hours=24)

    def down(*_: Any) -> NoReturn:
        raise Unavailable()

    monkeypatch.setattr(Objects, "delete", down)
    house.tollhouse.sweep_uploads()
    monkeypatch.undo()
    assert len(litter(house.tollhouse, manga.id)) == 1
    house.tollhouse.sweep_uploads()
    nothing_left(house, manga)


def test_results_of_a_worker_that_lost_its_job_are_not_kept(house: House, manga: Tenant) -> None:
    hand_in(manga.api)
    held = claim(manga.api)
    manga.api.post(f"/api/jobs/{held['id']}/cancel")
    sent = named(("result.png", PAGE))
    refused(manga.api.post(f"/api/jobs/{held['id']}/complete", data={"fence": str(held["fence"])}, files=sent), 409)
    assert litter(house.tollhouse, manga.id) == []


def test_results_of_a_worker_that_loses_its_job_while_it_sends_them_are_not_kept(
    house: House, manga: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_in(manga.api)
    held = claim(manga.api)
    plain = Objects.put

    def put(self: Objects, key: str, *rest: Any) -> None:
        plain(self, key, *rest)
        manga.api.post(f"/api/jobs/{held['id']}/cancel")

    monkeypatch.setattr(Objects, "put", put)
    sent = named(("result.png", PAGE))
    refused(manga.api.post(f"/api/jobs/{held['id']}/complete", data={"fence": str(held["fence"])}, files=sent), 409)
    assert litter(house.tollhouse, manga.id) == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"fence": "x"},
        {"fence": "1", "status": "lost"},
        {"fence": "1", "compute_seconds": "long"},
        {"fence": "1", "compute_seconds": "-1"},
        {"fence": "1", "data": "{"},
        {"fence": "1", "data": "[1]"},
        {"fence": "1", "surprise": "1"},
    ],
)
def test_a_completion_that_makes_no_sense_leaves_nothing_and_the_job_goes_on(house: House, manga: Tenant, fields: dict[str, str]) -> None:
    hand_in(manga.api)
    held = claim(manga.api)
    refused(manga.api.post(f"/api/jobs/{held['id']}/complete", data=fields, files=named(("result.png", PAGE))), 422)
    assert litter(house.tollhouse, manga.id) == []
    complete(manga.api, held, ("result.png", PAGE))


# Memory


def peak(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:"))


def test_a_large_upload_is_not_held_in_memory(tmp_path: Path) -> None:
    size = 60 << 20
    large = tmp_path / "large.csv"
    with large.open("wb") as out:
        for _ in range(60):
            out.write(os.urandom(1 << 19).hex().encode())
    assert large.stat().st_size == size
    with running(tmp_path / "data") as up, up.client(up.secret) as api:
        for _ in range(3):
            hand_in(api, ("small.csv", b"x" * (2 << 20)))
        before = peak(up.process.pid)
        with large.open("rb") as content:
            answer = api.post("/api/jobs", data=FIELDS, files=[("files", ("large.csv", content, "text/csv"))])
        assert answer.status_code == 201, answer.text
        place = api.post(
            "/api/presign", json={"filename": "l.csv", "contentType": "text/csv", "fileSizeBytes": size, "user_id": "carol"}
        ).json()
        with large.open("rb") as content:
            assert httpx.put(place["url"], content=content, trust_env=False, timeout=60).status_code == 200
        (file,) = api.get(f"/api/jobs/{answer.json()['id']}").json()["files"]
        assert file["size"] == size
        assert peak(up.process.pid) - before < 25 << 20
