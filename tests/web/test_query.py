"""Query parameters: what a route does not know, it refuses, before it has done anything."""

from typing import Any

import pytest

from tests.scenarios.serving import Tenant


def two_customers(tenant: Tenant) -> None:
    tenant.send(*({"id": name, "type": "td", "subject": name, "data": {}} for name in ("alice", "bob")))


def test_a_deletion_with_an_unknown_parameter_deletes_nothing(manga: Tenant) -> None:
    two_customers(manga)
    answer = manga.api.delete("/api/events", params={"type": "td", "user_id": "alice"})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    said = "user_id: there is no such query parameter here; there are type, subject, source, id, start, end"
    assert answer.json()["detail"] == f"{said}."
    assert answer.json()["errors"] == [{"field": "user_id", "detail": said}]
    assert len(manga.api.get("/api/events", params={"type": "td"}).json()["events"]) == 2


def test_a_parameter_that_is_no_list_is_given_once(manga: Tenant) -> None:
    two_customers(manga)
    answer = manga.api.delete("/api/events", params=[("type", "td"), ("subject", "alice"), ("subject", "nobody")])
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "subject", "detail": "subject: it is there more than once; give it once"}]
    assert len(manga.api.get("/api/events", params={"type": "td"}).json()["events"]) == 2


def test_every_route_of_our_own_refuses_what_the_document_does_not_name(manga: Tenant) -> None:
    document = manga.api.get("/api/openapi.json").json()
    asked = 0
    for path, operations in document["paths"].items():
        if not path.startswith("/api/") or path.startswith("/api/v1/"):
            continue
        for method in operations:
            answer = manga.api.request(method, path, params={"surprise": "1"})
            assert answer.status_code == 422, f"{method} {path}: {answer.status_code} {answer.text}"
            assert answer.json()["errors"][0]["field"] == "surprise"
            asked += 1
    assert asked > 60


@pytest.mark.parametrize("params", [{"filter": "eu"}, {"filter[]": "eu"}, {"filter[region": "eu"}, {"filtre[region]": "eu"}])
def test_a_filter_that_is_written_in_another_way_is_not_passed_over(manga: Tenant, params: dict[str, Any]) -> None:
    answer = manga.api.get("/api/meters/jobs/query", params=params)
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith("there are subject, start, end, window, time_zone, group_by, filter[name].")


def test_a_filter_may_have_several_texts_and_its_name_may_not_be_just_any(manga: Tenant) -> None:
    question = "/api/meters/jobs/query"
    params = {"filter[status]": ["completed", "failed"], "subject": ["carol", "dave"]}
    assert manga.api.get(question, params=params).status_code == 200
    assert manga.api.get(question, params={f"filter[{'x' * 65}]": "eu"}).status_code == 422


def test_events_are_not_taken_at_an_address_with_a_parameter(manga: Tenant) -> None:
    event = {"id": "1", "type": "td", "subject": "alice"}
    answer = manga.api.post("/api/events", params={"type": "td"}, json=event)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "type")
    assert manga.api.get("/api/events").json()["events"] == []


def test_openmeters_clients_may_send_what_we_do_not_know(manga: Tenant) -> None:
    assert manga.api.get("/api/v1/meters", params={"page": "1", "pageSize": "100"}).status_code == 200
