"""What a meter answers, against a count made by hand in Python, on every engine."""

import json
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from itertools import accumulate
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tollhouse.events import EventFilter, EventLimits, Promotion, parse
from tollhouse.kit import money, times
from tollhouse.kit.jsonpath import JsonPath
from tollhouse.kit.times import Span, Window
from tollhouse.metering import Meter, UsageQuery, aggregate, erase, rebuild, rollup, snapshot, usage
from tollhouse.store.events import EventStore

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo"]
NOW = times.parse_time("2024-12-31T00:00:00Z")
NOTHING = {"sum": 0, "count": 0, "unique_count": 0, "avg": None, "min": None, "max": None, "latest": None}
# Two changes of the clocks in Berlin, New York and Lord Howe lie near these.
BASES = [
    times.parse_time(text) for text in ("2024-03-10T05:00:00Z", "2024-03-31T00:30:00Z", "2024-10-27T00:15:00Z", "2024-11-03T05:00:00Z")
]


def meter(aggregation: str, **fields: Any) -> Meter:
    value = None if aggregation == "count" else "$.n"
    given = {"id": f"mtr_{aggregation}", "organization": "manga", "slug": aggregation, "description": "", "event_type": "api",
             "aggregation": aggregation, "value_property": value, "group_by": {"region": "$.region", "kind": "$.tag.kind"},
             "filters": {}, "unit": "", "created_at": datetime(2024, 1, 1, tzinfo=UTC), "deleted_at": None}  # fmt: skip
    return Meter(**{**given, **fields})


@dataclass(frozen=True)
class Happened:
    """An event as the test made it."""

    id: str
    subject: str | None
    time: int
    data: dict[str, Any]

    def line(self) -> bytes:
        shown = {"id": self.id, "type": "api", "subject": self.subject, "time": times.rfc3339(self.time)}
        number = self.data.get("n")
        data = {**self.data, "n": f"@{number}@"} if isinstance(number, Decimal) else self.data
        return json.dumps({**shown, "data": data}).replace('"@', "").replace('@"', "").encode()

    def value(self) -> Decimal | None:
        number = self.data.get("n")
        if isinstance(number, bool) or not isinstance(number, Decimal | int | str):
            return None
        text = money.value_text(str(number))
        with localcontext() as context:
            context.prec = 60
            return None if text is None else Decimal(text).quantize(Decimal("1e-12"), rounding=ROUND_HALF_UP)


def send(store: EventStore, happened: list[Happened], promoted: str | None = "$.n") -> None:
    if not happened:
        return
    lifted = {"api": Promotion.of(JsonPath.parse(promoted))} if promoted else {}
    body = b"\n".join(event.line() for event in happened)
    submission = parse(body, "application/x-ndjson", "manga", NOW, EventLimits(), lifted)
    assert not submission.faults
    store.append(submission.batch)


def by_hand(happened: list[Happened], aggregation: str, query: UsageQuery) -> dict[tuple[Any, ...], Any]:
    """The same question answered by a loop."""
    groups: dict[tuple[Any, ...], list[Happened]] = defaultdict(list)
    for event in happened:
        if (query.start is not None and event.time < query.start) or (query.end is not None and event.time >= query.end):
            continue
        if query.subjects and event.subject not in query.subjects:
            continue
        names = {"subject": event.subject, "region": event.data.get("region"), "kind": event.data.get("tag", {}).get("kind")}
        if any(names[name] not in texts for name, texts in query.filters.items()):
            continue
        start = times.floor(event.time, query.window, query.tz) if query.window else query.start
        groups[(start, *(names[name] for name in query.group_by))].append(event)
    answers = {key: _answer(events, aggregation) for key, events in groups.items()}
    found = {key: answer for key, answer in answers.items() if answer is not None}
    return found or ({} if query.window or query.group_by else {(query.start,): NOTHING[aggregation]})


def _answer(events: list[Happened], aggregation: str) -> Any:
    if aggregation == "count":
        return len(events)
    if aggregation == "unique_count":
        return len({str(event.data["n"]) for event in events if event.data.get("n") is not None}) or None
    with localcontext() as context:
        context.prec = 60
        values = [(event.time, event.id, value) for event in events if (value := event.value()) is not None]
        if not values:
            return None
        numbers = [value for _, _, value in values]
        if aggregation == "avg":
            return money.round_half_even(sum(numbers, Decimal(0)) / len(numbers), 12)
        return {"sum": lambda: sum(numbers, Decimal(0)), "min": lambda: min(numbers), "max": lambda: max(numbers),
                "latest": lambda: max(values)[2]}[aggregation]()  # fmt: skip


