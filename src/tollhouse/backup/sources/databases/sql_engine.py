"""What the engines behind SQLAlchemy have in common: one connection, own transactions, and statements that stream."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError, NoSuchModuleError

from tollhouse.backup.sources.databases.engine import Engine
from tollhouse.backup.sources.databases.rows import Page
from tollhouse.backup.sources.databases.table import Column, Name, Table
from tollhouse.kit.errors import BadInput, Unavailable

PAGE = 1000
Convert = Callable[[Any], Any]


class SqlEngine(Engine):
    """An engine that SQLAlchemy connects to. Statements are the driver's own, so that a `:` or `%` in a name means nothing."""

    begin_reading: Sequence[str] = ("BEGIN",)
    begin_writing: Sequence[str] = ("BEGIN",)

    def __init__(self, url: sa.URL, shown: str, **options: Any) -> None:
        self._shown = shown
        try:
            self._engine = sa.create_engine(url, poolclass=sa.NullPool, **options)
        except (ImportError, NoSuchModuleError, ArgumentError, ValueError) as error:
            missing = getattr(error, "name", None) or url.drivername
            raise BadInput(f"{shown}: {missing} is not installed, or not known here; for MySQL, pip install 'tollhouse[mysql]'.") from None
        self._connection: sa.Connection | None = None
        self._preparer = self._engine.dialect.identifier_preparer

    @property
    def connection(self) -> sa.Connection:
        """The open one."""
        if self._connection is None:
            raise Unavailable(f"{self._shown} is not open.")
        return self._connection

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._open(self.begin_reading):
            yield
            self.run("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._open(self.begin_writing):
            yield
            self.run("COMMIT")

    def connected(self) -> AbstractContextManager[None]:
        """A connection without a transaction, for what a server does outside of any."""
        return self._open(())

    @contextmanager
    def _open(self, begin: Sequence[str]) -> Iterator[None]:
        with self._saying():
            self._connection = self._engine.connect()
        try:
            for statement in begin:
                self.run(statement)
            yield
        finally:
            connection, self._connection = self._connection, None
            connection.invalidate()  # whatever is left of a transaction ends with its connection
            connection.close()

    def part(self) -> AbstractContextManager[None]:
        return self._savepoint()

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        self.run("SAVEPOINT tollhouse")
        try:
            yield
        except BaseException:
            self.run("ROLLBACK TO SAVEPOINT tollhouse")
            raise
        finally:
            self.run("RELEASE SAVEPOINT tollhouse")

    @contextmanager
    def _saying(self) -> Iterator[None]:
        """Say a driver's errors in one sentence, without the statement or its values."""
        try:
            yield
        except (DBAPIError, InvalidRequestError) as error:
            raise Unavailable(f"{self._shown}: {sentence(getattr(error, 'orig', None) or error)}") from None

    def run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Execute a statement; returns its rows, if it has any."""
        with self._saying():
            done = self.connection.exec_driver_sql(sql, tuple(values) or None, execution_options={"no_parameters": True})
            return [tuple(row) for row in done.fetchall()] if done.returns_rows else []

    def stream(self, sql: str) -> Iterator[Page]:
        """A statement's rows, a page at a time."""
        with self._saying():
            options = {"no_parameters": True, "stream_results": True, "max_row_buffer": PAGE}
            with self.connection.exec_driver_sql(sql, None, execution_options=options) as result:
                while page := result.fetchmany(PAGE):
                    yield page

    def count(self, name: Name) -> int:
        return int(self.run(f"SELECT count(*) FROM {self.quoted(name)}")[0][0])

    def pages(self, table: Table) -> Iterator[Page]:
        chosen = ", ".join(self.expression(column) for column in table.columns) or "NULL"
        order = ", ".join(self.ordering(table))
        sql = f"SELECT {chosen} FROM {self.quoted(table.called)}" + (f" ORDER BY {order}" if order else "")
        converts = [(at, convert) for at, column in enumerate(table.columns) if (convert := self.converter(column))]
        with self.part():
            for page in self.stream(sql):
                yield [converted(row, converts) for row in page] if converts else page

    def expression(self, column: Column) -> str:
        """A column as it is selected."""
        return self.quote(column.name)

    def ordering(self, table: Table) -> list[str]:
        """What rows are put in order by: the primary key, else all that is selected."""
        raise NotImplementedError

    def converter(self, column: Column) -> Convert | None:
        """What makes of the driver's value the one that is written."""
        return None

    def quote(self, name: str) -> str:
        """A name as an identifier; the preparer doubles `%` for statements with values, which these are not."""
        return self._preparer.quote_identifier(name).replace("%%", "%")

    def quoted(self, name: Name) -> str:
        """A table's whole name."""
        return f"{self.quote(name.schema)}.{self.quote(name.table)}"


def converted(row: Sequence[Any], converts: Sequence[tuple[int, Convert]]) -> list[Any]:
    """A row with some of its values converted."""
    values = list(row)
    for at, convert in converts:
        if values[at] is not None:
            values[at] = convert(values[at])
    return values


def sentence(error: object) -> str:
    """The first line of an error, and no more."""
    arguments = getattr(error, "args", ())
    text = str(arguments[-1] if arguments and isinstance(arguments[-1], str) else error)
    return (text.strip().splitlines() or ["it does not answer"])[0][:300]
