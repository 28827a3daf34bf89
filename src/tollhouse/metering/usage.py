"""How much of something there was: a meter's answer over a time range, by window, subject and group.

A query reads rollups up to where they are settled and raw events from there on, in one snapshot of the store, so it
gives the same answer before, during and after an aggregation.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from tollhouse.kit import times
from tollhouse.kit.errors import Unprocessable
from tollhouse.kit.times import Span, Window
from tollhouse.metering.aggregation import Answer
from tollhouse.metering.meter import Meter
from tollhouse.metering.reading import MeterSql, bucket, bucket_start
from tollhouse.metering.segment import Detail, Kept, Segment, coarsest, segments
from tollhouse.store.events import EventStore, Reader, Row

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


@dataclass(frozen=True)
class Snapshot:
    """One moment of the store: what is asked of it fits together, however many events come meanwhile. `home` is the organization's zone."""

    store: EventStore
    read: Reader
    states: "States"
    home: ZoneInfo
    now: int

    def usage(self, meter: Meter, query: UsageQuery) -> list[UsageRow]:
        """As `usage`."""
        _check(meter, query)
        sql = _UsageSql(meter, self.store, query, self.home)
        return [sql.row(row) for row in self._rows(sql)]

    def by_subject(self, meter: Meter, spans: Sequence[Span]) -> list[dict[str, Answer]]:
        """What each subject used in each of several spans, which may overlap, in one query: for each span, subject to answer."""
        found: list[dict[str, Answer]] = [{} for _ in spans]
        wanted = [span for span in spans if span]
        if not wanted:
            return found
        query = UsageQuery(min(span.start for span in wanted), max(span.end for span in wanted), group_by=("subject",))
        sql = _UsageSql(meter, self.store, query, self.home, spans)
        for at, subject, *partials in self._rows(sql):
            if subject is not None:
                found[at][subject] = sql.answer(partials)
        return found

    def _rows(self, sql: "_UsageSql") -> list[Row]:
        rows = self.read.rows(sql.text(self.states, self.now), sql.parts.params)
        if len(rows) > MOST_ROWS:
            raise Unprocessable(f"The answer has more than {MOST_ROWS} rows; ask for a shorter range, a longer window or fewer groups.")
        return rows


@contextmanager
def snapshot(store: EventStore, organization: str, home: ZoneInfo, now: int) -> Iterator[Snapshot]:
    """The store as it is now, for several questions about one organization's meters; give it back soon."""
    with store.reading() as read:
        yield Snapshot(store, read, states_of(read, organization), home, now)


