"""A server that backs itself up while it serves, and comes back from nothing but the repository."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.backup.parts import folder
from tests.scenarios.serving import House, Tenant, client, founded
from tollhouse import access, backup, journal
from tollhouse.app import opened
from tollhouse.backup import operations
from tollhouse.backup.operations import NewSchedule
from tollhouse.backup.sources.directory import DirectoryTarget
from tollhouse.backup.sources.tollhouse import bring_back
from tollhouse.cli.embedded import served
from tollhouse.kit.paging import Page
from tollhouse.settings import Settings
from tollhouse.store.objects import Objects
from tollhouse_client import Client, TollhouseError

PHRASE = "correct horse battery"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    """A Tollhouse of its own, with a repository beside it."""
    backup.init(Objects.at(str(tmp_path / "repository")), PHRASE, datetime.now(UTC))
    settings = Settings(data=tmp_path / "data", backup_passphrase=PHRASE)
    with opened(settings) as tollhouse, served(tollhouse) as url:
        yield House(tollhouse, url)


@pytest.fixture
def shop(home: House) -> Iterator[Tenant]:
    """An organization with usage, a job with a file, and a bill."""
    with founded(home.url, home.operator, "Shop", "Europe/Berlin") as tenant:
        used = [
            {"id": f"{at}", "type": "compute_seconds", "subject": f"customer-{at % 3}", "data": {"seconds": at, "job_id": f"job-{at}"}}
            for at in range(300)
        ]
        tenant.send(*used)
        files = [("files", ("page.txt", b"a page of words", "text/plain"))]
        tenant.api.post("/api/jobs", params={"user_id": "customer-1"}, files=files, data={"kind": "read"}).raise_for_status()
        home.tollhouse.aggregate()
        yield tenant


def state(api: httpx.Client) -> list[object]:
    """What a user would look at."""
    paths = ("/api/billing/all-users", "/api/jobs", "/api/meters", "/api/events?limit=1000", "/api/billing/bill?user_id=customer-2")
    return [api.get(path).json() for path in paths]


def take(home: House, repository: Path, kind: str = "full") -> dict[str, object]:
    with client(home.url, home.operator) as operator:
        answer = operator.post("/api/backups", json={"kind": kind, "repository": str(repository)})
        assert answer.status_code == 201, answer.text
        run: dict[str, object] = answer.json()
        return run


def test_tollhouse_comes_back_on_an_empty_machine_as_it_was(home: House, shop: Tenant, tmp_path: Path) -> None:
    before = state(shop.api)
    run = take(home, tmp_path / "repository")
    assert run["status"] == "completed"
    shop.send({"id": "after the backup", "type": "compute_seconds", "subject": "customer-1", "data": {"seconds": 9}})
    repository = backup.open_repository(Objects.at(str(tmp_path / "repository")), PHRASE)
    staged = tmp_path / "staged"
    restored = backup.restore(repository, repository.snapshot("latest"), DirectoryTarget(staged))
    assert restored.errors == []
    back = bring_back(staged, tmp_path / "new", "192MB")
    assert back.events >= 300
    with opened(Settings(data=tmp_path / "new")) as again, served(again) as url, client(url, shop.secret) as api:
        assert state(api) == before
        assert api.post("/api/events", json={"id": "5", "type": "compute_seconds", "subject": "customer-2"}).json()["duplicates"] == 1
        job = api.get("/api/jobs").json()["jobs"][0]
        assert job["files"][0]["name"] == "page.txt"


def test_a_second_backup_stores_only_what_is_new(home: House, shop: Tenant, tmp_path: Path) -> None:
    first = take(home, tmp_path / "repository")
    second = take(home, tmp_path / "repository", "incremental")
    assert second["objects"] == first["objects"]
    assert int(str(second["added_bytes"])) < int(str(first["added_bytes"]))


def test_a_program_backs_up_and_restores_with_the_client(home: House, shop: Tenant, tmp_path: Path) -> None:
    with Client(home.url, home.operator, spool_dir=None) as operator:
        run = operator.take_backup(str(tmp_path / "repository"), "full")
        assert operator.backup(run["id"]) == operator.backups()["backups"][0] == run
        assert operator.verify_backup(run["id"])["status"] == "completed"
        planned = operator.restore_backup(run["id"], str(tmp_path / "back"), prefix="records/")
        assert not (tmp_path / "back").exists()
        done = operator.restore_backup(run["id"], str(tmp_path / "back"), "data", prefix="records/", dry_run=False)
        assert (done["actions"], done["errors"], done["bytes"]) == (planned["actions"], [], planned["bytes"])
        written = sorted(str(path.relative_to(tmp_path / "back")) for path in (tmp_path / "back").rglob("*") if path.is_file())
        assert written == sorted(done["actions"]["create"]) != []
        (place,) = operator.backup_repositories()["repositories"]
        assert operator.hold_drill(place["name"])["status"] == "completed"
    with Client(home.url, shop.secret, spool_dir=None) as customer, pytest.raises(TollhouseError, match="403"):
        customer.restore_backup(run["id"], str(tmp_path / "elsewhere"))


def test_a_drill_is_of_its_source_and_aims_at_what_that_needs(home: House, shop: Tenant, tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "one.txt").write_text("one")
    repository = str(tmp_path / "repository")
    with Client(home.url, home.operator, spool_dir=None) as operator:
        own = operator.take_backup(repository, "full")
        papers = operator.take_backup(repository, "full", str(tmp_path / "papers"))
        operator.take_backup(repository, "metadata", str(tmp_path / "papers"))
        (place,) = operator.backup_repositories()["repositories"]
        held = {source: operator.hold_drill(place["name"], source) for source in ("", "tollhouse", str(tmp_path / "papers"))}
        nothing = operator.hold_drill(place["name"], str(tmp_path))
        with pytest.raises(TollhouseError, match=r"422.*'flood' is none of object, bucket"):
            operator.hold_drill(place["name"], scenario="flood")
    assert {source: (drill["snapshot"], drill["status"], drill["detail"]["scenario"]) for source, drill in held.items()} == {
        "": (papers["snapshot"], "completed", "bucket"),  # what has metadata alone cannot be restored
        "tollhouse": (own["snapshot"], "completed", "store"),
        str(tmp_path / "papers"): (papers["snapshot"], "completed", "bucket"),
    }
    assert nothing["errors"][0]["reason"] == f"There is no snapshot with contents of {tmp_path} in this repository."


def test_a_backup_and_its_result_are_rows_of_the_journal(home: House, shop: Tenant, tmp_path: Path) -> None:
    take(home, tmp_path / "repository")
    with home.tollhouse.records.reading() as session:
        (entry,) = session.scalars(sa.select(journal.Entry).where(journal.Entry.noun == "backup", journal.Entry.verb == "completed"))
    assert entry.detail["objects"] > 5
    assert entry.detail["snapshot"]


def test_schedules_run_when_their_time_has_come_and_once(home: House, shop: Tenant, tmp_path: Path) -> None:
    runner, records = home.tollhouse.parts.backups, home.tollhouse.records
    start = datetime.now(UTC)
    with records.transaction() as session:
        owner = access.default_organization(session)
        assert owner is not None
        place = operations.add_place(session, owner.id, start, "test", "main", str(tmp_path / "repository"), "", "", False)
        operations.add_schedule(session, owner.id, start, "test", NewSchedule("hourly", "incremental", "tollhouse", place.id, "0 * * * *"))
        operations.add_schedule(session, owner.id, start, "test", NewSchedule("drill", "drill", "", place.id, "30 * * * *"))
    runner.run(owner.id, "test", "full", "tollhouse", place)
    assert runner.run_due() == 0
    runner.clock = lambda: start + timedelta(hours=1, minutes=11)
    assert runner.run_due() == 2
    assert runner.run_due() == 0
    with records.reading() as session:
        runs, _ = operations.list_runs(session, owner.id, Page(50, 0))
    assert {(run.kind, run.status) for run in runs} == {("full", "completed"), ("incremental", "completed"), ("drill", "completed")}


def test_a_backup_that_is_late_and_one_that_fails_say_so_in_the_journal(home: House, shop: Tenant, tmp_path: Path) -> None:
    runner, records = home.tollhouse.parts.backups, home.tollhouse.records
    start = datetime.now(UTC)
    with records.transaction() as session:
        owner = access.default_organization(session)
        assert owner is not None
        place = operations.add_place(session, owner.id, start, "test", "gone", str(tmp_path / "gone"), "", "", False)
        operations.add_schedule(session, owner.id, start, "test", NewSchedule("hourly", "incremental", "tollhouse", place.id, "0 * * * *"))
    runner.clock = lambda: start + timedelta(hours=1, minutes=11)
    runner.run_due()
    runner.clock = lambda: start + timedelta(hours=5)
    runner.run_due()
    runner.run_due()
    with records.reading() as session:
        verbs = [entry.verb for entry in journal.history(session, owner.id, "backup", "hourly")]
    assert verbs.count("late") == 1
    assert "failed" in verbs


def test_many_changed_objects_at_once_are_reported(home: House, tmp_path: Path) -> None:
    source = tmp_path / "files"
    source.mkdir()
    for at in range(40):
        (source / f"{at}.txt").write_text(f"words {at}")
    runner, records = home.tollhouse.parts.backups, home.tollhouse.records
    with records.transaction() as session:
        owner = access.default_organization(session)
        assert owner is not None
        place = operations.add_place(session, owner.id, datetime.now(UTC), "test", "main", str(tmp_path / "repository"), "", "", False)
    runner.run(owner.id, "test", "full", str(source), place)
    for at in range(30):
        (source / f"{at}.txt").write_bytes(bytes(reversed(f"encrypted {at}".encode())))
    runner.run(owner.id, "test", "incremental", str(source), place)
    with records.reading() as session:
        found = session.scalars(sa.select(journal.Entry).where(journal.Entry.verb == "changed much")).all()
    assert [entry.detail["percent"] for entry in found] == [75]
    for one in list(source.iterdir())[4:]:
        one.unlink()
    runner.run(owner.id, "test", "incremental", str(source), place)
    with records.reading() as session:
        found = session.scalars(sa.select(journal.Entry).where(journal.Entry.verb == "changed much").order_by(journal.Entry.id)).all()
    assert [(entry.detail["percent"], entry.detail["objects"]) for entry in found] == [(75, 40), (90, 4)]


def test_what_becomes_of_a_run_whose_repository_is_forgotten_meanwhile_is_in_the_journal(
    home: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, records = home.tollhouse.parts.backups, home.tollhouse.records
    with records.transaction() as session:
        owner = access.default_organization(session)
        assert owner is not None
        place = operations.add_place(session, owner.id, datetime.now(UTC), "test", "main", str(tmp_path / "repository"), "", "", False)
    take = type(runner)._take

    def taken(*args: Any) -> dict[str, Any]:
        with records.transaction() as session:
            operations.forget_place(session, owner.id, "main", datetime.now(UTC) + timedelta(days=8), "alice")
        return take(*args)

    monkeypatch.setattr(type(runner), "_take", taken)
    run = runner.run(owner.id, "test", "full", str(folder(tmp_path / "files", {"a": b"alpha"})), place)
    assert (run.status, run.objects) == ("completed", 1)
    with records.reading() as session:
        found = session.scalars(sa.select(journal.Entry).where(journal.Entry.noun == "backup")).all()
        assert operations.list_runs(session, owner.id, Page(10)) == ([], 0)
    assert [(entry.verb, entry.detail["snapshot"]) for entry in found] == [("completed", run.snapshot)]


def test_three_two_one_says_what_is_missing(home: House, shop: Tenant, tmp_path: Path) -> None:
    records, runner = home.tollhouse.records, home.tollhouse.parts.backups
    backup.init(Objects.at(str(tmp_path / "second")), PHRASE, datetime.now(UTC))
    now = datetime.now(UTC)
    with records.transaction() as session:
        owner = access.default_organization(session)
        assert owner is not None
        first = operations.add_place(session, owner.id, now, "test", "nas", str(tmp_path / "repository"), "", "nas", False)
        second = operations.add_place(session, owner.id, now, "test", "far", str(tmp_path / "second"), "", "s3", True)
    runner.run(owner.id, "test", "full", "tollhouse", first)
    with records.reading() as session:
        (one,) = operations.coverage(session, owner.id, now + timedelta(minutes=1))
    assert one.missing == ("1 more copy", "a copy offsite")
    runner.run(owner.id, "test", "incremental", "tollhouse", first, second=second)
    with records.reading() as session:
        (one,) = operations.coverage(session, owner.id, now + timedelta(minutes=1))
        (later,) = operations.coverage(session, owner.id, now + timedelta(days=30))
    assert one.holds
    assert not later.holds


def test_the_hourly_schedule_forgets_nothing_that_the_monthly_one_keeps(home: House, shop: Tenant, tmp_path: Path) -> None:
    runner, records, start = home.tollhouse.parts.backups, home.tollhouse.records, datetime.now(UTC)
    with records.transaction() as session:
        owner = access.default_organization(session)
        assert owner is not None
        place = operations.add_place(session, owner.id, start, "test", "main", str(tmp_path / "repository"), "", "", False)
        hourly = NewSchedule("hourly", "incremental", "tollhouse", place.id, "0 * * * *", {"within_days": 7})
        monthly = NewSchedule("monthly", "full", "tollhouse", place.id, "0 4 1 * *", {"monthly": 84})
        made, _ = (operations.add_schedule(session, owner.id, start, "test", new) for new in (hourly, monthly))
    for days in (0, 40, 80):
        runner.clock = lambda days=days: start + timedelta(days=days)  # type: ignore[misc]
        runner.run(owner.id, "test", "incremental", "tollhouse", place, made)
    assert len(runner.open(place).snapshots()) == 3
