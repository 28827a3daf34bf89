"""The page of backups: whether everything is safe, and a restore that says first what it would do."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched, World
from tollhouse import access, backup
from tollhouse.backup import operations
from tollhouse.backup.operations import NewSchedule
from tollhouse.store.objects import Objects


@pytest.fixture
def pages(world: World, tmp_path: Path) -> Iterator[Path]:
    """A directory of pages that is backed up by a schedule, which has run once."""
    source = tmp_path / "pages"
    source.mkdir()
    for at in range(5):
        (source / f"page-{at}.txt").write_text(f"page {at}")
    backup.init(Objects.at(str(tmp_path / "repository")), None, datetime.now(UTC))
    with world.tollhouse.records.transaction() as session:
        owner = access.default_organization(session)
        assert owner is not None
        now, name = world.now(), f"nightly {tmp_path.name}"[:80]
        place = operations.add_place(
            session, owner.id, now, "test", f"shelf {tmp_path.name}"[:80], str(tmp_path / "repository"), "", "nas", False
        )
        schedule = operations.add_schedule(session, owner.id, now, "test", NewSchedule(name, "full", str(source), place.id, "0 2 * * *"))
    world.tollhouse.parts.backups.run(owner.id, "schedule nightly", "full", str(source), place, schedule)
    yield source
    with world.tollhouse.records.transaction() as session:
        operations.remove_schedule(session, owner.id, name, world.now(), "test")


def test_a_restore_says_first_what_it_would_change_and_then_does_it(alice: Page, pages: Path, tmp_path: Path) -> None:
    alice.get_by_role("link", name="Backups").click()
    expect(alice.get_by_text(f"3-2-1 of {pages}")).to_be_visible()
    row = alice.get_by_role("region", name="History").locator("tr", has_text=str(pages)).first
    expect(row.locator(".badge")).to_have_text("Completed")
    address = row.get_by_role("link").get_attribute("href")
    alice.goto(alice.url.replace("/admin/backups", str(address)))
    target = tmp_path / "back"
    target.mkdir()
    (target / "page-1.txt").write_text("something else")
    (target / "page-2.txt").write_text("page 2")
    alice.get_by_label("To a directory on the server").fill(str(target))
    alice.get_by_role("button", name="Say what would change").click()
    status = alice.get_by_role("status").filter(has_text="This would happen")
    expect(status).to_contain_text("3 created, 0 replaced, 1 there already, 1 left alone")
    assert sorted(path.name for path in target.iterdir()) == ["page-1.txt", "page-2.txt"]
    alice.get_by_role("button", name="Restore 3 objects").click()
    expect(alice.get_by_role("status").filter(has_text="Restored at")).to_be_visible()
    assert (target / "page-4.txt").read_text() == "page 4"
    assert (target / "page-1.txt").read_text() == "something else"
    alice.get_by_label("Replace what is different there").check()
    alice.get_by_role("button", name="Say what would change").click()
    expect(alice.get_by_role("status").filter(has_text="This would happen")).to_contain_text("1 replaced, 4 there already")
    alice.get_by_role("button", name="Restore 1 object").click()
    expect(alice.get_by_role("status").filter(has_text="Restored at")).to_be_visible()
    assert (target / "page-1.txt").read_text() == "page 1"


def test_what_is_restored_is_what_was_shown_and_not_what_was_chosen_after(alice: Page, pages: Path, tmp_path: Path) -> None:
    alice.get_by_role("link", name="Backups").click()
    address = alice.get_by_role("region", name="History").locator("tr", has_text=str(pages)).first.get_by_role("link").get_attribute("href")
    alice.goto(alice.url.replace("/admin/backups", str(address)))
    alice.get_by_label("To a directory on the server").fill(str(tmp_path / "seen"))
    alice.get_by_role("button", name="Say what would change").click()
    alice.get_by_label("To a directory on the server").fill(str(tmp_path / "unseen"))
    alice.get_by_role("button", name="Restore 5 objects").click()
    expect(alice.get_by_role("status").filter(has_text="This would happen")).to_contain_text(str(tmp_path / "unseen"))
    assert not list(tmp_path.glob("*seen/*"))


def test_a_schedule_is_run_by_hand(alice: Page, pages: Path) -> None:
    (pages / "page-5.txt").write_text("one more")
    alice.get_by_role("link", name="Backups").click()
    alice.get_by_role("region", name="Schedules").locator("tr", has_text=str(pages)).get_by_role("button", name="Run now").click()
    newest = alice.get_by_role("region", name="History").locator("tbody tr").first
    expect(newest).to_contain_text(str(pages))
    expect(newest.locator("td").nth(3)).to_have_text("6")


def test_a_target_that_makes_no_sense_is_explained(alice: Page, pages: Path, watched: Watched) -> None:
    alice.get_by_role("link", name="Backups").click()
    address = alice.get_by_role("region", name="History").locator("tr", has_text=str(pages)).first.get_by_role("link").get_attribute("href")
    alice.goto(alice.url.replace("/admin/backups", str(address)))
    alice.get_by_label("To a directory on the server").fill("ftp://somewhere")
    alice.get_by_role("button", name="Say what would change").click()
    expect(alice.get_by_role("alert")).to_contain_text("is no address that can be used here")
