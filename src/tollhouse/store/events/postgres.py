"""Events in PostgreSQL: monthly partitions, filled by COPY, shared by any number of processes.

A unique index on a partitioned table must contain the partition key, so uniqueness of (organization, source, id)
has a table of its own: `event_keys`, keyed by the 128-bit BLAKE2b of the three, with the event's time and a digest
of its content beside it. Two concurrent appends of one key meet there: the second waits for the first to commit.

`seq` is the inserting transaction's id. Every id below the snapshot's xmin is finished, so "settled" needs no lock
(the method of https://www.postgresql.org/docs/current/functions-info.html, "transaction IDs and snapshots").
"""

import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import psycopg
from psycopg import sql as pgsql
from psycopg.errors import DiskFull
from psycopg_pool import ConnectionPool, PoolTimeout

from tollhouse.kit import times
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
from tollhouse.store.events.schema import ROLLUPS, derived_tables

_TEXT = 'TEXT COLLATE "C"'
_SCHEMA = [
    f"""CREATE TABLE IF NOT EXISTS events (
    organization {_TEXT} NOT NULL, source {_TEXT} NOT NULL, id {_TEXT} NOT NULL, type {_TEXT} NOT NULL, subject {_TEXT},
    time BIGINT NOT NULL, received_at BIGINT NOT NULL, seq BIGINT NOT NULL, key UUID NOT NULL,
    job {_TEXT}, path {_TEXT}, value NUMERIC(38, 12), data JSONB NOT NULL, original TEXT) PARTITION BY RANGE (time)""",
    "CREATE INDEX IF NOT EXISTS ix_events_subject ON events (organization, subject, time)",
    "CREATE INDEX IF NOT EXISTS ix_events_job ON events (organization, job) WHERE job IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS ix_events_seq ON events USING brin (seq) WITH (pages_per_range = 32)",
    "CREATE TABLE IF NOT EXISTS event_keys (key UUID PRIMARY KEY, time BIGINT NOT NULL, content UUID NOT NULL)",
    *derived_tables("NUMERIC(38, 12)", _TEXT),
    *(
        f"CREATE INDEX IF NOT EXISTS ix_rollup_{grain}{scope} ON rollup_{grain}{scope} (organization, meter, {by})"
        for grain in ("hour", "day", "month")
        for scope, by in (("", "start"), ("_subject", "subject, start"))
    ),
]
_STAGE = f"""CREATE TEMP TABLE IF NOT EXISTS incoming (
    organization {_TEXT}, source {_TEXT}, id {_TEXT}, type {_TEXT}, subject {_TEXT}, time BIGINT, received_at BIGINT,
    key UUID, content UUID, job {_TEXT}, path {_TEXT}, value NUMERIC(38, 12), data JSONB) ON COMMIT DELETE ROWS"""
_COPY = "COPY incoming FROM STDIN"
# Keys are claimed in their order, so that two batches with keys in common wait for each other and never deadlock.
_INSERT = """
WITH fresh AS (
    INSERT INTO event_keys (key, time, content) SELECT key, time, content FROM incoming ORDER BY key
    ON CONFLICT (key) DO NOTHING RETURNING key)
INSERT INTO events (organization, source, id, type, subject, time, received_at, seq, key, job, path, value, data)
SELECT organization, source, id, type, subject, time, received_at, pg_current_xact_id()::text::bigint, key,
    job, path, value, data
FROM incoming JOIN fresh USING (key) RETURNING key
"""
_KNOWN = "SELECT key, time, content FROM event_keys WHERE key = ANY(%(keys)s)"
_SETTLED = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1"
_MANY = 10_000  # rows
_LOCK_DERIVED, _LOCK_PARTITIONS = 0x746F6C6C01, 0x746F6C6C02


