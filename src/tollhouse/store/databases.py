"""Databases that only a driver reads: a DuckDB file that is not ours, and rows as Parquet, through DuckDB too."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from tollhouse.kit.errors import Unavailable

_PAGE = 2048
_LEAST_LINE = 1 << 24
_TYPES = {
    "integer": "BIGINT",
    "float": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "time": "TIME",
    "datetime": "TIMESTAMP",
    "instant": "TIMESTAMP WITH TIME ZONE",
    "uuid": "UUID",
}


class DuckDBFile:
    """One connection to a DuckDB file, for one thread at a time; raises Unavailable where another process has it."""

    def __init__(self, path: Path, read_only: bool) -> None:
        self._path = path
        try:
            self._connection = duckdb.connect(str(path), read_only=read_only, config={"memory_limit": "1GB", "threads": 2})
        except duckdb.Error as error:
            if "lock" in str(error).lower() or "different configuration" in str(error):
                raise Unavailable(
                    f"duckdb:///{path}: another process has it open, and DuckDB lets only one; stop that one first."
                ) from None
            raise Unavailable(f"duckdb:///{path}: {_said(error)}") from None

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement; returns its rows."""
        try:
            return self._connection.execute(sql, list(values)).fetchall()
        except duckdb.Error as error:
            raise Unavailable(f"duckdb:///{self._path}: {_said(error)}") from None

    def stream(self, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        """A statement's rows, a page at a time."""
        try:
            cursor = self._connection.execute(sql)
            while page := cursor.fetchmany(_PAGE):
                yield page
        except duckdb.Error as error:
            raise Unavailable(f"duckdb:///{self._path}: {_said(error)}") from None

    def close(self) -> None:
        """Give the file free; what was not committed is undone."""
        self._connection.close()


def json_source(path: Path, names: Sequence[str], longest: int) -> str:
    """A FROM clause that reads lines of JSON, every value as text."""
    columns = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in names)
    return (
        f"read_json({_literal(str(path))}, format = 'newline_delimited', auto_detect = false, columns = {{{columns}}},"
        f" maximum_object_size = {max(longest + 1024, _LEAST_LINE)})"
    )


def from_text(name: str, kind: str, type: str) -> str:
    """A column of `json_source` as its type."""
    return f"from_base64({name})" if kind == "bytes" else f"CAST({name} AS {type})"


def write_parquet(lines: Path, into: Path, columns: Sequence[tuple[str, str, int | None, int | None]], longest: int) -> None:
    """Lines of JSON as Parquet; columns as (name, kind, precision, scale). A column with a value that its type cannot hold is text."""
    source = json_source(lines, [column[0] for column in columns], longest)
    try:
        with duckdb.connect(config={"threads": 1, "memory_limit": "1GB"}) as connection:
            typed = [_typed(*column) for column in columns]
            try:
                connection.execute(_copied(typed, source, into))
            except (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException):
                held = [one if _holds(connection, one, source) else quote(name) for one, (name, *_) in zip(typed, columns, strict=True)]
                connection.execute(_copied(held, source, into))
    except duckdb.Error as error:
        raise Unavailable(f"the rows cannot be written as Parquet: {_said(error)}") from None


def _typed(name: str, kind: str, precision: int | None, scale: int | None) -> str:
    type = _TYPES.get(kind, "VARCHAR")
    if kind == "decimal" and precision and precision <= 38:
        type = f"DECIMAL({precision}, {scale or 0})"
    return f"{from_text(quote(name), kind, type)} AS {quote(name)}"


def _copied(chosen: Sequence[str], source: str, into: Path) -> str:
    return f"COPY (SELECT {', '.join(chosen)} FROM {source}) TO {_literal(str(into))} (FORMAT parquet, COMPRESSION zstd)"


def _holds(connection: duckdb.DuckDBPyConnection, expression: str, source: str) -> bool:
    try:
        connection.execute(f"SELECT count(one) FROM (SELECT {expression.rpartition(' AS ')[0]} AS one FROM {source})").fetchall()
    except duckdb.Error:
        return False
    return True


def quote(name: str) -> str:
    """A name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _said(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["it does not answer"])[0][:300]
