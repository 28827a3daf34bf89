"""Events in DuckDB: one file, one process, columns.

Appends go through one connection under one lock; every reading thread has a cursor of its own. A commit is on disk
when `execute` returns (the write-ahead log is synced). Uniqueness is not an index of the database, which would cost
ten times the append: `HashIndex` knows all keys, and only its hits are looked up.
"""

import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import xxhash
from arro3.core import Array, DataType, Table
from numpy.typing import NDArray

from tollhouse.kit.errors import StorageFull, Unavailable
from tollhouse.kit.money import LARGEST_QUANTITY, VALUE_PATTERN
from tollhouse.store.events.contract import (
    CONFLICT,
    DUPLICATE,
    INSERTED,
    EventBatch,
    EventStore,
    Expressions,
    Params,
    Reader,
    Row,
    Writer,
)
from tollhouse.store.events.frozen import FrozenEvents, fill
from tollhouse.store.events.hash_index import HashIndex
from tollhouse.store.events.schema import derived_tables

_EVENTS = """
CREATE TABLE IF NOT EXISTS events (
    organization VARCHAR NOT NULL, source VARCHAR NOT NULL, id VARCHAR NOT NULL, type VARCHAR NOT NULL, subject VARCHAR,
    time BIGINT NOT NULL, received_at BIGINT NOT NULL, seq BIGINT NOT NULL, hash UBIGINT NOT NULL,
    job VARCHAR, path VARCHAR, value DECIMAL(38, 12), data VARCHAR NOT NULL, original VARCHAR)
"""
_PREPARE = """
PREPARE append_batch AS INSERT INTO events SELECT organization, source, id, type, subject, time, received_at, seq, hash,
    job, path, CAST(value AS DECIMAL(38, 12)), data, original FROM batch
"""
_STORED = "SELECT organization, source, id, type, subject, time, data FROM events WHERE hash IN (SELECT unnest($hashes))"
_FULL = re.compile("No space left|disk full|Disk quota|failed to write|Could not write", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\$(\w+)")
_COMPACT_EVERY = 600.0  # seconds
_COMPACT_STEPS = 4  # of joining row groups, a table: what bounds how long it takes
_TEXT, _KEY_COLUMNS = DataType.utf8(), ("organization", "source", "id")
_TEXT_COLUMNS = (*_KEY_COLUMNS, "type", "subject", "job", "path", "value", "data", "original")


class DuckDBExpressions(Expressions):
    """How DuckDB says it."""

    def json_text(self, document: str, path: str) -> str:
        return f"json_extract_string({document}, {path})"

    def json_document(self, text: str) -> str:
        return text

    def number(self, text: str) -> str:
        value = f"TRY_CAST({text} AS DECIMAL(38, 12))"
        return (
            f"CASE WHEN regexp_full_match({text}, '{VALUE_PATTERN}')"
            f" AND abs({value}) < {LARGEST_QUANTITY}::DECIMAL(38, 12) THEN {value} END"
        )

    def json_list(self, texts: Sequence[str]) -> str:
        return f"to_json([{', '.join(texts)}])::VARCHAR"

    def floor_to(self, instant: str, size: int) -> str:
        return f"(({instant}) // {size} * {size})"

    def month_start(self, instant: str) -> str:
        return f"epoch_us(date_trunc('month', make_timestamp({instant})))"

    def sortable(self, instant: str) -> str:
        return f"lpad(({instant})::VARCHAR, 17, '0')"

    def at_highest(self, value: str, mark: str) -> str:
        return f"arg_max({value}, {mark})"

    def percentiles(self, value: str, fractions: Sequence[float]) -> str:
        return f"quantile_cont(({value})::DOUBLE, [{', '.join(map(str, fractions))}])"

    def sampled(self, share: float) -> str:
        return f"hash < {int(share * 2**64)}"

    def iso_time(self, instant: str) -> str:
        return f"strftime(make_timestamp({instant}), '%Y-%m-%dT%H:%M:%S.%fZ')"


class DuckDBEvents(EventStore):
    """The event store in one DuckDB file; raises Unavailable where the file is in use or not readable."""

    expressions = DuckDBExpressions()

    def __init__(self, path: Path, memory: str = "192MB", threads: int = 0, reserve_bytes: int = 0) -> None:
        self._path = path
        self._reserve_bytes = reserve_bytes
        self._config = {
            "memory_limit": memory,
            "wal_autocheckpoint": "64MB",
            "preserve_insertion_order": "false",
            # A checkpoint that also tidied up would hold up appends more than twice as long: see `_compact`.
            "max_vacuum_tasks": "0",
        }
        if threads:
            self._config["threads"] = str(threads)
        self._appending = threading.Lock()
        self._deriving = threading.Lock()
        self._local = threading.local()
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._generation = 0
        self._compacted = time.monotonic()
        self._open()

    def _open(self) -> None:
        try:
            self._connection = duckdb.connect(str(self._path), config=dict(self._config))
        except duckdb.Error as error:
            raise _translated(error) from error
        self._incoming = _Incoming()
        self._connection.register("batch", self._incoming)
        for statement in (_EVENTS, *derived_tables(), _PREPARE):
            self._connection.execute(statement).fetchall()
        self._generation += 1
        self._load()

    def _load(self) -> None:
        """Read back which keys are stored and how far `seq` has come."""
        hashes = self._connection.execute("SELECT hash FROM events").fetchnumpy()["hash"]
        self._index = HashIndex(np.asarray(hashes, np.uint64))
        ((highest,),) = self._connection.execute("SELECT max(seq) FROM events").fetchall()
        self._settled = highest or 0

    def append(self, batch: EventBatch) -> list[int]:
        with self._appending:
            self._check_space()
            hashes = _key_hashes(batch)
            try:
                outcome = self._judge(batch, hashes)
                fresh = np.flatnonzero(outcome == INSERTED)
                if len(fresh):
                    self._insert(batch, hashes, fresh)
                    self._index.add(hashes[fresh])
                    self._settled += 1
            except duckdb.Error as error:
                self._recover()
                raise _translated(error) from error
            outcomes: list[int] = outcome.tolist()
            return outcomes

    def _check_space(self) -> None:
        """Stop while there still is room for a checkpoint: a full disk then costs requests, never the file."""
        free = shutil.disk_usage(self._path.parent).free
        if free < self._reserve_bytes:
            raise StorageFull(f"The disk that holds the events has {free} bytes left; nothing of this request was stored.")

    def _judge(self, batch: EventBatch, hashes: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """What becomes of each row, before anything is written."""
        outcome = np.full(len(batch), INSERTED, np.uint8)
        _, first = np.unique(hashes, return_index=True)
        suspects = np.flatnonzero(self._index.contains(hashes))
        stored = self._find(batch, hashes, suspects) if len(suspects) else {}
        if len(first) == len(hashes):
            again: Sequence[int] = suspects.tolist()
        else:
            repeated = np.isin(hashes, np.delete(hashes, first))
            repeated[suspects] = True
            again = np.flatnonzero(repeated).tolist()
        for at in again:
            key = (batch.organization[at], batch.source[at], batch.id[at])
            known = stored.get(key)
            if known is None:  # the first of its key in this batch is the one that the others repeat
                stored[key] = (batch.type[at], batch.subject[at], batch.time[at], batch.data[at])
            else:
                outcome[at] = DUPLICATE if batch.same_event(at, known) else CONFLICT
        return outcome

    def _find(self, batch: EventBatch, hashes: NDArray[np.uint64], suspects: NDArray[np.intp]) -> dict[Row, Row]:
        """The stored events behind the suspects, by key.

        A retry usually carries its event's time, and DuckDB skips what lies outside a range of times; only what is
        not found there is looked for in the whole table. Most of a large batch goes to the whole table at once.
        """
        times = [batch.time[at] for at in suspects.tolist()]
        params: dict[str, object] = {"hashes": hashes[suspects].tolist(), "low": min(times), "high": max(times)}
        found = self._stored(f"{_STORED} AND time BETWEEN $low AND $high", params)
        missing = [at for at in suspects.tolist() if (batch.organization[at], batch.source[at], batch.id[at]) not in found]
        if missing:
            found |= self._stored(_STORED, {"hashes": hashes[missing].tolist()})
        return found

    def _stored(self, sql: str, params: Params) -> dict[Row, Row]:
        return {row[:3]: row[3:] for row in self._connection.execute(sql, dict(params)).fetchall()}

    def _insert(self, batch: EventBatch, hashes: NDArray[np.uint64], rows: NDArray[np.intp]) -> None:
        self._incoming.table = _table(batch, hashes, rows, self._settled + 1)
        try:
            self._connection.execute("EXECUTE append_batch").fetchall()
        finally:
            self._incoming.table = _NOTHING

    def _recover(self) -> None:
        """After a failed write, believe the file and not the memory; a fatal error needs the file opened again."""
        try:
            self._load()
        except duckdb.Error:
            with suppress(duckdb.Error):
                self._connection.close()
            with suppress(Unavailable, StorageFull):
                self._open()

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """This thread's own cursor: an unfetched result would block a shared one."""
        if getattr(self._local, "generation", 0) != self._generation:
            self._local.cursor = self._connection.cursor()
            self._cursors.append(self._local.cursor)
            self._local.generation = self._generation
        cursor: duckdb.DuckDBPyConnection = self._local.cursor
        return cursor

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        cursor = self._cursor()
        settled = self._settled  # read before the snapshot: it may lag behind it, never lead
        with _translating():
            cursor.begin()
            try:
                yield DuckDBReader(cursor, settled)
            finally:
                cursor.rollback()

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        with self._deriving, _translating():
            cursor = self._cursor()
            settled = self._settled
            cursor.begin()
            try:
                yield DuckDBWriter(cursor, settled)
            except BaseException:
                with suppress(duckdb.Error):
                    cursor.rollback()
                raise
            cursor.commit()
            if time.monotonic() - self._compacted > _COMPACT_EVERY:
                self._compact(cursor)

    def _compact(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Give back the space of deleted rows and join small row groups, which every checkpoint leaves one of."""
        self._compacted = time.monotonic()
        with self._appending:
            cursor.execute(f"SET GLOBAL max_vacuum_tasks = {_COMPACT_STEPS}").fetchall()
            try:
                with suppress(duckdb.TransactionException):  # somebody is reading what would go: then the next time
                    cursor.execute("CHECKPOINT").fetchall()
            finally:
                cursor.execute("SET GLOBAL max_vacuum_tasks = 0").fetchall()

    def csv(self, sql: str, params: Params) -> Iterator[bytes]:
        with tempfile.TemporaryDirectory(dir=self._path.parent, prefix="export-") as directory:
            target = Path(directory) / "rows.csv"
            quoted = str(target).replace("'", "''")
            with _translating():
                self._cursor().execute(f"COPY ({sql}) TO '{quoted}' (FORMAT csv, HEADER)", _bound(sql, params)).fetchall()
            with target.open("rb") as file:
                while chunk := file.read(1 << 20):
                    yield chunk

    @contextmanager
    def paused(self) -> Iterator[FrozenEvents]:
        """Writers wait while the block lasts; what is given shows this moment and can be read after it, too."""
        with self._deriving, self._appending, _translating():
            yield FrozenEvents(self._connection.cursor())

    def fill(self, folder: Path) -> int:
        """Take in what was written out of a frozen store; returns how many events there are. Only for an empty store."""
        with self._deriving, self._appending, _translating():
            count = fill(self._connection, folder)
            self._load()
        return count

    def close(self) -> None:
        with self._deriving, self._appending:
            for cursor in self._cursors:  # one that outlives its thread takes the process down at exit
                with suppress(duckdb.Error):
                    cursor.close()
            self._connection.close()


class _Incoming:
    """The batch that is being appended. DuckDB knows it under a name, and asks it for its rows with each `append_batch`.

    To register each batch by itself, and to plan each INSERT anew, took longer than to store a few events.
    """

    def __init__(self) -> None:
        self.table = _NOTHING

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


class DuckDBReader(Reader):
    """A snapshot: DuckDB gives a transaction one state of the database."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, settled: int) -> None:
        self._cursor = cursor
        self._settled = settled

    def rows(self, sql: str, params: Params) -> list[Row]:
        return self._cursor.execute(sql, _bound(sql, params)).fetchall()

    def settled(self) -> int:
        return self._settled


class DuckDBWriter(DuckDBReader, Writer):
    """A transaction on the derived tables."""

    def run(self, sql: str, params: Params) -> None:
        self._cursor.execute(sql, _bound(sql, params)).fetchall()

    def stage(self, table: str, sql: str, params: Params) -> None:
        self.run(f"CREATE OR REPLACE TEMP TABLE {table} AS {sql}", params)

    def delete_events(self, condition: str, params: Params) -> int:
        # The hashes stay in memory: a hit that is not in the table any more counts as new.
        ((deleted,),) = self._cursor.execute(f"DELETE FROM events WHERE {condition}", _bound(condition, params)).fetchall()
        return int(deleted)


def _bound(sql: str, params: Params) -> dict[str, object]:
    """The parameters that the statement names: DuckDB refuses any other."""
    named = set(_PLACEHOLDER.findall(sql))
    return {name: value for name, value in params.items() if name in named}


def _table(batch: EventBatch, hashes: NDArray[np.uint64], rows: NDArray[np.intp], seq: int) -> Table:
    """The chosen rows in Arrow's layout."""
    every = len(rows) == len(batch)
    chosen = rows.tolist()
    columns: dict[str, Any] = {
        name: Array(column if every else [column[at] for at in chosen], type=_TEXT)
        for name in _TEXT_COLUMNS
        for column in (getattr(batch, name),)
    }
    for name in ("time", "received_at"):
        columns[name] = Array(np.asarray(getattr(batch, name), np.int64)[rows])
    columns["seq"] = Array(np.full(len(rows), seq, np.int64))
    columns["hash"] = Array(hashes[rows])
    return Table.from_pydict(columns)


_NOTHING = _table(EventBatch(), np.empty(0, np.uint64), np.empty(0, np.intp), 0)


def _key_hashes(batch: EventBatch) -> NDArray[np.uint64]:
    # NUL cannot occur in any of the three, so no two keys give the same bytes.
    keys = map("\0".join, zip(batch.organization, batch.source, batch.id, strict=True))
    return np.fromiter(map(xxhash.xxh3_64_intdigest, map(str.encode, keys)), np.uint64, len(batch))


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise _translated(error) from error


def _translated(error: duckdb.Error) -> Exception:
    if _FULL.search(str(error)):
        return StorageFull("The disk that holds the events is full; nothing of this request was stored.")
    if isinstance(error, duckdb.IOException | duckdb.FatalException):
        return Unavailable("The event store cannot be used right now; nothing of this request was stored.")
    return error