class PostgresExpressions(Expressions):
    """How PostgreSQL says it."""

    def json_text(self, document: str, path: str) -> str:
        return f"(jsonb_path_query_first({document}, ('strict ' || {path}::text)::jsonpath, '{{}}', true) #>> '{{}}')"

    def json_document(self, text: str) -> str:
        return f"({text})::jsonb"

    def number(self, text: str) -> str:
        # Nested, because PostgreSQL may evaluate both sides of an AND.
        return (
            f"CASE WHEN {text} ~ '^(?:{VALUE_PATTERN})\\Z' THEN CASE WHEN abs({text}::numeric) < {LARGEST_QUANTITY}"
            f" THEN {text}::numeric(38, 12) END END"
        )

    def json_list(self, texts: Sequence[str]) -> str:
        return f"jsonb_build_array({', '.join(texts)})::text"

    def floor_to(self, instant: str, size: int) -> str:
        return f"(({instant}) / {size} * {size})"

    def month_start(self, instant: str) -> str:
        utc = f"to_timestamp(({instant}) / 1000000) AT TIME ZONE 'UTC'"
        return f"(extract(epoch FROM date_trunc('month', {utc})) * 1000000)::bigint"

    def sortable(self, instant: str) -> str:
        return f"lpad(({instant})::text, 17, '0')"

    def at_highest(self, value: str, mark: str) -> str:
        return f'(array_agg({value} ORDER BY {mark} COLLATE "C" DESC NULLS LAST))[1]'

    def percentiles(self, value: str, fractions: Sequence[float]) -> str:
        return f"percentile_cont(ARRAY[{', '.join(map(str, fractions))}]) WITHIN GROUP (ORDER BY {value})"

    def sampled(self, share: float) -> str:
        key = "organization || ' ' || source || ' ' || id"
        return f"hashtextextended({key}, 0)::numeric + 9223372036854775808 < {int(share * 2**64)}"

    def iso_time(self, instant: str) -> str:
        seconds = f"to_timestamp(({instant}) / 1000000) AT TIME ZONE 'UTC'"
        return f"to_char({seconds}, 'YYYY-MM-DD\"T\"HH24:MI:SS.') || lpad((({instant}) % 1000000)::text, 6, '0') || 'Z'"


class PostgresEvents(EventStore):
    """The event store in a PostgreSQL database (`postgresql://…`); raises Unavailable where it does not answer."""

    expressions = PostgresExpressions()
    appends_at_once = 2  # the rows of one are laid out here while the server stores those of another: a quarter more

    def __init__(self, address: str, connections: int = 10) -> None:
        self._pool = ConnectionPool(address, min_size=1, max_size=connections, open=False, timeout=10, configure=_prepare_connection)
        self._months: set[int] = set()
        self._partitioning = threading.Lock()
        with _translating():
            self._pool.open(wait=True, timeout=10)
            with self._pool.connection() as connection:
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_PARTITIONS])
                for statement in _SCHEMA:
                    connection.execute(_text(statement))

    def append(self, batch: EventBatch) -> list[int]:
        keys = [_digest(*key) for key in zip(batch.organization, batch.source, batch.id, strict=True)]
        content = list(map(_content, batch.type, batch.subject, batch.data))
        first: dict[uuid.UUID, int] = {}
        for at, key in enumerate(keys):
            first.setdefault(key, at)
        self._make_partitions({batch.time[at] for at in first.values()})
        with _translating(), self._pool.connection() as connection, connection.cursor() as cursor:
            with cursor.copy(_COPY) as copy:
                for at in first.values():
                    copy.write_row(_staged(batch, at, keys[at], content[at]))
            cursor.execute(_INSERT)
            inserted = {row[0] for row in cursor.fetchall()}
            known = {key: (batch.time[at], content[at]) for key, at in first.items() if key in inserted}
            missing = [key for key in first if key not in inserted]
            if missing:
                known |= {row[0]: row[1:] for row in cursor.execute(_KNOWN, {"keys": missing}).fetchall()}
        outcome: list[int] = []
        for at, key in enumerate(keys):
            time, digest = known[key]
            if key in inserted and first[key] == at:
                outcome.append(INSERTED)
            else:
                same = content[at] == digest and (batch.time[at] == time or not batch.timed[at])
                outcome.append(DUPLICATE if same else CONFLICT)
        return outcome

    def _make_partitions(self, instants: set[int]) -> None:
        """Create the monthly partitions that these instants need."""
        utc = times.zone("UTC")
        months = {day * times.DAY for day in {instant // times.DAY for instant in instants}}
        with self._partitioning:
            starts = {times.floor(day, "month", utc) for day in months} - self._months
            if not starts:
                return
            with _translating(), self._pool.connection() as connection:
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_PARTITIONS])
                for start in sorted(starts):
                    name = f"events_{times.moment(start):%Y_%m}"
                    connection.execute(
                        pgsql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF events FOR VALUES FROM ({}) TO ({})").format(
                            pgsql.Identifier(name), start, times.following(start, "month", utc)
                        )
                    )
            self._months |= starts

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        with _translating(), self._pool.connection() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield PostgresReader(connection, _settled(connection))

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        with _translating(), self._pool.connection() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_DERIVED])
            writer = PostgresWriter(connection, _settled(connection))
            yield writer
            writer.tell_planner()

    def csv(self, sql: str, params: Params) -> Iterator[bytes]:
        copying = f"COPY ({_named(sql)}) TO STDOUT (FORMAT csv, HEADER)".encode()
        with (
            _translating(),
            self._pool.connection() as connection,
            psycopg.ClientCursor(connection) as cursor,
            cursor.copy(copying, dict(params)) as copy,
        ):
            waiting = bytearray()
            for chunk in copy:
                waiting += chunk
                if len(waiting) >= 1 << 18:
                    yield bytes(waiting)
                    waiting.clear()
            yield bytes(waiting)

    def close(self) -> None:
        self._pool.close()


