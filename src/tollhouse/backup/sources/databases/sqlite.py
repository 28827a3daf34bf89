"""SQLite: one read transaction, also beside writers; definitions as they were written; values by what they are, not by their column.

A column may hold anything. What is not as its column's kind would have it is written with its type: `{"text": …}`, `{"bytes": …}`,
`{"float": "Infinity"}`, and `{"raw": …}` for text that is no UTF-8. The hidden number of a row (`rowid`) is kept only as a
primary key.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tollhouse.backup.sources.databases.rows import Row, base64_of, bytes_of, float_of
from tollhouse.backup.sources.databases.sql_engine import PAGE, Convert, SqlEngine
from tollhouse.backup.sources.databases.table import Column, ForeignKey, Index, Kind, Name, Table
from tollhouse.kit.errors import NotFound, Unavailable

_WORDS: tuple[tuple[str, Kind], ...] = (
    ("BOOL", "boolean"),
    ("INT", "integer"),
    ("DATETIME", "datetime"),
    ("TIMESTAMP", "datetime"),
    ("DATE", "date"),
    ("TIME", "time"),
    ("UUID", "uuid"),
    ("JSON", "json"),
    ("CHAR", "text"),
    ("CLOB", "text"),
    ("TEXT", "text"),
    ("BLOB", "bytes"),
    ("BINARY", "bytes"),
    ("REAL", "float"),
    ("FLOA", "float"),
    ("DOUB", "float"),
    ("NUMERIC", "decimal"),
    ("DECIMAL", "decimal"),
)


_COLUMNS = """
SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid
"""
_FOREIGN_KEYS = 'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id, seq'


class _Raw(bytes):
    """Text that is no UTF-8."""


class SQLiteEngine(SqlEngine):
    """A SQLite file."""

    dialect = "sqlite"
    begin_reading = ("PRAGMA query_only = ON", "BEGIN", "SELECT count(*) FROM sqlite_schema")
    begin_writing = ("PRAGMA foreign_keys = OFF", "BEGIN IMMEDIATE")

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__(sa.URL.create("sqlite"), f"sqlite:///{path}", creator=self._connect)

    def exists_at_all(self) -> bool:
        return self._path.is_file() and self._path.stat().st_size > 0

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.text_factory = _text
        return connection

    def names(self) -> list[Name]:
        listed = self.run(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        )
        return sorted(Name("main", row[0]) for row in listed)

    def unkept(self) -> list[dict[str, str]]:
        virtual = self.run("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'virtual' ORDER BY name")
        return [
            {"key": Name("main", row[0]).folder, "reason": "it is a virtual table: make its index again from what it indexes"}
            for row in virtual
        ]

    def estimate(self, name: Name) -> int:
        try:
            return int(self.run("SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = ?", name.table)[0][0])
        except Unavailable:  # this SQLite was built without dbstat
            return self._path.stat().st_size

    def whole(self) -> dict[str, Any]:
        views = self.run("SELECT name, sql FROM sqlite_schema WHERE type = 'view' ORDER BY name")
        return {
            "version": sqlite3.sqlite_version,
            "encoding": self.run("PRAGMA encoding")[0][0],
            "user_version": self.run("PRAGMA user_version")[0][0],
            "application_id": self.run("PRAGMA application_id")[0][0],
            "views": [{"schema": "main", "name": one[0], "definition": one[1]} for one in views],
        }

    def describe(self, name: Name) -> Table:
        found = self.run("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?", name.table)
        if not found:
            raise NotFound(f"There is no table {name.table}.")
        create: str = found[0][0]
        info = self.run(_COLUMNS, name.table)
        key = [row[0] for row in sorted((row for row in info if row[4]), key=lambda row: row[4])]
        alone = len(key) == 1 and next(row[1] for row in info if row[4]).upper() == "INTEGER" and "WITHOUT ROWID" not in create.upper()
        indexes = self.run('SELECT name, "unique", origin FROM pragma_index_list(?) ORDER BY name', name.table)
        over = {row[0]: [one[0] for one in self.run("SELECT name FROM pragma_index_info(?) ORDER BY seqno", row[0])] for row in indexes}
        after = self.run(
            "SELECT sql FROM sqlite_schema WHERE tbl_name = ? AND type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY type, name",
            name.table,
        )
        return Table(
            "main", name.table, self.dialect,
            [
                Column(row[0], row[1], _kind(row[1]), not row[2] and not (alone and row[4]), row[3],
                       "stored" if row[5] == 3 else "virtual" if row[5] == 2 else None, "auto" if alone and row[4] else None)
                for row in info
            ],
            create,
            primary_key=key,
            unique=[Index(None, over[row[0]], True) for row in indexes if row[2] == "u"],
            foreign_keys=self._foreign_keys(name),
            indexes=[Index(row[0], over[row[0]], bool(row[1])) for row in indexes if row[2] == "c"],
            after=[row[0] for row in after],
            numbering=self._numbering(name),
        )  # fmt: skip

    def _foreign_keys(self, name: Name) -> list[ForeignKey]:
        keys: dict[int, ForeignKey] = {}
        for id, table, here, there in self.run(_FOREIGN_KEYS, name.table):
            one = keys.setdefault(id, ForeignKey(None, [], "main", table, []))
            one.columns.append(here)
            if there is not None:
                one.references.append(there)
        return [keys[id] for id in sorted(keys)]

    def _numbering(self, name: Name) -> dict[str, dict[str, Any]]:
        if not self.run("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'"):
            return {}
        found = self.run("SELECT seq FROM sqlite_sequence WHERE name = ?", name.table)
        return {name.table: {"last_value": found[0][0]}} if found else {}

    def quoted(self, name: Name) -> str:
        return self.quote(name.table)

    def ordering(self, table: Table) -> list[str]:
        if table.primary_key and all(not column.nullable or column.name not in table.primary_key for column in table.columns):
            return [f"{self.quote(name)} COLLATE BINARY" for name in table.primary_key]
        return [
            f"{term}" for one in table.columns for term in (f"typeof({self.quote(one.name)})", f"{self.quote(one.name)} COLLATE BINARY")
        ]

    def converter(self, column: Column) -> Convert | None:
        convert: Convert = _WRITTEN.get(column.kind, _written)
        return convert

    # Writing

    def drop(self, name: Name) -> None:
        self.run(f"DROP TABLE {self.quoted(name)}")

    def create(self, table: Table) -> None:
        self.run(table.create)

    def load(self, table: Table, path: Path, rows: Iterator[Row]) -> None:
        given = [(at, column) for at, column in enumerate(table.columns) if column.generated is None]
        names = ", ".join(self.quote(column.name) for _, column in given)
        into = f"INSERT INTO {self.quoted(table.called)} ({names}) VALUES "
        plain = into + "(" + ", ".join("?" for _ in given) + ")"
        reads = [(at, column.kind == "bytes") for at, column in given]
        driver: Any = self.connection.connection.driver_connection
        waiting: list[list[Any]] = []
        try:
            for row in rows:
                values = [_stored(row[at], binary) for at, binary in reads]
                if any(type(value) is _Raw for value in values):
                    marks = ", ".join("CAST(? AS TEXT)" if type(value) is _Raw else "?" for value in values)
                    driver.execute(f"{into}({marks})", [bytes(value) if type(value) is _Raw else value for value in values])
                    continue
                waiting.append(values)
                if len(waiting) >= PAGE:
                    driver.executemany(plain, waiting)
                    waiting.clear()
            driver.executemany(plain, waiting)
        except sqlite3.Error as error:
            raise Unavailable(f"its rows cannot be put in: {error}") from None

    def complete(self, table: Table) -> None:
        for statement in table.after:
            self.run(statement)
        for name, standing in table.numbering.items():
            self.run("DELETE FROM sqlite_sequence WHERE name = ?", name)
            self.run("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", name, standing["last_value"])

    def refer(self, table: Table) -> None:
        """They are part of the table."""

    def settle(self, table: Table) -> None:
        """It counts from the largest number by itself."""

    def last_words(self) -> list[str]:
        wrong: dict[tuple[str, str], int] = {}
        for table, _rowid, parent, _id in self.run("PRAGMA foreign_key_check"):
            wrong[table, parent] = wrong.get((table, parent), 0) + 1
        return [f"{count} rows of {table} refer to rows of {parent} that are not there" for (table, parent), count in sorted(wrong.items())]


def _kind(declared: str) -> Kind:
    upper = declared.upper()
    return next((kind for word, kind in _WORDS if word in upper), "bytes" if not upper else "other")


def _text(content: bytes) -> Any:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return _Raw(content)


def _written(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        shown = float_of(value)
        return {"float": shown} if isinstance(shown, str) else value
    if kind is bytes:
        return {"bytes": base64_of(value)}
    return {"raw": base64_of(value)} if kind is _Raw else value


def _written_bytes(value: Any) -> Any:
    if type(value) is bytes:
        return base64_of(value)
    return {"text": value} if type(value) is str else _written(value)


def _written_boolean(value: Any) -> Any:
    return bool(value) if type(value) is int and value in (0, 1) else _written(value)


_WRITTEN: dict[str, Convert] = {"bytes": _written_bytes, "boolean": _written_boolean}


def _stored(value: Any, binary: bool) -> Any:
    if type(value) is dict:
        ((kind, content),) = value.items()
        if kind == "raw":
            return _Raw(bytes_of(content))
        return bytes_of(content) if kind == "bytes" else float(content) if kind == "float" else content
    return bytes_of(value) if binary and type(value) is str else value