def asked(store: EventStore, of: Meter, query: UsageQuery, home: str) -> dict[tuple[Any, ...], Any]:
    rows = usage(store, of, query, times.zone(home), NOW)
    names = [name for name in query.group_by if name != "subject"]
    found = {}
    for row in rows:
        groups = {**row.groups, "subject": row.subject}
        found[(row.start, *(groups[name] for name in query.group_by))] = row.value
        assert set(row.groups) == set(names)
    return found


numbers = st.one_of(
    st.decimals(-1000, 1000, places=3),
    st.integers(-5, 10**12),
    st.sampled_from(
        [Decimal("0.1"), Decimal("12345678901234567.123456789012"), "7.25", "seven", None, True, Decimal("0.30000000000000004")]
    ),
)


@st.composite
def events(draw: st.DrawFn, prefix: str) -> list[Happened]:
    made = []
    for number in range(draw(st.integers(0, 12))):
        time = draw(st.sampled_from(BASES)) + draw(st.integers(-30, 60)) * times.HOUR // 4 + draw(st.sampled_from([0, 1, 999_999]))
        data: dict[str, Any] = {"n": draw(numbers), "region": draw(st.sampled_from(["eu", "us", None]))}
        if draw(st.booleans()):
            data["tag"] = {"kind": draw(st.sampled_from(["a", "b"]))}
        made.append(Happened(f"{prefix}{number}", draw(st.sampled_from(["carol", "dave", None])), time, data))
    return made


queries = st.builds(
    UsageQuery,
    start=st.one_of(st.none(), st.sampled_from([base - 7 * times.HOUR for base in BASES[:2]])),
    end=st.one_of(st.none(), st.sampled_from([base + 9 * times.HOUR + 7 for base in BASES[2:]])),
    window=st.sampled_from([None, "minute", "hour", "day", "month"]),
    tz=st.sampled_from(ZONES).map(times.zone),
    subjects=st.sampled_from([(), ("carol",), ("carol", "dave")]),
    group_by=st.sampled_from([(), ("subject",), ("region",), ("subject", "kind"), ("kind", "region")]),
    filters=st.sampled_from([{}, {}, {"region": ("eu",)}, {"kind": ("a", "b"), "region": ("us",)}]),
)


def clear(store: EventStore) -> None:
    with store.writing() as write:
        write.delete_events("true", {})
        for table in ("hour", "hour_subject", "day", "day_subject", "month", "month_subject"):
            write.run(f"DELETE FROM rollup_{table}", {})
        write.run("DELETE FROM rollup_state", {})


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    first=events("a"), late=events("b"), raw=events("c"), gone=st.sets(st.sampled_from(["a0", "a1", "a3", "b0", "b2", "c1"])),
    aggregation=st.sampled_from(["sum", "count", "unique_count", "avg", "min", "max", "latest"]),
    query=queries, home=st.sampled_from(ZONES), promoted=st.sampled_from(["$.n", None]), at_once=st.sampled_from([1, 13, 10**6]),
)  # fmt: skip
def test_live_equals_rolled_up_equals_by_hand(
    event_store: EventStore, first: list[Happened], late: list[Happened], raw: list[Happened], gone: set[str],
    aggregation: str, query: UsageQuery, home: str, promoted: str | None, at_once: int,
) -> None:  # fmt: skip
    """Over late events, duplicates and deletions, in any zone and window, whatever has been aggregated and in how many steps."""
    with mock.patch.object(rollup, "_MOST_EVENTS", at_once):
        clear(event_store)
        of, zoned = meter(aggregation), times.zone(home)
        send(event_store, first, promoted)
        assert asked(event_store, of, query, home) == by_hand(first, aggregation, query)
        aggregate(event_store, [(of, zoned)])
        assert asked(event_store, of, query, home) == by_hand(first, aggregation, query)
        send(event_store, late + first, None)
        aggregate(event_store, [(of, zoned)])
        send(event_store, raw)
        known = first + late + raw
        assert asked(event_store, of, query, home) == by_hand(known, aggregation, query)
        for id in sorted(gone):
            erase(event_store, [(of, zoned)], EventFilter("manga", id=id))
        known = [event for event in known if event.id not in gone]
        assert asked(event_store, of, query, home) == by_hand(known, aggregation, query)
        rebuild(event_store, [(of, zoned)])
        assert asked(event_store, of, query, home) == by_hand(known, aggregation, query)


