"""Records: the state of Tollhouse itself, transactional, in SQLite or PostgreSQL through SQLAlchemy.

A domain declares its tables on `Record`; migrations under `store/migrations` create them. One request,
command or tick is one `Records.transaction()`, which commits at its end or not at all.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from tollhouse.kit.errors import SchemaTooNew, StorageFull, Unavailable


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware datetime in UTC; SQLite, which has none, keeps it without its zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Give the store UTC, whatever the zone was."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored instant needs a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Give Python an aware datetime."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Exact(sa.types.TypeDecorator[Decimal]):
    """A decimal that comes back digit for digit: text, because SQLite's NUMERIC is a float."""

    impl = sa.String(80)
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> str | None:
        """Write all the digits."""
        return None if value is None else format(value, "f")

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Decimal | None:
        """Read all the digits."""
        return None if value is None else Decimal(value)


class Json(sa.types.TypeDecorator[Any]):
    """A JSON document as text; decimals inside it are written as strings by whoever stores them."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        """Write compact JSON."""
        return None if value is None else json.dumps(value, separators=(",", ":"), sort_keys=True)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        """Read it."""
        return None if value is None else json.loads(value)


class Record(DeclarativeBase):
    """The base of every table of records."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: Instant, Decimal: Exact, dict[str, Any]: Json, list[Any]: Json, list[str]: Json}


class Records:
    """The records database at one SQLAlchemy address (`sqlite:///…` or `postgresql+psycopg://…`)."""

    def __init__(self, address: str) -> None:
        self.address = address
        options: dict[str, Any] = {"pool_pre_ping": True} if address.startswith("postgresql") else {}
        self.engine = sa.create_engine(address, **options)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        self._session = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one state of the records and waits for no writer."""
        with self._session() as session:
            session.connection(execution_options={"tollhouse_reading": True})
            yield session

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits when the block ends, and leaves nothing behind when it raises."""
        try:
            with self._session.begin() as session:
                yield session
        except OperationalError as error:
            if "disk is full" in str(error.orig) or "No space left" in str(error.orig):
                raise StorageFull("The disk that holds the records is full; nothing of this request was stored.") from error
            if self.engine.dialect.name == "postgresql" and error.connection_invalidated:
                raise Unavailable("The records database does not answer; nothing of this request was stored.") from error
            raise

    def migrate(self) -> None:
        """Bring the schema to this version; raises SchemaTooNew where a newer Tollhouse has been at it."""
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.engine.connect() as connection:
            present = self._revision(connection)
            known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
            if present is not None and present not in known:
                raise SchemaTooNew(
                    f"The records were written by a newer Tollhouse (schema {present}); "
                    "start that version, or restore a backup made by this one."
                )
        with self.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def _revision(self, connection: sa.Connection) -> str | None:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        return revision

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's BEGIN below is the only one
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # IMMEDIATE takes the write lock at once: a read that turns into a write would fail with SQLITE_BUSY
    # without waiting, whatever the busy timeout.
    reading = connection.get_execution_options().get("tollhouse_reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
