"""Workers over HTTP: they wait for a job without asking again and again, and can do their own part and nothing else."""

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.jobs.customer import claim, complete, hand_in, litter, named, refused
from tests.jobs.floor import Clock
from tests.jobs.material import picture
from tests.scenarios.serving import House, Tenant, client, founded, wait_until
from tollhouse import jobs
from tollhouse.app import opened
from tollhouse.cli.embedded import served
from tollhouse.jobs import NewJob
from tollhouse.settings import Settings
from tollhouse.web.api import work

PAGE = picture()


@dataclass
class Waiting:
    """A worker that waits for a job in a thread of its own."""

    house: House
    key: str
    wanted: dict[str, Any]
    answer: httpx.Response | None = None
    took: float = 0.0
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        before = len(self.house.tollhouse.parts.bell._listening)
        self.thread = threading.Thread(target=self._ask)
        self.thread.start()
        wait_until(lambda: len(self.house.tollhouse.parts.bell._listening) > before, "the worker to wait")

    def _ask(self) -> None:
        begun = time.monotonic()
        with client(self.house.url, self.key) as api:
            self.answer = api.post("/api/jobs/claim", json=self.wanted)
        self.took = time.monotonic() - begun

    def heard(self) -> httpx.Response:
        """What it was answered."""
        self.thread.join(60)
        assert self.answer is not None
        return self.answer


def quickly(act: Callable[[], Any], worker: Waiting) -> httpx.Response:
    """The worker's answer, which comes long before it would have waited in vain."""
    begun = time.monotonic()
    act()
    answer = worker.heard()
    assert time.monotonic() - begun < 15
    return answer


