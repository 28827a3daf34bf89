"""The client and a whole Tollhouse in one process."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from tollhouse.app import opened
from tollhouse.settings import Settings
from tollhouse_client import Client, TollhouseError


@pytest.fixture
def tolled(tmp_path: Path) -> Iterator[Client]:
    """A client of a new Tollhouse."""
    with opened(Settings(data=tmp_path / "data")) as tollhouse:
        assert tollhouse.first_keys is not None
        transport = httpx.ASGITransport(tollhouse.application)
        with Client("http://toll.test", tollhouse.first_keys.secret, transport=transport, spool_dir=None) as client:
            yield client


def test_job_that_is_reported_twice_is_billed_once(tolled: Client) -> None:
    for _ in range(2):
        tolled.track_bytes_processed("carol", 1024**3, "job-1")
        tolled.track_compute_seconds("carol", Decimal(3600), "job-1")
        tolled.track_job_completion("carol", "job-1", "completed", {"pages": 12})
    assert tolled.flush()
    summary = tolled.summary("carol")
    assert (summary["estimated_cost"], summary["jobs_completed"]) == (Decimal("0.361"), 1)
    job = tolled.job_billing("job-1")
    assert (job["job_cost"], job["status"], job["metadata"]) == (Decimal("0.361"), "completed", {"pages": 12})
    assert tolled.bill("carol")["net"] == Decimal("0.36")
    assert [customer["id"] for customer in tolled.customers()["customers"]] == ["carol"]
    assert (tolled.stats().accepted, tolled.stats().duplicates, tolled.stats().conflicts) == (6, 3, 0)


def test_meter_counts_what_is_tracked_digit_for_digit(tolled: Client) -> None:
    tolled.create_meter("tokens", "tokens", value_property="$.n", group_by={"model": "$.model"})
    tolled.create_price("tokens", amount=Decimal("0.01"))
    for amount in ("0.1", "0.2", "123456789012.000000000003"):
        tolled.track("tokens", "dave", {"n": Decimal(amount), "model": "small"})
    tolled.track("x" * 300, "dave")
    assert tolled.flush()
    (row,) = tolled.query("tokens", subject="dave", group_by="model", filter={"model": "small"})["data"]
    assert row["value"] == Decimal("123456789012.300000000003")
    assert tolled.stats().rejected == 1
    assert len(tolled.events(type="tokens")["events"]) == 3


def test_error_of_the_server_is_raised_with_its_sentence(tolled: Client) -> None:
    with pytest.raises(TollhouseError, match="There is no meter 'nothing'") as raised:
        tolled.query("nothing")
    assert raised.value.status == 404