class PostgresReader(Reader):
    """A repeatable-read transaction."""

    def __init__(self, connection: psycopg.Connection[Any], settled: int) -> None:
        self._connection = connection
        self._settled = settled

    def rows(self, sql: str, params: Params) -> list[Row]:
        return self._connection.execute(_named(sql).encode(), dict(params)).fetchall()

    def settled(self) -> int:
        return self._settled


class PostgresWriter(PostgresReader, Writer):
    """A transaction under the advisory lock of all derived tables."""

    _changed = 0

    def run(self, sql: str, params: Params) -> None:
        self._changed += self._connection.execute(_named(sql).encode(), dict(params)).rowcount

    def tell_planner(self) -> None:
        """Count what is in the derived tables, where that is much else than before.

        Autovacuum comes a minute later. Until then the planner takes a meter that it has not seen for one without rows, and
        joins half a million of them to half a million with one loop inside another.
        """
        if self._changed >= _MANY:
            self._connection.execute(f"ANALYZE {', '.join(ROLLUPS)}".encode())

    def stage(self, table: str, sql: str, params: Params) -> None:
        # Utility statements take no parameters from the server's side, so the client quotes them.
        cursor = psycopg.ClientCursor(self._connection)
        cursor.execute(f"DROP TABLE IF EXISTS pg_temp.{table}".encode())
        cursor.execute(f"CREATE TEMP TABLE {table} ON COMMIT DROP AS {_named(sql)}".encode(), dict(params))
        cursor.execute(f"ANALYZE {table}".encode())

    def delete_events(self, condition: str, params: Params) -> int:
        sql = f"""WITH gone AS (DELETE FROM events WHERE {condition} RETURNING key),
            forgotten AS (DELETE FROM event_keys USING gone WHERE event_keys.key = gone.key RETURNING 1)
            SELECT count(*) FROM forgotten"""
        return int(self.rows(sql, params)[0][0])


def _prepare_connection(connection: psycopg.Connection[Any]) -> None:
    connection.execute(_text(_STAGE))
    # Reports bind many values once; JIT compilation costs more than these queries take.
    connection.execute("SET jit = off")
    connection.commit()


def _settled(connection: psycopg.Connection[Any]) -> int:
    ((settled,),) = connection.execute(_SETTLED).fetchall()
    return int(settled)


def _staged(batch: EventBatch, at: int, key: uuid.UUID, content: uuid.UUID) -> tuple[Any, ...]:
    # PostgreSQL's numbers are exact in JSON too, so it takes the payload as it was sent.
    return (
        batch.organization[at],
        batch.source[at],
        batch.id[at],
        batch.type[at],
        batch.subject[at],
        batch.time[at],
        batch.received_at[at],
        key,
        content,
        batch.job[at],
        batch.path[at],
        batch.value[at],
        batch.original[at] or batch.data[at],
    )


def _digest(*parts: str) -> uuid.UUID:
    # NUL cannot occur in any part, so no two lists of parts give the same bytes.
    return uuid.UUID(bytes=blake2b("\0".join(parts).encode(), digest_size=16).digest())


def _content(type: str, subject: str | None, data: str) -> uuid.UUID:
    return _digest(type, "" if subject is None else "s" + subject, data)


def _text(statement: str) -> pgsql.SQL:
    return pgsql.SQL(statement)


def _named(sql: str) -> str:
    """`$name` as psycopg writes it. Reports contain no other dollar sign and no percent sign but modulo's."""
    parts = sql.replace("%", "%%").split("$")
    return parts[0] + "".join(f"%({name})s{part[len(name) :]}" for part in parts[1:] for name in (_leading_name(part),))


def _leading_name(part: str) -> str:
    length = next((at for at, letter in enumerate(part) if not (letter.isalnum() or letter == "_")), len(part))
    return part[:length]


@contextmanager
def _translating() -> Iterator[None]:
    try:
        yield
    except DiskFull as error:
        raise StorageFull("The disk that holds the events is full; nothing of this request was stored.") from error
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise Unavailable("The event store does not answer; nothing of this request was stored.") from error
