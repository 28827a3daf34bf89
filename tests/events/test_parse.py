"""Reading a body at once and event by event gives the same columns, whatever is in it."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollhouse.events import EventLimits, Promotion, Submission, event, parse
from tollhouse.kit import times
from tollhouse.kit.jsonpath import JsonPath
from tollhouse.store.events import EventBatch

NOW = times.parse_time("2024-06-01T00:00:00Z")
LIFTED = {"api": Promotion.of(JsonPath.parse("$.n")), "deep": Promotion.of(JsonPath.parse("$.a.n[1]"))}

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**19), 10**19), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
)
payloads = st.one_of(
    scalars,
    st.fixed_dictionaries({}, optional={"n": st.one_of(scalars, st.sampled_from(["12", "1e5", "-0.5"])), "job_id": scalars}),
    st.fixed_dictionaries({"a": st.fixed_dictionaries({"n": st.lists(scalars, max_size=3)})}),
)
events = st.lists(
    st.fixed_dictionaries(
        {"id": st.text(min_size=1, max_size=5), "type": st.sampled_from(["api", "deep", "other"]), "data": payloads},
        optional={
            "source": st.text(max_size=3),
            "subject": st.sampled_from(["", "carol"]),
            "time": st.sampled_from(["2024-05-01T00:00:00.5+02:00"]),
        },
    ),
    min_size=1,
    max_size=6,
)


def read(body: bytes) -> Submission:
    return parse(body, "application/json", "manga", NOW, EventLimits(), LIFTED)


@given(events, st.booleans())
def test_at_once_and_one_by_one_are_the_same(given_events: list[dict[str, Any]], escaped: bool) -> None:
    body = json.dumps(given_events, ensure_ascii=escaped, allow_nan=False).encode("utf-8", "replace")
    fast = read(body)
    whole = event.columns
    try:
        event.columns = lambda *_: None
        slow = read(body)
    finally:
        event.columns = whole
    assert (fast.batch, fast.places, fast.faults) == (slow.batch, slow.places, slow.faults)


@pytest.mark.parametrize(
    ("data", "job", "value"),
    [
        ('{"n":7}', None, "7"),
        ('{"n":"12.5","job_id":"j"}', "j", "12.5"),
        ('{"n":"\\u0031","job_id":5}', "5", "1"),
        ('{"n":1e300}', None, None),
        ('{"n":12345678901234567.12}', None, "12345678901234567.12"),
        ('{"n":true,"job_id":null}', None, None),
        ('{"n":[1],"job_id":["j"]}', None, None),
        ("[1]", None, None),
        ('"n"', None, None),
    ],
)
def test_the_number_and_the_job_are_lifted_out_with_their_digits(data: str, job: str | None, value: str | None) -> None:
    batch = read(f'[{{"id":"a","type":"api","data":{data}}}]'.encode()).batch
    assert (batch.job, batch.value, batch.path) == ([job], [value], ['$."n"'])


def test_a_number_that_a_double_cannot_hold_is_kept_as_sent_and_queried_as_text() -> None:
    batch = read(b'[{"id":"a","type":"x","data":{"n": 12345678901234567.12, "m": [0.1, 9007199254740993]}}]').batch
    assert batch.original == ['{"n": 12345678901234567.12, "m": [0.1, 9007199254740993]}']
    kept = json.loads(batch.data[0], parse_float=Decimal)
    assert kept == {"n": "12345678901234567.12", "m": [Decimal("0.1"), 9007199254740993]}


def test_an_empty_array_is_nothing() -> None:
    assert read(b"[]").batch == EventBatch()