def usage(store: EventStore, meter: Meter, query: UsageQuery, home: ZoneInfo, now: int) -> list[UsageRow]:
    """Ask a meter; rows are ordered by window, subject and group, and windows without events are left out.

    `home` is the organization's time zone. Raises Unprocessable for a query that makes no sense or has more than
    100,000 rows, and DetailGone where retention has removed what it needs.
    """
    with snapshot(store, meter.organization, home, now) as asked:
        return asked.usage(meter, query)


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
    """The query as SQL, and how its rows are read. With `spans`, a row begins with the number of the span that it is about."""

    def __init__(self, meter: Meter, store: EventStore, query: UsageQuery, home: ZoneInfo, spans: Sequence[Span] = ()) -> None:
        self.meter, self.rule, self.query, self.home, self.spans = meter, meter.rule, query, home, spans
        self.starts: dict[int, tuple[int, int]] = {}
        self.parts = MeterSql(meter, store.expressions)
        self.parts.params["meter"] = meter.id
        self.groups = [name for name in query.group_by if name != "subject"]
        self.dimensions = sorted({*self.groups, *(name for name in query.filters if name != "subject")})
        self.by_subject = "subject" in query.group_by
        self.wanted_subjects = (*query.subjects, *query.filters.get("subject", ()))

    def text(self, states: "States", now: int) -> str:
        """The whole statement, over what this snapshot holds."""
        span = self._span(now)
        through, kept = states.through(self.meter), states.kept(self.meter)
        detail = coarsest(self.query.window, self.query.tz, self.home, span) if through and self.rule.merges else "raw"
        if self.query.start is None and not self.spans and detail != "month":
            span = self._what_is_left(span, detail, kept)
        parts = [segment for piece in self._pieces(span) for segment in segments(piece, detail, self.home, kept)]
        keys = self._keys(span)
        named = ", ".join([f"{expression} AS {name}" for name, expression in keys.items()] + [self._answers()])
        by = ", ".join(str(at + 1) for at in range(len(keys)))
        grouping = f" GROUP BY {by} ORDER BY {by}" if keys else ""
        branches = " UNION ALL ".join(self._branches(parts, through))
        return f"SELECT {named} FROM ({branches}) parts{self._filter()}{grouping} LIMIT {MOST_ROWS + 1}"

    def _span(self, now: int) -> Span:
        """The range asked for; where it is open, it reaches over everything there can be, in whole months."""
        start = times.floor(times.EARLIEST - times.DAY, "month", self.home) if self.query.start is None else self.query.start
        end = times.ceil(now + 400 * times.DAY, "month", self.home) if self.query.end is None else self.query.end
        if start >= end:
            raise Unprocessable("start: it is later than any event can be")
        return Span(start, end)

    def _what_is_left(self, span: Span, detail: Detail, kept: Kept) -> Span:
        """Whoever names no start asks for what there is: it begins with the first window of which retention has left everything."""
        left = min(kept.floor("raw"), kept.floor(detail))
        if left <= span.start:
            return span
        start = times.ceil(left, self.query.window, self.query.tz) if self.query.window else left
        return Span(min(start, span.end - 1), span.end)

    def _pieces(self, whole: Span) -> list[Span]:
        """The range, cut wherever a span begins or ends, so that each period of a rollup lies in a span or outside it."""
        if not self.spans:
            return [whole]
        cuts = sorted({edge for span in self.spans if span for edge in (span.start, span.end)})
        pieces = (Span(start, end) for start, end in pairwise(cuts))
        return [piece for piece in pieces if any(span.start <= piece.start and piece.end <= span.end for span in self.spans)]

    def _branches(self, parts: list[Segment], through: int) -> list[str]:
        """One for each detail that is read, and one for the events that came after the rollups."""
        spans: dict[Detail, list[Span]] = {}
        for segment in parts:
            spans.setdefault(segment.detail, []).append(segment.span)
        branches = [self._raw(_joined(raw), 0)] if (raw := spans.pop("raw", None)) else []
        branches += [self._rolled_up(detail, _joined(some)) for detail, some in spans.items()]
        if spans:
            branches.append(self._raw(_joined(span for some in spans.values() for span in some), through))
        return branches

    def _raw(self, spans: list[Span], through: int) -> str:
        """Partial results of the events in those spans that came after `through`."""
        columns = {"t": "time"} if self.query.window or self.spans else {}
        columns |= {"subject": "subject"} if self.by_subject else {}
        columns |= {f"d{at}": self.parts.group(name) for at, name in enumerate(self.dimensions)}
        condition = _within("time", spans)
        condition += f" AND seq > {through}" if through else ""
        condition += self._of_subjects()
        events = f"({self.parts.events(columns, condition)}) events{self._of_spans('t')}"
        if not self.rule.merges:
            return f"SELECT * FROM {events}"
        keys = [name for name in columns if name != "t"]
        # Grouped here already, by window: what the outer query merges is then a few rows, not every event.
        if self.query.window:
            keys.insert(0, f"{bucket(self.parts.x, 't', self.query.window, self.query.tz, spans[0].start, spans[-1].end)} AS k")
        elif self.spans:
            keys.insert(0, "k")
        partials = [f"{self.rule.over_events(self.parts.x, column)} AS {column}" for column in self.rule.partials]
        by = f" GROUP BY {', '.join(str(at + 1) for at in range(len(keys)))}" if keys else " HAVING count(*) > 0"
        return f"SELECT {', '.join([*keys, *partials])} FROM {events}{by}"

    def _rolled_up(self, detail: Detail, spans: list[Span]) -> str:
        """Partial results that a rollup holds."""
        per_subject = self.by_subject or self.wanted_subjects
        keys = ["k"] if self.spans else []
        if self.query.window:
            when = bucket(self.parts.x, "start", self.query.window, self.query.tz, spans[0].start, spans[-1].end)
            keys.append(f"{when} AS k")
        keys += ["NULLIF(subject, '') AS subject"] if self.by_subject else []
        keys += [f"{self.parts.stored_group(name)} AS d{at}" for at, name in enumerate(self.dimensions)]
        table = f"rollup_{detail}{'_subject' if per_subject else ''}"
        where = f"organization = $organization AND meter = $meter AND {_within('start', spans)}"
        where += self._of_subjects()
        return f"SELECT {', '.join([*keys, *self.rule.partials])} FROM {table}{self._of_spans('start')} WHERE {where}"

    def _of_subjects(self) -> str:
        if not self.wanted_subjects:
            return ""
        if len(set(self.wanted_subjects)) == 1:  # the usual case, and one that DuckDB uses to skip what it need not read
            return f" AND subject = {self.parts.bind('subject', self.wanted_subjects[0])}"
        return f" AND subject = ANY({self.parts.bind('subjects', list(self.wanted_subjects))})"

    def _of_spans(self, instant: str) -> str:
        """A join that gives each row the numbers `k` of the spans that it lies in."""
        if not self.spans:
            return ""
        rows = ", ".join(f"({at}, CAST({span.start} AS BIGINT), CAST({span.end} AS BIGINT))" for at, span in enumerate(self.spans))
        return f" JOIN (VALUES {rows}) AS spans(k, since, until) ON {instant} >= since AND {instant} < until"

    def _keys(self, span: Span) -> dict[str, str]:
        merges, window = self.rule.merges, self.query.window
        when = "k" if merges or not window else bucket(self.parts.x, "t", window, self.query.tz, span.start, span.end)
        keys = {"k": when} if window or self.spans else {}
        keys |= {"subject": "subject"} if self.by_subject else {}
        return keys | {f"g{at}": f"d{self.dimensions.index(name)}" for at, name in enumerate(self.groups)}

    def _answers(self) -> str:
        if not self.rule.merges:
            return "count(DISTINCT value) AS n"
        return ", ".join(f"{self.rule.over_partials(self.parts.x, column)} AS {column}" for column in self.rule.partials)

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
            start, end = self._window(values.pop(0), self.query.window)
        subject = values.pop(0) if self.by_subject else None
        groups = {name: values.pop(0) for name in self.groups}
        return UsageRow(start, end, subject, groups, self.answer(values))

    def answer(self, values: Sequence[Any]) -> Answer:
        """What the merged partial results come to."""
        partials = dict(zip(self.rule.partials or ["n"], values, strict=True))
        return self.rule.answer(partials) if partials["n"] else self.rule.of_nothing

    def _window(self, key: int, window: Window) -> tuple[int, int]:
        """The start and end of a window, which many subjects share."""
        if key not in self.starts:
            start = bucket_start(key, window, self.query.tz)
            self.starts[key] = start, times.following(start, window, self.query.tz)
        return self.starts[key]


