"""Schedules that copy or prune alone, and what is refused before it can do nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.backup.parts import folder
from tests.scenarios.serving import House, client
from tollhouse import backup, journal
from tollhouse.app import opened
from tollhouse.backup import operations
from tollhouse.backup.operations.history import begin_run
from tollhouse.cli.embedded import served
from tollhouse.settings import Settings
from tollhouse.store.objects import Objects

DAILY = "0 2 * * *"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    """A Tollhouse of its own, with a folder to back up and two repositories beside it."""
    folder(tmp_path / "files", {"a.txt": b"alpha", "b.txt": b"beta"})
    for name in ("first", "second"):
        backup.init(Objects.at(str(tmp_path / name)), None, datetime.now(UTC))
    with opened(Settings(data=tmp_path / "data")) as tollhouse, served(tollhouse) as url:
        yield House(tollhouse, url)


@pytest.fixture
def operator(home: House, tmp_path: Path) -> Iterator[httpx.Client]:
    """The operator, who has made both repositories known, the second one as offsite."""
    with client(home.url, home.operator) as api:
        for name, offsite in (("first", False), ("second", True)):
            body = {"name": name, "address": str(tmp_path / name), "medium": "nas" if offsite else "disk", "offsite": offsite}
            assert api.post("/api/backup-repositories", json=body).status_code == 201
        yield api


def scheduled(operator: httpx.Client, name: str, kind: str, **more: Any) -> httpx.Response:
    return operator.post("/api/backup-schedules", json={"name": name, "kind": kind, "repository": "first", "cron": DAILY} | more)


def run(operator: httpx.Client, name: str) -> dict[str, Any]:
    answer = operator.post(f"/api/backup-schedules/{name}/run")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def snapshots(place: Path) -> list[str]:
    return [one.id for one in backup.open_repository(Objects.at(str(place)), None).snapshots()]


def test_a_copy_alone_brings_every_snapshot_to_the_second_repository(home: House, operator: httpx.Client, tmp_path: Path) -> None:
    made = scheduled(operator, "offsite", "copy", copy_to="second")
    assert made.status_code == 201, made.text
    assert made.json()["schedules"][0]["copy_to"] == "second"
    for _ in range(2):
        body = {"kind": "incremental", "source": str(tmp_path / "files"), "repository": "first"}
        assert operator.post("/api/backups", json=body).status_code == 201
    done = run(operator, "offsite")
    assert (done["status"], done["objects"], done["detail"]["copied_to"]) == ("completed", 4, "second")
    assert snapshots(tmp_path / "second") == snapshots(tmp_path / "first") == done["detail"]["copied"]
    assert run(operator, "offsite")["detail"]["copied"] == []


def test_a_copy_alone_counts_for_three_two_one(home: House, operator: httpx.Client, tmp_path: Path) -> None:
    scheduled(operator, "offsite", "copy", copy_to="second")
    body = {"kind": "full", "source": str(tmp_path / "files"), "repository": "first"}
    operator.post("/api/backups", json=body)

    def holds() -> bool:
        with home.tollhouse.records.reading() as session:
            (one,) = operations.coverage(session, owner(home), datetime.now(UTC))
        return one.holds

    assert not holds()
    run(operator, "offsite")
    assert holds()


def owner(home: House) -> str:
    with home.tollhouse.records.reading() as session:
        (organization,) = session.scalars(sa.text("SELECT id FROM organizations"))
    return str(organization)


def aged(home: House, operator: httpx.Client, tmp_path: Path, days: int) -> None:
    """A backup each day, the last one today."""
    runner, now = home.tollhouse.parts.backups, datetime.now(UTC)
    for before in reversed(range(days)):
        runner.clock = lambda before=before: now - timedelta(days=before)  # type: ignore[misc]
        assert operator.post("/api/backups", json={"source": str(tmp_path / "files"), "repository": "first"}).status_code == 201


def test_a_prune_alone_keeps_what_it_says(home: House, operator: httpx.Client, tmp_path: Path) -> None:
    assert scheduled(operator, "tidy", "prune", keep={"daily": 2}).status_code == 201
    aged(home, operator, tmp_path, 5)
    before = snapshots(tmp_path / "first")
    done = run(operator, "tidy")
    assert (done["status"], done["detail"]["forgotten"]) == ("completed", 3)
    assert snapshots(tmp_path / "first") == before[-2:]


def test_a_prune_alone_also_keeps_what_the_backups_of_the_repository_say(home: House, operator: httpx.Client, tmp_path: Path) -> None:
    scheduled(operator, "nightly", "full", source=str(tmp_path / "files"), keep={"daily": 4})
    assert scheduled(operator, "tidy", "prune").status_code == 201
    assert scheduled(operator, "more tidy", "prune", keep={"daily": 1}).status_code == 201
    aged(home, operator, tmp_path, 6)
    assert run(operator, "more tidy")["detail"]["forgotten"] == 2
    assert run(operator, "tidy")["detail"]["forgotten"] == 0


def test_a_prune_whose_rules_have_gone_since_fails_and_deletes_nothing(home: House, operator: httpx.Client, tmp_path: Path) -> None:
    scheduled(operator, "nightly", "full", source=str(tmp_path / "files"), keep={"daily": 1})
    scheduled(operator, "tidy", "prune")
    operator.delete("/api/backup-schedules/nightly")
    aged(home, operator, tmp_path, 3)
    done = run(operator, "tidy")
    assert (done["status"], "say what a prune keeps" in done["errors"][0]["reason"]) == ("failed", True)
    assert len(snapshots(tmp_path / "first")) == 3


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("copy", {}, "copy_to: name the second repository that the snapshots are copied to."),
        ("copy", {"copy_to": "first"}, "copy_to: that is the same repository; a copy needs another one."),
        ("full", {"source": "tollhouse", "copy_to": "first"}, "copy_to: that is the same repository; a copy needs another one."),
        ("prune", {}, 'keep: say what a prune keeps, such as {"daily": 30}; no schedule of this repository says it.'),
        ("prune", {"keep": {"daily": 0}}, 'keep: say what a prune keeps, such as {"daily": 30}; no schedule of this repository says it.'),
    ],
    ids=str,
)
def test_a_schedule_that_could_do_nothing_is_refused(operator: httpx.Client, kind: str, more: dict[str, Any], said: str) -> None:
    refused = scheduled(operator, "idle", kind, **more)
    assert (refused.status_code, refused.json()["detail"]) == (422, said)
    assert operator.get("/api/backup-schedules").json()["total"] == 0


def test_copies_and_prunes_run_when_their_time_has_come_and_say_so_in_the_journal(
    home: House, operator: httpx.Client, tmp_path: Path
) -> None:
    scheduled(operator, "offsite", "copy", copy_to="second")
    scheduled(operator, "tidy", "prune", keep={"daily": 2})
    aged(home, operator, tmp_path, 4)
    runner, tomorrow = home.tollhouse.parts.backups, datetime.now(UTC) + timedelta(days=1, minutes=10)
    runner.clock = lambda: tomorrow
    assert runner.run_due() == 2
    with home.tollhouse.records.reading() as session:
        told = {
            name: [(one.verb, one.detail["kind"]) for one in journal.history(session, owner(home), "backup", name) if "kind" in one.detail]
            for name in ("offsite", "tidy")
        }
    assert told == {"offsite": [("completed", "copy")], "tidy": [("completed", "prune")]}
    assert len(snapshots(tmp_path / "first")) == 2


def test_a_copy_that_fails_raises_the_alert_of_a_backup_that_failed(home: House, operator: httpx.Client, tmp_path: Path) -> None:
    scheduled(operator, "offsite", "copy", copy_to="second")
    operator.post("/api/backups", json={"source": str(tmp_path / "files"), "repository": "first"})
    (tmp_path / "second").rename(tmp_path / "away")
    done = run(operator, "offsite")
    assert (done["status"], "There is no directory" in done["errors"][0]["reason"]) == ("failed", True)
    home.tollhouse.evaluate_alerts()
    assert [one["title"] for one in operator.get("/api/alerts").json()["alerts"]] == ["Backup failed: offsite"]


def test_a_snapshot_whose_copy_fails_is_still_known(home: House, operator: httpx.Client, tmp_path: Path) -> None:
    scheduled(operator, "nightly", "full", source=str(tmp_path / "files"), copy_to="second")
    (tmp_path / "second").rename(tmp_path / "away")
    done = run(operator, "nightly")
    assert (done["status"], done["objects"], [done["snapshot"]]) == ("failed", 2, snapshots(tmp_path / "first"))
    assert done["errors"][0]["reason"].startswith("The snapshot was taken; what was to follow failed: There is no directory")
    home.tollhouse.evaluate_alerts()
    assert [one["title"] for one in operator.get("/api/alerts").json()["alerts"]] == ["Backup failed: nightly"]


def test_the_password_of_a_database_is_shown_nowhere(home: House, operator: httpx.Client) -> None:
    source = "postgresql://shop:hunter2secret@127.0.0.1:1/shop"
    made = scheduled(operator, "database", "full", source=source)
    ran = operator.post("/api/backup-schedules/database/run")
    refused = operator.post("/api/backups", json={"source": source, "repository": "first"})
    home.tollhouse.evaluate_alerts()
    with home.tollhouse.records.reading() as session:
        written = " ".join(str((one.subject, one.detail)) for one in session.scalars(sa.select(journal.Entry)))
    paths = ("/api/backup-schedules", "/api/backups", "/api/alerts")
    answers = [made.text, ran.text, refused.text, written, *(operator.get(path).text for path in paths)]
    assert [refused.status_code, ran.json()["status"]] == [409, "failed"]
    assert ran.json()["source"] == "postgresql://shop@127.0.0.1:1/shop"
    assert not [answer for answer in answers if "hunter2secret" in answer]


def test_a_time_that_never_comes_is_refused(operator: httpx.Client) -> None:
    refused = scheduled(operator, "never", "full", source="tollhouse", cron="0 2 30 2 *")
    assert (refused.status_code, refused.json()["detail"]) == (422, "cron: '0 2 30 2 *' never comes; no month has that day.")
    assert scheduled(operator, "seldom", "full", source="tollhouse", cron="0 2 29 2 *").status_code == 201


@pytest.mark.parametrize("name", ["a/b", "a\\b", "a?b", "a#b", "50%25", ".", "..", "", " ", "a\nb"])
def test_a_name_that_cannot_stand_in_an_address_is_refused(operator: httpx.Client, name: str) -> None:
    refused = scheduled(operator, name, "full", source="tollhouse")
    assert (refused.status_code, "name: a schedule's name has 1 to 80" in refused.json()["detail"]) == (422, True)
    assert operator.get("/api/backup-schedules").json()["total"] == 0


@pytest.mark.parametrize("name", ["nightly, of 2 shops", "Łódź", "a.b", "1:00 & @ +2"])
def test_any_other_name_is_made_found_and_removed(operator: httpx.Client, name: str) -> None:
    assert scheduled(operator, name, "full", source="tollhouse").status_code == 201
    assert operator.delete(f"/api/backup-schedules/{name}").status_code == 200


@pytest.mark.parametrize(
    "keep", [{"daily": -1}, {"daily": 10**9}, {"within_days": -1}, {"within_days": 10**15}, {"fortnightly": 1}], ids=str
)
def test_what_no_prune_could_keep_is_refused(operator: httpx.Client, keep: dict[str, int]) -> None:
    refused = scheduled(operator, "odd", "full", source="tollhouse", keep=keep)
    assert (refused.status_code, refused.json()["detail"][:4]) == (422, "keep")


def test_a_repository_under_a_second_name_is_no_second_repository(operator: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "first")
    for name, address in (("alias", f"{tmp_path}/first/"), ("linked", str(tmp_path / "link"))):
        operator.post("/api/backup-repositories", json={"name": name, "address": address}).raise_for_status()
        refused = scheduled(operator, "offsite", "copy", copy_to=name)
        assert (refused.status_code, refused.json()["detail"]) == (422, "copy_to: that is the same repository; a copy needs another one.")


def test_an_unknown_repository_names_the_command_that_lists_them(operator: httpx.Client) -> None:
    refused = scheduled(operator, "lost", "full", source="tollhouse", repository="nowhere")
    assert (refused.status_code, "`tollhouse backup-repositories list` lists them" in refused.json()["detail"]) == (404, True)


def test_a_drill_of_an_unknown_scenario_is_refused_and_not_recorded(home: House, operator: httpx.Client) -> None:
    refused = operator.post("/api/drills", json={"repository": "first", "scenario": "flood"})
    assert (refused.status_code, refused.json()["detail"]) == (422, "scenario: 'flood' is none of object, bucket, store, site.")
    assert operator.get("/api/drills").json()["total"] == 0
    home.tollhouse.evaluate_alerts()
    assert operator.get("/api/alerts").json()["alerts"] == []


def test_a_repository_is_forgotten_with_its_runs_and_keeps_what_is_in_it(home: House, operator: httpx.Client, tmp_path: Path) -> None:
    scheduled(operator, "nightly", "full", source=str(tmp_path / "files"), copy_to="second")
    run(operator, "nightly")
    for name in ("first", "second"):
        refused = operator.delete(f"/api/backup-repositories/{name}")
        assert (refused.status_code, "nightly; remove those first" in refused.json()["detail"]) == (409, True)
    operator.delete("/api/backup-schedules/nightly").raise_for_status()
    removed = operator.delete("/api/backup-repositories/first")
    assert (removed.status_code, removed.json()["name"], removed.json()["runs"]) == (200, "first", 1)
    assert operator.delete("/api/backup-repositories/first").status_code == 404
    assert [one["name"] for one in operator.get("/api/backup-repositories").json()["repositories"]] == ["second"]
    assert operator.get("/api/backups").json()["total"] == 0
    assert len(snapshots(tmp_path / "first")) == 1
    with home.tollhouse.records.reading() as session:
        told = [(one.verb, one.detail.get("runs")) for one in journal.history(session, owner(home), "repository", "first")]
        assert ("deleted", 1) in told
        assert journal.history(session, owner(home), "backup", "nightly") != []


def test_a_repository_is_not_forgotten_while_a_run_of_it_is_under_way(home: House, operator: httpx.Client) -> None:
    with home.tollhouse.records.transaction() as session:
        place, now = operations.find_place(session, owner(home), "first"), datetime.now(UTC)
        begun = begin_run(session, owner(home), now, "test", "verify", "", place.id)
    refused = operator.delete("/api/backup-repositories/first")
    assert (refused.status_code, "has not ended yet" in refused.json()["detail"]) == (409, True)
    with home.tollhouse.records.transaction() as session:
        session.get_one(operations.BackupRun, begun.id).started_at = now - timedelta(days=8)
    assert operator.delete("/api/backup-repositories/first").status_code == 200
