"""The range of days that a billing page shows: 7, 30 or 90 days up to today, or two dates of one's own."""

from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from tollhouse.kit import times
from tollhouse.kit.errors import Unprocessable

CHOICES = (7, 30, 90)


@dataclass(frozen=True)
class DayRange:
    """Both dates included; `days` is one of the choices, or None for dates of one's own. `fault` says why it is the usual one."""

    start: date
    end: date
    days: int | None
    fault: str = ""

    @property
    def params(self) -> dict[str, str]:
        """What a link to the same range carries."""
        if self.days is not None:
            return {"days": str(self.days)}
        return {"start": self.start.isoformat(), "end": self.end.isoformat()}


def day_range(now: int, home: ZoneInfo, days: int | None, start: str | None, end: str | None) -> DayRange:
    """The range that was asked for; the last 30 days, and a sentence, where it makes no sense."""
    today = times.local_date(now, home)
    usual = DayRange(today - timedelta(days=29), today, 30)
    try:
        if start or end:
            until = times.parse_date(end, "end") if end else today
            since = times.parse_date(start, "start") if start else until - timedelta(days=29)
            if since > until:
                raise Unprocessable("The first day lies after the last; choose them the other way round.")
            if (until - since).days > 365:
                raise Unprocessable("The range has more than 366 days; choose a shorter one.")
            return DayRange(since, until, None)
        if days not in (None, *CHOICES):
            raise Unprocessable(f"days: choose {', '.join(map(str, CHOICES))}, or two dates.")
    except Unprocessable as error:
        return DayRange(usual.start, usual.end, usual.days, error.detail)
    return usual if days is None else DayRange(today - timedelta(days=days - 1), today, days)
