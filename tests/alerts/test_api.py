"""Alerts over HTTP, as an operator's program uses them."""

from datetime import timedelta
from typing import Any

import pytest

from tests.alerts.receivers import Webhook
from tests.scenarios.serving import House, Tenant
from tollhouse import alerts, journal


def fails(house: House, tenant: Tenant, subject: str = "nightly") -> dict[str, Any]:
    """A backup fails; returns the alert."""
    now = house.tollhouse.parts.clock()
    with house.tollhouse.records.transaction() as session:
        journal.write(session, tenant.id, now, "backup", "failed", "backup", subject, reason="the disk is full")
    alerts.evaluate(house.tollhouse.records, now)
    answer = tenant.api.get("/api/alerts").json()
    found: dict[str, Any] = next(one for one in answer["alerts"] if one["subject"] == subject)
    return found


def test_a_new_organization_has_the_rules_for_backups(manga: Tenant) -> None:
    answer = manga.api.get("/api/alert-rules").json()
    assert {rule["name"] for rule in answer["rules"]} >= {"Backup failed", "Drill failed", "Backup late"}
    assert answer["total"] == len(answer["rules"]) == 8


def test_an_alert_goes_its_way(house: House, manga: Tenant) -> None:
    made = fails(house, manga)
    assert (made["status"], made["severity"], made["rule_name"]) == ("open", "critical", "Backup failed")
    path = f"/api/alerts/{made['id']}"
    assert manga.api.post(f"{path}/snooze", json={"hours": 2}).json()["snoozed_until"] is not None
    assert manga.api.post(f"{path}/acknowledge").json()["status"] == "acknowledged"
    assert manga.api.post(f"{path}/acknowledge").status_code == 409
    assert manga.api.post(f"{path}/resolve").json()["status"] == "resolved"
    assert manga.api.post(f"{path}/resolve").status_code == 409
    shown = manga.api.get(path).json()
    assert [row["verb"] for row in shown["history"]] == ["fired", "snoozed", "acknowledged", "resolved"]
    assert shown["snoozed_until"] is None


def test_alerts_are_listed_by_status_and_severity_and_page(house: House, manga: Tenant) -> None:
    for subject in ("one", "two", "three"):
        fails(house, manga, subject)
    first = manga.api.get("/api/alerts").json()["alerts"][0]["id"]
    manga.api.post(f"/api/alerts/{first}/resolve")
    assert [manga.api.get("/api/alerts", params={"status": status}).json()["total"] for status in ("open", "resolved", "all")] == [2, 1, 3]
    assert manga.api.get("/api/alerts", params={"severity": "warning"}).json()["total"] == 0
    page = manga.api.get("/api/alerts", params={"limit": 2, "offset": 2}).json()
    assert ([one["status"] for one in page["alerts"]], page["total"]) == (["resolved"], 3)
    assert manga.api.get("/api/alerts", params={"status": "broken"}).status_code == 422


@pytest.mark.parametrize(
    "body", [{}, {"hours": 1, "until": "2030-01-01"}, {"until": "soon"}, {"hours": -1}, {"until": "2001-01-01"}, {"hours": "1"}], ids=str
)
def test_a_snooze_that_makes_no_sense_is_refused(house: House, manga: Tenant, body: dict[str, Any]) -> None:
    made = fails(house, manga)
    assert manga.api.post(f"/api/alerts/{made['id']}/snooze", json=body).status_code == 422


@pytest.mark.parametrize(
    "condition",
    [
        {"kind": "happened", "noun": "job", "verbs": ["failed"], "where": {"field": "percent", "op": ">=", "value": 50}},
        {"kind": "counted", "noun": "job", "verbs": ["failed"], "at_least": 3, "within_seconds": 600},
        {"kind": "missing", "noun": "backup", "verbs": ["completed"], "longer_than_seconds": 93600},
    ],
    ids=lambda condition: condition["kind"],
)
def test_a_rule_comes_back_as_it_was_sent(manga: Tenant, condition: dict[str, Any]) -> None:
    body = {"name": "Mine", "condition": condition, "severity": "info", "period_seconds": 60, "resolved_by": ["passed"]}
    made = manga.api.post("/api/alert-rules", json=body)
    assert made.status_code == 201, made.text
    shown = manga.api.get(f"/api/alert-rules/{made.json()['id']}").json()
    assert {name: shown[name] for name in body} == body
    changed = manga.api.patch(f"/api/alert-rules/{shown['id']}", json={"enabled": False}).json()
    assert (changed["enabled"], changed["name"]) == (False, "Mine")
    assert manga.api.delete(f"/api/alert-rules/{shown['id']}").status_code == 204
    assert manga.api.get(f"/api/alert-rules/{shown['id']}").status_code == 404


