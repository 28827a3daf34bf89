"""A request that is sent again makes no second job: under SQLite and PostgreSQL, in a form and with direct uploads."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.jobs.customer import exact, kept, litter, named, refused
from tests.jobs.material import picture
from tests.scenarios.serving import House, Tenant, client, founded
from tollhouse.app import opened
from tollhouse.cli.embedded import served
from tollhouse.settings import Settings

PAGE = picture()


@pytest.fixture(params=["sqlite", "postgres"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """A Tollhouse of its own on each records database."""
    address = request.getfixturevalue("postgres") if request.param == "postgres" else ""
    with opened(Settings(data=tmp_path / "data", records_url=address)) as tollhouse, served(tollhouse) as url:
        yield House(tollhouse, url)


@pytest.fixture
def alice(own: House) -> Iterator[Tenant]:
    """Her organization there."""
    with founded(own.url, own.operator, "Manga") as tenant:
        yield tenant


def post(
    api: httpx.Client, key: str, content: bytes = PAGE, kind: str = "animate", user: str = "carol", data: str = "{}"
) -> httpx.Response:
    fields = {"kind": kind, "user_id": user, "data": data}
    return api.post("/api/jobs", data=fields, files=named(("page.png", content)), headers={"idempotency-key": key})


def once(house: House, tenant: Tenant, id: str) -> None:
    assert [job["id"] for job in tenant.api.get("/api/jobs").json()["jobs"]] == [id]
    assert len(litter(house.tollhouse, tenant.id)) == 1
    assert exact(tenant.api.get("/api/billing/summary", params={"user_id": "carol"}))["bytes_processed"] == len(PAGE)


def test_the_same_request_again_is_answered_with_the_same_job(own: House, alice: Tenant) -> None:
    first, again = post(alice.api, "k1"), post(alice.api, "k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    once(own, alice, first.json()["id"])


def test_the_same_request_is_known_when_the_job_has_gone_on(alice: Tenant) -> None:
    made = post(alice.api, "k1").json()
    alice.api.post(f"/api/jobs/{made['id']}/cancel")
    again = post(alice.api, "k1").json()
    assert (again["id"], again["status"]) == (made["id"], "cancelled")


@pytest.mark.parametrize("change", [{"content": PAGE + b"x"}, {"kind": "colour"}, {"user": "dave"}, {"data": '{"fps": 1}'}])
def test_another_request_with_the_same_key_is_refused(own: House, alice: Tenant, change: dict[str, Any]) -> None:
    made = post(alice.api, "k1").json()
    refused(post(alice.api, "k1", **change), 422, "Idempotency-Key")
    once(own, alice, made["id"])


def test_another_organization_may_use_the_same_key(own: House, alice: Tenant) -> None:
    with founded(own.url, own.operator, "Beats") as bob:
        assert post(alice.api, "k1").json()["id"] != post(bob.api, "k1").json()["id"]


def test_without_a_key_each_request_is_a_job(alice: Tenant) -> None:
    for _ in range(2):
        assert alice.api.post("/api/jobs", json={"kind": "animate", "user_id": "carol"}).status_code == 201
    assert alice.api.get("/api/jobs").json()["total"] == 2


def at_once(own: House, alice: Tenant, ask: Callable[[httpx.Client], httpx.Response]) -> list[httpx.Response]:
    """The answers to the same request, sent by several clients together."""
    barrier, found = threading.Barrier(5, timeout=20), []

    def send() -> None:
        with client(own.url, alice.secret) as api:
            api.get("/api/me")
            barrier.wait()
            found.append(ask(api))

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_the_same_form_sent_by_several_at_once_is_one_job(own: House, alice: Tenant) -> None:
    answers = at_once(own, alice, lambda api: post(api, "k1"))
    assert [answer.status_code for answer in answers] == [201] * 5, [answer.text for answer in answers]
    (id,) = {answer.json()["id"] for answer in answers}
    once(own, alice, id)


def uploaded(alice: Tenant) -> dict[str, Any]:
    wanted = {"filename": "page.png", "contentType": "image/png", "fileSizeBytes": len(PAGE), "user_id": "carol"}
    place: dict[str, Any] = alice.api.post("/api/presign", json=wanted).json()
    assert httpx.put(place["url"], content=PAGE, trust_env=False).status_code == 200
    return place


def test_direct_uploads_that_are_handed_in_again_are_the_same_job(own: House, alice: Tenant) -> None:
    wanted = {"kind": "animate", "user_id": "carol", "uploads": [uploaded(alice)["key"]]}
    key = {"idempotency-key": "k1"}
    first, again = (alice.api.post("/api/jobs", json=wanted, headers=key) for _ in range(2))
    assert first.json() == again.json()
    refused(alice.api.post("/api/jobs", json=wanted | {"uploads": []}, headers=key), 422, "Idempotency-Key")
    refused(alice.api.post("/api/jobs", json=wanted | {"kind": "colour"}, headers=key), 422, "Idempotency-Key")
    once(own, alice, first.json()["id"])


def test_direct_uploads_handed_in_by_several_at_once_are_one_job(own: House, alice: Tenant) -> None:
    wanted = {"kind": "animate", "user_id": "carol", "uploads": [uploaded(alice)["key"]]}
    answers = at_once(own, alice, lambda api: api.post("/api/jobs", json=wanted, headers={"idempotency-key": "k1"}))
    assert [answer.status_code for answer in answers] == [201] * 5, [answer.text for answer in answers]
    (id,) = {answer.json()["id"] for answer in answers}
    once(own, alice, id)


def test_an_upload_that_several_use_at_once_becomes_one_job(own: House, alice: Tenant) -> None:
    wanted = {"kind": "animate", "user_id": "carol", "uploads": [uploaded(alice)["key"]]}
    answers = at_once(own, alice, lambda api: api.post("/api/jobs", json=wanted))
    assert sorted(answer.status_code for answer in answers)[0] == 201
    assert {answer.status_code for answer in answers} <= {201, 404, 409}
    assert sum(answer.status_code == 201 for answer in answers) == 1
    assert len(kept(own.tollhouse, alice.id)) == 1
    assert alice.api.get("/api/jobs").json()["total"] == 1
