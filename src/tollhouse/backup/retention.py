"""Which snapshots are kept: so many of the newest hours, days, weeks, months and years, and all within a time.

A rule keeps the newest snapshot of each of its last N periods that have one, as restic and borg do; a snapshot is kept that any
rule keeps. Periods are UTC's; weeks are ISO 8601's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tollhouse.backup.snapshot import Snapshot
from tollhouse.kit.errors import Unprocessable

LARGEST_COUNT = 100_000
LONGEST = timedelta(days=365_000)  # a thousand years: it is counted back in a calendar that begins two thousand years ago
_NO_TIME = f"keep within: that is no time that can be kept; it is 0 to {LONGEST.days} days."


@dataclass(frozen=True)
class Keep:
    """How many periods of each length; `within` keeps everything younger. All zero keeps everything. Raises Unprocessable."""

    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        for name in _PERIODS:
            if not 0 <= (count := getattr(self, name)) <= LARGEST_COUNT:
                raise Unprocessable(f"keep {name}: {count} is no number of periods; write 0 (no such rule) to {LARGEST_COUNT}.")
        if not timedelta(0) <= self.within <= LONGEST:
            raise Unprocessable(_NO_TIME)

    @property
    def everything(self) -> bool:
        """Whether no rule says anything."""
        return not (self.hourly or self.daily or self.weekly or self.monthly or self.yearly or self.within)


def span(count: int, unit: timedelta) -> timedelta:
    """So many units of time to keep everything within; raises Unprocessable for more than the longest."""
    if not 0 <= count <= LONGEST // unit:
        raise Unprocessable(_NO_TIME)
    return count * unit


_PERIODS: dict[str, Callable[[datetime], object]] = {
    "hourly": lambda at: (at.date(), at.hour),
    "daily": lambda at: at.date(),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
    "yearly": lambda at: at.year,
}


def kept(snapshots: Sequence[Snapshot], keep: Keep, now: datetime) -> dict[str, list[str]]:
    """The ids of the snapshots that are kept, each with the rules that keep it. The newest of each source always is."""
    found: dict[str, list[str]] = {}
    newest_first = sorted(snapshots, key=lambda one: (one.moment, one.id), reverse=True)
    for group in {_group(one) for one in newest_first}:
        mine = [one for one in newest_first if _group(one) == group]
        found.setdefault(mine[0].id, []).append("newest")
        for name, period in _PERIODS.items():
            left, last = getattr(keep, name), None
            for one in mine:
                if left and period(one.moment) != last:
                    last, left = period(one.moment), left - 1
                    found.setdefault(one.id, []).append(name)
        for one in mine:
            if keep.everything:
                found.setdefault(one.id, []).append("no rule")
            elif keep.within and one.moment >= now - keep.within:
                found.setdefault(one.id, []).append("within")
    return found


def _group(snapshot: Snapshot) -> tuple[object, ...]:
    """Snapshots of the same sources are compared with each other; one of metadata alone, or without one of its sources, takes no period
    from whole ones."""
    return (snapshot.kind == "metadata", snapshot.whole, *sorted(one.address for one in snapshot.collections))
