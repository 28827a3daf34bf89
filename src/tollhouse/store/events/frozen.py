"""One moment of the DuckDB event store, written out and read in again as Parquet: what a backup of Tollhouse itself is made of.

Events go into one file a month in which they were received, in the order in which they were stored: a month that is over gives
the same bytes each time, and a repository stores it once.
"""

from pathlib import Path

import duckdb

from tollhouse.kit import times
from tollhouse.store.events.schema import ROLLUPS

EVENTS = "events"
DERIVED = (*ROLLUPS, "rollup_state", "rollup_floor")
_UTC = times.zone("UTC")


class FrozenEvents:
    """Everything as it was at that moment, however much is appended meanwhile. Close it: it keeps old versions alive."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor
        cursor.begin()
        cursor.execute("SELECT count(*) FROM rollup_floor").fetchall()  # DuckDB's transaction sees what is there at its first look

    def write(self, folder: Path) -> list[Path]:
        """Write every table below a folder; returns the files."""
        written = []
        for start, end in self._months():
            condition = f"received_at >= {start} AND received_at < {end}"
            path = folder / EVENTS / f"{times.moment(start):%Y-%m}.parquet"
            written.append(self._copy(f"SELECT * FROM events WHERE {condition} ORDER BY seq, organization, source, id", path))
        for table in DERIVED:
            written.append(self._copy(f"SELECT * FROM {table} ORDER BY ALL", folder / table / "all.parquet"))
        return written

    def _months(self) -> list[tuple[int, int]]:
        ((first, last),) = self._cursor.execute("SELECT min(received_at), max(received_at) FROM events").fetchall()
        return [] if first is None else times.windows(first, last + 1, "month", _UTC)

    def _copy(self, sql: str, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        quoted = str(path).replace("'", "''")
        self._cursor.execute(f"COPY ({sql}) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)").fetchall()
        return path

    def close(self) -> None:
        """Let the moment go."""
        self._cursor.rollback()
        self._cursor.close()


def fill(connection: duckdb.DuckDBPyConnection, folder: Path) -> int:
    """Read what `write` wrote into the empty tables of a store; returns how many events."""
    connection.begin()
    for table in (EVENTS, *DERIVED):
        if any((folder / table).glob("*.parquet")):
            quoted = str(folder / table / "*.parquet").replace("'", "''")
            connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM read_parquet('{quoted}')").fetchall()
    connection.commit()
    ((count,),) = connection.execute("SELECT count(*) FROM events").fetchall()
    return int(count)
