"""Drills of databases: what a snapshot holds is loaded into a database of the same kind, counted, and gone again afterwards."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from tests.backup.parts import NOON
from tests.backup.test_commands import Say, ok, refused, say  # noqa: F401 - the fixture is used by its name
from tests.backup.test_databases import common_sqlite, nasty_postgres, repository, whole  # noqa: F401 - the fixture is used by its name
from tests.scenarios.serving import House, client
from tollhouse import access, backup
from tollhouse.app import opened
from tollhouse.backup import Drilled, Repository, operations
from tollhouse.backup.loading import server_for
from tollhouse.backup.operations import NewSchedule
from tollhouse.backup.sources.database import DatabaseTarget
from tollhouse.backup.sources.databases.duckdb_engine import DuckDBEngine
from tollhouse.backup.sources.databases.postgres import PostgresEngine
from tollhouse.backup.sources.databases.sqlite import SQLiteEngine
from tollhouse.cli.embedded import served
from tollhouse.kit import ids
from tollhouse.kit.errors import Unprocessable
from tollhouse.settings import Settings
from tollhouse.store.objects import Objects

TABLES = "CREATE TABLE people (id integer PRIMARY KEY, name text); CREATE TABLE visits (person integer, came timestamp)"
PEOPLE = "INSERT INTO people VALUES (1, 'Alice'), (2, 'Bob'), (3, 'Carol')"
VISITS = "INSERT INTO visits VALUES (1, '2026-01-01'), (1, '2026-01-01'), (2, NULL), (3, NULL)"
ENGINES = {"sqlite": SQLiteEngine, "duckdb": DuckDBEngine, "postgresql": PostgresEngine}


def fill(address: str) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in (*TABLES.split("; "), PEOPLE, VISITS):
            connection.execute(statement.encode())


@pytest.fixture(params=ENGINES)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind with three people and four visits; its address."""
    if request.param == "sqlite":
        common_sqlite(tmp_path / "shop.db")  # two people, three visits and an empty table more
        return f"sqlite:///{tmp_path / 'shop.db'}"
    if request.param == "duckdb":
        with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
            for statement in (*TABLES.split("; "), PEOPLE, VISITS):
                connection.execute(statement)
        return f"duckdb:///{tmp_path / 'shop.duckdb'}"
    address: str = request.getfixturevalue("postgres")
    fill(address)
    return address


def drilled(repository: Repository, address: str, **how: Any) -> Drilled:  # noqa: F811
    return backup.drill(repository, whole(repository, address), NOON + timedelta(hours=1), **how)


