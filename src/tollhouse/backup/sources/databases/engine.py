"""What a database engine has to be able to do: be read in one state, and take tables.

An engine has one connection, for one thread at a time; whoever uses it takes turns.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from tollhouse.backup.sources.databases.rows import Page, Row
from tollhouse.backup.sources.databases.table import Name, Table


class Engine(ABC):
    """A database at an address. Everything but `exists_at_all` needs `reading` or `writing` around it, and raises Unavailable."""

    dialect: str
    default_schema = "main"
    # Whether one table's changes can be undone alone.
    parts = True

    def exists_at_all(self) -> bool:
        """Whether there is a database to read; one that is a file may not be there yet."""
        return True

    @abstractmethod
    def reading(self) -> AbstractContextManager[None]:
        """One state of all tables, in which nothing can be written."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[None]:
        """A transaction, as far as the engine has one for tables; nothing stays of it where the block raises."""

    def part(self) -> AbstractContextManager[None]:
        """Within either: what is done in the block is undone where it raises, and what was done before is not."""
        return nullcontext()

    def own(self, name: Name) -> Name:
        """That table here: the default schema has different names."""
        return Name(self.default_schema, name.table) if name.schema in ("main", "public") else name

    @abstractmethod
    def names(self) -> list[Name]:
        """All tables."""

    @abstractmethod
    def estimate(self, name: Name) -> int:
        """About how many bytes its rows are."""

    @abstractmethod
    def count(self, name: Name) -> int:
        """How many rows it has."""

    @abstractmethod
    def describe(self, name: Name) -> Table:
        """The table; raises NotFound."""

    @abstractmethod
    def pages(self, table: Table) -> Iterator[Page]:
        """Its rows in an order that depends on them alone, values as `rows.ndjson` has them."""

    @abstractmethod
    def whole(self) -> dict[str, Any]:
        """Version, views, and what else belongs to no table."""

    def unkept(self) -> list[dict[str, str]]:
        """Tables that cannot be kept: `[{"key", "reason"}]`."""
        return []

    @abstractmethod
    def drop(self, name: Name) -> None:
        """Take a table away."""

    @abstractmethod
    def create(self, table: Table) -> None:
        """Make a table of this engine's own, without rows."""

    @abstractmethod
    def load(self, table: Table, path: Path, rows: Iterator[Row]) -> None:
        """Put rows in; `path` is where they lie, `rows` reads them."""

    @abstractmethod
    def complete(self, table: Table) -> None:
        """Constraints and indexes, and sequences put where they were."""

    @abstractmethod
    def refer(self, table: Table) -> None:
        """Its foreign keys, once all tables are there; nothing where they are part of the table."""

    @abstractmethod
    def settle(self, table: Table) -> None:
        """Sequences put behind the largest number that is there, for rows of another engine."""

    def last_words(self) -> list[str]:
        """What is not right in the end."""
        return []
