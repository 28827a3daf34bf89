"""A Tollhouse whose records and events are in one PostgreSQL database: its address is backed up like any other, and is one moment."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.backup.test_databases import second  # noqa: F401 - the fixture is used by its name
from tests.backup.test_server import state
from tests.scenarios.serving import House, Tenant, client, founded
from tollhouse import backup
from tollhouse.app import opened
from tollhouse.backup import Order, Selection
from tollhouse.cli.embedded import served
from tollhouse.settings import Settings
from tollhouse.store.objects import Objects, S3Access


@pytest.fixture
def shop(tmp_path: Path, postgres: str) -> Iterator[Tenant]:
    """An organization with usage, a job with a file, and a bill, on PostgreSQL."""
    settings = Settings(data=tmp_path / "data", records_url=postgres, events_url=postgres)
    with opened(settings) as tollhouse, served(tollhouse) as url:
        house = House(tollhouse, url)
        with founded(house.url, house.operator, "Shop", "Europe/Berlin") as tenant:
            used = [
                {"id": f"{at}", "type": "compute_seconds", "subject": f"customer-{at % 3}", "data": {"seconds": at}} for at in range(90)
            ]
            tenant.send(*used)
            files = [("files", ("page.txt", b"a page of words", "text/plain"))]
            tenant.api.post("/api/jobs", params={"user_id": "customer-1"}, files=files, data={"kind": "read"}).raise_for_status()
            tollhouse.aggregate()
            yield tenant


def test_it_comes_back_on_another_server_as_it_was(shop: Tenant, tmp_path: Path, postgres: str, second: str) -> None:  # noqa: F811
    before = state(shop.api)
    repository, _ = backup.init(Objects.at(str(tmp_path / "repository")), None, datetime.now(UTC))
    # The database first: objects are never changed, so those that it names are there when they are listed.
    sources = [backup.source_at(address, S3Access()) for address in (postgres, str(tmp_path / "data" / "objects"))]
    snapshot = backup.take(repository, sources, datetime.now(UTC), Order("full"))
    assert snapshot.complete
    shop.send({"id": "after the backup", "type": "compute_seconds", "subject": "customer-1", "data": {"seconds": 9}})
    assert backup.drill(repository, snapshot, datetime.now(UTC)).faults == []
    for source, address in zip(snapshot.collections, (second, str(tmp_path / "new" / "objects")), strict=True):
        target = backup.target_at(address, S3Access())
        assert backup.restore(repository, snapshot, target, chosen=Selection(source=source.address)).errors == []
    settings = Settings(data=tmp_path / "new", records_url=second, events_url=second)
    with opened(settings) as again, served(again) as url, client(url, shop.secret) as api:
        assert state(api) == before
        assert api.post("/api/events", json={"id": "5", "type": "compute_seconds", "subject": "customer-2"}).json()["duplicates"] == 1
        job = api.get("/api/jobs").json()["jobs"][0]
        assert job["files"][0]["name"] == "page.txt"
