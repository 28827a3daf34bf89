"""The questions that every engine is asked, through the metering domain or through the store's own expressions.

Beside a question stands, where it can, the same question as a bare query of the engine over the events alone:
what an answer would cost without rollups, promotion or exact decimals between the asker and the table.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import duckdb

from benchmarks import workload
from benchmarks.report import Figure, median_ms
from tollhouse import metering
from tollhouse.events.reading import EventFilter, export_sql
from tollhouse.kit import times
from tollhouse.kit.times import Span
from tollhouse.metering import Meter, UsageQuery
from tollhouse.store.events import EventStore, percentiles

TAIL = 50_000  # a minute's events at 800 a second: what has come since the rollups were brought up to date
UTC = times.zone("UTC")
METERS = [workload.meter(type) for type in workload.TYPES]
RAW_METER = workload.meter("api.request", name="_raw")  # never aggregated
MEAN_METER = workload.meter("api.request", "avg", name="_raw")
REGIONS_METER = workload.meter("api.request", "unique_count", "$.region")
CUSTOMER = workload.subject(2500)
_PERCENTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Question:
    """One question: what is asked, and the bare SQL that asks the same of the engine. `kind` picks its target."""

    name: str
    ask: Callable[[], object]
    kind: str = ""
    bare: str = ""


def fill(store: EventStore, first: int, until: int, size: int, total: int) -> float:
    """Append rows `first` to `until`; returns how many seconds the store took, and not the making of the rows."""
    taken, rows = 0.0, workload.batches(first, until, size, total)
    with ThreadPoolExecutor(store.appends_at_once) as pool:  # as the ingest does
        while some := list(islice(rows, 4 * store.appends_at_once)):
            began = time.perf_counter()
            list(pool.map(store.append, some))
            taken += time.perf_counter() - began
    return taken


def aggregate(store: EventStore) -> int:
    """Bring the meters' rollups up to date; returns how many events were merged."""
    return metering.aggregate(store, [(meter, UTC) for meter in METERS]).events


def questions(store: EventStore) -> list[Question]:
    """All of them, for one store."""
    x = store.expressions
    month = Span(workload.START, workload.END)
    mine = "organization = $organization"
    span = f"{mine} AND type = 'api.request' AND time >= {month.start} AND time < {month.end}"
    daily = f"SELECT {x.floor_to('time', times.DAY)} AS day, sum(value) FROM events WHERE {span} GROUP BY 1 ORDER BY 1"
    one = f"SELECT {x.floor_to('time', times.DAY)} AS day, sum(value) FROM events WHERE {span} AND subject = '{CUSTOMER}' GROUP BY 1"

    def usage(meter: Meter, query: UsageQuery) -> Callable[[], object]:
        return lambda: metering.usage(store, meter, query, UTC, month.end)

    def bare(sql: str) -> Callable[[], object]:
        return lambda: rows(store, sql)

    by_day = UsageQuery(month.start, month.end, "day")
    of_one = UsageQuery(month.start, month.end, "day", subjects=(CUSTOMER,))
    whole = UsageQuery(month.start, month.end)
    return [
        Question(f"sum by day: rollup and a raw tail of {TAIL:,}", usage(METERS[0], by_day), "rollup", daily),
        Question("one customer's month by day: the same", usage(METERS[0], of_one), "customer", one),
        Question("one customer's month by day: raw", usage(RAW_METER, of_one), "full", one),
        Question("sum by day of one meter: raw", usage(RAW_METER, by_day), "full", daily),
        Question("mean of one meter: raw", usage(MEAN_METER, whole), "full", f"SELECT count(*), sum(value) FROM events WHERE {span}"),
        Question(
            "count, sum and mean by type, all events",
            bare(f"SELECT type, count(*), sum(value), avg(value) FROM events WHERE {mine} GROUP BY 1"),
            "full",
        ),
        Question("p50, p95, p99, all events", lambda: _percentiles(store, mine), "full"),
        Question("distinct customers, all events", bare(f"SELECT count(DISTINCT subject) FROM events WHERE {mine}"), "full"),
        Question("distinct values in the JSON of one meter", usage(REGIONS_METER, whole)),
    ]


def _percentiles(store: EventStore, condition: str) -> list[float]:
    with store.reading() as read:
        return percentiles(store, read, "value", _PERCENTILES, condition, {"organization": workload.ORGANIZATION})


def rows(store: EventStore, sql: str) -> object:
    """A bare query's rows."""
    with store.reading() as read:
        return read.rows(sql, {"organization": workload.ORGANIZATION})


def figures(store: EventStore, targets: dict[str, float]) -> list[Figure]:
    """Ask all questions and time them."""
    found = []
    for question in questions(store):
        raw = median_ms(lambda sql=question.bare: rows(store, sql)) if question.bare else None  # type: ignore[misc]
        try:
            measured = median_ms(question.ask)
        except duckdb.OutOfMemoryException:
            measured = float("nan")  # the table says "failed": it does not fit into the memory that the server gives DuckDB
        found.append(Figure(question.name, measured, "ms", targets.get(question.kind), raw))
    return found


def export(store: EventStore, events: int, total: int) -> tuple[float, int]:
    """Write that many events as CSV; returns the seconds and the bytes."""
    end = workload.START + int((workload.END - workload.START) * (events / total))
    sql, params = export_sql(EventFilter(workload.ORGANIZATION, start=workload.START, end=end), store.expressions)
    began = time.perf_counter()
    size = sum(len(chunk) for chunk in store.csv(sql, params))
    return time.perf_counter() - began, size


def subject_rows(store: EventStore, tables: Sequence[str] = ("rollup_hour_subject", "rollup_day_subject", "rollup_hour")) -> str:
    """How many rows the rollups have, as a sentence."""
    with store.reading() as read:
        counted = [f"{table} {read.rows(f'SELECT count(*) FROM {table}', {})[0][0]:,}" for table in tables]
    return f"rows in rollups: {', '.join(counted)}"
