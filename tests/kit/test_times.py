"""Windows of a time zone: no gap, no overlap, right where clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollhouse.kit import times
from tollhouse.kit.errors import Unprocessable

ZONES = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith(("posix", "right", "Etc")))
instants = st.integers(times.parse_time("2000-01-02T00:00:00Z"), times.parse_time("2037-12-30T00:00:00Z"))
kinds = st.sampled_from(["minute", "hour", "day", "month"])


@given(instants, kinds, st.sampled_from(ZONES))
def test_every_instant_lies_in_exactly_one_window_and_they_follow_on(instant: int, window: times.Window, name: str) -> None:
    tz = times.zone(name)
    start = times.floor(instant, window, tz)
    end = times.following(start, window, tz)
    assert start <= instant < end
    if window in ("day", "month"):
        assert times.floor(start, window, tz) == start
        assert times.floor(end, window, tz) == end
        assert times.floor(end - 1, window, tz) == start


@given(instants, st.sampled_from(ZONES))
def test_the_offsets_that_queries_use_are_the_zones_own(instant: int, name: str) -> None:
    tz = times.zone(name)
    pieces = times.offsets(tz, instant - 200 * times.DAY, instant + 200 * times.DAY)
    offset = next(value for since, value in reversed(pieces) if since <= instant or since == pieces[0][0])
    assert offset == times.moment(instant).astimezone(tz).utcoffset() / timedelta(microseconds=1)  # type: ignore[operator]
    assert offset % (times.HOUR // 4) == 0


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2024-03-31T12:00:00Z", 23),
        ("Europe/Berlin", "2024-10-27T12:00:00Z", 25),
        ("America/New_York", "2024-03-10T12:00:00Z", 23),
        ("America/New_York", "2024-11-03T12:00:00Z", 25),
        ("Australia/Lord_Howe", "2024-04-07T02:00:00Z", 24.5),
        ("America/Havana", "2024-03-10T12:00:00Z", 23),
        ("Asia/Kolkata", "2024-03-10T12:00:00Z", 24),
    ],
)
def test_a_day_has_as_many_hours_as_its_clocks_show(zone: str, day: str, hours: float) -> None:
    tz = times.zone(zone)
    start = times.floor(times.parse_time(day), "day", tz)
    assert (times.following(start, "day", tz) - start) / times.HOUR == hours


def test_the_hour_that_a_clock_shows_twice_is_two_windows() -> None:
    tz = times.zone("Europe/Berlin")
    first = times.parse_time("2024-10-27T00:30:00Z")
    assert times.floor(first, "hour", tz) + times.HOUR == times.floor(first + times.HOUR, "hour", tz)


@given(instants)
def test_an_instant_is_written_and_read_without_loss(instant: int) -> None:
    assert times.parse_time(times.rfc3339(instant)) == instant
    assert times.micros(times.moment(instant)) == instant


@pytest.mark.parametrize("text", ["", "yesterday", "2024-01-01T00:00:00", "1999-12-31T23:59:59Z", "2024-13-01", "2024-02-30", "9999-01-01"])
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(Unprocessable, match=r"start: .*write it like"):
        times.parse_time(text, "start")


@pytest.mark.parametrize("name", ["", "Mars/Base", "../../etc/passwd", "/etc/passwd", "Europe", "x\0"])
def test_what_is_no_zone_is_named(name: str) -> None:
    with pytest.raises(Unprocessable, match="IANA"):
        times.zone(name)


def test_a_month_has_its_name() -> None:
    span = times.month_named("2024-02", times.zone("Europe/Berlin"))
    assert times.moment(span.start) == datetime(2024, 1, 31, 23, tzinfo=UTC)
    with pytest.raises(Unprocessable, match="period"):
        times.month_named("2024-2", times.zone("UTC"))