edges = st.builds(
    lambda base, hours, more: base + hours * times.HOUR + more, st.sampled_from(BASES), st.integers(-40, 60), st.sampled_from([0, 0, 0, 7])
)
spans = st.lists(st.builds(Span, edges, edges), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rolled=events("a"), raw=events("b"), asked_of=spans, home=st.sampled_from(ZONES),
    aggregation=st.sampled_from(["sum", "count", "unique_count", "avg", "min", "max", "latest"]),
)  # fmt: skip
def test_several_spans_at_once_are_each_as_if_asked_alone(
    event_store: EventStore, rolled: list[Happened], raw: list[Happened], asked_of: list[Span], home: str, aggregation: str
) -> None:
    """Overlapping or empty, before and after an aggregation, with whole months among them or none."""
    clear(event_store)
    of, zoned = meter(aggregation), times.zone(home)
    month = Span(times.floor(BASES[0], "month", zoned), times.following(times.floor(BASES[0], "month", zoned), "month", zoned))
    asked_of = [*asked_of, month]
    send(event_store, rolled)
    aggregate(event_store, [(of, zoned)])
    send(event_store, raw)
    with snapshot(event_store, "manga", zoned, NOW) as moment:
        together = moment.by_subject(of, asked_of)
    for span, found in zip(asked_of, together, strict=True):
        if span:
            query = UsageQuery(span.start, span.end, group_by=("subject",))
            alone = {name: value for (_, name), value in by_hand(rolled + raw, aggregation, query).items() if name is not None}
            assert found == alone
        else:
            assert found == {}


def one_day(store: EventStore, hours: range, window: Window, zone: str) -> list[tuple[str, int]]:
    base = times.parse_time("2024-03-30T23:00:00Z")
    send(store, [Happened(f"h{hour}", "carol", base + hour * times.HOUR, {"n": Decimal(1)}) for hour in hours])
    query = UsageQuery(window=window, tz=times.zone(zone))
    return [(times.rfc3339(row.start or 0), int(row.value or 0)) for row in usage(store, meter("count"), query, times.zone("UTC"), NOW)]


def test_many_events_are_aggregated_in_steps_and_one_commit_never_divided(event_store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    of, zoned = meter("sum"), times.zone("UTC")
    for commit, size in enumerate((3, 1, 9, 1, 1)):
        send(event_store, [Happened(f"e{commit}-{at}", "carol", BASES[0] + at, {"n": Decimal(1)}) for at in range(size)])
    steps: list[int] = []
    really = rollup._stage
    monkeypatch.setattr(rollup, "_MOST_EVENTS", 4)

    def noted(*given: Any) -> int:
        steps.append(really(*given))
        return steps[-1]

    monkeypatch.setattr(rollup, "_stage", noted)
    assert aggregate(event_store, [(of, zoned)]).events == 15
    assert set(accumulate(steps)) <= {3, 4, 13, 14, 15}  # each ends where a commit does
    assert all(step <= 4 or step == 9 for step in steps)
    assert aggregate(event_store, [(of, zoned)]).events == 0
    assert asked(event_store, of, UsageQuery(), "UTC") == {(None,): Decimal(15)}


def test_the_day_on_which_summer_time_begins_has_23_hours(event_store: EventStore) -> None:
    days = one_day(event_store, range(48), "day", "Europe/Berlin")
    assert days == [("2024-03-30T23:00:00Z", 23), ("2024-03-31T22:00:00Z", 24), ("2024-04-01T22:00:00Z", 1)]


def test_filters_of_the_meter_itself_hold_before_and_after_aggregation(event_store: EventStore) -> None:
    of = meter("sum", filters={"$.region": ["eu", "us"]})
    happened = [Happened(f"e{at}", "carol", BASES[0], {"n": Decimal(at), "region": region}) for at, region in enumerate(["eu", "ap", "us"])]
    send(event_store, happened)
    assert asked(event_store, of, UsageQuery(), "UTC") == {(None,): Decimal(2)}
    aggregate(event_store, [(of, times.zone("UTC"))])
    assert asked(event_store, of, UsageQuery(), "UTC") == {(None,): Decimal(2)}


def test_a_meter_sees_no_other_organization(event_store: EventStore) -> None:
    send(event_store, [Happened("a", "carol", BASES[0], {"n": Decimal(1)})])
    other = meter("sum", organization="beats")
    aggregate(event_store, [(other, times.zone("UTC"))])
    assert asked(event_store, other, UsageQuery(group_by=("subject",)), "UTC") == {}


def test_an_aggregation_that_fails_midway_is_repeated_whole(event_store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    of, zoned = meter("sum"), times.zone("UTC")
    send(event_store, [Happened(f"e{at}", "carol", BASES[0] + at, {"n": Decimal(at)}) for at in range(5)])
    from tollhouse.metering import rollup

    whole = rollup._merge
    monkeypatch.setattr(rollup, "_merge", lambda write, sql, grain, *rest: whole(write, sql, grain, *rest) if grain != "month" else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        aggregate(event_store, [(of, zoned)])
    monkeypatch.undo()
    assert asked(event_store, of, UsageQuery(), "UTC") == {(None,): Decimal(10)}
    aggregate(event_store, [(of, zoned)])
    aggregate(event_store, [(of, zoned)])
    assert asked(event_store, of, replace(UsageQuery(), window="hour"), "UTC") == {(times.floor(BASES[0], "hour", zoned),): Decimal(10)}
