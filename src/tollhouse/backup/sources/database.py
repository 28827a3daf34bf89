"""A database as collections: each table a folder with its schema and its rows, all of one moment.

`tables/public.orders/schema.json` makes the table again, `rows.ndjson` fills it; `rows.csv` and `rows.parquet` are the same rows for other
programs, and are not restored from.
"""

import hashlib
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from sqlalchemy.exc import SQLAlchemyError

from tollhouse.backup.snapshot import Entry
from tollhouse.backup.sources.databases import Name, Table, engine_at, place_of
from tollhouse.backup.sources.databases.portable import translated
from tollhouse.backup.sources.databases.rows import Common, Page, Stream, csv, ndjson, read_ndjson
from tollhouse.backup.sources.databases.table import decoded, encoded, in_order, key_parts
from tollhouse.backup.sources.hashing import copied
from tollhouse.backup.sources.kinds import DATABASE
from tollhouse.backup.sources.source import Described, Found, Source, Target, Written
from tollhouse.kit.errors import Damaged, NotFound, TollhouseError, Unprocessable
from tollhouse.store.databases import write_parquet

SCHEMA, ROWS = "schema.json", "rows.ndjson"
_CONTENT_TYPES = {
    "schema.json": "application/json",
    "rows.ndjson": "application/x-ndjson",
    "rows.csv": "text/csv; charset=utf-8; header=present",
    "rows.parquet": "application/vnd.apache.parquet",
}


class DatabaseSource(Source):
    """The tables of a database, all or those of `?tables=a,b`, in the formats of `?formats=ndjson,csv,parquet`."""

    kind = DATABASE

    def __init__(self, address: str) -> None:
        self._place = place_of(address)
        self._engine = engine_at(self._place)
        self.address = self._place.shown
        if not self._engine.exists_at_all():
            raise NotFound(f"There is no database {self.address}.")
        self._turn = threading.Lock()
        self._moment = 0
        self._tables: dict[Name, Table] = {}
        self._problems: list[dict[str, str]] = []

    def opened(self) -> AbstractContextManager[Source]:
        return self._open()

    @contextmanager
    def _open(self) -> Iterator[Source]:
        with self._engine.reading():
            self._moment = time.time_ns() // 1000
            self._tables, self._problems = {}, []
            yield self

    def listing(self) -> list[Found]:
        found: list[Found] = []
        with self._turn:
            for name in self._chosen():
                try:
                    with self._engine.part():
                        table, size = self._engine.describe(name), self._engine.estimate(name)
                except TollhouseError as error:
                    self._problems.append({"key": f"{name.folder}/", "reason": error.detail})
                    continue
                self._tables[name] = table
                found.append(Found(f"{name.folder}/{SCHEMA}", len(encoded(table)), self._moment))
                found += [Found(f"{name.folder}/rows.{one}", size, self._moment) for one in self._place.formats]
            self._problems += self._engine.unkept() if not self._place.tables else []
        return sorted(found, key=lambda one: one.key)

    def _chosen(self) -> list[Name]:
        names = self._engine.names()
        wanted = self._place.tables
        if not wanted:
            return names
        chosen = [name for name in names if name.table in wanted or f"{name.schema}.{name.table}" in wanted]
        there = {name.table for name in chosen} | {f"{name.schema}.{name.table}" for name in chosen}
        self._problems += [{"key": f"tables/{one}", "reason": "there is no such table"} for one in wanted if one not in there]
        return chosen

    def describe(self, found: Found) -> Described:
        return Described(_CONTENT_TYPES.get(found.key.rpartition("/")[2]))

    @contextmanager
    def content(self, found: Found) -> Iterator[IO[bytes]]:
        name, file = key_parts(found.key) or (Name("", ""), "")
        if name not in self._tables:
            raise NotFound("it has gone since it was listed")
        table = self._tables[name]
        if file == SCHEMA:
            yield _file(iter([encoded(table)]))
            return
        # One connection is one state: whoever reads another table waits.
        with self._turn:
            pages = self._engine.pages(table)
            if file == "rows.parquet":
                with _parquet(table, ndjson(table.columns, pages)) as content:
                    yield content
                return
            write = csv if file == "rows.csv" else ndjson
            yield _file(write(table.columns, pages))

    def configuration(self) -> dict[str, Any]:
        with self._turn:
            whole: dict[str, Any] = {"dialect": self._engine.dialect}
            try:
                with self._engine.part():
                    whole |= self._engine.whole()
            except TollhouseError as error:
                self._problems.append({"key": "", "reason": f"views and sequences: {error.detail}"})
            tables = in_order(list(self._tables.values()))
            whole["tables"] = [f"{table.schema}.{table.name}" for table in tables]  # those that others refer to first
        return {"database.json": whole}

    def problems(self) -> list[dict[str, str]]:
        return self._problems


