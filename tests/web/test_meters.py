"""Meters and prices over HTTP, in our own shapes and in OpenMeter's."""

from typing import Any

import pytest

from tests.scenarios.serving import Tenant

API = {"slug": "api", "event_type": "api", "value_property": "$.n", "group_by": {"region": "$.region"}, "unit": "call"}


def use(tenant: Tenant, *hours: tuple[str, str, Any]) -> None:
    tenant.send(
        *(
            {"id": f"{at}", "type": "api", "subject": subject, "time": time, "data": {"n": n, "region": "=eu" if at % 2 else "us"}}
            for at, (subject, time, n) in enumerate(hours)
        )
    )


def test_a_meter_is_made_shown_changed_and_deleted(manga: Tenant) -> None:
    assert manga.api.post("/api/meters", json=API).status_code == 201
    assert manga.api.get("/api/meters/api").json()["group_by"] == {"region": "$.region"}
    assert manga.api.patch("/api/meters/api", json={"unit": "request"}).json()["unit"] == "request"
    assert manga.api.patch("/api/meters/api", json={"aggregation": "max"}).status_code == 422
    listed = manga.api.get("/api/meters", params={"limit": 2, "offset": 1}).json()
    assert (len(listed["meters"]), listed["total"], listed["limit"], listed["offset"]) == (2, 4, 2, 1)
    assert manga.api.post("/api/meters", json=API).status_code == 409
    assert manga.api.delete("/api/meters/api").status_code == 204
    assert manga.api.get("/api/meters/api").status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"slug": "Not a slug"}, "slug"),
        ({"aggregation": "median"}, "aggregation"),
        ({"value_property": None}, "value_property"),
        ({"value_property": "n; DROP TABLE events"}, "value_property"),
        ({"group_by": {"subject": "$.x"}}, "group_by"),
        ({"filters": {"$.x": 5}}, "filters"),
        ({"event_type": ""}, "event_type"),
        ({"unit": "x\0"}, None),
        ({"surprise": 1}, None),
    ],
)
def test_a_bad_meter_is_told_which_field_is_wrong(manga: Tenant, change: dict[str, Any], field: str | None) -> None:
    answer = manga.api.post("/api/meters", json=API | change)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert problem["detail"]
    if field is not None:
        assert field in problem["detail"]


def test_days_are_those_of_the_zone_over_both_changes_of_its_clocks(manga: Tenant) -> None:
    manga.api.post("/api/meters", json=API)
    spring = [("carol", f"2024-03-{30 + (23 + at) // 24:02d}T{(23 + at) % 24:02d}:30:00Z", 1) for at in range(24)]
    autumn = [("carol", f"2024-10-{26 + (22 + at) // 24:02d}T{(22 + at) % 24:02d}:30:00Z", 1) for at in range(26)]
    use(manga, *spring, *autumn)
    asked = {"window": "day", "time_zone": "Europe/Berlin"}
    data = manga.api.get("/api/meters/api/query", params=asked).json()["data"]
    assert [(row["window_start"], row["value"]) for row in data] == [
        ("2024-03-30T23:00:00Z", 23),
        ("2024-03-31T22:00:00Z", 1),
        ("2024-10-26T22:00:00Z", 25),
        ("2024-10-27T23:00:00Z", 1),
    ]
    twice = manga.api.get(
        "/api/meters/api/query", params=asked | {"window": "hour", "start": "2024-10-27T00:00:00Z", "end": "2024-10-27T02:00:00Z"}
    )
    assert [row["value"] for row in twice.json()["data"]] == [1, 1]


def test_a_query_filters_groups_and_answers_as_csv_without_formulas(manga: Tenant) -> None:
    manga.api.post("/api/meters", json=API)
    use(manga, ("carol", "2024-05-01T00:00:00Z", "0.10"), ("=dave", "2024-05-01T00:00:01Z", 2), ("carol", "2024-05-01T00:00:02Z", 0.2))
    one = manga.api.get("/api/meters/api/query", params={"filter[region]": "us", "group_by": "subject"})
    assert '"value":0.3}' in one.text
    table = manga.api.get("/api/meters/api/query", params={"group_by": ["subject", "region"]}, headers={"accept": "text/csv"})
    assert table.text.splitlines() == ["window_start,window_end,subject,region,value", ",,'=dave,'=eu,2", ",,carol,us,0.3"]


