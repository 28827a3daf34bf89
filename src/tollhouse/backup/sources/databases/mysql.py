"""MySQL and MariaDB: one consistent snapshot of InnoDB; definitions by SHOW CREATE TABLE; rows in by many at a time.

Definitions cannot be undone there: a table that is replaced is gone before the new one is full. Triggers and routines are not kept.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from tollhouse.backup.sources.databases.rows import Row, base64_of, bytes_of
from tollhouse.backup.sources.databases.sql_engine import PAGE, Convert, SqlEngine
from tollhouse.backup.sources.databases.table import Column, ForeignKey, Index, Kind, Name, Table
from tollhouse.kit.errors import BadInput, NotFound

_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"), "integer"),
    **dict.fromkeys(("float", "double"), "float"),
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"), "text"),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), "bytes"),
    **dict.fromkeys(("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"), "bytes"),
    "decimal": "decimal",
    "date": "date",
    "time": "time",
    "datetime": "datetime",
    "timestamp": "instant",
    "json": "json",
    "uuid": "uuid",
}
_COUNTER = re.compile(r" AUTO_INCREMENT=\d+")
_SESSION = ("SET SESSION time_zone = '+00:00'", "SET NAMES utf8mb4")
_COLUMNS = """
SELECT column_name, column_type, data_type, is_nullable, column_default, extra, generation_expression, column_comment,
  character_maximum_length, numeric_precision, numeric_scale
FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s ORDER BY ordinal_position
"""
_KEYS = """
SELECT constraint_name, column_name, referenced_table_name, referenced_column_name FROM information_schema.key_column_usage
WHERE table_schema = DATABASE() AND table_name = %s AND referenced_table_name IS NOT NULL ORDER BY constraint_name, ordinal_position
"""
_INDEXES = """
SELECT index_name, column_name, non_unique FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = %s ORDER BY index_name, seq_in_index
"""


class MySQLEngine(SqlEngine):
    """A database of a MySQL or MariaDB server; its tables' schema is called `main`, for it may be restored under another name."""

    dialect = "mysql"
    begin_reading = (
        *_SESSION,
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )
    begin_writing = (
        *_SESSION,
        # A zero is a zero, and a date that never was comes back; anything that does not fit is an error.
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'",
        "SET SESSION foreign_key_checks = 0",
        "SET SESSION unique_checks = 1",
        "START TRANSACTION",
    )

    def __init__(self, url: Any, shown: str) -> None:
        if not url.database:
            raise BadInput(f"{shown}: name the database, such as mysql://user@host/name.")
        super().__init__(url, shown, isolation_level="AUTOCOMMIT", connect_args={"charset": "utf8mb4"})

    def part(self) -> AbstractContextManager[None]:
        return nullcontext()

    def names(self) -> list[Name]:
        rows = self.run(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY 1"
        )
        return sorted(Name("main", row[0]) for row in rows)

    def estimate(self, name: Name) -> int:
        rows = self.run("SELECT data_length FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s", name.table)
        return int(rows[0][0] or 0) if rows else 0

    def whole(self) -> dict[str, Any]:
        views = self.run("SELECT table_name, view_definition FROM information_schema.views WHERE table_schema = DATABASE() ORDER BY 1")
        others = self.run(
            "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
            " AND engine <> 'InnoDB' ORDER BY 1"
        )
        return {
            "version": self.run("SELECT VERSION()")[0][0],
            "views": [{"schema": "main", "name": one[0], "definition": one[1]} for one in views],
            "not_in_the_snapshot": {one[0]: f"the engine {one[1]} has no transactions" for one in others},
        }

    def describe(self, name: Name) -> Table:
        info = self.run(_COLUMNS, name.table)
        if not info:
            raise NotFound(f"There is no table {name.table}.")
        create: str = self.run(f"SHOW CREATE TABLE {self.quoted(name)}")[0][1]
        counter = _COUNTER.search(create)
        keys: dict[str, ForeignKey] = {}
        for constraint, here, table, there in self.run(_KEYS, name.table):
            one = keys.setdefault(constraint, ForeignKey(constraint, [], "main", table, []))
            one.columns.append(here)
            one.references.append(there)
        over: dict[str, list[str | None]] = {}
        unique: dict[str, bool] = {}
        for index, column, repeated in self.run(_INDEXES, name.table):
            over.setdefault(index, []).append(column)
            unique[index] = not repeated
        primary = [one for one in over.pop("PRIMARY", []) if one]
        return Table(
            "main", name.table, self.dialect, [_column(row) for row in info], _COUNTER.sub("", create, count=1),
            primary_key=primary,
            foreign_keys=list(keys.values()),
            indexes=[Index(index, columns, unique[index]) for index, columns in over.items()],
            numbering={name.table: {"next": int(counter[0].rpartition("=")[2])}} if counter else {},
        )  # fmt: skip

    def quoted(self, name: Name) -> str:
        return self.quote(name.table)

    def expression(self, column: Column) -> str:
        name = self.quote(column.name)
        if column.kind in ("datetime", "instant"):
            return f"DATE_FORMAT({name}, '%Y-%m-%dT%H:%i:%s.%f{'Z' if column.kind == 'instant' else ''}')"
        if column.kind in ("date", "time", "json", "decimal", "uuid", "other"):
            return f"CAST({name} AS CHAR)"
        if column.kind == "float":  # as text, a FLOAT has six digits
            return f"({name} + 0e0)"
        return f"({name} + 0)" if column.type.startswith("bit") else name

    def ordering(self, table: Table) -> list[str]:
        if table.primary_key:
            kinds = {column.name: column.kind for column in table.columns}
            return [f"CAST({self.quote(n)} AS BINARY)" if kinds[n] == "text" else self.quote(n) for n in table.primary_key]
        return [self.quote(one.name) if one.kind == "integer" else f"CAST({self.expression(one)} AS BINARY)" for one in table.columns]

    def converter(self, column: Column) -> Convert | None:
        return base64_of if column.kind == "bytes" else int if column.type.startswith("bit") else None

    # Writing

    def drop(self, name: Name) -> None:
        self.run(f"DROP TABLE {self.quoted(name)}")

    def create(self, table: Table) -> None:
        self.run(table.create)

    def load(self, table: Table, path: Path, rows: Iterator[Row]) -> None:
        given = [(at, column) for at, column in enumerate(table.columns) if column.generated is None]
        names = ", ".join(self.quote(column.name) for _, column in given).replace("%", "%%")
        marks = ", ".join("%s" for _ in given)
        into = f"INSERT INTO {self.quoted(table.called).replace('%', '%%')} ({names}) VALUES ({marks})"
        reads = [(at, column.kind) for at, column in given]
        waiting: list[tuple[Any, ...]] = []
        for row in rows:
            waiting.append(tuple(_stored(row[at], kind) for at, kind in reads))
            if len(waiting) >= PAGE:
                self._insert(into, waiting)
        if waiting:
            self._insert(into, waiting)

    def _insert(self, into: str, waiting: list[tuple[Any, ...]]) -> None:
        with self._saying():
            self.connection.exec_driver_sql(into, waiting)
        waiting.clear()

    def complete(self, table: Table) -> None:
        self.run("COMMIT")
        for standing in table.numbering.values():
            self.run(f"ALTER TABLE {self.quoted(table.called)} AUTO_INCREMENT = {int(standing['next'])}")
        self.run("START TRANSACTION")

    def refer(self, table: Table) -> None:
        """They are part of the table."""

    def settle(self, table: Table) -> None:
        """It counts from the largest number by itself."""


def _column(row: tuple[Any, ...]) -> Column:
    extra = str(row[5] or "").lower()
    wide = row[2] in ("char", "varchar", "binary", "varbinary")
    return Column(
        row[0], row[1], _KINDS.get(row[2], "other"), row[3] == "YES", None if row[4] in (None, "NULL") else str(row[4]), row[6] or None,
        "auto" if "auto_increment" in extra else None, row[7] or None, row[8] if wide else None,
        row[9] if row[2] == "decimal" else None, row[10] if row[2] == "decimal" else None,
    )  # fmt: skip


def _stored(value: Any, kind: Kind) -> Any:
    if value is None:
        return None
    if kind == "bytes":
        return bytes_of(value)
    return value.removesuffix("Z") if kind in ("instant", "datetime") and isinstance(value, str) else value