class _Staged:
    """What is to become of a table: its schema and its rows, each if it was sent."""

    def __init__(self) -> None:
        self.table: Table | None = None
        self.rows: Path | None = None


class DatabaseTarget(Target):
    """A database to restore tables to; what is written is there after `finish`, each table as a whole or not at all."""

    staged = True

    def __init__(self, address: str) -> None:
        self._place = place_of(address)
        self._engine = engine_at(self._place)
        self.address = self._place.shown
        self._staged: dict[Name, _Staged] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._sent: dict[str, Written] = {}
        self._proven: dict[str, Written] = {}

    def takes(self, key: str) -> bool:
        parts = key_parts(key)
        return parts is None or parts[1] in (SCHEMA, ROWS)

    def present(self, key: str) -> Written | None:
        if key in self._proven:
            return self._proven[key]
        name, file = self._parts(key)
        if not self._engine.exists_at_all():
            return None
        with self._engine.reading():
            try:
                table = self._engine.describe(self._engine.own(name))
            except NotFound:
                return None
            return _written(iter([encoded(table)]) if file == SCHEMA else ndjson(table.columns, self._engine.pages(table)))

    def write(self, entry: Entry, content: IO[bytes]) -> bool:
        name, file = self._parts(entry.key)
        staged = self._staged.setdefault(name, _Staged())
        if file == SCHEMA:
            staged.table = decoded(content.read())
        else:
            staged.rows = self._scratch(f"{len(self._sent)}.rows")
            with staged.rows.open("wb") as file_:
                copied(content, file_)
        self._sent[entry.key] = Written(entry.size, entry.sha256)
        return False

    def counted(self, keys: Iterable[str]) -> dict[str, int]:
        """How many rows there are in the tables whose rows have these keys; a table that is not there is left out."""
        found: dict[str, int] = {}
        with self._engine.reading():
            there = set(self._engine.names())
            for key in keys:
                name = self._engine.own(self._parts(key)[0])
                if name in there:
                    found[key] = self._engine.count(name)
        return found

    def finish(self) -> list[str]:
        said: list[str] = []
        waiting, self._staged = dict(self._staged), {}
        try:
            while waiting and (failed := self._apply(waiting, said)) is not None:
                waiting.pop(failed)  # undone as a whole: once more without it
        finally:
            if self._folder is not None:
                self._folder.cleanup()
                self._folder = None
        return said

    def _apply(self, waiting: dict[Name, _Staged], said: list[str]) -> Name | None:
        """Replace all tables; returns the one that failed where the engine then had to undo the others, too."""
        notes: list[str] = []
        proven: dict[str, Written] = {}
        at: Name | None = None
        engine = self._engine
        try:
            with engine.writing():
                ready = self._prepared(waiting, said, notes)
                order = in_order([table for table, _, _ in ready.values()])
                by_table = {table.called: (name, original, rows) for name, (table, original, rows) in ready.items()}
                if not engine.parts:
                    for table in reversed(order):
                        at = by_table[table.called][0]
                        self._drop(table)
                done = []
                for table in order:
                    at, original, rows = by_table[table.called]
                    try:
                        with engine.part():
                            self._fill(table, original, rows)
                        done.append((at, table))
                        proven |= {key: sent for key, sent in self._sent.items() if key == f"{at.folder}/{ROWS}"}
                        if original.dialect != engine.dialect:
                            proven |= {key: sent for key, sent in self._sent.items() if key == f"{at.folder}/{SCHEMA}"}
                    except TollhouseError as error:
                        if not engine.parts:
                            raise
                        said.append(f"{at.folder}: {error.detail}")
                for name, table in done:
                    try:
                        with engine.part():
                            engine.refer(table)
                    except TollhouseError as error:
                        notes.append(f"{name.folder}: its foreign keys could not be made: {error.detail}")
                notes += engine.last_words()
                at = None
        except TollhouseError as error:
            said.append(f"{at.folder}: {error.detail}" if at else error.detail)
            if at is None:
                waiting.clear()
            return at
        self._proven |= proven
        said += notes
        return None

    def _prepared(self, waiting: dict[Name, _Staged], said: list[str], notes: list[str]) -> dict[Name, tuple[Table, Table, Path | None]]:
        """For each table what makes it here, what it was, and its rows; what was not sent is as it is here."""
        ready: dict[Name, tuple[Table, Table, Path | None]] = {}
        for name, staged in waiting.items():
            try:
                here: Table | None = self._engine.describe(self._engine.own(name))
            except NotFound:
                here = None
            original = staged.table or here
            if original is None:
                said.append(f"{name.folder}: there is no such table to put rows into; restore its schema.json, too")
                continue
            rows = staged.rows
            if rows is None and here is not None:
                rows = self._scratch(f"{len(ready)}.kept")
                with rows.open("wb") as file:
                    file.writelines(ndjson(here.columns, self._engine.pages(here)))
            table = original
            if original.dialect != self._engine.dialect:
                try:
                    table, lost = translated(original, self._engine)
                except SQLAlchemyError as error:
                    said.append(f"{name.folder}: it cannot be made on {self._engine.dialect}: {error}")
                    continue
                notes += [f"{name.folder}: not carried over from {original.dialect} to {table.dialect}: {', '.join(lost)}"] if lost else []
            ready[name] = table, original, rows
        return ready

    def _fill(self, table: Table, original: Table, rows: Path | None) -> None:
        """Make a table, fill it, and read it again."""
        engine = self._engine
        if engine.parts:
            self._drop(table)
        engine.create(table)
        if original.dialect != engine.dialect:
            table = _typed(engine.describe(table.called), table)
        if rows is not None:
            with rows.open("rb") as lines:
                engine.load(table, rows, read_ndjson(lines, original.columns))
        engine.complete(table)
        if original.dialect != engine.dialect:
            engine.settle(engine.describe(table.called))
            same = _meaning(original, engine.pages(table)) == _meaning(original, _pages(original, rows))
        else:
            there = _written(ndjson(original.columns, engine.pages(table)))
            same = rows is None or there.sha256 == _digest(rows)
        if not same:
            wanted, count = sum(1 for _ in _pages(original, rows)), engine.count(table.called)
            fewer = f"{count} rows came back of {wanted}" if count != wanted else "its rows read back differently from what was put in"
            raise Damaged(fewer)

    def _drop(self, table: Table) -> None:
        try:
            self._engine.describe(table.called)
        except NotFound:
            return
        self._engine.drop(table.called)

    def _scratch(self, name: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="tollhouse-")
        return Path(self._folder.name) / name

    def _parts(self, key: str) -> tuple[Name, str]:
        parts = key_parts(key)
        if parts is None or parts[1] not in (SCHEMA, ROWS):
            raise Unprocessable(f"{key[:120]!r} is no table's; only snapshots of databases are restored to a database.")
        return parts


