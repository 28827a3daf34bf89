"""Retention: what goes, what stays, and that no open bill and no lifetime total ever notices."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.metering.test_usage import meter
from tollhouse.events import EventFilter, EventLimits, parse
from tollhouse.kit import times
from tollhouse.kit.errors import Conflict, DetailGone
from tollhouse.metering import Retention, UsageQuery, aggregate, erase, rebuild, trim, usage
from tollhouse.store.events import EventStore

UTC_ZONE = times.zone("UTC")
NOW = datetime(2024, 12, 20, 12, tzinfo=UTC)
OF = meter("sum")


def send(store: EventStore, days_ago: int, received_days_ago: int | None = None, value: int = 1) -> None:
    when = NOW - timedelta(days=days_ago)
    received = NOW - timedelta(days=days_ago if received_days_ago is None else received_days_ago)
    event = {"id": f"{days_ago}/{received_days_ago}", "type": "api", "subject": "carol", "time": when.isoformat(), "data": {"n": value}}
    submission = parse(json.dumps(event).encode(), "", "manga", times.micros(received), EventLimits(days_ahead=9999), {})
    assert store.append(submission.batch) == [0]


def ask(store: EventStore, window: times.Window | None = None, start: datetime | None = None) -> list[int]:
    query = UsageQuery(None if start is None else times.micros(start), None, window, UTC_ZONE)
    return [int(row.value or 0) for row in usage(store, OF, query, UTC_ZONE, times.micros(NOW))]


DEFAULT = Retention()


def trimmed(store: EventStore, keep: Retention = DEFAULT) -> tuple[int, int, int]:
    aggregate(store, [(OF, UTC_ZONE)])
    done = trim(store, "manga", UTC_ZONE, [OF], keep, NOW)
    return done.hours, done.days, done.events


def test_old_hours_and_days_and_events_go_and_the_total_stays(event_store: EventStore) -> None:
    for days_ago in (1, 40, 120, 400):
        send(event_store, days_ago)
    assert trimmed(event_store) == (6, 4, 1)  # a row for all subjects and one for carol each
    assert ask(event_store) == [4]
    assert ask(event_store, "month") == [1, 1, 1, 1]
    assert trimmed(event_store) == (0, 0, 0)


def test_days_whose_rollups_are_gone_are_read_from_their_events(event_store: EventStore) -> None:
    send(event_store, 120)
    trimmed(event_store)
    assert ask(event_store, "day") == [1]


def test_a_detail_that_is_gone_altogether_is_said_to_be(event_store: EventStore) -> None:
    send(event_store, 400)
    trimmed(event_store)
    with pytest.raises(DetailGone, match="no longer kept"):
        ask(event_store, "day", NOW - timedelta(days=500))
    assert ask(event_store, "day", NOW - timedelta(days=300)) == []


def test_a_question_without_a_start_is_answered_from_where_detail_is_left(event_store: EventStore) -> None:
    """Else one old event would refuse it for every customer, for ever."""
    for days_ago in (400, 120, 1):
        send(event_store, days_ago)
    trimmed(event_store)
    assert ask(event_store, "day") == [1, 1]
    distinct = meter("unique_count")
    asked = {window: UsageQuery(None, None, window, UTC_ZONE) for window in (None, "month")}
    now = times.micros(NOW)
    assert [row.value for row in usage(event_store, distinct, asked[None], UTC_ZONE, now)] == [1]
    assert [row.value for row in usage(event_store, distinct, asked["month"], UTC_ZONE, now)] == [1, 1]
    send(event_store, 3, value=2)
    assert [row.value for row in usage(event_store, distinct, asked[None], UTC_ZONE, now)] == [2]


@pytest.mark.parametrize("window", ["hour", "day", "month"])
def test_a_question_without_a_start_is_answered_in_whole_windows_of_any_zone(event_store: EventStore, window: times.Window) -> None:
    for days_ago in range(280, 400):
        send(event_store, days_ago)
    trimmed(event_store)
    kolkata = times.zone("Asia/Kolkata")
    rows = usage(event_store, OF, UsageQuery(None, None, window, kolkata), UTC_ZONE, times.micros(NOW))
    floor = times.parse_time("2024-01-01T00:00:00Z")
    assert (rows[0].start or 0) >= floor
    by_hand = {times.floor(times.micros(NOW - timedelta(days=days_ago)), window, kolkata) for days_ago in range(280, 400)}
    assert [row.start for row in rows] == sorted(start for start in by_hand if start >= floor)
    assert window == "month" or {row.value for row in rows} == {1}


def test_days_that_are_kept_longer_than_events_are_answered_without_a_start(event_store: EventStore) -> None:
    for days_ago in (400, 120):
        send(event_store, days_ago)
    assert trimmed(event_store, Retention(daily_days=3000))[1:] == (0, 1)
    assert ask(event_store, "day") == [1, 1]


def test_the_running_months_bill_keeps_everything_it_needs(event_store: EventStore) -> None:
    for days_ago in (1, 10, 19):
        send(event_store, days_ago)
    assert trimmed(event_store, Retention(1, 1, 1)) == (0, 0, 0)


def test_an_import_of_old_data_is_kept_as_long_as_new_data(event_store: EventStore) -> None:
    send(event_store, 4000, received_days_ago=3)
    assert trimmed(event_store)[2] == 0
    assert ask(event_store, "hour") == [1]


def test_an_event_that_is_not_counted_yet_is_not_removed(event_store: EventStore) -> None:
    send(event_store, 400)
    assert trim(event_store, "manga", UTC_ZONE, [OF], Retention(), NOW).events == 0
    assert ask(event_store) == [1]


def test_late_events_still_join_a_month_whose_events_are_gone(event_store: EventStore) -> None:
    send(event_store, 400)
    trimmed(event_store)
    send(event_store, 400, received_days_ago=0, value=5)
    assert ask(event_store, "month") == [6]
    aggregate(event_store, [(OF, UTC_ZONE)])
    assert ask(event_store, "month") == [6]


def test_a_rebuild_keeps_what_it_cannot_count_again(event_store: EventStore) -> None:
    for days_ago in (400, 40):
        send(event_store, days_ago)
    trimmed(event_store)
    rebuild(event_store, [(OF, UTC_ZONE)])
    assert ask(event_store, "month") == [1, 1]


def test_erasing_from_a_month_that_cannot_be_counted_again_is_refused(event_store: EventStore) -> None:
    send(event_store, 400)
    trimmed(event_store)
    send(event_store, 400, received_days_ago=0, value=5)
    with pytest.raises(Conflict, match="no longer kept"):
        erase(event_store, [(OF, UTC_ZONE)], EventFilter("manga", id="400/0"))
    assert ask(event_store) == [6]


def test_another_organizations_events_stay(event_store: EventStore) -> None:
    send(event_store, 400)
    aggregate(event_store, [(OF, UTC_ZONE)])
    assert trim(event_store, "beats", UTC_ZONE, [], Retention(), NOW).events == 0
    assert ask(event_store) == [Decimal(1)]
