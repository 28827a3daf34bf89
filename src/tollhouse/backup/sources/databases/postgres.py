"""PostgreSQL: one REPEATABLE READ transaction; definitions as the catalogue writes them; rows in by COPY.

A value is selected as the text that PostgreSQL itself reads back, for whatever type: so ranges, arrays and types of extensions come
back as they were. Partitions are kept with the table they are of. Triggers, policies, privileges and functions are not kept.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tollhouse.backup.sources.databases.rows import Row, base64_of, bytes_of, float_of
from tollhouse.backup.sources.databases.sql_engine import Convert, SqlEngine, sentence
from tollhouse.backup.sources.databases.table import Column, ForeignKey, Index, Kind, Name, Needed, Table
from tollhouse.kit.errors import NotFound, TollhouseError, Unprocessable

_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), "integer"),
    **dict.fromkeys(("float4", "float8"), "float"),
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "char", "citext"), "text"),
    **dict.fromkeys(("json", "jsonb"), "json"),
    "numeric": "decimal",
    "bool": "boolean",
    "bytea": "bytes",
    "date": "date",
    "time": "time",
    "timestamp": "datetime",
    "timestamptz": "instant",
    "uuid": "uuid",
}
_NATURAL = ("integer", "boolean", "decimal", "date", "time", "datetime", "instant", "uuid")
_SETTINGS = (
    "SET LOCAL search_path = ''",
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO, YMD'",
    "SET LOCAL IntervalStyle = 'postgres'",
    "SET LOCAL extra_float_digits = 3",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL row_security = off",
)
_TABLES = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                  AND d.deptype = 'e')
ORDER BY 1, 2
"""
_COLUMNS = """
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_catalog.pg_get_expr(d.adbin, d.adrelid),
  a.attidentity, a.attgenerated, pg_catalog.col_description(a.attrelid, a.attnum),
  CASE WHEN t.typtype = 'd' THEN b.typname ELSE t.typname END,
  (SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(l.collname) FROM pg_catalog.pg_collation l
   JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace WHERE l.oid = a.attcollation AND a.attcollation <> t.typcollation),
  CASE WHEN t.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 END,
  CASE WHEN t.typname = 'numeric' AND a.atttypmod > 4 THEN ((a.atttypmod - 4) >> 16) & 65535 END,
  CASE WHEN t.typname = 'numeric' AND a.atttypmod > 4 THEN (((a.atttypmod - 4) & 2047) # 1024) - 1024 END
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_CONSTRAINTS = """
SELECT c.conname, c.contype, pg_catalog.pg_get_constraintdef(c.oid),
  ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(n, o)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n ORDER BY k.o),
  fn.nspname, f.relname, ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k(n, o)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.n ORDER BY k.o)
FROM pg_catalog.pg_constraint c LEFT JOIN pg_catalog.pg_class f ON f.oid = c.confrelid
LEFT JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
WHERE c.conrelid = %s AND c.contype IN ('p', 'u', 'f', 'c', 'x') AND c.conparentid = 0
ORDER BY c.contype <> 'p', c.contype, c.conname
"""
_INDEXES = """
SELECT i.relname, pg_catalog.pg_get_indexdef(i.oid), x.indisunique,
  ARRAY(SELECT a.attname::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY k(n, o)
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.n WHERE k.o <= x.indnkeyatts ORDER BY k.o)
FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
WHERE x.indrelid = %s AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conindid = i.oid AND c.conrelid = x.indrelid
                                       AND c.contype IN ('p', 'u', 'x'))
