"""Retention: how long each detail is kept, and what an open bill protects.

Hours and days of a rollup go by the time they are about; events go by the time they were received, so an import of
old data is kept as long as any other. Months stay for ever, and with them lifetime totals. Nothing is removed that
the bill of the running month needs, and no event that is not counted yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from tollhouse import events
from tollhouse.kit import times
from tollhouse.metering.meter import Meter
from tollhouse.metering.usage import state_of
from tollhouse.store.events import EventStore, Writer


@dataclass(frozen=True)
class Retention:
    """Days to keep: of hourly and daily rollups, and of single events with their jobs."""

    hourly_days: int = 7
    daily_days: int = 90
    event_days: int = 365


@dataclass(frozen=True)
class Trimmed:
    """What was removed: rollup rows per grain, and events."""

    hours: int
    days: int
    events: int


def trim(store: EventStore, organization: str, home: ZoneInfo, meters: Sequence[Meter], keep: Retention, now: datetime) -> Trimmed:
    """Remove what is past its time. `meters` are all of the organization's; run `aggregate` before."""
    instant = times.micros(now)
    open_bill = times.floor(instant, "month", home)
    cutoffs = {
        "hour": min(times.floor(instant - keep.hourly_days * times.DAY, "hour", times.zone("UTC")), open_bill),
        "day": min(times.floor(instant - keep.daily_days * times.DAY, "day", home), open_bill),
    }
    with store.writing() as write:
        rows = {grain: _trim_grain(write, organization, grain, cutoff) for grain, cutoff in cutoffs.items()}
    received_before = instant - keep.event_days * times.DAY
    removed = sum(
        _trim_type(store, organization, home, type, [meter for meter in meters if meter.event_type == type], received_before, open_bill)
        for type in sorted(_types_before(store, organization, received_before))
    )
    return Trimmed(rows["hour"], rows["day"], removed)


def _trim_grain(write: Writer, organization: str, grain: str, cutoff: int) -> int:
    params = {"organization": organization, "cutoff": cutoff}
    removed = 0
    for table in (f"rollup_{grain}", f"rollup_{grain}_subject"):
        ((count,),) = write.rows(f"SELECT count(*) FROM {table} WHERE organization = $organization AND start < $cutoff", params)
        if count:
            write.run(f"DELETE FROM {table} WHERE organization = $organization AND start < $cutoff", params)
        removed += count
    if removed:
        _raise_floor(write, organization, grain, cutoff)
    return removed


def _types_before(store: EventStore, organization: str, received_before: int) -> set[str]:
    with store.reading() as read:
        sql = "SELECT DISTINCT type FROM events WHERE organization = $organization AND received_at < $before"
        return {type for (type,) in read.rows(sql, {"organization": organization, "before": received_before})}


def _trim_type(
    store: EventStore,
    organization: str,
    home: ZoneInfo,
    type: str,
    meters: Sequence[Meter],
    received_before: int,
    before: int,
) -> int:
    """Forget a type's old events, as far as all its meters have counted them."""
    with store.writing() as write:
        rolled_up = [meter for meter in meters if meter.rule.merges]
        through = min([state_of(write, meter)[0] for meter in rolled_up], default=write.settled())
        erased = events.forget(write, organization, type, received_before, before, through)
        for name, (_, last) in erased.types.items():
            floor = times.following(times.floor(last, "month", home), "month", home)
            _raise_floor(write, organization, f"raw {name}", floor)
    return erased.events


def _raise_floor(write: Writer, organization: str, detail: str, floor: int) -> None:
    """Remember from when on a detail is complete."""
    params = {"organization": organization, "detail": detail}
    mine = "FROM rollup_floor WHERE organization = $organization AND detail = $detail"
    known = max((row[0] for row in write.rows(f"SELECT floor {mine}", params)), default=0)
    write.run(f"DELETE {mine}", params)
    write.run(
        "INSERT INTO rollup_floor (organization, detail, floor) VALUES ($organization, $detail, $floor)",
        params | {"floor": max(known, floor)},
    )