@pytest.fixture
def only_the_bell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks for a job by the clock."""
    monkeypatch.setattr(work, "LOOK_AGAIN", 30.0)


@pytest.mark.usefixtures("only_the_bell")
def test_a_waiting_worker_is_given_a_job_as_soon_as_it_is_handed_in(house: House, manga: Tenant) -> None:
    worker = Waiting(house, manga.secret, {"wait": 30, "worker": "w1"})
    made: list[dict[str, Any]] = []
    answer = quickly(lambda: made.append(hand_in(manga.api, ("page.png", PAGE))), worker)
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["status"], answer.json()["fence"]) == (made[0]["id"], "processing", 1)


@pytest.mark.usefixtures("only_the_bell")
def test_a_waiting_worker_is_given_a_job_that_is_run_again_or_given_back(house: House, manga: Tenant) -> None:
    job = hand_in(manga.api)
    manga.api.post(f"/api/jobs/{job['id']}/cancel")
    worker = Waiting(house, manga.secret, {"wait": 30})
    given = quickly(lambda: manga.api.post(f"/api/jobs/{job['id']}/retry"), worker).json()
    assert (given["id"], given["run"]) == (job["id"], 2)
    worker = Waiting(house, manga.secret, {"wait": 30})
    release = {"fence": given["fence"], "release": True}
    again = quickly(lambda: manga.api.post(f"/api/jobs/{job['id']}/fail", json=release), worker).json()
    assert (again["id"], again["attempt"], again["fence"]) == (job["id"], 1, given["fence"] + 2)


@pytest.mark.usefixtures("only_the_bell")
def test_of_several_waiting_workers_one_is_given_the_job(house: House, manga: Tenant) -> None:
    workers = [Waiting(house, manga.secret, {"wait": 3, "worker": f"w{at}"}) for at in range(3)]
    job = hand_in(manga.api)
    answers = [worker.heard() for worker in workers]
    assert sorted(answer.status_code for answer in answers) == [200, 204, 204]
    (given,) = (answer.json() for answer in answers if answer.status_code == 200)
    assert (given["id"], given["attempt"]) == (job["id"], 1)


def test_a_job_of_another_organization_or_kind_wakes_nobody_for_good(house: House, manga: Tenant, beats: Tenant) -> None:
    worker = Waiting(house, manga.secret, {"wait": 1.5, "kinds": ["letter"]})
    theirs, other = hand_in(beats.api, kind="letter"), hand_in(manga.api, kind="animate")
    assert worker.heard().status_code == 204
    assert beats.api.get(f"/api/jobs/{theirs['id']}").json()["status"] == "pending"
    assert manga.api.get(f"/api/jobs/{other['id']}").json()["status"] == "pending"


def test_a_job_that_another_process_was_handed_is_found_too(house: House, manga: Tenant) -> None:
    worker = Waiting(house, manga.secret, {"wait": 30})
    with house.tollhouse.records.transaction() as session:
        made = jobs.create(session, manga.id, datetime.now(UTC), "alice", NewJob("carol", "animate"))
    assert worker.heard().json()["id"] == made.id
    assert worker.took < 15


def test_a_worker_that_waits_in_vain_is_told_so_in_time(house: House, manga: Tenant) -> None:
    worker = Waiting(house, manga.secret, {"wait": 0.4})
    answer = worker.heard()
    assert (answer.status_code, answer.content) == (204, b"")
    assert 0.4 <= worker.took < 15


def test_a_worker_that_does_not_want_to_wait_is_answered_at_once(manga: Tenant) -> None:
    assert manga.api.post("/api/jobs/claim", json={}).status_code == 204


@pytest.mark.usefixtures("only_the_bell")
def test_a_worker_that_hung_up_takes_no_job(house: House, manga: Tenant) -> None:
    bell, address = house.tollhouse.parts.bell, urlsplit(house.url)
    assert address.port is not None
    body = json.dumps({"wait": 25}).encode()
    head = f"POST /api/jobs/claim HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {manga.secret}\r\n"
    with socket.create_connection(("127.0.0.1", address.port)) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: bell._listening, "the worker to wait")
    job = hand_in(manga.api)
    wait_until(lambda: not bell._listening, "the server to look up")
    given = claim(manga.api)
    assert (given["id"], given["attempt"], given["fence"]) == (job["id"], 1, 1)


def test_waiting_workers_are_sent_away_when_the_server_stops(tmp_path: Path) -> None:
    with opened(Settings(data=tmp_path / "data")) as tollhouse:
        with served(tollhouse) as url:
            house = House(tollhouse, url)
            with founded(url, house.operator, "Manga") as manga:
                worker = Waiting(house, manga.secret, {"wait": 30})
                begun = time.monotonic()
        assert time.monotonic() - begun < 20
        assert worker.heard().status_code == 204


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"wait": -1}, "wait"),
        ({"wait": 31}, "wait"),
        ({"lease": 0}, "lease"),
        ({"lease": 3601}, "lease"),
        ({"worker": ""}, "worker"),
        ({"kinds": [""]}, "kinds"),
        ({"kinds": "letter"}, "kinds"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_claim_that_makes_no_sense_takes_nothing(manga: Tenant, wanted: dict[str, Any], field: str) -> None:
    job = hand_in(manga.api)
    refused(manga.api.post("/api/jobs/claim", json=wanted), 422, field)
    assert manga.api.get(f"/api/jobs/{job['id']}").json()["status"] == "pending"


# The worker's part


def test_a_key_for_work_can_do_the_workers_part(house: House, manga: Tenant) -> None:
    job = hand_in(manga.api, ("page.png", PAGE))
    with client(house.url, manga.key("jobs:work")["secret"]) as worker:
        held = claim(worker, worker="w1", lease=120)
        assert httpx.get(held["files"][0]["url"], trust_env=False).content == PAGE
        told = worker.post(f"/api/jobs/{job['id']}/progress", json={"fence": held["fence"], "progress": 40, "message": "page 1"})
        assert (told.json()["progress"], told.json()["status"]) == (40, "processing")
        assert worker.post(f"/api/jobs/{job['id']}/fail", json={"fence": held["fence"], "release": True}).json()["status"] == "pending"
        held = claim(worker)
        assert complete(worker, held, ("result.png", PAGE))["status"] == "completed"
        hand_in(manga.api)
        held = claim(worker)
        failed = worker.post(f"/api/jobs/{held['id']}/fail", json={"fence": held["fence"], "error": "torn", "retry": False})
        assert (failed.json()["status"], failed.json()["error"]) == ("failed", "torn")


NOT_THEIRS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("POST", "/api/jobs", {"kind": "animate", "user_id": "carol"}),
    ("POST", "/api/presign", {"filename": "a.png", "contentType": "image/png", "fileSizeBytes": 9, "user_id": "carol"}),
    ("GET", "/api/jobs?user_id=carol", None),
    ("GET", "/api/jobs", None),
    ("GET", "/api/jobs/{id}", None),
    ("GET", "/api/jobs/{id}/download", None),
    ("GET", "/api/jobs/{id}/thumbnail", None),
    ("POST", "/api/jobs/{id}/cancel", None),
    ("POST", "/api/jobs/{id}/retry", None),
    ("GET", "/api/billing/summary?user_id=carol", None),
    ("GET", "/api/billing/job/{id}", None),
    ("POST", "/api/customer-tokens", {"user_id": "carol"}),
    ("GET", "/api/keys", None),
    ("GET", "/api/users", None),
    ("POST", "/api/users/link", None),
    ("POST", "/api/events", {"id": "e", "type": "page"}),
]


@pytest.mark.parametrize(("method", "path", "body"), NOT_THEIRS)
def test_a_key_for_work_can_do_nothing_else(house: House, manga: Tenant, method: str, path: str, body: dict[str, Any] | None) -> None:
    hand_in(manga.api)
    held = claim(manga.api)
    with client(house.url, manga.key("jobs:work")["secret"]) as worker:
        assert worker.request(method, path.format(id=held["id"]), json=body).status_code == 403
    now = manga.api.get("/api/jobs").json()
    assert [(job["id"], job["status"]) for job in now["jobs"]] == [(held["id"], "processing")]


@pytest.mark.parametrize("verb", ["claim", "progress", "complete", "fail"])
def test_a_key_for_everything_but_work_cannot_work(house: House, manga: Tenant, verb: str) -> None:
    hand_in(manga.api)
    held = {"id": "none", "fence": 1} if verb == "claim" else claim(manga.api)
    path = "/api/jobs/claim" if verb == "claim" else f"/api/jobs/{held['id']}/{verb}"
    with client(house.url, manga.key("events:write", "read", "write", "admin")["secret"]) as app:
        refused(app.post(path, json={} if verb == "claim" else {"fence": held["fence"]}), 403, "jobs:work")
    if verb == "complete":
        with client(house.url, manga.key("read", "write")["secret"]) as app:
            refused(app.post(path, data={"fence": "1"}, files=named(("a.png", PAGE))), 403)
        assert litter(house.tollhouse, manga.id) == []


def test_a_worker_that_lost_its_job_is_told_what_became_of_it(manga: Tenant) -> None:
    hand_in(manga.api)
    held = claim(manga.api)
    manga.api.post(f"/api/jobs/{held['id']}/cancel")
    for verb in ("progress", "complete", "fail"):
        refused(manga.api.post(f"/api/jobs/{held['id']}/{verb}", json={"fence": held["fence"]}), 409, "cancelled", held["id"])


def test_a_worker_whose_answer_was_lost_may_say_again_that_it_is_done(house: House, manga: Tenant) -> None:
    hand_in(manga.api)
    held = claim(manga.api)
    first, again = (complete(manga.api, held, ("result.png", PAGE), compute_seconds="2") for _ in range(2))
    assert first == again
    assert len([file for file in again["files"] if file["role"] == "result"]) == 1
    assert len(litter(house.tollhouse, manga.id)) == 2
    assert manga.api.get("/api/billing/summary", params={"user_id": "carol"}).json()["compute_seconds"] == 2


def test_a_lease_is_as_long_as_the_worker_asked(manga: Tenant, clock: Clock) -> None:
    hand_in(manga.api)
    held = claim(manga.api, lease=600)
    assert held["lease_seconds"] == 600
    clock.forward(seconds=599)
    assert manga.api.post("/api/jobs/claim", json={}).status_code == 204
    assert manga.api.post(f"/api/jobs/{held['id']}/progress", json={"fence": held["fence"], "progress": 1}).status_code == 200


@pytest.mark.parametrize("said", [{"progress": 101}, {"progress": -1}, {"progress": 1.5}, {"message": "x" * 501}, {"message": "a\0"}])
def test_a_sign_of_life_that_makes_no_sense_is_refused(manga: Tenant, said: dict[str, Any]) -> None:
    hand_in(manga.api)
    held = claim(manga.api)
    refused(manga.api.post(f"/api/jobs/{held['id']}/progress", json={"fence": held["fence"], **said}), 422)
    assert manga.api.get(f"/api/jobs/{held['id']}").json()["progress"] == 0