def scratch_databases(server: str) -> set[str]:
    with psycopg.connect(server) as connection:
        return {row[0] for row in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'tollhouse%'").fetchall()}


@pytest.fixture
def nothing_left(postgres_server: str) -> Iterator[None]:
    """Whatever the test did, no scratch database is on the server afterwards."""
    yield
    assert scratch_databases(postgres_server) == set()


def test_a_database_is_loaded_and_counted(repository: Repository, shop: str, nothing_left: None) -> None:  # noqa: F811
    done = drilled(repository, shop)
    assert done.faults == []
    (one,) = done.databases
    assert (one.loaded, one.rows, done.loaded) == (True, 5 if shop.startswith("sqlite") else 7, True)
    assert one.told["tables"] == one.tables >= 2
    assert (done.rpo_seconds, done.rto_seconds > 0) == (3600, True)


def test_everything_that_a_table_can_be_is_drilled(repository: Repository, postgres: str, nothing_left: None) -> None:  # noqa: F811
    nasty_postgres(postgres)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION citext")
        connection.execute("CREATE TABLE mails (mail citext PRIMARY KEY)")
        connection.execute("INSERT INTO mails VALUES ('Alice@example.com')")
    done = drilled(repository, postgres + "&formats=csv,parquet")
    assert (done.faults, done.loaded) == ([], True)


def dropping(load: Callable[..., None]) -> Callable[..., None]:
    """A loader that loses the first row of what it is given."""

    def loader(engine: Any, table: Any, path: Path, rows: Iterator[Any]) -> None:
        if table.name != "people":
            return load(engine, table, path, rows)
        next(rows)
        left = path.with_suffix(".left")
        left.write_bytes(path.read_bytes().partition(b"\n")[2])
        return load(engine, table, left, rows)

    return loader


def test_a_loader_that_loses_a_row_fails_the_drill(
    repository: Repository,  # noqa: F811
    shop: str,
    monkeypatch: pytest.MonkeyPatch,
    nothing_left: None,
) -> None:
    engine: Any = ENGINES[shop.partition(":")[0]]
    monkeypatch.setattr(engine, "load", dropping(engine.load))
    done = drilled(repository, shop)
    people = 2 if shop.startswith("sqlite") else 3
    assert not done.passed
    assert any(fault.endswith(f".people: {people - 1} rows came back of {people}") for fault in done.faults), done.faults


def test_rows_that_go_after_they_were_committed_fail_the_drill(
    repository: Repository,  # noqa: F811
    postgres: str,
    monkeypatch: pytest.MonkeyPatch,
    nothing_left: None,
) -> None:
    fill(postgres)
    finish = DatabaseTarget.finish

    def then_lose(target: DatabaseTarget) -> list[str]:
        said = finish(target)
        with target._engine.writing():
            target._engine.run("DELETE FROM public.visits WHERE person = 1")  # type: ignore[attr-defined]
        return said

    monkeypatch.setattr(DatabaseTarget, "finish", then_lose)
    assert drilled(repository, postgres).faults == ["tables/public.visits: 2 rows came back of 4"]


def test_a_drill_that_breaks_off_leaves_nothing(
    repository: Repository,  # noqa: F811
    postgres: str,
    monkeypatch: pytest.MonkeyPatch,
    nothing_left: None,
) -> None:
    fill(postgres)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PostgresEngine, "load", interrupted)
    with pytest.raises(KeyboardInterrupt):
        drilled(repository, postgres)


def test_what_a_killed_drill_left_is_taken_away_and_nothing_else(repository: Repository, postgres: str, postgres_server: str) -> None:  # noqa: F811
    fill(postgres)
    left, running = ids.new("tollhouse_drill"), ids.new("tollhouse_drill")
    others = {"tollhouse_drills", "tollhouse_drill_of_my_own"}
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        for name in (left, running, *others):
            connection.execute(f"CREATE DATABASE {name}".encode())
        with psycopg.connect(postgres_server.replace("/postgres?", f"/{running}?")):
            assert drilled(repository, postgres).loaded
            assert scratch_databases(postgres_server) == {running, *others}
        for name in (running, *others):
            connection.execute(f"DROP DATABASE {name}".encode())


@pytest.fixture
def poor(postgres: str, postgres_server: str) -> Iterator[str]:
    """The shop's address for an account that may read it, and make no database."""
    fill(postgres)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE ROLE poor LOGIN")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO poor")
    yield postgres.replace("//postgres:@", "//poor@").replace("//postgres@", "//poor@")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP OWNED BY poor")
        connection.execute("DROP ROLE poor")


def test_an_account_that_may_make_no_database_has_its_files_compared_and_that_is_said(
    repository: Repository,  # noqa: F811
    poor: str,
    nothing_left: None,
) -> None:
    done = drilled(repository, poor)
    assert (done.passed, done.loaded, done.objects) == (True, False, 4)
    assert "permission denied to create database" in done.databases[0].told["reason"]


def test_another_server_can_be_named_for_scratch_databases(
    repository: Repository,  # noqa: F811
    poor: str,
    postgres: str,
    nothing_left: None,
) -> None:
    done = drilled(repository, poor, server=postgres)
    assert (done.passed, done.loaded) == (True, True)


