"""The operators' alerts, as Alice uses them."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.alerts.receivers import Webhook, webhook
from tests.browser.conftest import Watched, World, context_of, sign_in
from tollhouse import access, journal


@pytest.fixture
def hook(world: World) -> Iterator[Webhook]:
    """A webhook receiver that is a channel."""
    with webhook() as kept:
        made = world.api.post("/api/alert-channels", json={"name": "Team chat", "kind": "webhook", "address": kept.url})
        assert made.status_code == 201, made.text
        yield kept
        world.api.delete(f"/api/alert-channels/{made.json()['id']}")


def fails(world: World, subject: str) -> None:
    """A backup fails, and a minute goes by."""
    with world.tollhouse.records.transaction() as session:
        owner = access.default_organization(session)
        assert owner is not None
        journal.write(session, owner.id, world.now(), "backup", "failed", "backup", subject, reason="The disk is full.")
    world.tollhouse.evaluate_alerts()


def of(page: Page, subject: str) -> Locator:
    """The card of that subject's alert."""
    return page.locator("li.alert", has_text=f"Backup failed: {subject}")


def test_an_alert_is_acknowledged_snoozed_and_resolved(alice: Page, world: World, hook: Webhook) -> None:
    fails(world, "nightly")
    alice.goto(f"{world.url}/admin/alerts")
    expect(alice.get_by_role("link", name="Alerts 1 open")).to_be_visible()
    card = of(alice, "nightly")
    expect(card).to_contain_text("Reason: The disk is full.")
    expect(card).to_contain_text("Sent Team chat")
    card.get_by_role("button", name="Acknowledge").click()
    expect(of(alice, "nightly")).to_contain_text("acknowledged just now by alice@manga.example")
    of(alice, "nightly").get_by_label("Snooze Backup failed: nightly for").select_option("8 hours")
    of(alice, "nightly").get_by_role("button", name="Snooze").click()
    expect(of(alice, "nightly")).to_contain_text("Snoozed")
    of(alice, "nightly").get_by_role("button", name="Resolve").click()
    expect(of(alice, "nightly")).to_contain_text("Resolved")
    expect(of(alice, "nightly").get_by_role("button")).to_have_count(0)


def test_a_dead_end_is_seen_and_tried_again(alice: Page, world: World, hook: Webhook) -> None:
    hook.status = 500
    fails(world, "weekly")
    before = world.late
    for _ in range(7):
        world.late += timedelta(hours=1)
        world.tollhouse.deliver_alerts()
    alice.goto(f"{world.url}/admin/alerts")
    expect(of(alice, "weekly")).to_contain_text("Undelivered Team chat 6 attempts")
    expect(of(alice, "weekly")).to_contain_text("500")
    expect(alice.locator("p.fault").first).to_contain_text("could not be delivered")
    of(alice, "weekly").get_by_role("button", name="Try again to tell Team chat").click()
    expect(of(alice, "weekly")).to_contain_text("Waiting Team chat")
    hook.recover()
    world.tollhouse.deliver_alerts()
    alice.reload()
    expect(of(alice, "weekly")).to_contain_text("Sent Team chat")
    of(alice, "weekly").get_by_role("button", name="Resolve").click()
    expect(of(alice, "weekly")).to_contain_text("Resolved")
    world.late = before


def test_channels_and_rules_are_made_tried_and_deleted(alice: Page, world: World, watched: Watched) -> None:
    watched.expected = ("422",)
    with webhook() as hook:
        alice.goto(f"{world.url}/admin/alerts")
        for address, name in (("file:///etc/passwd", "Files"), (hook.url, "Hook")):
            if not alice.get_by_label("Name of the channel").is_visible():
                alice.get_by_text("Add a channel", exact=True).click()
            alice.get_by_label("Name of the channel").fill(name)
            alice.get_by_label("Kind").select_option("other" if name == "Files" else "webhook")
            alice.get_by_label("Address").fill(address)
            alice.get_by_role("button", name="Add the channel").click()
            if name == "Files":
                expect(alice.get_by_role("alert")).to_contain_text("stays on this machine")
        row = alice.get_by_role("row", name="Hook")
        row.get_by_role("button", name="Send a test").click()
        expect(alice.get_by_role("status").first).to_contain_text("handed over to Hook")
        assert len(hook.received) == 1
        alice.get_by_role("row", name="Hook").get_by_role("button", name="Delete").click()
        expect(alice.get_by_role("row", name="Hook")).to_have_count(0)
    alice.get_by_text("Add a rule", exact=True).click()
    alice.get_by_label("Name of the rule").fill("Jobs fail")
    alice.get_by_label("What it watches").fill("job")
    alice.get_by_label("and verbs").fill("failed, cancelled")
    alice.get_by_role("button", name="Add the rule").click()
    expect(alice.get_by_role("row", name="Jobs fail")).to_contain_text("job failed or cancelled")
    alice.get_by_role("row", name="Jobs fail").get_by_role("button", name="Switch off").click()
    expect(alice.get_by_role("row", name="Jobs fail")).to_contain_text("Off")
    alice.get_by_role("row", name="Jobs fail").get_by_role("button", name="Delete").click()
    expect(alice.get_by_role("row", name="Jobs fail")).to_have_count(0)


def test_alerts_are_acknowledged_without_javascript_and_only_from_our_own_pages(browser: Browser, world: World) -> None:
    fails(world, "monthly")
    with context_of(browser, java_script_enabled=False) as (context, watched):
        watched.expected = ("403",)
        page = context.new_page()
        sign_in(page, world)
        page.goto(f"{world.url}/admin/alerts")
        of(page, "monthly").get_by_role("button", name="Acknowledge").click()
        expect(of(page, "monthly")).to_contain_text("Acknowledged")
        id = next(one["id"] for one in world.api.get("/api/alerts").json()["alerts"] if one["subject"] == "monthly")
        refused = page.request.post(f"{world.url}/admin/alerts/{id}/resolve", form={"csrf": "guessed"})
        assert refused.status == 403
        of(page, "monthly").get_by_role("button", name="Resolve").click()
        expect(of(page, "monthly")).to_contain_text("Resolved")
