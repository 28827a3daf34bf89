"""Rollups: what each meter counted in each hour, day and month, kept so that nobody counts it twice.

Aggregating merges the events that came since the last time (`through < seq <= settled`) into the periods they fall
in; a late event therefore lands in its own hour, however old. Events and the new `through` are one transaction, so a
crash repeats an aggregation or does not, and never half of it. Rebuilding computes periods again from their events.
Either takes so many events at a time as memory has room for.

Hours are UTC's; days and months are those of the organization's time zone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from tollhouse import events, journal
from tollhouse.events import EventFilter
from tollhouse.kit import times
from tollhouse.kit.errors import Conflict
from tollhouse.kit.times import Span
from tollhouse.metering.aggregation import PARTIALS
from tollhouse.metering.meter import Meter
from tollhouse.metering.reading import MeterSql, bucket, bucket_start
from tollhouse.metering.segment import UTC
from tollhouse.metering.usage import LATEST, state_of
from tollhouse.store.events import EventStore, Writer

Progress = Callable[[int, int], None]
GRAINS: tuple[times.Window, ...] = ("hour", "day", "month")
# Every UTC offset since 2000 is a multiple of a quarter of an hour, so quarters add up to anybody's days.
_QUARTER = times.HOUR // 4
_EVERYTHING = Span(0, LATEST)
# Each may be a group of its own, of some 150 bytes, in the 192 MB that DuckDB has by default.
_MOST_EVENTS = 1_000_000
_PARTS = 1024


def _silent(_done: int, _all: int) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True)
class Aggregated:
    """What one run did: meters it looked at, events it merged, and periods it wrote per grain."""

    meters: int
    events: int
    periods: dict[str, int]


def aggregate(store: EventStore, meters: Iterable[tuple[Meter, ZoneInfo]], progress: Progress = _silent) -> Aggregated:
    """Merge what came since into the rollups of each (meter, organization's zone)."""
    return _each(store, meters, progress, _bring_up_to_date)


def rebuild(store: EventStore, meters: Iterable[tuple[Meter, ZoneInfo]], progress: Progress = _silent) -> Aggregated:
    """Compute all rollups again from the events. Periods whose events retention has removed keep what they hold."""

    def one(store: EventStore, sql: MeterSql, home: ZoneInfo) -> tuple[int, dict[str, int]]:
        merged, _ = _bring_up_to_date(store, sql, home)
        with store.writing() as write:
            floor = state_of(write, sql.meter)[1].floor("raw")
            return merged, _recompute(write, sql, home, Span(times.ceil(floor, "month", home) if floor else 0, LATEST))

    return _each(store, meters, progress, one)


def erase(store: EventStore, meters: Iterable[tuple[Meter, ZoneInfo]], wanted: EventFilter) -> int:
    """Delete the events of a filter and take them out of the rollups of `meters`, which are all of the organization's.

    Returns how many. Raises Conflict, with nothing deleted, where they were counted together with events that
    retention has removed, because then the rest cannot be counted again.
    """
    with store.writing() as write:
        reading = [(MeterSql(meter, store.expressions), home) for meter, home in meters if meter.rule.merges]
        for sql, home in reading:
            while not _aggregate(write, sql, home).done:
                pass
        erased = events.erase(write, wanted)
        for sql, home in reading:
            if sql.meter.event_type not in erased.types:
                continue
            first, last = erased.types[sql.meter.event_type]
            span = Span(times.floor(first, "month", home), times.following(times.floor(last, "month", home), "month", home))
            if span.start < (floor := state_of(write, sql.meter)[1].floor("raw")):
                raise Conflict(
                    f"Events before {times.rfc3339(floor)} are counted together with others that are no longer kept;"
                    " delete only later ones."
                )
            _recompute(write, sql, home, span)
        return erased.events


def note_erasure(session: Session, now: datetime, actor: str, wanted: EventFilter, deleted: int) -> None:
    """Write into the journal who deleted which events."""
    named = {spec.name: str(value) for spec in fields(wanted) if (value := getattr(wanted, spec.name)) is not None}
    organization = named.pop("organization")
    subject = wanted.id or wanted.subject or wanted.type or "events"
    journal.write(session, organization, now, actor, "deleted", "events", subject, count=deleted, where=named)


_Step = Callable[[EventStore, MeterSql, ZoneInfo], tuple[int, dict[str, int]]]


def _each(store: EventStore, meters: Iterable[tuple[Meter, ZoneInfo]], progress: Progress, step: _Step) -> Aggregated:
    """Run a step for each meter that can be rolled up."""
    able = [(meter, home) for meter, home in meters if meter.rule.merges]
    merged, periods = 0, _no_periods()
    for done, (meter, home) in enumerate(able):
        events_merged, written = step(store, MeterSql(meter, store.expressions), home)
        merged += events_merged
        periods = {grain: count + written[grain] for grain, count in periods.items()}
        progress(done + 1, len(able))
    return Aggregated(len(able), merged, periods)


def _bring_up_to_date(store: EventStore, sql: MeterSql, home: ZoneInfo) -> tuple[int, dict[str, int]]:
    """Aggregate all that is settled, each step in a transaction of its own."""
    merged, periods, done = 0, _no_periods(), False
    while not done:
        with store.writing() as write:
            step = _aggregate(write, sql, home)
        merged, done = merged + step.events, step.done
        periods = {grain: count + step.periods[grain] for grain, count in periods.items()}
    return merged, periods


@dataclass(frozen=True)
class _Merged:
    """What one step merged, and whether nothing settled is left."""

    events: int
    periods: dict[str, int]
    done: bool


def _aggregate(write: Writer, sql: MeterSql, home: ZoneInfo) -> _Merged:
    through, settled = state_of(write, sql.meter)[0], write.settled()
    if settled <= through:
        return _Merged(0, _no_periods(), True)
    upto = _upto(write, sql, through, settled, "true")
    counted = _stage(write, sql, f"seq > {through} AND seq <= {upto}")
    written: dict[str, int] = {grain: _merge(write, sql, grain, home, _EVERYTHING) if counted else 0 for grain in GRAINS}
    write.run("DELETE FROM rollup_state WHERE organization = $organization AND meter = $meter", _named(sql))
    write.run(
        "INSERT INTO rollup_state (organization, meter, through) VALUES ($organization, $meter, $through)",
        _named(sql) | {"through": upto},
    )
    return _Merged(counted, written, upto >= settled)


def _recompute(write: Writer, sql: MeterSql, home: ZoneInfo, span: Span) -> dict[str, int]:
    """Count the whole months of a span again from their events, up to where the meter is aggregated."""
    through = state_of(write, sql.meter)[0]
    hours = Span(times.floor(span.start, "hour", UTC), times.ceil(span.end, "hour", UTC))
    spans: dict[str, Span] = {grain: hours if grain == "hour" else span for grain in GRAINS}
    for grain, whole in spans.items():
        for table in (f"rollup_{grain}", f"rollup_{grain}_subject"):
            write.run(
                f"DELETE FROM {table} WHERE organization = $organization AND meter = $meter AND start >= $first AND start < $until",
                _named(sql) | {"first": whole.start, "until": whole.end},
            )
    written, at = _no_periods(), 0
    within = f"time >= {hours.start} AND time < {hours.end}"
    while at < through:
        upto = _upto(write, sql, at, through, within)
        _stage(write, sql, f"seq > {at} AND seq <= {upto} AND {within}")
        for grain in GRAINS:
            written[grain] += _merge(write, sql, grain, home, spans[grain])
        at = upto
    return written


def _upto(write: Writer, sql: MeterSql, after: int, until: int, condition: str) -> int:
    """The `seq` up to which there are, after `after`, no more of the meter's events than are merged at once; at most `until`.

    More than that only where they came in one commit. Found by counting in parts of the range, and in parts of a part.
    """
    while True:
        size = -(-(until - after) // _PARTS)
        part = sql.x.floor_to(f"seq - {after + 1}", size)
        counted: list[tuple[int, int]] = write.rows(
            f"SELECT {part}, count(*) FROM events WHERE organization = $organization AND type = $type AND seq > {after} AND seq <= {until}"
            f" AND {condition} GROUP BY 1 ORDER BY 1",
            sql.params,
        )
        total, upto = 0, after
        for begin, count in counted:
            if total + count > _MOST_EVENTS:
                break
            total, upto = total + count, after + begin + size
        else:
            return until
        if upto > after or size == 1:
            return max(upto, after + counted[0][0] + 1)
        after += counted[0][0]  # before it there are none
        until = min(until, after + size)


def _stage(write: Writer, sql: MeterSql, condition: str) -> int:
    """Keep the partial results of those events, by quarter of an hour, subject and groups; returns how many events."""
    events = sql.events({"t": "time", "subject": "COALESCE(subject, '')", "groups": sql.groups()}, condition)
    partials = ", ".join(f"{sql.meter.rule.over_events(sql.x, column)} AS {column}" for column in PARTIALS)
    write.stage(
        "fresh",
        f"SELECT {sql.x.floor_to('t', _QUARTER)} AS t, subject, groups, {_typed(partials)} FROM ({events}) e GROUP BY 1, 2, 3",
        sql.params,
    )
    ((counted,),) = write.rows("SELECT COALESCE(sum(n), 0) FROM fresh", {})
    return int(counted)


def _merge(write: Writer, sql: MeterSql, grain: times.Window, home: ZoneInfo, span: Span) -> int:
    """Add what is staged to one grain's rollups, for periods that start within `span`; returns how many periods."""
    tz = UTC if grain == "hour" else home
    ((first, last),) = write.rows("SELECT min(t), max(t) FROM fresh", {})
    if first is None:
        return 0
    key = bucket(sql.x, "t", grain, tz, first, last + 1)
    write.stage("periods", f"SELECT DISTINCT t, {key} AS k FROM fresh", {})
    starts = {k: bucket_start(k, grain, tz) for (k,) in write.rows("SELECT DISTINCT k FROM periods", {})}
    kept = {k: start for k, start in starts.items() if span.start <= start < span.end}
    if not kept:
        return 0
    merged = ", ".join(f"{sql.meter.rule.over_partials(sql.x, column)} AS {column}" for column in PARTIALS)
    between = f"start >= {min(kept.values())} AND start <= {max(kept.values())}"  # which the engines skip rows by
    write.stage("keyed", _values(kept), {})
    write.stage(
        "delta",
        "SELECT keyed.start, subject, groups, n, total, low, high, mark, last FROM fresh JOIN periods USING (t) JOIN keyed USING (k)",
        {},
    )
    for table, subject in ((f"rollup_{grain}", "''"), (f"rollup_{grain}_subject", "subject")):
        # A customer's rows lie together then, and a query of one customer's skips the others.
        order = " ORDER BY subject, start" if table.endswith("_subject") and grain != "hour" else ""
        same = f"SELECT start, {subject}, groups FROM delta"
        mine = f"organization = $organization AND meter = $meter AND {between} AND (start, subject, groups) IN ({same})"
        params = _named(sql)
        write.stage(
            "merged",
            f"SELECT start, subject, groups, {_typed(merged)} FROM ("
            f"SELECT start, subject, groups, {', '.join(PARTIALS)} FROM {table} WHERE {mine}"
            f" UNION ALL SELECT start, {subject}, groups, {', '.join(PARTIALS)} FROM delta) both_parts GROUP BY 1, 2, 3",
            params,
        )
        write.run(f"DELETE FROM {table} WHERE {mine}", params)
        write.run(
            f"INSERT INTO {table} (organization, meter, start, subject, groups, {', '.join(PARTIALS)})"
            f" SELECT $organization, $meter, start, subject, groups, {', '.join(PARTIALS)} FROM merged{order}",
            params,
        )
    return len(kept)


def _no_periods() -> dict[str, int]:
    return dict.fromkeys(GRAINS, 0)


def _typed(partials: str) -> str:
    """Partial columns with their types spelled out: a column of nothing but NULL has none of its own."""
    types = {"mark": "VARCHAR", "n": "BIGINT"}
    for column in PARTIALS:
        partials = partials.replace(f"NULL AS {column}", f"CAST(NULL AS {types.get(column, 'DECIMAL(38, 12)')}) AS {column}")
    return partials


def _values(starts: dict[int, int]) -> str:
    """A two-column table of integers of our own making."""
    rows = ", ".join(f"(CAST({key} AS BIGINT), CAST({start} AS BIGINT))" for key, start in starts.items())
    return f"SELECT * FROM (VALUES {rows}) AS given(k, start)"


def _named(sql: MeterSql) -> dict[str, object]:
    return {"organization": sql.meter.organization, "meter": sql.meter.id}
