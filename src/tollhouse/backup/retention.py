"""Which snapshots are kept: so many of the newest hours, days, weeks, months and years, and all within a time.

A rule keeps the newest snapshot of each of its last N periods that have one, as restic and borg do; a snapshot is kept that any
rule keeps. Periods are UTC's; weeks are ISO 8601's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tollhouse.backup.snapshot import Snapshot


@dataclass(frozen=True)
class Keep:
    """How many periods of each length; `within` keeps everything younger. All zero keeps everything."""

    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: timedelta = timedelta(0)

    @property
    def everything(self) -> bool:
        """Whether no rule says anything."""
        return not (self.hourly or self.daily or self.weekly or self.monthly or self.yearly or self.within)


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
    """Snapshots of the same sources are compared with each other; metadata alone takes no period from whole ones."""
    return (snapshot.kind == "metadata", *sorted(one.address for one in snapshot.collections))