ORDER BY i.relname
"""
_TYPES = """
SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(e.typname), CASE e.typtype WHEN 'e' THEN
  'AS ENUM (' || (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(l.enumlabel), ', ' ORDER BY l.enumsortorder)
   FROM pg_catalog.pg_enum l WHERE l.enumtypid = e.oid) || ')' ELSE
  'AS ' || pg_catalog.format_type(e.typbasetype, e.typtypmod) || CASE WHEN e.typdefault IS NULL THEN '' ELSE ' DEFAULT ' || e.typdefault END
  || CASE WHEN e.typnotnull THEN ' NOT NULL' ELSE '' END || coalesce((SELECT pg_catalog.string_agg(' CONSTRAINT ' ||
   pg_catalog.quote_ident(k.conname) || ' ' || pg_catalog.pg_get_constraintdef(k.oid), '' ORDER BY k.conname)
   FROM pg_catalog.pg_constraint k WHERE k.contypid = e.oid AND k.contype = 'c'), '') END, e.typtype
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type e ON e.oid = CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN t.typelem ELSE t.oid END AND e.typtype IN ('e', 'd')
JOIN pg_catalog.pg_namespace n ON n.oid = e.typnamespace
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = e.oid AND d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
                  AND d.deptype = 'e')
GROUP BY e.oid, n.nspname, e.typname, e.typtype, e.typbasetype, e.typtypmod, e.typdefault, e.typnotnull ORDER BY 1
"""
# A sequence belongs to a column that owns it (serial, identity), or is named by a default.
_SEQUENCES = """
SELECT DISTINCT ON (q.oid) q.oid::int8, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(q.relname),
  pg_catalog.format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle,
  (SELECT a.attname FROM pg_catalog.pg_depend o JOIN pg_catalog.pg_attribute a ON a.attrelid = o.refobjid AND a.attnum = o.refobjsubid
   WHERE o.objid = q.oid AND o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.deptype IN ('a', 'i') AND o.refobjid = %(oid)s),
  EXISTS (SELECT FROM pg_catalog.pg_depend o WHERE o.objid = q.oid AND o.deptype = 'i' AND o.refobjid = %(oid)s)
FROM pg_catalog.pg_class q JOIN pg_catalog.pg_namespace n ON n.oid = q.relnamespace JOIN pg_catalog.pg_sequence s ON s.seqrelid = q.oid
JOIN pg_catalog.pg_depend d ON (d.objid = q.oid AND d.refobjid = %(oid)s AND d.deptype IN ('a', 'i'))
  OR (d.refobjid = q.oid AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
      AND d.objid IN (SELECT oid FROM pg_catalog.pg_attrdef WHERE adrelid = %(oid)s))
WHERE q.relkind = 'S' ORDER BY q.oid
"""
_PARTITIONS = """
SELECT n.nspname, c.relname, pn.nspname, p.relname, pg_catalog.pg_get_expr(c.relpartbound, c.oid),
  CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END
