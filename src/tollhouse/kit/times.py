"""Instants, zones and windows. Inside Tollhouse an instant is a count of microseconds since 1970 in UTC.

A *window* is one minute, hour, day or month of a time zone's wall clock, half-open. Days and months begin
at local midnight, so a day has 23 or 25 hours where the clocks change. Minutes and hours are counted on the
wall clock too, but the hour that a clock shows twice is two windows.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from tollhouse.kit.errors import Unprocessable

Window = Literal["minute", "hour", "day", "month"]

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)
EARLIEST = 946_684_800 * SECOND  # 2000-01-01: nothing older can be an event of a running app


def micros(moment: datetime) -> int:
    """An aware datetime as microseconds since 1970."""
    gap = moment - _EPOCH
    return (gap.days * 86_400 + gap.seconds) * SECOND + gap.microseconds


def moment(instant: int) -> datetime:
    """Microseconds since 1970 as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=instant)


def rfc3339(instant: int | datetime) -> str:
    """`2024-01-31T23:59:59Z`, with a fraction only where there is one."""
    return (moment(instant) if isinstance(instant, int) else instant).isoformat().replace("+00:00", "Z")


def parse_time(text: str, field: str = "time") -> int:
    """Read an RFC 3339 time or a date (midnight UTC); raises Unprocessable that names `field`."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is not None and parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC) if len(text) == 10 else None
    if parsed is None or not 2000 <= parsed.year <= 2200:
        raise Unprocessable(f"{field}: {text[:60]!r} is not a time between 2000 and 2200; write it like 2024-01-31T13:00:00Z")
    return micros(parsed)


def parse_date(text: str, field: str = "date") -> date:
    """Read `2024-01-31`; raises Unprocessable that names `field`."""
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or not 2000 <= parsed.year <= 2200:
        raise Unprocessable(f"{field}: {text[:60]!r} is not a date between 2000 and 2200; write it like 2024-01-31")
    return parsed


@lru_cache(maxsize=1024)
def zone(name: str, field: str = "time_zone") -> ZoneInfo:
    """The IANA time zone of that name; raises Unprocessable that names `field`."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise Unprocessable(f"{field}: {name[:60]!r} is not an IANA time zone; write it like Europe/Berlin") from None


@lru_cache(maxsize=4096)
def _year_offsets(tz: ZoneInfo, year: int) -> tuple[tuple[int, int], ...]:
    """The zone's UTC offsets in that UTC year: (from instant, offset in microseconds), first at the year's start."""
    start = micros(datetime(year, 1, 1, tzinfo=UTC))
    end = micros(datetime(year + 1, 1, 1, tzinfo=UTC))
    found = [(start, _offset(tz, start))]
    for day in range(start + DAY, end + DAY, DAY):
        at = min(day, end - SECOND)
        offset = _offset(tz, at)
        if offset != found[-1][1]:
            low, high = day - DAY, at
            while high - low > SECOND:
                middle = (low + high) // (2 * SECOND) * SECOND
                low, high = (middle, high) if _offset(tz, middle) == found[-1][1] else (low, middle)
            found.append((high, offset))
    return tuple(found)


def _offset(tz: ZoneInfo, instant: int) -> int:
    gap = moment(instant).astimezone(tz).utcoffset() or timedelta()
    return gap // timedelta(microseconds=1)


def offsets(tz: ZoneInfo, start: int, end: int) -> list[tuple[int, int]]:
    """The zone's UTC offsets over `[start, end)`: (from instant, offset), the first one reaching back for ever."""
    pieces: list[tuple[int, int]] = []
    for year in range(moment(start).year, moment(max(start, end - 1)).year + 1):
        for since, offset in _year_offsets(tz, year):
            if pieces and since <= start:
                pieces.clear()
            if since < end and (not pieces or pieces[-1][1] != offset):
                pieces.append((since, offset))
    return pieces


def keeps_whole_hours(tz: ZoneInfo, start: int, end: int) -> bool:
    """Whether every hour of UTC lies inside one hour of this zone, over the whole range."""
    return all(offset % HOUR == 0 for _, offset in offsets(tz, start, end))


def midnight(day: date, tz: ZoneInfo) -> int:
    """The first instant of that local date."""
    return micros(datetime(day.year, day.month, day.day, tzinfo=tz))


def local_date(instant: int, tz: ZoneInfo) -> date:
    """The date that a clock in the zone shows."""
    return moment(instant).astimezone(tz).date()


def next_month(day: date) -> date:
    """The first day of the month after `day`'s."""
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def floor(instant: int, window: Window, tz: ZoneInfo) -> int:
    """The start of the window that holds the instant."""
    if window in ("minute", "hour"):
        size = MINUTE if window == "minute" else HOUR
        offset = _offset(tz, instant)
        return (instant + offset) // size * size - offset
    day = local_date(instant, tz)
    return midnight(day if window == "day" else day.replace(day=1), tz)


def following(start: int, window: Window, tz: ZoneInfo) -> int:
    """The end of the window that starts at `start`, which is the start of the next."""
    if window == "minute":
        return start + MINUTE
    if window == "hour":
        return start + HOUR
    day = local_date(start, tz)
    return midnight(day + timedelta(days=1) if window == "day" else next_month(day), tz)


def ceil(instant: int, window: Window, tz: ZoneInfo) -> int:
    """The first window start that is not before the instant."""
    start = floor(instant, window, tz)
    return start if start == instant else following(start, window, tz)


def windows(start: int, end: int, window: Window, tz: ZoneInfo) -> list[tuple[int, int]]:
    """Every window that overlaps `[start, end)`, as (start, end), in order."""
    found: list[tuple[int, int]] = []
    at = floor(start, window, tz)
    while at < end:
        until = following(at, window, tz)
        found.append((at, until))
        at = until
    return found


@dataclass(frozen=True)
class Span:
    """A half-open interval of instants `[start, end)`."""

    start: int
    end: int

    def __bool__(self) -> bool:
        return self.start < self.end


def local_window_start(local: int, tz: ZoneInfo) -> int:
    """The instant at which a local day or month begins, from its wall-clock start in microseconds since 1970."""
    wall = _NAIVE_EPOCH + timedelta(microseconds=local)
    return midnight(wall.date(), tz)


def month_named(text: str, tz: ZoneInfo, field: str = "period") -> Span:
    """The month `2024-01` of the zone; raises Unprocessable that names `field`."""
    if len(text) != 7:
        raise Unprocessable(f"{field}: {text[:60]!r} is not a month; write it like 2024-01")
    first = parse_date(f"{text}-01", field)
    return Span(midnight(first, tz), midnight(next_month(first), tz))
