"""`tollhouse alerts`, `alert-rules` and `alert-channels`, run against a server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.receivers import Webhook
from tests.scenarios.command_line import CommandLine
from tests.scenarios.serving import House

Run = Callable[..., Any]


@pytest.fixture
def run(command_line: CommandLine, tmp_path: Path) -> Run:
    """Run a command on a server; returns what it printed as JSON, or as text."""

    def command(house: House, *words: str, code: int = 0) -> Any:
        environment = {"TOLLHOUSE_URL": house.url, "TOLLHOUSE_API_KEY": house.operator}
        ended = command_line.run(*words, folder=tmp_path, environment=environment)
        assert ended.returncode == code, ended.stderr
        return json.loads(ended.stdout) if "--json" in words and code == 0 else ended.stdout + ended.stderr

    return command


@pytest.fixture
def failed(house: House, run: Run) -> dict[str, Any]:
    """A job of the first organization that fails twice, by a rule made on the command line."""
    from tollhouse import access, journal

    rule = run(
        house, "alert-rules", "create", f"Jobs fail {id(house)}", "--noun", "work", "--verb", "failed", "--at-least", "2", "--within", "60",
        "--where", "percent >= 50", "--severity", "critical", "--json",
    )  # fmt: skip
    with house.tollhouse.records.transaction() as session:
        owner = access.default_organization(session)
        assert owner is not None
        for _ in range(2):
            journal.write(session, owner.id, house.tollhouse.parts.clock(), "test", "failed", "work", "animate", percent=60)
    house.tollhouse.evaluate_alerts()
    return {"rule": rule["id"]}


def test_an_alert_from_its_rule_to_its_end(house: House, run: Run, failed: dict[str, Any]) -> None:
    (alert,) = run(house, "alerts", "list", "--status", "open", "--severity", "critical", "--json")["alerts"]
    assert alert["rule"] == failed["rule"]
    assert run(house, "alerts", "acknowledge", alert["id"], "--json")["status"] == "acknowledged"
    assert run(house, "alerts", "snooze", alert["id"], "--json")["snoozed_until"]
    assert "Jobs fail" in run(house, "alerts", "show", alert["id"])
    assert run(house, "alerts", "resolve", alert["id"], "--json")["status"] == "resolved"
    assert "resolved already" in run(house, "alerts", "resolve", alert["id"], code=5)
    shown = run(house, "alerts", "show", alert["id"], "--json")
    assert shown["deliveries"] == []
    assert [row["verb"] for row in shown["history"]] == ["fired", "acknowledged", "snoozed", "resolved"]
    assert run(house, "alert-rules", "disable", failed["rule"], "--json")["enabled"] is False
    assert run(house, "alert-rules", "enable", failed["rule"], "--json")["enabled"] is True
    assert "animate" in run(house, "alerts", "list")
    assert run(house, "alert-rules", "delete", failed["rule"], "--json")["deleted"] is True
    assert failed["rule"] not in run(house, "alert-rules", "list")


def test_a_delivery_that_is_not_known_is_not_tried_again(house: House, run: Run) -> None:
    assert "There is no delivery 'delivery_unknown'" in run(house, "alerts", "retry", "delivery_unknown", code=4)


def test_a_channel_from_its_making_to_its_end(house: House, run: Run, hook: Webhook) -> None:
    channel = run(house, "alert-channels", "create", "ops", f"{hook.url}/secret-token", "--kind", "webhook", "--json")["id"]
    assert run(house, "alert-channels", "test", channel, "--json") == {"id": channel, "sent": True}
    hook.status = 500
    assert "500" in run(house, "alert-channels", "test", channel, code=7)
    assert "secret-token" not in run(house, "alert-channels", "list")
    assert run(house, "alert-channels", "delete", channel, "--json")["deleted"] is True


def test_what_is_wrong_is_one_sentence(house: House, run: Run) -> None:
    assert "write it like 'percent >= 50'" in run(
        house, "alert-rules", "create", "x", "--noun", "job", "--verb", "failed", "--where", "percent", code=2
    )
    assert "stays on this machine" in run(house, "alert-channels", "create", "x", "file:///etc/passwd", "--kind", "other", code=2)
    assert "There is no alert" in run(house, "alerts", "show", "alert_unknown", code=4)