def _joined(spans: Iterable[Span]) -> list[Span]:
    """The same instants in as few spans as can be, in order."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: one.start):
        if found and found[-1].end == span.start:
            found[-1] = Span(found[-1].start, span.end)
        else:
            found.append(span)
    return found


def _within(instant: str, spans: list[Span]) -> str:
    """The condition that an instant lies in one of some ordered spans; the engines skip rows by the first and the last."""
    each = [f"{instant} >= {span.start} AND {instant} < {span.end}" for span in spans]
    whole = f"{instant} >= {spans[0].start} AND {instant} < {spans[-1].end}"
    return whole if len(each) == 1 else f"{whole} AND ({' OR '.join(each)})"


@dataclass(frozen=True)
class States:
    """How far the rollups of an organization's meters reach in `seq`, and what retention has left."""

    reached: Mapping[str, int]
    floors: Mapping[str, int]

    def through(self, meter: Meter) -> int:
        """Up to which `seq` the meter's rollups hold everything."""
        return self.reached.get(meter.id, 0)

    def kept(self, meter: Meter) -> Kept:
        """What there still is of each detail that the meter reads."""
        raw = f"raw {meter.event_type}"
        return Kept({"raw" if detail == raw else detail: floor for detail, floor in self.floors.items() if detail in ("hour", "day", raw)})


def states_of(read: Reader, organization: str) -> States:
    """Of all of an organization's meters."""
    rows = read.rows(
        "SELECT 'through', meter, through FROM rollup_state WHERE organization = $organization"
        " UNION ALL SELECT 'floor', detail, floor FROM rollup_floor WHERE organization = $organization",
        {"organization": organization},
    )
    return States({name: at for what, name, at in rows if what == "through"}, {name: at for what, name, at in rows if what == "floor"})


def state_of(read: Reader, meter: Meter) -> tuple[int, Kept]:
    """The same for one meter."""
    states = states_of(read, meter.organization)
    return states.through(meter), states.kept(meter)