@pytest.mark.parametrize(
    "params",
    [
        {"window": "week"},
        {"time_zone": "Mars/Base"},
        {"start": "yesterday"},
        {"start": "2024-05-02T00:00:00Z", "end": "2024-05-01T00:00:00Z"},
        {"group_by": "colour"},
        {"filter[colour]": "red"},
    ],
)
def test_a_question_that_makes_no_sense_is_named(manga: Tenant, params: dict[str, str]) -> None:
    manga.api.post("/api/meters", json=API)
    answer = manga.api.get("/api/meters/api/query", params=params)
    assert answer.status_code == 422
    assert answer.json()["detail"]


def test_a_price_is_made_with_its_digits_listed_and_deleted(manga: Tenant) -> None:
    tiers = '[{"up_to": 0.3, "amount": 0.12345678901234567890}, {"amount": "1"}]'
    body = f'{{"meter": "compute_seconds", "model": "graduated", "tiers": {tiers}, "starts": "2024-05"}}'
    made = manga.api.post("/api/prices", content=body)
    assert made.status_code == 201
    assert '"amount":0.12345678901234567890' in made.text
    assert manga.api.get("/api/prices").json()["total"] == 1
    assert manga.api.post("/api/prices", content=body).status_code == 409
    assert manga.api.delete(f"/api/prices/{made.json()['id']}").status_code == 204
    assert manga.api.delete(f"/api/prices/{made.json()['id']}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"meter": "nothing", "amount": 1},
        {"meter": "jobs", "amount": -1},
        {"meter": "jobs", "model": "each"},
        {"meter": "jobs", "model": "volume", "tiers": [{"amount": 1, "up_to": 5}]},
        {"meter": "jobs", "model": "volume", "amount": 1, "tiers": [{"amount": 1}]},
        {"meter": "jobs", "amount": 1, "starts": "2024-05-01"},
        {"meter": "jobs", "amount": 1, "per": 0},
    ],
)
def test_a_bad_price_is_refused(manga: Tenant, body: dict[str, Any]) -> None:
    answer = manga.api.post("/api/prices", json=body)
    assert answer.status_code in (404, 422)
    assert manga.api.get("/api/prices").json()["total"] == 0


@pytest.mark.parametrize("model", ["per_unit", "flat", "package"])
def test_a_price_is_not_free_because_its_amount_was_forgotten(manga: Tenant, model: str) -> None:
    answer = manga.api.post("/api/prices", json={"meter": "jobs", "model": model})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "amount", "detail": f'amount: the model {model} needs one, such as "0.10"; "0" is free'}]
    assert manga.api.get("/api/prices").json()["total"] == 0
    assert manga.api.post("/api/prices", json={"meter": "jobs", "model": model, "amount": "0"}).status_code == 201


@pytest.mark.parametrize("model", ["graduated", "volume"])
def test_a_price_with_tiers_needs_no_amount_beside_theirs(manga: Tenant, model: str) -> None:
    body = {"meter": "jobs", "model": model, "tiers": [{"amount": "0.1"}]}
    assert manga.api.post("/api/prices", json=body).status_code == 201


def test_openmeters_clients_find_what_they_ask_for(manga: Tenant) -> None:
    wanted = {"slug": "tokens", "eventType": "prompt", "aggregation": "SUM", "valueProperty": "$.tokens", "groupBy": {"model": "$.model"}}
    assert manga.api.post("/api/v1/meters", json=wanted).json()["aggregation"] == "SUM"
    event = {"specversion": "1.0", "id": "1", "source": "app", "type": "prompt", "subject": "carol", "time": "2024-05-01T00:10:00Z"}
    kind = {"content-type": "application/cloudevents+json"}
    sent = manga.api.post("/api/v1/events", json=event | {"data": {"tokens": "12", "model": "m1"}}, headers=kind)
    assert (sent.status_code, sent.content) == (204, b"")
    assert manga.api.post("/api/v1/events", json={"id": ""}, headers=kind).status_code == 400
    params = {"windowSize": "HOUR", "groupBy": "model", "subject": "carol", "filterGroupBy[model]": "m1"}
    (row,) = manga.api.get("/api/v1/meters/tokens/query", params=params).json()["data"]
    assert row == {
        "value": 12,
        "windowStart": "2024-05-01T00:00:00Z",
        "windowEnd": "2024-05-01T01:00:00Z",
        "subject": None,
        "groupBy": {"model": "m1"},
    }
    asked = {"from": "2024-05-01T00:00:00Z", "to": "2024-05-02T00:00:00Z", "windowSize": "DAY", "filterGroupBy": {"model": ["m2"]}}
    assert manga.api.post("/api/v1/meters/tokens/query", json=asked).json()["data"] == []
    assert manga.api.get("/api/v1/meters/tokens/subjects").json() == ["carol"]
    assert [meter["slug"] for meter in manga.api.get("/api/v1/meters").json()] == ["bytes_processed", "compute_seconds", "jobs", "tokens"]
