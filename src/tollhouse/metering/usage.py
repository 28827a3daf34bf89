"""How much of something there was: a meter's answer over a time range, by window, subject and group.

A query reads rollups up to where they are settled and raw events from there on, in one snapshot of the store, so it
gives the same answer before, during and after an aggregation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from tollhouse.kit import times
from tollhouse.kit.errors import Unprocessable
from tollhouse.kit.times import Span, Window
from tollhouse.metering.aggregation import Answer
from tollhouse.metering.meter import Meter
from tollhouse.metering.reading import MeterSql, bucket, bucket_start
from tollhouse.metering.segment import Kept, Segment, coarsest, segments
from tollhouse.store.events import EventStore, Reader

MOST_ROWS = 100_000
LATEST = times.EARLIEST + 200 * 366 * times.DAY


@dataclass(frozen=True)
class UsageQuery:
    """What is asked of a meter.

    `start` and `end` are microseconds, half-open, open-ended where None; `tz` is the zone of the windows; `group_by`
    names the meter's group-by values, or `subject`; `filters` maps such a name to the texts that count.
    """

    start: int | None = None
    end: int | None = None
    window: Window | None = None
    tz: ZoneInfo = times.zone("UTC")
    subjects: tuple[str, ...] = ()
    group_by: tuple[str, ...] = ()
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class UsageRow:
    """One answer: the window (the whole range where none was asked for), the subject if asked for, the groups, the value."""

    start: int | None
    end: int | None
    subject: str | None
    groups: dict[str, str | None]
    value: Answer


def usage(store: EventStore, meter: Meter, query: UsageQuery, home: ZoneInfo, now: int) -> list[UsageRow]:
    """Ask a meter; rows are ordered by window, subject and group, and windows without events are left out.

    `home` is the organization's time zone. Raises Unprocessable for a query that makes no sense or has more than
    100,000 rows, and DetailGone where retention has removed what it needs.
    """
    _check(meter, query)
    with store.reading() as read:
        sql = _UsageSql(meter, store, query, home)
        rows = read.rows(sql.text(read, now), sql.parts.params)
    if len(rows) > MOST_ROWS:
        raise Unprocessable(f"The answer has more than {MOST_ROWS} rows; ask for a shorter range, a longer window or fewer groups.")
    return [sql.row(row) for row in rows]


def subjects(store: EventStore, meter: Meter, home: ZoneInfo, now: int) -> list[str]:
    """Every subject the meter has counted, in order."""
    rows = usage(store, meter, UsageQuery(group_by=("subject",)), home, now)
    return [row.subject for row in rows if row.subject is not None]


def _check(meter: Meter, query: UsageQuery) -> None:
    known = {"subject", *meter.group_by}
    for name in (*query.group_by, *query.filters):
        if name not in known:
            raise Unprocessable(f"group_by: {name[:60]!r} is none of {', '.join(sorted(known))}, which this meter has")
    for name, instant in (("start", query.start), ("end", query.end)):
        if instant is not None and not times.EARLIEST <= instant <= LATEST:
            raise Unprocessable(f"{name}: {times.rfc3339(instant)} is out of range; choose a time from 2000 to 2200")
    if query.start is not None and query.end is not None and query.start >= query.end:
        raise Unprocessable("end: it is not after start; the range is half-open, so it would be empty")


class _UsageSql:
    """The query as SQL, and how its rows are read."""

    def __init__(self, meter: Meter, store: EventStore, query: UsageQuery, home: ZoneInfo) -> None:
        self.meter, self.query, self.home = meter, query, home
        self.parts = MeterSql(meter, store.expressions)
        self.parts.params["meter"] = meter.id
        self.groups = [name for name in query.group_by if name != "subject"]
        self.dimensions = sorted({*self.groups, *(name for name in query.filters if name != "subject")})
        self.by_subject = "subject" in query.group_by
        self.wanted_subjects = (*query.subjects, *query.filters.get("subject", ()))

    def text(self, read: Reader, now: int) -> str:
        """The whole statement, over what this snapshot holds."""
        span = self._span(now)
        through, kept = state_of(read, self.meter)
        detail = coarsest(self.query.window, self.query.tz, self.home, span) if through and self.meter.rule.merges else "raw"
        parts = segments(span, detail, self.home, kept)
        branches = [branch for segment in parts for branch in self._branches(segment, through)]
        keys = self._keys(span)
        named = ", ".join([f"{expression} AS {name}" for name, expression in keys.items()] + [self._answers()])
        by = ", ".join(str(at + 1) for at in range(len(keys)))
        grouping = f" GROUP BY {by} ORDER BY {by}" if keys else ""
        return f"SELECT {named} FROM ({' UNION ALL '.join(branches)}) parts{self._filter()}{grouping} LIMIT {MOST_ROWS + 1}"

    def _span(self, now: int) -> Span:
        """The range asked for; where it is open, it reaches over everything there can be, in whole months."""
        start = times.floor(times.EARLIEST - times.DAY, "month", self.home) if self.query.start is None else self.query.start
        end = times.ceil(now + 400 * times.DAY, "month", self.home) if self.query.end is None else self.query.end
        if start >= end:
            raise Unprocessable("start: it is later than any event can be")
        return Span(start, end)

    def _branches(self, segment: Segment, through: int) -> list[str]:
        if segment.detail == "raw":
            return [self._raw(segment.span, 0)]
        return [self._rolled_up(segment), self._raw(segment.span, through)]

    def _raw(self, span: Span, through: int) -> str:
        """Partial results of the events in a span that came after `through`."""
        columns = {"t": "time"} if self.query.window else {}
        columns |= {"subject": "subject"} if self.by_subject else {}
        columns |= {f"d{at}": self.parts.group(name) for at, name in enumerate(self.dimensions)}
        condition = f"time >= {span.start} AND time < {span.end}"
        condition += f" AND seq > {through}" if through else ""
        if self.wanted_subjects:
            condition += f" AND subject = ANY({self.parts.bind('subjects', list(self.wanted_subjects))})"
        events = self.parts.events(columns, condition)
        if not self.meter.rule.merges:
            return events
        names = [name for name in columns if name != "t"]
        when = {"t": bucket(self.parts.x, "t", self.query.window, self.query.tz, span.start, span.end)} if self.query.window else {}
        # Grouped here already, by window: what the outer query merges is then a few rows, not every event.
        keys = [f"{when[name]} AS k" if name in when else name for name in (*when, *names)]
        partials = [f"{self.meter.rule.over_events(self.parts.x, column)} AS {column}" for column in self.meter.rule.partials]
        by = f" GROUP BY {', '.join(str(at + 1) for at in range(len(keys)))}" if keys else " HAVING count(*) > 0"
        return f"SELECT {', '.join([*keys, *partials])} FROM ({events}) events{by}"

    def _rolled_up(self, segment: Segment) -> str:
        """Partial results that a rollup holds."""
        per_subject = self.by_subject or self.wanted_subjects
        keys = []
        if self.query.window:
            when = bucket(self.parts.x, "start", self.query.window, self.query.tz, segment.span.start, segment.span.end)
            keys.append(f"{when} AS k")
        keys += ["NULLIF(subject, '') AS subject"] if self.by_subject else []
        keys += [f"{self.parts.stored_group(name)} AS d{at}" for at, name in enumerate(self.dimensions)]
        table = f"rollup_{segment.detail}{'_subject' if per_subject else ''}"
        where = f"organization = $organization AND meter = $meter AND start >= {segment.span.start} AND start < {segment.span.end}"
        if self.wanted_subjects:
            where += f" AND subject = ANY({self.parts.bind('subjects', list(self.wanted_subjects))})"
        return f"SELECT {', '.join([*keys, *self.meter.rule.partials])} FROM {table} WHERE {where}"

    def _keys(self, span: Span) -> dict[str, str]:
        merges, window = self.meter.rule.merges, self.query.window
        when = "k" if merges or not window else bucket(self.parts.x, "t", window, self.query.tz, span.start, span.end)
        keys = {"k": when} if window else {}
        keys |= {"subject": "subject"} if self.by_subject else {}
        return keys | {f"g{at}": f"d{self.dimensions.index(name)}" for at, name in enumerate(self.groups)}

    def _answers(self) -> str:
        rule = self.meter.rule
        if not rule.merges:
            return "count(DISTINCT value) AS n"
        return ", ".join(f"{rule.over_partials(self.parts.x, column)} AS {column}" for column in rule.partials)

    def _filter(self) -> str:
        clauses = []
        for at, name in enumerate(self.dimensions):
            if name in self.query.filters:
                clauses.append(f"d{at} = ANY({self.parts.bind(f'wanted_{at}', list(self.query.filters[name]))})")
        return f" WHERE {' AND '.join(clauses)}" if clauses else ""

    def row(self, row: tuple[Any, ...]) -> UsageRow:
        """One row of the result."""
        values = list(row)
        start, end = self.query.start, self.query.end
        if self.query.window:
            start = bucket_start(values.pop(0), self.query.window, self.query.tz)
            end = times.following(start, self.query.window, self.query.tz)
        subject = values.pop(0) if self.by_subject else None
        groups = {name: values.pop(0) for name in self.groups}
        rule = self.meter.rule
        partials = dict(zip(rule.partials or ["n"], values, strict=True))
        answer = rule.answer(partials) if partials["n"] else rule.of_nothing
        return UsageRow(start, end, subject, groups, answer)


def state_of(read: Reader, meter: Meter) -> tuple[int, Kept]:
    """How far a meter's rollups reach in `seq`, and what retention has left."""
    params = {"organization": meter.organization, "meter": meter.id, "raw": f"raw {meter.event_type}"}
    rows = read.rows(
        "SELECT '', through FROM rollup_state WHERE organization = $organization AND meter = $meter"
        " UNION ALL SELECT detail, floor FROM rollup_floor WHERE organization = $organization"
        " AND (detail IN ('hour', 'day') OR detail = $raw)",
        params,
    )
    found: dict[str, int] = dict(rows)
    through = found.pop("", 0)
    return through, Kept({"raw" if detail.startswith("raw ") else detail: floor for detail, floor in found.items()})
