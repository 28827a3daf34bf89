"""Rows out of files that only a driver can read: Parquet, through DuckDB."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from tollhouse.kit.errors import BadInput


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Each row of a Parquet file by column name; raises BadInput where it is none."""
    connection = duckdb.connect()
    try:
        named = {"path": str(path)}
        columns = connection.execute("DESCRIBE SELECT * FROM read_parquet($path)", named).fetchall()
        names = [column[0] for column in columns]
        chosen = ", ".join(_read(name, type) for name, type, *_ in columns)
        cursor = connection.execute(f"SELECT {chosen} FROM read_parquet($path)", named)
        while rows := cursor.fetchmany(10_000):
            for row in rows:
                yield dict(zip(names, row, strict=True))
    except duckdb.Error as error:
        raise BadInput(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    finally:
        connection.close()


def parquet_count(path: Path) -> int:
    """How many rows a Parquet file has."""
    connection = duckdb.connect()
    try:
        ((count,),) = connection.execute("SELECT count(*) FROM read_parquet($path)", {"path": str(path)}).fetchall()
        return int(count)
    except duckdb.Error as error:
        raise BadInput(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    finally:
        connection.close()


def _read(name: str, type: str) -> str:
    """A column; an instant as text, because DuckDB wants pytz to give it as an object."""
    quoted = '"' + name.replace('"', '""') + '"'
    if type != "TIMESTAMP WITH TIME ZONE":
        return quoted
    return f"strftime(make_timestamp(epoch_us({quoted})), '%Y-%m-%dT%H:%M:%S.%fZ')"
