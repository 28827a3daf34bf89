"""Alerts of a real server that is left to itself: nobody calls a tick, the minutes go by."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.alerts.receivers import Webhook
from tests.scenarios.serving import client, running, wait_until
from tollhouse import backup
from tollhouse.kit import times
from tollhouse.store.objects import Objects

pytestmark = pytest.mark.soak
TWO_MINUTES = 130.0


def test_a_backup_that_fails_is_told_within_two_minutes(tmp_path: Path, hook: Webhook) -> None:
    backup.init(Objects.at(str(tmp_path / "shelf")), None, times.moment(times.parse_time("2026-01-01T00:00:00Z", "now")))
    with running(tmp_path / "server" / "data", "--dev") as up, client(up.url) as api:
        channel = api.post("/api/alert-channels", json={"name": "ops", "kind": "webhook", "address": hook.url})
        assert channel.status_code == 201, channel.text
        condition = {"kind": "happened", "noun": "backup", "verbs": ["failed"]}
        rule = api.post("/api/alert-rules", json={"name": "Tell me", "condition": condition, "severity": "info"})
        assert rule.status_code == 201, rule.text
        failed = api.post("/api/backups", json={"source": str(tmp_path / "gone"), "repository": str(tmp_path / "shelf")})
        assert failed.status_code == 409, failed.text
        wait_until(lambda: len(hook.received) >= 2, "the usual rule's message and ours", TWO_MINUTES)
        about = f"{tmp_path / 'gone'} to "
        assert {sent["title"].partition(about)[0] for sent in hook.received} == {"[critical] Backup failed: ", "Tell me: "}
        assert all("There is no directory" in sent["message"] for sent in hook.received)
        wait_until(lambda: {one["status"] for one in deliveries(api)} == {"sent"}, "its being noted")
        assert [one["attempts"] for one in deliveries(api)] == [1, 1]


def deliveries(api: httpx.Client) -> list[dict[str, Any]]:
    """Of every alert."""
    found = [one["id"] for one in api.get("/api/alerts").json()["alerts"]]
    return [one for id in found for one in api.get(f"/api/alerts/{id}/deliveries").json()["deliveries"]]
