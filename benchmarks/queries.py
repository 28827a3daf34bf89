"""Queries on the embedded engine, in the process that asks: as the server opens it, with its default memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import questions
from benchmarks.questions import TAIL
from benchmarks.report import Figure, Section, console, millions, seconds
from tollhouse.settings import Settings
from tollhouse.store.events import DuckDBEvents

TARGETS = {
    1_000_000: {"rollup": 5.0, "customer": 5.0, "full": 20.0},
    10_000_000: {"rollup": 8.0, "customer": 10.0, "full": 80.0},
    100_000_000: {"rollup": 10.0, "customer": 30.0, "full": 800.0},
}
_BATCH = 100_000


def sections(directory: Path, sizes: Sequence[int]) -> Iterator[Section]:
    """One table a size, smallest first; each store has the month's events in the order of their time."""
    for total in sizes:
        store = DuckDBEvents(directory / f"queries-{total}.duckdb", Settings().duckdb_memory)
        try:
            yield _section(store, total)
        finally:
            store.close()


def _section(store: DuckDBEvents, total: int) -> Section:
    with console.status(f"queries: {millions(total)} events in …"):
        filled = questions.fill(store, 0, total - TAIL, _BATCH, total)
    with console.status(f"queries: aggregating {millions(total)} events …"):
        aggregated = seconds(lambda: questions.aggregate(store))
        questions.fill(store, total - TAIL, total, _BATCH, total)
    with console.status(f"queries: asking, {millions(total)} events …"):
        section = Section(f"Queries, DuckDB, {millions(total)} events", "bare SQL over events", questions.figures(store, TARGETS[total]))
        written = min(total, 1_000_000)
        taken, size = min(questions.export(store, written, total) for _ in range(3))
    section.figures.append(Figure(f"CSV of {millions(written)} events, {size / 1e6:,.0f} MB", taken, "s", 1.0))
    section.figures.append(Figure("append of batches of 100,000, in process", (total - TAIL) / filled, "events/s", better="more"))
    section.figures.append(Figure("aggregation of six meters, from nothing", (total - TAIL) / aggregated, "events/s", better="more"))
    section.notes.append(questions.subject_rows(store))
    return section
