"""A table as `schema.json` says it: its columns in words that every engine knows, and what makes it again on its own engine."""

import json
import re
from typing import Any, Literal, NamedTuple

import msgspec

from tollhouse.kit.errors import Unprocessable

Kind = Literal["integer", "decimal", "float", "boolean", "text", "bytes", "date", "time", "datetime", "instant", "json", "uuid", "other"]
_UNSPEAKABLE = re.compile(r"[%/.\\\x00-\x1f\x7f]")
_ESCAPED = re.compile(r"%([0-9A-F]{2})")
_KEY = re.compile(r"tables/([^/.]*)\.([^/.]+)/([a-z.]+)")


class Name(NamedTuple):
    """A table's schema and its name; the schema of an engine that has none is `main`."""

    schema: str
    table: str

    @property
    def folder(self) -> str:
        """Where its objects are, such as `tables/public.orders`; what a key cannot hold is written `%2F`."""
        return f"tables/{_written(self.schema)}.{_written(self.table)}"


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """`type` is the engine's own; `kind` decides how a value is written. `identity` numbers by itself, `generated` is computed."""

    name: str
    type: str
    kind: Kind
    nullable: bool = True
    default: str | None = None
    generated: str | None = None
    identity: str | None = None
    comment: str | None = None
    length: int | None = None
    precision: int | None = None
    scale: int | None = None


class ForeignKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """Columns that name a row of another table, or of the same."""

    name: str | None
    columns: list[str]
    schema: str
    table: str
    references: list[str]


class Index(msgspec.Struct, frozen=True, omit_defaults=True):
    """An index over columns; one over expressions has None in their place."""

    name: str | None
    columns: list[str | None]
    unique: bool = False


class Needed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What has to be there before the table: a type, a sequence; made unless it is there."""

    kind: str
    name: str
    sql: str


class Table(msgspec.Struct, frozen=True, omit_defaults=True):
    """`create`, `after` (once rows are in) and `references` (once all tables are) are the engine's own SQL; `numbering` is where
    its sequences stand: what sets them, by name."""

    schema: str
    name: str
    dialect: str
    columns: list[Column]
    create: str
    primary_key: list[str] = []
    unique: list[Index] = []
    foreign_keys: list[ForeignKey] = []
    indexes: list[Index] = []
    comment: str | None = None
    needs: list[Needed] = []
    after: list[str] = []
    references: list[str] = []
    numbering: dict[str, dict[str, Any]] = {}

    @property
    def called(self) -> Name:
        """Its name."""
        return Name(self.schema, self.name)


def encoded(table: Table) -> bytes:
    """As it is stored: the same table always gives the same bytes."""
    return json.dumps(msgspec.to_builtins(table), indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def decoded(content: bytes) -> Table:
    """Read back; raises Unprocessable."""
    try:
        return msgspec.json.decode(content, type=Table)
    except msgspec.MsgspecError as error:
        raise Unprocessable(f"This schema.json is none of a table: {error}.") from None


def key_parts(key: str) -> tuple[Name, str] | None:
    """The table and the file that a key names; None where it is no table's."""
    matched = _KEY.fullmatch(key)
    return (Name(_read(matched[1]), _read(matched[2])), matched[3]) if matched else None


def in_order(tables: list[Table]) -> list[Table]:
    """Those that others refer to first; in a cycle, by name."""
    waiting = {table.called: table for table in sorted(tables, key=lambda one: one.called)}
    ordered: list[Table] = []
    while waiting:
        free = [name for name, table in waiting.items() if not _refers(table) & waiting.keys()] or [next(iter(waiting))]
        ordered += [waiting.pop(name) for name in free]
    return ordered


def _refers(table: Table) -> set[Name]:
    return {Name(one.schema, one.table) for one in table.foreign_keys} - {table.called}


def _written(name: str) -> str:
    return _UNSPEAKABLE.sub(lambda found: f"%{ord(found[0]):02X}", name)


def _read(name: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), name)