FROM pg_catalog.pg_partition_tree(%s::int8::pg_catalog.oid::pg_catalog.regclass) t JOIN pg_catalog.pg_class c ON c.oid = t.relid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_class p ON p.oid = t.parentrelid
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace WHERE t.level > 0 ORDER BY t.level, 1, 2
"""


class PostgresEngine(SqlEngine):
    """A PostgreSQL database."""

    dialect = "postgresql"
    default_schema = "public"
    begin_reading = ("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", *_SETTINGS, "SELECT 1")
    begin_writing = ("BEGIN", *_SETTINGS)

    def __init__(self, url: Any, shown: str) -> None:
        super().__init__(url, shown, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 15})
        self._taken_off: list[tuple[str, str, str, str]] = []

    def names(self) -> list[Name]:
        return [Name(*row) for row in self.run(_TABLES)]

    def estimate(self, name: Name) -> int:
        return int(self.run("SELECT pg_catalog.pg_table_size(%s::int8::pg_catalog.oid::pg_catalog.regclass)", self._oid(name))[0][0] or 0)

    def whole(self) -> dict[str, Any]:
        views = self.run(
            "SELECT schemaname, viewname, definition FROM pg_catalog.pg_views WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            " UNION ALL SELECT schemaname, matviewname, definition FROM pg_catalog.pg_matviews ORDER BY 1, 2"
        )
        sequences = self.run("SELECT schemaname, sequencename, last_value FROM pg_catalog.pg_sequences ORDER BY 1, 2")
        extensions = self.run("SELECT extname, extversion FROM pg_catalog.pg_extension ORDER BY 1")
        return {
            "version": self.run("SELECT pg_catalog.current_setting('server_version')")[0][0],
            "views": [{"schema": one[0], "name": one[1], "definition": one[2]} for one in views],
            "sequences": [{"schema": one[0], "name": one[1], "last_value": one[2]} for one in sequences],
            "extensions": dict(extensions),
        }

    # Reading

    def describe(self, name: Name) -> Table:
        oid = self._oid(name)
        columns, lines = [], []
        sequences = self.run(_SEQUENCES.replace("%(oid)s", str(int(oid))))
        for one in self.run(_COLUMNS, oid):
            column = Column(
                one[0], one[1], _KINDS.get(one[7], "other"), not one[2], None if one[5] else one[3], one[3] if one[5] else None,
                {"a": "always", "d": "by default"}.get(one[4]), one[6], one[9], one[10], one[11],
            )  # fmt: skip
            columns.append(column)
            lines.append(self._line(column, one[8], one[5], next((q for q in sequences if q[10] and q[9] == column.name), None)))
        parts = self.run("SELECT pg_catalog.pg_get_partkeydef(oid) FROM pg_catalog.pg_class WHERE oid = %s AND relkind = 'p'", oid)
        create = f"CREATE TABLE {self.quoted(name)} (\n  " + ",\n  ".join(lines) + "\n)" + (f" PARTITION BY {parts[0][0]}" if parts else "")
        constraints, indexes = self.run(_CONSTRAINTS, oid), self.run(_INDEXES, oid)
        comment = self.run("SELECT pg_catalog.obj_description(%s, 'pg_class')", oid)[0][0]
        return Table(
            name.schema, name.table, self.dialect, columns, create,
            primary_key=next((list(one[3]) for one in constraints if one[1] == "p"), []),
            unique=[Index(one[0], list(one[3]), True) for one in constraints if one[1] == "u"],
            foreign_keys=[ForeignKey(one[0], list(one[3]), one[4], one[5], list(one[6])) for one in constraints if one[1] == "f"],
            indexes=[Index(one[0], list(one[3]), one[2]) for one in indexes],
            comment=comment,
            needs=self._needs(oid, sequences),
            after=[
                *(self._constraint(name, one) for one in constraints if one[1] != "f"),
                *(one[1] for one in indexes),
                *self._comments(name, columns, comment),
                *(f"ALTER SEQUENCE {q[1]} OWNED BY {self.quoted(name)}.{self.quote(q[9])}" for q in sequences if q[9] and not q[10]),
            ],
            references=[self._constraint(name, one) for one in constraints if one[1] == "f"],
            numbering={q[1]: self._standing(q) for q in sequences},
        )  # fmt: skip

    def _line(self, column: Column, collation: str | None, generated: str, sequence: tuple[Any, ...] | None) -> str:
        line = f"{self.quote(column.name)} {column.type}" + (f" COLLATE {collation}" if collation else "")
        if sequence is not None:
            line += f" GENERATED {(column.identity or 'by default').upper()} AS IDENTITY (SEQUENCE NAME {sequence[1]} {_options(sequence)})"
        elif column.generated is not None:
            line += f" GENERATED ALWAYS AS ({column.generated}) {'STORED' if generated == 's' else 'VIRTUAL'}"
        elif column.default is not None:
            line += f" DEFAULT {column.default}"
        return line + ("" if column.nullable else " NOT NULL")

    def _needs(self, oid: int, sequences: list[tuple[Any, ...]]) -> list[Needed]:
        domains = {"d": "DOMAIN", "e": "TYPE"}
        types = [Needed("type", one[0], f"CREATE {domains[one[2]]} {one[0]} {one[1]}") for one in self.run(_TYPES, oid)]
        own = [Needed("sequence", q[1], f"CREATE SEQUENCE {q[1]} AS {q[2]} {_options(q)}") for q in sequences if not q[10]]
        schemas = [
            Needed("schema", s, f"CREATE SCHEMA {s}") for s in sorted({one.name.split(".")[0] for one in (*types, *own)} - {"public"})
        ]
        parts = [
            Needed("partition", f"{self.quoted(Name(one[0], one[1]))}",
                   f"CREATE TABLE {self.quoted(Name(one[0], one[1]))} PARTITION OF {self.quoted(Name(one[2], one[3]))} {one[4]}"
                   + (f" PARTITION BY {one[5]}" if one[5] else ""))
            for one in self.run(_PARTITIONS, oid)
        ]  # fmt: skip
        return schemas + types + own + parts

    def _standing(self, sequence: tuple[Any, ...]) -> dict[str, Any]:
        last, called = self.run(f"SELECT last_value, is_called FROM {sequence[1]}")[0]
        return {"last_value": last, "is_called": called, "column": sequence[9]}

    def _constraint(self, name: Name, one: tuple[Any, ...]) -> str:
        return f"ALTER TABLE {self.quoted(name)} ADD CONSTRAINT {self.quote(one[0])} {one[2]}"

    def _comments(self, name: Name, columns: list[Column], comment: str | None) -> list[str]:
        said = [("TABLE", self.quoted(name), comment)]
        said += [("COLUMN", f"{self.quoted(name)}.{self.quote(one.name)}", one.comment) for one in columns]
        literal = "SELECT pg_catalog.quote_literal(%s::pg_catalog.text)"
        return [f"COMMENT ON {what} {where} IS {self.run(literal, text)[0][0]}" for what, where, text in said if text is not None]

    def _oid(self, name: Name) -> int:
        found = self.run(
            "SELECT c.oid::int8 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')",
            *name,
        )
        if not found:
            raise NotFound(f"There is no table {name.schema}.{name.table}.")
        return int(found[0][0])

    def expression(self, column: Column) -> str:
        name = self.quote(column.name)
        if column.kind in ("integer", "boolean", "float", "bytes", "text"):
            return name if column.kind != "text" else f"{name}::pg_catalog.varchar" if column.type.endswith("name") else name
        if column.kind in ("datetime", "instant"):
            zone = "Z" if column.kind == "instant" else ""
            return (
                f"CASE WHEN {name} >= '0001-01-01' AND {name} < '10000-01-01'"
                f""" THEN pg_catalog.to_char({name}, 'YYYY-MM-DD"T"HH24:MI:SS.US"{zone}"') ELSE {name}::pg_catalog.text END"""
            )
        if column.kind == "time":
            return f"CASE WHEN {name} < '24:00' THEN pg_catalog.to_char({name}, 'HH24:MI:SS.US') ELSE {name}::pg_catalog.text END"
        return f"{name}::pg_catalog.text"

    def ordering(self, table: Table) -> list[str]:
        kinds = {column.name: column.kind for column in table.columns}
        if table.primary_key:
            return [self._sorted(name, kinds[name] in _NATURAL) for name in table.primary_key]
        return [f"{self._sorted(name, kind in ('integer', 'boolean'))} NULLS FIRST" for name, kind in kinds.items()]

    def _sorted(self, name: str, natural: bool) -> str:
        return self.quote(name) if natural else f'{self.quote(name)}::pg_catalog.text COLLATE pg_catalog."C"'

    def converter(self, column: Column) -> Convert | None:
        converts: dict[str, Convert] = {"bytes": base64_of, "float": float_of}
        return converts.get(column.kind)

    # Writing

    def drop(self, name: Name) -> None:
        oid = self._oid(name)
        own_name = self.quoted(name)
        for row in self.run(
            "SELECT n.nspname, c.relname, k.conname, pg_catalog.pg_get_constraintdef(k.oid) FROM pg_catalog.pg_constraint k"
            " JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE k.confrelid = %s AND k.contype = 'f' AND k.conparentid = 0 AND k.conrelid <> k.confrelid",
            oid,
        ):
            self._taken_off.append((row[0], row[1], row[2], row[3]))
            self.run(f"ALTER TABLE {self.quoted(Name(row[0], row[1]))} DROP CONSTRAINT {self.quote(row[2])}")
        self.run(f"DROP TABLE {own_name}")

    def create(self, table: Table) -> None:
        if not self.run("SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s", table.schema):
            self.run(f"CREATE SCHEMA {self.quote(table.schema)}")
        there = {"type": "to_regtype", "sequence": "to_regclass", "schema": "to_regnamespace"}
        for one in table.needs:
            if one.kind in there and not self.run(f"SELECT pg_catalog.{there[one.kind]}(%s) IS NOT NULL", one.name)[0][0]:
                self.run(one.sql)
        self.run(table.create)
        for one in table.needs:
            if one.kind == "partition":
                self.run(one.sql)

    def load(self, table: Table, path: Path, rows: Iterator[Row]) -> None:
        given = [(at, column) for at, column in enumerate(table.columns) if column.generated is None]
        names = ", ".join(self.quote(column.name) for _, column in given)
        reads = [(at, column.kind == "bytes") for at, column in given]
        driver: Any = self.connection.connection.driver_connection
        try:
            with driver.cursor() as cursor, cursor.copy(f"COPY {self.quoted(table.called)} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row([None if row[at] is None else bytes_of(row[at]) if binary else _text(row[at]) for at, binary in reads])
        except TollhouseError:
            raise
        except Exception as error:  # the driver's classes are not known here
            raise Unprocessable(f"its rows cannot be put in: {sentence(error)}") from None

    def complete(self, table: Table) -> None:
        for statement in table.after:
            self.run(statement)
        for name, standing in table.numbering.items():
            self.run("SELECT pg_catalog.setval(%s::pg_catalog.regclass, %s, %s)", name, standing["last_value"], standing["is_called"])

    def refer(self, table: Table) -> None:
        for statement in table.references:
            self.run(statement)

    def settle(self, table: Table) -> None:
        for column in table.columns:
            if column.identity:
                named = f"{self.quoted(table.called)}"
                ((sequence,),) = self.run("SELECT pg_catalog.pg_get_serial_sequence(%s, %s)", named, column.name)
                highest = self.run(f"SELECT max({self.quote(column.name)}) FROM {named}")[0][0]
                if highest is not None:
                    self.run("SELECT pg_catalog.setval(%s::pg_catalog.regclass, %s)", sequence, max(1, highest))

    def last_words(self) -> list[str]:
        """Foreign keys of other tables that pointed at what was replaced are put back."""
        said = []
        for schema, table, constraint, definition in self._taken_off:
            where = Name(schema, table)
            named = f"{schema}.{table}"
            if self.run(
                "SELECT FROM pg_catalog.pg_constraint k WHERE k.conname = %s AND k.conrelid = pg_catalog.to_regclass(%s)",
                constraint, self.quoted(where),
            ):  # fmt: skip
                continue
            try:
                with self.part():
                    self.run(f"ALTER TABLE {self.quoted(where)} ADD CONSTRAINT {self.quote(constraint)} {definition}")
            except TollhouseError as error:
                said.append(f"the foreign key {constraint} of {named} could not be put back: {error.detail}")
        self._taken_off = []
        return said


def _options(sequence: tuple[Any, ...]) -> str:
    start, increment, least, most, cache, cycle = sequence[3:9]
    return f"START WITH {start} INCREMENT BY {increment} MINVALUE {least} MAXVALUE {most} CACHE {cache}{' CYCLE' if cycle else ''}"


def _text(value: Any) -> str:
    if isinstance(value, str):
        if "\0" in value:
            raise Unprocessable("PostgreSQL has no text with a zero byte in it")
        return value
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, dict):
        raise Unprocessable("a value is of another type than its column, which only SQLite allows")
    return repr(value)