def test_a_scratch_database_is_made_at_the_named_server_of_its_kind_or_else_at_its_own() -> None:
    own, whole_address = "postgresql://shop@db/shop", "postgresql://shop:secret@db/shop"
    assert server_for(own, "", {}) == own
    assert server_for(own, "", {own: whole_address}) == whole_address
    assert server_for(own, "postgresql://drill@other/postgres", {own: whole_address}) == "postgresql://drill@other/postgres"
    assert server_for(own, "mysql://drill@other/x", {own: whole_address}) == whole_address
    with pytest.raises(Unprocessable, match="scratch: write the address of a database server"):
        server_for(own, "s3://bucket", {})


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    """A Tollhouse of its own, with a repository beside it."""
    backup.init(Objects.at(str(tmp_path / "shelf")), None, NOON)
    with (
        opened(Settings(data=tmp_path / "data")) as tollhouse,
        served(tollhouse) as url,
        client(url, tollhouse.parts.guard.operator_token) as api,
    ):
        api.post("/api/backup-repositories", json={"name": "shelf", "address": str(tmp_path / "shelf")}).raise_for_status()
        yield House(tollhouse, url)


def test_a_drill_of_the_server_says_what_was_loaded(home: House, poor: str, postgres: str, nothing_left: None) -> None:
    with client(home.url, home.operator) as operator:
        operator.post("/api/backups", json={"source": poor, "repository": "shelf"}).raise_for_status()
        compared = operator.post("/api/drills", json={"repository": "shelf"}).json()
        assert (compared["status"], compared["detail"]["loaded"]) == ("completed", False)
        assert "permission denied" in compared["detail"]["databases"][0]["reason"]
        loaded = operator.post("/api/drills", json={"repository": "shelf", "scratch": postgres}).json()
        assert (loaded["status"], loaded["detail"]["loaded"]) == ("completed", True)
        assert [(one["tables"], one["rows"]) for one in loaded["detail"]["databases"]] == [(2, 7)]
        assert operator.post("/api/drills", json={"repository": "shelf", "scratch": "here"}).json()["status"] == "failed"


def test_only_the_operator_names_a_server_for_scratch_databases(home: House, poor: str) -> None:
    assert home.tollhouse.first_keys is not None
    with client(home.url, home.tollhouse.first_keys.secret) as admin:
        refused = admin.post("/api/drills", json={"repository": "shelf", "scratch": poor})
        assert refused.status_code == 403
        assert "scratch" in refused.json()["detail"]


def test_a_drills_schedule_may_name_the_server(home: House, poor: str, postgres: str, nothing_left: None) -> None:
    records, runner = home.tollhouse.records, home.tollhouse.parts.backups
    with records.transaction() as session:
        owner = access.default_organization(session)
        assert owner is not None
        place = operations.find_place(session, owner.id, "shelf")
        made = operations.add_schedule(session, owner.id, NOON, "test", NewSchedule("drill", "drill", postgres, place.id, "0 5 * * 1"))
    runner.run(owner.id, "test", "full", poor, place)
    assert runner.run(owner.id, "test", "drill", "", place, made).detail["loaded"] is True


def test_the_command_line_says_what_was_loaded(say: Say, poor: str, postgres: str, nothing_left: None) -> None:  # noqa: F811
    at = ("--repository", "repo")
    ok(say("init", "repo", "--plain"))
    ok(say("full", *at, "--source", poor))
    assert "not loaded, only its files were compared: " in ok(say("drill", *at))
    assert "7 rows in 2 tables loaded" in ok(say("drill", *at, "--scratch", postgres))
    told = ok(say("drill", *at, "--scratch", postgres, "--json"))
    assert (told["loaded"], told["databases"][0]["rows"]) == (True, 7)
    refused(say("drill", *at, "--scratch", "s3://here"), 2, "write the address of a database server")
