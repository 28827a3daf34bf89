"""What jobs used reaches the bill once: whatever is delivered twice, refused at first, or breaks off in between."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from tests.jobs.customer import claim, complete, exact, hand_in
from tests.scenarios.serving import House, Tenant
from tollhouse import jobs
from tollhouse.events import Ingest
from tollhouse.events.ingest import Receipt
from tollhouse.jobs import Courier, NewJob, StoredFile, UsageReport
from tollhouse.kit.errors import StorageFull, TollhouseError, Unavailable
from tollhouse.store.events import EventBatch

D = Decimal
GIGABYTE = D(1024**3)


class Wrapped:
    """The real ingest behind something that goes wrong: `before` or `after` what it does."""

    def __init__(self, ingest: Ingest) -> None:
        self.ingest = ingest
        self.before: TollhouseError | None = None
        self.after: TollhouseError | None = None
        self.delivered = 0

    def store_now(self, batch: EventBatch) -> Receipt:
        """Store, or not, and say so, or not."""
        if self.before is not None:
            raise self.before
        receipt = self.ingest.store_now(batch)
        self.delivered += len(batch)
        if self.after is not None:
            raise self.after
        return receipt


@pytest.fixture
def ingest(house: House) -> Iterator[Wrapped]:
    courier = house.tollhouse.parts.courier
    wrapped = Wrapped(house.tollhouse.parts.ingest)
    courier.ingest = wrapped  # type: ignore[assignment]  # it has the one method that the courier calls
    yield wrapped
    courier.ingest = wrapped.ingest


def waiting(house: House, tenant: Tenant) -> list[str]:
    with house.tollhouse.records.reading() as session:
        return list(session.scalars(sa.select(UsageReport.id).where(UsageReport.organization == tenant.id).order_by(UsageReport.id)))


def events(tenant: Tenant, job: str) -> list[str]:
    found = tenant.api.get("/api/events", params={"subject": "carol", "limit": 100}).json()["events"]
    return sorted(event["type"] for event in found if event["data"]["job_id"] == job)


def test_a_job_is_billed_to_the_digit(manga: Tenant) -> None:
    job = hand_in(manga.api, ("a.txt", b"x" * 1000), ("b.txt", b"y" * 234))
    held = claim(manga.api)
    complete(manga.api, held, compute_seconds=12.345678901234567)
    cost = (D(1234) / GIGABYTE * D("0.001")).quantize(D("1e-12")) + (D("12.345678901235") * D("0.0001")).quantize(D("1e-12"))
    bill = exact(manga.api.get(f"/api/billing/job/{job['id']}", params={"user_id": "carol"}))
    assert (bill["bytes_processed"], bill["compute_seconds"], bill["job_cost"]) == (1234, D("12.345678901235"), cost)
    assert (bill["status"], bill["user_id"]) == ("completed", "carol")
    summary = exact(manga.api.get("/api/billing/summary", params={"user_id": "carol"}))
    assert (summary["bytes_processed"], summary["compute_seconds"], summary["estimated_cost"]) == (1234, D("12.345678901235"), cost)
    assert (summary["job_count"], summary["jobs_completed"], summary["jobs_failed"]) == (1, 1, 0)


def test_bytes_are_on_the_bill_as_soon_as_the_job_is_made(manga: Tenant) -> None:
    job = hand_in(manga.api, ("a.txt", b"x" * 1000))
    bill = exact(manga.api.get(f"/api/billing/job/{job['id']}"))
    assert (bill["bytes_processed"], bill["compute_seconds"], bill["status"]) == (1000, 0, "processing")


def test_seconds_that_the_worker_did_not_measure_are_those_since_its_claim(manga: Tenant, clock: Any) -> None:
    job = hand_in(manga.api)
    held = claim(manga.api)
    clock.forward(seconds=30.5)
    complete(manga.api, held)
    assert exact(manga.api.get(f"/api/billing/job/{job['id']}"))["compute_seconds"] == D("30.5")


def test_a_failed_run_and_its_retry_are_both_billed(manga: Tenant) -> None:
    job = hand_in(manga.api, ("a.txt", b"x" * 1000))
    held = claim(manga.api)
    failed = {"fence": held["fence"], "error": "torn", "retry": False, "compute_seconds": 2.5}
    assert manga.api.post(f"/api/jobs/{job['id']}/fail", json=failed).json()["status"] == "failed"
    assert manga.api.post(f"/api/jobs/{job['id']}/retry").json()["run"] == 2
    complete(manga.api, claim(manga.api), compute_seconds=4)
    bill = exact(manga.api.get(f"/api/billing/job/{job['id']}"))
    assert (bill["bytes_processed"], bill["compute_seconds"], bill["status"]) == (1000, D("6.5"), "completed")
    summary = exact(manga.api.get("/api/billing/summary", params={"user_id": "carol"}))
    assert (summary["job_count"], summary["jobs_failed"], summary["jobs_completed"]) == (2, 1, 1)


def test_a_skipped_job_is_counted_as_such(manga: Tenant) -> None:
    hand_in(manga.api)
    complete(manga.api, claim(manga.api), status="skipped", compute_seconds=0)
    assert manga.api.get("/api/billing/summary", params={"user_id": "carol"}).json()["jobs_skipped"] == 1


@pytest.mark.parametrize("refusal", [StorageFull(), Unavailable("Tollhouse is stopping.")])
def test_a_change_stays_when_its_usage_cannot_be_stored_and_the_usage_comes_later(
    house: House, manga: Tenant, ingest: Wrapped, refusal: TollhouseError
) -> None:
    ingest.before = refusal
    job = hand_in(manga.api, ("a.txt", b"x" * 10))
    complete(manga.api, claim(manga.api), compute_seconds=1)
    assert manga.api.get(f"/api/jobs/{job['id']}").json()["status"] == "completed"
    assert len(waiting(house, manga)) == 3
    assert events(manga, job["id"]) == []
    ingest.before = None
    house.tollhouse.tend_jobs()
    assert waiting(house, manga) == []
    assert events(manga, job["id"]) == ["bytes_processed", "compute_seconds", "job_completion"]


def test_usage_whose_confirmation_was_lost_is_delivered_again_and_counts_once(house: House, manga: Tenant, ingest: Wrapped) -> None:
    ingest.after = Unavailable("The connection broke.")
    job = hand_in(manga.api, ("a.txt", b"x" * 10))
    complete(manga.api, claim(manga.api), compute_seconds=1.5)
    assert len(waiting(house, manga)) == 3
    ingest.after = None
    house.tollhouse.tend_jobs()
    assert ingest.delivered > 3
    assert waiting(house, manga) == []
    assert events(manga, job["id"]) == ["bytes_processed", "compute_seconds", "job_completion"]
    bill = exact(manga.api.get(f"/api/billing/job/{job['id']}"))
    assert (bill["bytes_processed"], bill["compute_seconds"]) == (10, D("1.5"))


def test_usage_that_two_processes_deliver_at_once_counts_once(house: House, manga: Tenant, ingest: Wrapped) -> None:
    ingest.before = StorageFull()
    made = [hand_in(manga.api, ("a.txt", b"x" * 10))["id"] for _ in range(20)]
    ingest.before = None
    parts, barrier = house.tollhouse.parts, threading.Barrier(4)

    def deliver() -> None:
        courier = Courier(parts.records, parts.ingest, parts.promoted, parts.clock)
        barrier.wait()
        courier.deliver()

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert waiting(house, manga) == []
    assert [events(manga, job) for job in made] == [["bytes_processed"]] * 20


def test_the_courier_says_how_much_it_delivered(house: House, manga: Tenant, ingest: Wrapped) -> None:
    ingest.before = StorageFull()
    hand_in(manga.api, ("a.txt", b"x" * 10))
    assert house.tollhouse.parts.courier.deliver() == 0
    ingest.before = None
    assert house.tollhouse.parts.courier.deliver() == 1
    assert house.tollhouse.parts.courier.deliver() == 0


def test_each_organizations_usage_is_its_own(house: House, manga: Tenant, beats: Tenant, ingest: Wrapped) -> None:
    ingest.before = StorageFull()
    ours, theirs = hand_in(manga.api, ("a.txt", b"x" * 10)), hand_in(beats.api, ("a.txt", b"x" * 20))
    ingest.before = None
    assert house.tollhouse.parts.courier.deliver() == 2
    for tenant, job, bytes in ((manga, ours, 10), (beats, theirs, 20)):
        assert exact(tenant.api.get("/api/billing/summary", params={"user_id": "carol"}))["bytes_processed"] == bytes
        assert events(tenant, job["id"]) == ["bytes_processed"]
    assert beats.api.get(f"/api/billing/job/{ours['id']}").status_code == 404


def test_more_than_one_delivery_can_carry_goes_in_several(house: House, manga: Tenant) -> None:
    now, records = datetime.now(UTC), house.tollhouse.records
    new = NewJob("carol", "animate", files=[StoredFile("a.txt", "files/none", 1, "text/plain")])
    with records.transaction() as session:
        for at in range(1100):
            jobs.create(session, manga.id, now, "alice", replace(new, customer=f"c{at % 7}"))
    assert house.tollhouse.parts.courier.deliver() == 1100
    assert waiting(house, manga) == []
    users = manga.api.get("/api/billing/all-users").json()["users"]
    assert sum(user["bytes_processed"] for user in users) == 1100


@pytest.mark.parametrize("customer", ["c" * 255, "\N{DRAGON}" * 255, "\u202etxt", "a\tb\nc", " ", '"\\', "=1+1"])
def test_no_customers_name_holds_up_the_usage_of_others(house: House, manga: Tenant, customer: str) -> None:
    assert manga.api.post("/api/jobs", json={"kind": "animate", "user_id": customer}).status_code == 201
    job = hand_in(manga.api, ("a.txt", b"x"))
    assert waiting(house, manga) == []
    assert events(manga, job["id"]) == ["bytes_processed"]


@pytest.mark.parametrize("seconds", ["1e-400", "999999999.999999999999", "0", "-0.0", f"0.{'3' * 70}"])
def test_no_measure_of_a_worker_holds_up_the_usage_of_others(house: House, manga: Tenant, seconds: str) -> None:
    hand_in(manga.api)
    held = claim(manga.api)
    body = f'{{"fence": {held["fence"]}, "compute_seconds": {seconds}}}'
    assert manga.api.post(f"/api/jobs/{held['id']}/complete", content=body).status_code == 200
    assert waiting(house, manga) == []
    assert events(manga, held["id"]) == ["bytes_processed", "compute_seconds", "job_completion"]
    assert abs(exact(manga.api.get(f"/api/billing/job/{held['id']}"))["compute_seconds"] - D(seconds)) < D("1e-12")
