"""Ingest over HTTP, and what it costs in memory.

The raw limit is DuckDB itself: columns that lie ready in Arrow's layout, appended to a table of the same shape with a
commit after each batch. The server does the same after it has received, read, checked, deduplicated and laid out the
events, on the same two cores as the load generator.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from arro3.core import Array, DataType, Table

from benchmarks import workload
from benchmarks.load import Seen
from benchmarks.report import Figure as F
from benchmarks.report import Section, console, millions
from benchmarks.server import Server
from tollhouse.settings import Settings
from tollhouse.store.events import DuckDBEvents, EventBatch

BATCH = 1000
SENDERS = 24  # connections of batches
_TEXTS = ("organization", "source", "id", "type", "subject", "job", "path", "value", "data", "original")
_NUMBERS = ("time", "received_at")


@dataclass(frozen=True)
class Run:
    """What one server went through. Memory is in megabytes, times in seconds.

    `filled` is thirty days of events, as fast as they go; `live` the same events as they happen, beside what runs every minute.
    """

    filled: Seen
    live: Seen
    singles: Seen
    idle: float
    peak: float
    start_empty: float
    start_full: float
    idle_full: float


def run(directory: Path, events: int, live_seconds: float) -> Run:
    """Fill a server over HTTP, start it again over what it stored, and send it live events, in batches and one by one."""
    data = directory / "data"
    data.mkdir(parents=True)
    server = Server(data)
    try:
        server.prepare()
        time.sleep(3)  # what starts in the background counts as idle, too
        start_empty, idle = server.started, server.megabytes("VmRSS")
        with console.status(f"ingest: {millions(events)} events in batches of {BATCH:,} …"):
            filled = server.load(1, SENDERS, BATCH, events, 1800)
        peak = server.megabytes("VmHWM")
    finally:
        server.stop()
    server = Server(data)
    try:
        time.sleep(3)
        start_full, idle_full = server.started, server.megabytes("VmRSS")
        server.prepare()
        server.aggregate()  # a month at once, which no running app sends within a minute
        with console.status("ingest: live events, in batches and one by one …"):
            live = server.load(2, SENDERS, BATCH, 100 * events, live_seconds, live=True)
            singles = server.load(3, 64, 1, events, live_seconds, live=True)
    finally:
        server.stop()
    return Run(filled, live, singles, idle, peak, start_empty, start_full, idle_full)


def speed(ran: Run, directory: Path) -> Section:
    """The table of rates and latencies."""
    with console.status("ingest: what DuckDB alone can do …"):
        raw = {size: raw_append(directory / f"raw-{size}.duckdb", size) for size in (BATCH, 16 * BATCH)}
    return Section(
        f"Ingest over HTTP, over {millions(ran.filled.events)} events stored",
        "DuckDB alone",
        [
            F(f"live, batches of {BATCH:,}, {SENDERS} connections", ran.live.rate, "events/s", 150_000, raw[BATCH], "more"),
            F("  the same, beside commits of 16,000", ran.live.rate, "events/s", None, raw[16 * BATCH], "more"),
            F("  latency, median", ran.live.p50, "ms"),
            F("  latency, p99", ran.live.p99, "ms", 400),
            F("live, single events, 64 connections", ran.singles.rate, "requests/s", 6000, better="more"),
            F("  latency, median", ran.singles.p50, "ms"),
            F("  latency, p99", ran.singles.p99, "ms", 20),
            F("thirty days of events, until that many were stored", ran.filled.rate, "events/s", None, raw[BATCH], "more"),
            F("  latency, p99", ran.filled.p99, "ms"),
        ],
        [
            "DuckDB alone: ready Arrow columns appended in commits of the same size, nothing received, checked or deduplicated.",
            f"Live: {ran.live.seconds:.0f} and {ran.singles.seconds:.0f} s of events that happen now,"
            " beside the aggregation of every minute. Thirty days in a minute give each customer's every event an hour of its own to add up.",
        ],
    )


def memory(ran: Run) -> Section:
    """The table of memory and start-up."""
    return Section(
        "Memory and start-up",
        "empty",
        [
            F("resident when idle, just started and empty", ran.idle, "MB", 200),
            F(f"resident at most while {millions(ran.filled.events)} events came in", ran.peak, "MB", 600, ran.idle),
            F("resident when idle, started over them", ran.idle_full, "MB", None, ran.idle),
            F("start until the first answer, empty", ran.start_empty, "s"),
            F("start until the first answer, over them", ran.start_full, "s", 2.0, ran.start_empty),
        ],
    )


def raw_append(path: Path, size: int, most_seconds: float = 5.0) -> float:
    """Events a second that DuckDB takes in as ready columns, committed `size` at a time."""
    DuckDBEvents(path).close()  # for a table of the same shape
    connection = duckdb.connect(str(path), config={"memory_limit": Settings().duckdb_memory, "wal_autocheckpoint": "64MB"})
    ready = [_columns(rows) for rows in workload.batches(0, 20 * size, size, 20 * size)]
    taken, number = 0.0, 0
    while taken < most_seconds:
        connection.register("batch", ready[number % len(ready)])
        began = time.perf_counter()
        connection.execute(
            "INSERT INTO events SELECT organization, source, id, type, subject, time, received_at, 0, hash,"
            " job, path, CAST(value AS DECIMAL(38, 12)), data, original FROM batch"
        ).fetchall()
        taken += time.perf_counter() - began
        connection.unregister("batch")
        number += 1
    connection.close()
    return number * size / taken


def _columns(rows: EventBatch) -> Table:
    columns: dict[str, Any] = {name: Array(getattr(rows, name), type=DataType.utf8()) for name in _TEXTS}
    columns |= {name: Array(np.asarray(getattr(rows, name), np.int64)) for name in _NUMBERS}
    columns["hash"] = Array(np.arange(len(rows), dtype=np.uint64))
    return Table.from_pydict(columns)
