"""OpenMeter's own client for Python, unchanged, with its address turned to Tollhouse."""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from corehttp.exceptions import HttpResponseError, ResourceNotFoundError
from openmeter import Client
from openmeter.models import Event

from tests.scenarios.serving import House, Tenant

NOON = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
def openmeter(house: House, manga: Tenant) -> Iterator[Any]:
    """The client of an organization with a meter of tokens, which two customers used; Any, since it takes more than it declares."""
    client: Any
    with Client(endpoint=house.url, token=manga.secret) as client:
        meter = {
            "slug": "tokens",
            "eventType": "prompt",
            "aggregation": "SUM",
            "valueProperty": "$.tokens",
            "groupBy": {"model": "$.model"},
        }
        client.meters.create(meter)
        client.events.ingest_event(sent(1, "carol", 100, "small"))
        client.events.ingest_events([sent(2, "carol", 7, "large"), sent(3, "dave", 0.1, "=small")])
        yield client


def sent(number: int, subject: str, tokens: float, model: str) -> dict[str, Any]:
    about = {"id": f"{number}", "source": "app", "specversion": "1.0", "type": "prompt", "subject": subject}
    return about | {"time": (NOON + timedelta(minutes=number)).isoformat(), "data": {"tokens": tokens, "model": model}}


def test_what_it_sends_is_counted_once(openmeter: Any) -> None:
    openmeter.events.ingest_event(sent(1, "carol", 100, "small"))
    openmeter.events.ingest_event(
        Event(id="m", source="app", specversion="1.0", type="prompt", subject="erin", time=NOON, data={"tokens": 5})
    )
    (row,) = openmeter.meters.query_json("tokens").data
    assert float(row.value) == 112.1


def test_it_groups_and_filters(openmeter: Any) -> None:
    asked = openmeter.meters.query_json("tokens", window_size="HOUR", group_by=["subject", "model"])
    assert [(row.window_start, row.subject, row.group_by["model"], float(row.value)) for row in asked.data] == [
        (NOON.replace(minute=0), "carol", "large", 7),
        (NOON.replace(minute=0), "carol", "small", 100),
        (NOON.replace(minute=0), "dave", "=small", 0.1),
    ]
    for filters in ({"filter_group_by": {"model": "large"}}, {"subject": ["carol"], "from_parameter": NOON + timedelta(minutes=2)}):
        (row,) = openmeter.meters.query_json("tokens", **filters).data
        assert float(row.value) == 7
    (row,) = openmeter.meters.query("tokens", {"filterCustomerId": ["dave"], "windowSize": "DAY"}).data
    assert float(row.value) == 0.1
    (row,) = openmeter.meters.query_json("tokens", subject=["carol", "erin"], filter_customer_id=["carol", "dave"]).data
    assert float(row.value) == 107


def test_a_filter_that_is_not_known_is_refused_and_not_ignored(openmeter: Any, manga: Tenant) -> None:
    with pytest.raises(HttpResponseError, match="only filterGroupBy"):
        openmeter.meters.query_json("tokens", advanced_meter_group_by_filters={"model": {"$ne": "large"}})
    with pytest.raises(HttpResponseError, match="none of these is among"):
        openmeter.meters.query_json("tokens", subject=["carol"], filter_customer_id=["dave"])
    for text in ("large", "['large']", "{'model': 1}", "{" * 3000, "__import__('os')"):
        answer = manga.api.get("/api/v1/meters/tokens/query", params={"filterGroupBy": text})
        assert answer.status_code == 422
        assert "write it like filterGroupBy[model]=small" in answer.json()["detail"]


def test_a_table_comes_as_csv(openmeter: Any) -> None:
    rows = list(csv.reader(openmeter.meters.query_csv("tokens", window_size="DAY", group_by=["model"]).splitlines()))
    day = ["2024-05-01T00:00:00Z", "2024-05-02T00:00:00Z", "", "", ""]
    assert rows[0] == ["window_start", "window_end", "subject", "customer_name", "customer_email", "model", "value"]
    assert rows[1:] == [[*day, "'=small", "0.1"], [*day, "large", "7"], [*day, "small", "100"]]


def test_events_and_subjects_are_listed(openmeter: Any) -> None:
    found = openmeter.events.list(subject="carol", limit=1)
    assert [(one.event.id, one.event.data["tokens"]) for one in found] == [("2", 7)]
    assert found[0].ingested_at == found[0].stored_at > NOON
    assert [one.event.id for one in openmeter.events.list(from_parameter=NOON, to=NOON + timedelta(minutes=2))] == ["1"]
    assert sorted(openmeter.meters.list_subjects("tokens")) == ["carol", "dave"]


def test_a_meter_is_found_and_taken_away(openmeter: Any) -> None:
    assert openmeter.meters.get("tokens").event_type == "prompt"
    assert "tokens" in [meter.slug for meter in openmeter.meters.list()]
    openmeter.meters.delete("tokens")
    with pytest.raises(ResourceNotFoundError, match="no meter 'tokens'"):
        openmeter.meters.get("tokens")


def test_a_bad_event_is_named(openmeter: Any) -> None:
    with pytest.raises(HttpResponseError, match='"field":"id"'):
        openmeter.events.ingest_event(sent(4, "carol", 1, "small") | {"id": ""})
