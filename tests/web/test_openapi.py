"""What the OpenAPI document promises: schemathesis asks every operation all sorts of things and never gets a 5xx.

Bounded and the same each time: 15 questions an operation of what the document allows and 15 of what it does not.
"""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode

from tests.scenarios.serving import House, client

LEAST_OPERATIONS = 37
TOO_LONG = b"Invalid HTTP request received."  # the HTTP parser's own words, for an address of more than 64 KB


@pytest.fixture(scope="module")
def document(house: House) -> dict[str, Any]:
    with client(house.url) as anybody:
        answer = anybody.get("/api/openapi.json")
    described: dict[str, Any] = answer.json()
    return described


def test_both_addresses_for_events_are_described(document: dict[str, Any]) -> None:
    assert {"200", "400"} <= set(document["paths"]["/api/events"]["post"]["responses"])
    assert {"204", "400"} <= set(document["paths"]["/api/v1/events"]["post"]["responses"])


def hurried(case: Case[Any]) -> Case[Any]:
    """The same question by a worker that does not wait for a job: it is about what is answered, and not when."""
    body: Any = case.body
    wait = body.get("wait") if isinstance(body, dict) else None
    if isinstance(wait, int | float) and 0 < wait <= 30:
        body["wait"] = 0.01
    return case


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "not-allowed"])
def test_no_question_gets_a_5xx(house: House, document: dict[str, Any], mode: GenerationMode, subtests: pytest.Subtests) -> None:
    asked = 0
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]  # an Err raises here, as it should
        asked += 1
        with subtests.test(operation.label):

            @seed(20240229)
            @settings(max_examples=15, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Case[Any]) -> None:
                check(hurried(case))

            def check(case: Case[Any]) -> None:
                answer = case.call(base_url=house.url, headers={"Authorization": f"Bearer {house.operator}"}, timeout=30)
                assert answer.status_code < 500, f"{case.as_curl_command()}\n{answer.text}"
                if answer.status_code >= 400 and answer.content != TOO_LONG:
                    assert answer.content.startswith(b"{"), f"{case.as_curl_command()}\n{answer.status_code} {answer.headers} {answer.text}"
                    assert answer.json()["detail"]

            ask()
    assert asked >= LEAST_OPERATIONS