@pytest.mark.parametrize(
    "condition",
    [
        {"kind": "happened", "noun": "alert", "verbs": ["fired"]},
        {"kind": "felt", "noun": "job", "verbs": ["failed"]},
        {"kind": "happened", "noun": "job", "verbs": ["failed"], "template": "{{ 7 * 7 }}"},
        {"kind": "counted", "noun": "job", "verbs": ["failed"]},
        {},
    ],
    ids=str,
)
def test_a_rule_that_makes_no_sense_is_refused(manga: Tenant, condition: dict[str, Any]) -> None:
    assert manga.api.post("/api/alert-rules", json={"name": "Mine", "condition": condition}).status_code == 422


def test_a_channels_address_is_never_shown_again(house: House, manga: Tenant, hook: Webhook) -> None:
    secret = f"{hook.url}/a-very-secret-token"
    made = manga.api.post("/api/alert-channels", json={"name": "ops", "kind": "webhook", "address": secret})
    assert made.status_code == 201, made.text
    id = made.json()["id"]
    assert manga.api.post(f"/api/alert-channels/{id}/test").json() == {"id": id, "sent": True}
    hook.status = 500
    refused = manga.api.post(f"/api/alert-channels/{id}/test")
    assert (refused.status_code, "500" in refused.json()["detail"]) == (503, True)
    alert = fails(house, manga)
    house.tollhouse.deliver_alerts()
    deliveries = manga.api.get(f"/api/alerts/{alert['id']}/deliveries")
    assert [one["status"] for one in deliveries.json()["deliveries"]] == ["failed"]
    listed = manga.api.get("/api/alert-channels")
    history = manga.api.get(f"/api/alerts/{alert['id']}")
    assert not any("a-very-secret-token" in answer.text for answer in (made, refused, deliveries, listed, history))
    assert listed.json()["channels"][0]["hint"].startswith("json://127.0.0.1")


def test_a_dead_delivery_is_tried_again_and_its_alert_says_who_asked(house: House, manga: Tenant, beats: Tenant, hook: Webhook) -> None:
    channel = manga.api.post("/api/alert-channels", json={"name": "ops", "kind": "webhook", "address": hook.url}).json()["id"]
    alert = fails(house, manga)["id"]
    (delivery,) = manga.api.get(f"/api/alerts/{alert}/deliveries").json()["deliveries"]
    path = f"/api/alerts/deliveries/{delivery['id']}/retry"
    waiting = manga.api.post(path)
    assert (waiting.status_code, waiting.json()["detail"].split(";")[0]) == (409, "The delivery is pending")
    with house.tollhouse.records.transaction() as session:
        session.get_one(alerts.Delivery, delivery["id"]).status = "dead"
    assert beats.api.post(path).status_code == 404
    again = manga.api.post(path)
    assert (again.status_code, again.json()["status"], again.json()["attempts"]) == (200, "pending", 0)
    house.tollhouse.deliver_alerts()
    assert [sent["title"] for sent in hook.received] == ["[critical] Backup failed: nightly"]
    assert "retried" in [row["verb"] for row in manga.api.get(f"/api/alerts/{alert}").json()["history"]]
    manga.api.delete(f"/api/alert-channels/{channel}")


def test_the_ticks_evaluate_and_deliver(house: House, manga: Tenant, hook: Webhook) -> None:
    manga.api.post("/api/alert-channels", json={"name": "ops", "kind": "webhook", "address": hook.url})
    now = house.tollhouse.parts.clock()
    with house.tollhouse.records.transaction() as session:
        journal.write(session, manga.id, now - timedelta(seconds=0), "backup", "failed", "drill", "store", reason="a checksum")
    house.tollhouse.evaluate_alerts()
    assert [sent["title"] for sent in hook.received] == ["[critical] Drill failed: store"]
