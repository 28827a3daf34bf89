"""A table of one engine as one of another: columns by their kind, keys, foreign keys and plain indexes. The rest is named, not guessed."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable
from sqlalchemy.sql import quoted_name

from tollhouse.backup.sources.databases.engine import Engine
from tollhouse.backup.sources.databases.table import Column, Name, Table

_makers: Any = (postgresql.dialect, sqlite.dialect, mysql.dialect)
_postgres, _sqlite, _mysql = (make() for make in _makers)
# DuckDB reads PostgreSQL's words.
_DIALECTS: dict[str, Any] = {
    "postgresql": _postgres,
    "duckdb": _postgres,
    "sqlite": _sqlite,
    "mysql": _mysql,
}


def translated(table: Table, engine: Engine) -> tuple[Table, list[str]]:
    """What makes the table on another engine, and what was not carried over."""
    lost: list[str] = []
    name, to = engine.own(table.called), engine.dialect
    if to in ("sqlite", "mysql"):
        name = Name("main", name.table)
    keyed = {
        *table.primary_key,
        *(c for one in (*table.unique, *table.indexes) for c in one.columns),
        *(c for k in table.foreign_keys for c in k.columns),
    }
    metadata = sa.MetaData()
    schema = _exact(name.schema) if to in ("postgresql", "duckdb") else None
    made = sa.Table(_exact(name.table), metadata, *(_column(one, to, one.name in keyed, lost) for one in table.columns), schema=schema)
    if table.primary_key:
        made.append_constraint(sa.PrimaryKeyConstraint(*table.primary_key))
    for one in table.unique:
        made.append_constraint(sa.UniqueConstraint(*(c for c in one.columns if c)))
    references = [] if to == "duckdb" else _references(table, made, metadata, engine)
    if to == "duckdb" and table.foreign_keys:
        lost.append("foreign keys")
    dialect = _DIALECTS[to]
    for column in made.columns:
        column.comment = next(one.comment for one in table.columns if one.name == column.name) if to == "mysql" else None
    create = str(CreateTable(made, include_foreign_key_constraints=None if to == "sqlite" else []).compile(dialect=dialect))
    after = []
    for index in table.indexes:
        if any(c is None for c in index.columns):
            lost.append(f"the index {index.name} over expressions")
            continue
        here = sa.Index(
            _exact(index.name or f"{name.table}_{'_'.join(c for c in index.columns if c)}"),
            *(made.c[c] for c in index.columns if c),
            unique=index.unique,
        )
        after.append(str(CreateIndex(here).compile(dialect=dialect)))
    plain = Table(name.schema, name.table, to, table.columns, create, primary_key=table.primary_key, after=after,
                  references=references, foreign_keys=table.foreign_keys)  # fmt: skip
    return plain, lost


def _exact(name: str) -> quoted_name:
    return quoted_name(name, quote=True)  # each engine has other words that cannot stand alone


def _references(table: Table, made: sa.Table, metadata: sa.MetaData, engine: Engine) -> list[str]:
    statements = []
    for key in table.foreign_keys:
        to = engine.own(Name(key.schema, key.table))
        schema = _exact(to.schema) if engine.dialect == "postgresql" else None
        columns = key.references or table.primary_key
        if (to.table, schema) != (made.name, made.schema):
            full = f"{schema}.{to.table}" if schema else to.table
            other = metadata.tables.get(full)
            if other is None:
                other = sa.Table(_exact(to.table), metadata, schema=schema)
            for column in columns:
                if column not in other.c:
                    other.append_column(sa.Column(_exact(column), sa.Integer))
        else:
            other = made
        constraint = sa.ForeignKeyConstraint(
            key.columns, [other.c[column] for column in columns], name=key.name or "_".join([made.name, *key.columns, "fkey"])
        )
        made.append_constraint(constraint)
        if engine.dialect != "sqlite":
            statements.append(str(AddConstraint(constraint).compile(dialect=_DIALECTS[engine.dialect])))
    return statements


def _column(one: Column, to: str, keyed: bool, lost: list[str]) -> sa.Column[Any]:
    if one.default is not None and not one.identity:
        lost.append(f"the default of {one.name}")
    if one.generated is not None:
        lost.append(f"that {one.name} is computed")
    numbers = bool(one.identity) and to != "duckdb"
    if one.identity and to == "duckdb":
        lost.append(f"that {one.name} numbers by itself")
    extra = [sa.Identity(always=one.identity == "always")] if numbers and to == "postgresql" else []
    counts = one.identity if numbers and to in ("mysql", "sqlite") else False
    return sa.Column(_exact(one.name), _type(one, to, keyed), *extra, nullable=one.nullable, autoincrement=bool(counts or extra))


def _type(one: Column, to: str, keyed: bool) -> Any:
    if to == "mysql" and one.kind in ("text", "other") and keyed:
        return mysql.VARCHAR(min(one.length or 255, 768))
    if one.kind == "decimal":
        if to == "sqlite":  # NUMERIC is a float there
            return sa.Text()
        return (
            sa.Numeric(one.precision, one.scale)
            if one.precision
            else sa.Numeric(65, 30)
            if to == "mysql"
            else sa.Numeric(38, 12)
            if to == "duckdb"
            else sa.Numeric()
        )
    if one.kind == "integer":
        wide = "unsigned" in one.type.lower() or one.type == "UBIGINT"
        return (
            sa.Integer()
            if to == "sqlite"
            else sa.Numeric(20, 0)
            if wide and "big" in one.type.lower() and to != "mysql"
            else sa.BigInteger()
        )
    types: dict[str, Any] = {
        "float": sa.Double(),
        "boolean": sa.Boolean(),
        "bytes": mysql.LONGBLOB() if to == "mysql" else sa.LargeBinary(),
        "date": sa.Date(),
        "time": mysql.TIME(fsp=6) if to == "mysql" else sa.Time(),
        "datetime": mysql.DATETIME(fsp=6) if to == "mysql" else sa.DateTime(),
        "instant": mysql.DATETIME(fsp=6) if to == "mysql" else sa.DateTime(timezone=True),
        "json": sa.Text() if to == "sqlite" else sa.JSON(),
        "uuid": sa.Uuid() if to in ("postgresql", "duckdb") else sa.String(36),
    }
    return types.get(one.kind, mysql.LONGTEXT() if to == "mysql" else sa.Text())
