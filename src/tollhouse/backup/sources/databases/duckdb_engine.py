"""DuckDB: one transaction over the file, which no other process may have open; definitions as DuckDB writes them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tollhouse.backup.sources.databases.engine import Engine
from tollhouse.backup.sources.databases.rows import Page, Row, base64_of, float_of
from tollhouse.backup.sources.databases.sql_engine import Convert, converted
from tollhouse.backup.sources.databases.table import Column, ForeignKey, Index, Kind, Name, Needed, Table
from tollhouse.kit.errors import NotFound, Unavailable
from tollhouse.store.databases import DuckDBFile, from_text, json_source, quote

_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"), "integer"),
    **dict.fromkeys(("HUGEINT", "UHUGEINT", "DECIMAL", "BIGNUM"), "decimal"),
    **dict.fromkeys(("FLOAT", "DOUBLE"), "float"),
    "BOOLEAN": "boolean",
    "VARCHAR": "text",
    "BLOB": "bytes",
    "DATE": "date",
    "TIME": "time",
    "TIMESTAMP": "datetime",
    "TIMESTAMP WITH TIME ZONE": "instant",
    "JSON": "json",
    "UUID": "uuid",
}
_HERE = "WHERE database_name = current_database()"
_COMPUTED = "SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = ? AND is_generated = 'ALWAYS'"
_SEQUENCE = re.compile(r"nextval\('((?:[^']|'')+)'\)")


class DuckDBEngine(Engine):
    """A DuckDB file."""

    dialect = "duckdb"
    parts = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: DuckDBFile | None = None

    def exists_at_all(self) -> bool:
        return self._path.is_file()

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._open(read_only=True):
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._open(read_only=False):
            yield
            self.run("COMMIT")

    @contextmanager
    def _open(self, read_only: bool) -> Iterator[None]:
        self._file = DuckDBFile(self._path, read_only)
        try:
            self.run("SET TimeZone = 'UTC'")
            self.run("BEGIN TRANSACTION")
            yield
        finally:
            self._file.close()
            self._file = None

    @property
    def _opened(self) -> DuckDBFile:
        if self._file is None:
            raise Unavailable(f"duckdb:///{self._path} is not open.")
        return self._file

    def run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Execute a statement; returns its rows."""
        return self._opened.run(sql, values)

    # Reading

    def names(self) -> list[Name]:
        rows = self.run(f"SELECT schema_name, table_name FROM duckdb_tables() {_HERE} AND NOT internal AND NOT temporary")
        return sorted(Name(*row) for row in rows)

    def estimate(self, name: Name) -> int:
        rows = self.run(
            "SELECT estimated_size * column_count * 8 FROM duckdb_tables()"
            " WHERE database_name = current_database() AND schema_name = ? AND table_name = ?",
            *name,
        )
        return int(rows[0][0] or 0) if rows else 0

    def whole(self) -> dict[str, Any]:
        views = self.run(f"SELECT schema_name, view_name, sql FROM duckdb_views() {_HERE} AND NOT internal ORDER BY 1, 2")
        sequences = self.run(f"SELECT schema_name, sequence_name, last_value FROM duckdb_sequences() {_HERE} ORDER BY 1, 2")
        return {
            "version": self.run("SELECT version()")[0][0],
            "views": [{"schema": one[0], "name": one[1], "definition": one[2]} for one in views],
            "sequences": [{"schema": one[0], "name": one[1], "last_value": one[2]} for one in sequences],
        }

    def count(self, name: Name) -> int:
        return int(self.run(f"SELECT count(*) FROM {self.quoted(name)}")[0][0])

    def describe(self, name: Name) -> Table:
        where = "WHERE database_name = current_database() AND schema_name = ? AND table_name = ?"
        found = self.run(f"SELECT sql, comment FROM duckdb_tables() {where}", *name)
        if not found:
            raise NotFound(f"There is no table {name.schema}.{name.table}.")
        info = self.run(
            "SELECT column_name, data_type, is_nullable, column_default, comment, numeric_precision, numeric_scale"
            f" FROM duckdb_columns() {where} ORDER BY column_index",
            *name,
        )
        computed = {
            row[0]
            for row in self.run(
                _COMPUTED,
                *name,
            )
        }
        constraints = self.run(
            "SELECT constraint_type, constraint_column_names, referenced_table, referenced_column_names"
            f" FROM duckdb_constraints() {where} ORDER BY constraint_index",
            *name,
        )
        indexes = self.run(f"SELECT index_name, is_unique, sql FROM duckdb_indexes() {where} ORDER BY index_name", *name)
        named = sorted({one.replace("''", "'") for row in info for one in _SEQUENCE.findall(row[3] or "")})
        numbering = {one: self._standing(one, name.schema) for one in named}
        return Table(
            name.schema, name.table, self.dialect,
            [
                _column(row, row[0] in computed) for row in info
            ],
            found[0][0],
            primary_key=next((list(one[1]) for one in constraints if one[0] == "PRIMARY KEY"), []),
            unique=[Index(None, list(one[1]), True) for one in constraints if one[0] == "UNIQUE"],
            foreign_keys=[
                ForeignKey(None, list(one[1]), name.schema, one[2], list(one[3])) for one in constraints if one[0] == "FOREIGN KEY"
            ],
            indexes=[Index(row[0], [None], row[1]) for row in indexes],
            comment=found[0][1],
            needs=[Needed("sequence", one, "CREATE OR REPLACE SEQUENCE {}") for one in named],
            after=[*(row[2] for row in indexes if row[2]), *self._comments(name, info, found[0][1])],
            numbering=numbering,
        )  # fmt: skip

    def _standing(self, sequence: str, schema: str) -> dict[str, Any]:
        rows = self.run(
            "SELECT coalesce(last_value + increment_by, start_value), increment_by, min_value, max_value, cycle FROM duckdb_sequences()"
            " WHERE database_name = current_database() AND sequence_name = ? ORDER BY schema_name <> ?",
            sequence.rpartition(".")[2].strip('"'),
            schema,
        )
        if not rows:
            raise NotFound(f"There is no sequence {sequence}.")
        return dict(zip(("next", "increment", "least", "most", "cycle"), rows[0], strict=True))

    def _comments(self, name: Name, info: list[tuple[Any, ...]], comment: str | None) -> list[str]:
        said = [("TABLE", self.quoted(name), comment)]
        said += [("COLUMN", f"{self.quoted(name)}.{quote(row[0])}", row[4]) for row in info]
        return [f"COMMENT ON {what} {where} IS '{text.replace(chr(39), chr(39) * 2)}'" for what, where, text in said if text is not None]

    def pages(self, table: Table) -> Iterator[Page]:
        chosen = [_expression(column) for column in table.columns]
        kinds = {column.name: column.kind for column in table.columns}
        order = [
            # A decimal or a time that is not told apart from another is not told apart as text either, but for these.
            quote(column.name) if column.kind in ("integer", "boolean") else f"CAST({quote(column.name)} AS VARCHAR)"
            for column in table.columns
        ]
        if table.primary_key and "other" not in {kinds[name] for name in table.primary_key}:
            order = [quote(name) for name in table.primary_key]
        converts: list[tuple[int, Convert]] = []
        for at, column in enumerate(table.columns):
            if column.kind in ("bytes", "float"):
                converts.append((at, base64_of if column.kind == "bytes" else float_of))
        by = ", ".join(f"{term} NULLS FIRST" for term in order)
        for page in self._opened.stream(f"SELECT {', '.join(chosen)} FROM {self.quoted(table.called)} ORDER BY {by}"):
            yield [converted(row, converts) for row in page] if converts else page

    def quoted(self, name: Name) -> str:
        """A table's whole name."""
        return f"{quote(name.schema)}.{quote(name.table)}"

    # Writing

    def drop(self, name: Name) -> None:
        self.run(f"DROP TABLE {self.quoted(name)}")

    def create(self, table: Table) -> None:
        self.run(f"CREATE SCHEMA IF NOT EXISTS {quote(table.schema)}")
        for name, at in table.numbering.items():
            parts = ".".join(quote(part.strip('"')) for part in name.split("."))
            self.run(
                f"CREATE OR REPLACE SEQUENCE {parts} INCREMENT BY {int(at['increment'])} MINVALUE {int(at['least'])}"
                f" MAXVALUE {int(at['most'])} START WITH {int(at['next'])}" + (" CYCLE" if at["cycle"] else "")
            )
        self.run(table.create)

    def load(self, table: Table, path: Path, rows: Iterator[Row]) -> None:
        given = [column for column in table.columns if column.generated is None]
        with path.open("rb") as lines:
            longest = max((len(line) for line in lines), default=0)
        if not longest:
            return
        into = ", ".join(quote(column.name) for column in given)
        chosen = ", ".join(from_text(quote(column.name), column.kind, column.type) for column in given)
        source = json_source(path, [column.name for column in given], longest)
        self.run(f"INSERT INTO {self.quoted(table.called)} ({into}) SELECT {chosen} FROM {source}")

    def complete(self, table: Table) -> None:
        for statement in table.after:
            self.run(statement)

    def refer(self, table: Table) -> None:
        """They are part of the table."""

    def settle(self, table: Table) -> None:
        """It counts from the largest number by itself."""


def _column(row: tuple[Any, ...], computed: bool) -> Column:
    kind = _kind(row[1])
    precision, scale = (row[5], row[6]) if kind == "decimal" else (None, None)
    default, generated = (None, "virtual") if computed else (row[3], None)
    return Column(row[0], row[1], kind, row[2], default, generated, None, row[4], None, precision, scale)


def _kind(type: str) -> Kind:
    return "other" if type.endswith("]") else _KINDS.get(type.partition("(")[0], "other")


def _expression(column: Column) -> str:
    name = quote(column.name)
    if column.kind in ("integer", "float", "boolean", "text", "bytes"):
        return name
    if column.kind in ("datetime", "instant"):
        # As a naive time, because DuckDB needs pytz to give an instant as an object.
        naive = f"make_timestamp(epoch_us({name}))"
        zone = "Z" if column.kind == "instant" else ""
        return (
            f"CASE WHEN isfinite({name}) AND year({naive}) BETWEEN 1 AND 9999"
            f" THEN strftime({naive}, '%Y-%m-%dT%H:%M:%S.%f{zone}') ELSE CAST({name} AS VARCHAR) END"
        )
    return f"CAST({name} AS VARCHAR)"