def _typed(here: Table, wanted: Table) -> Table:
    """The columns as they came out, with the statements that were to be executed."""
    return Table(here.schema, here.name, here.dialect, here.columns, wanted.create, primary_key=here.primary_key,
                 after=wanted.after, references=wanted.references)  # fmt: skip


def _meaning(table: Table, pages: Iterable[Page]) -> tuple[int, int]:
    """What two engines' rows have to agree in."""
    common = Common(table.columns)
    for page in pages:
        for row in page:
            common.add(row)
    return common.digest


def _pages(table: Table, rows: Path | None) -> Iterator[Page]:
    if rows is not None:
        with rows.open("rb") as lines:
            for row in read_ndjson(lines, table.columns):
                yield [row]


def _file(pieces: Iterator[bytes]) -> IO[bytes]:
    return cast(IO[bytes], Stream(pieces))


def _written(pieces: Iterator[bytes]) -> Written:
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return Written(size, digest.hexdigest())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _parquet(table: Table, lines: Iterator[bytes]) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tollhouse-")))
        longest = 0
        with (folder / "rows").open("wb") as file:
            for page in lines:
                file.write(page)
                longest = max(longest, *(len(line) for line in page.split(b"\n")))
        columns = [(one.name, one.kind, one.precision, one.scale) for one in table.columns]
        write_parquet(folder / "rows", folder / "parquet", columns, longest)
        yield stack.enter_context((folder / "parquet").open("rb"))
