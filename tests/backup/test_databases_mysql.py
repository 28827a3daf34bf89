"""The same for MySQL, on a real MariaDB of Debian's: `apt-get install mariadb-server-core mariadb-client-core`; so these run with `make soak`."""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

from tests.backup.parts import NOON
from tests.backup.test_databases import (  # noqa: F401 - the fixture is used by its name
    common_sqlite,
    contents,
    lines,
    repository,
    restored,
    whole,
)
from tollhouse import backup
from tollhouse.backup import Repository
from tollhouse.backup.sources.databases.mysql import MySQLEngine
from tollhouse.kit import ids

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Path]:
    """The socket of a running server with the databases `first` and `second`."""
    path = os.environ["PATH"] + ":/usr/sbin"
    server, install = shutil.which("mariadbd", path=path), shutil.which("mariadb-install-db", path=path)
    assert server, "these tests need MariaDB; run: sudo apt-get install mariadb-server-core mariadb-client-core"
    assert install, "these tests need MariaDB; run: sudo apt-get install mariadb-server-core mariadb-client-core"
    home = Path(tempfile.mkdtemp(prefix="th-my-", dir="/tmp"))
    user = ["--user=root"] if os.geteuid() == 0 else []
    options = ["--no-defaults", f"--datadir={home}/data", *user]
    subprocess.run([install, *options, "--auth-root-authentication-method=normal", "--skip-test-db"], check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [server, *options, f"--socket={home}/s", "--bind-address=127.0.0.1", f"--port={port}", f"--pid-file={home}/pid"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60
        while not (home / "s").exists() and process.poll() is None and time.monotonic() < until:
            threading.Event().wait(0.1)  # the driver leaves a socket behind where there is nothing to connect to
        while True:
            try:
                with pymysql.connect(unix_socket=f"{home}/s", user="root") as connection:
                    for name in ("first", "second"):
                        connection.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
                break
            except pymysql.err.OperationalError:
                assert process.poll() is None, "MariaDB did not start"
                assert time.monotonic() < until, "MariaDB did not start in a minute"
                threading.Event().wait(0.2)
        yield home / "s"
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(home)


@pytest.fixture
def first(mariadb: Path) -> Iterator[str]:
    """The address of an empty database; `second` is another."""
    yield f"mysql://root@localhost/first?unix_socket={mariadb}"
    for name in ("first", "second"):
        execute(mariadb, name, f"DROP DATABASE {name}; CREATE DATABASE {name} CHARACTER SET utf8mb4")


def execute(mariadb: Path, database: str, script: str) -> Any:
    """Statements one by one; returns what the last one gives."""
    with pymysql.connect(unix_socket=str(mariadb), user="root", database=database, autocommit=True) as connection:
        cursor = connection.cursor()
        for statement in script.split(";"):
            if statement.strip():
                cursor.execute(statement)
        return cursor.fetchall()


NASTY = """
SET sql_mode = '';
CREATE TABLE `odd ``x`` %s :y` (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, `a %(b)s` varchar(50) DEFAULT 'it''s', n decimal(38,12), f double, f4 float,
  bin varbinary(20), j json, at timestamp(6) NULL, dt datetime(3), d date, t time(6), y year, e enum('a','b''c'), s set('x','y'), bt bit(9), tx longtext,
  flag boolean, g int GENERATED ALWAYS AS (y + 1) STORED, UNIQUE KEY uq (dt), KEY `odd ix` (`a %(b)s`(10))) COMMENT 'said ''so''' AUTO_INCREMENT=40;
INSERT INTO `odd ``x`` %s :y` (id, `a %(b)s`, n, f, f4, bin, j, at, dt, d, t, y, e, s, bt, tx, flag) VALUES
  (18446744073709551, '', -0.000000000001, 1e308, 0.1, x'00ff', '{"a":  1.10}', '2026-03-29 00:59:59.999999', '2026-01-01 10:00:00.5', '0000-00-00', '-838:59:59',
   2026, 'b''c', 'x,y', b'101000001', '😀 %s', 1),
  (1, NULL, 99999999999999999999999999.123456789012, 0.1, -1.5, '', NULL, NULL, '2026-02-01', '2026-02-28', '12:00:00.000001', NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE a (id int PRIMARY KEY, b int);
CREATE TABLE b (id int PRIMARY KEY, a int, CONSTRAINT to_a FOREIGN KEY (a) REFERENCES a(id) ON DELETE CASCADE);
INSERT INTO a VALUES (1, 2);
INSERT INTO b VALUES (2, 1);
ALTER TABLE a ADD CONSTRAINT to_b FOREIGN KEY (b) REFERENCES b(id);
CREATE TABLE keyed (k varchar(20), v text, PRIMARY KEY (k));
INSERT INTO keyed VALUES ('é', '1'), ('Z', '2'), ('a', '3');
CREATE TABLE bag (x text, y blob);
INSERT INTO bag VALUES ('b', NULL), (NULL, 'x'), ('b', NULL), ('', '');
CREATE VIEW seen AS SELECT id FROM a
"""


def test_mysql_comes_back(repository: Repository, mariadb: Path, first: str) -> None:  # noqa: F811
    execute(mariadb, "first", NASTY)
    snapshot = whole(repository, first)
    second = first.replace("/first?", "/second?")
    assert restored(repository, snapshot, second).errors == []
    assert contents(repository, whole(repository, second)) == contents(repository, snapshot)
    assert restored(repository, snapshot, first).errors == []
    execute(mariadb, "second", "INSERT INTO keyed VALUES ('later', '')")
    assert len(restored(repository, snapshot, second).errors) == 1
    assert restored(repository, snapshot, second, overwrite=True).errors == []
    assert contents(repository, whole(repository, second)) == contents(repository, snapshot)
    numbered = "INSERT INTO `odd ``x`` %s :y` (dt) VALUES (NULL); SELECT max(id) FROM `odd ``x`` %s :y`"
    assert execute(mariadb, "second", numbered) == ((18446744073709552,),)
    with pytest.raises(pymysql.err.IntegrityError):
        execute(mariadb, "second", "INSERT INTO b VALUES (3, 99)")
    row = lines(contents(repository, snapshot)["tables/main.odd `x` %25s :y/rows.ndjson"])[1]
    assert (row["at"], row["d"], row["f4"], row["bt"]) == ("2026-03-29T00:59:59.999999Z", "0000-00-00", 0.10000000149011612, 321)


def test_mysql_is_of_one_moment_while_money_moves(repository: Repository, mariadb: Path, first: str) -> None:  # noqa: F811
    for table in ("accounts", "savings"):
        execute(
            mariadb,
            "first",
            f"CREATE TABLE {table} (id int PRIMARY KEY, amount bigint); INSERT INTO {table} SELECT seq, 1000 FROM seq_1_to_300",
        )
    stop, moved = threading.Event(), threading.Event()

    def transfers() -> None:
        with pymysql.connect(unix_socket=str(mariadb), user="root", database="first") as connection:
            n = 0
            while not stop.is_set():
                n += 1
                cursor = connection.cursor()
                cursor.execute("UPDATE accounts SET amount = amount - 7 WHERE id = %s", (n % 300 + 1,))
                cursor.execute("UPDATE savings SET amount = amount + 7 WHERE id = %s", (n * 7 % 300 + 1,))
                connection.commit()
                if n > 50:
                    moved.set()

    thread = threading.Thread(target=transfers)
    thread.start()
    try:
        moved.wait(30)
        for _ in range(3):
            content = contents(repository, whole(repository, first))
            rows = [row for key, text in content.items() if key.endswith("ndjson") for row in lines(text)]
            assert sum(row["amount"] for row in rows) == 600_000
    finally:
        stop.set()
        thread.join()


def test_tables_move_between_mysql_and_others(repository: Repository, mariadb: Path, first: str, tmp_path: Path, postgres: str) -> None:  # noqa: F811
    snapshot = whole(repository, common_sqlite(tmp_path / "a.db"))
    assert restored(repository, snapshot, first).errors == []
    assert execute(mariadb, "first", "SELECT name, balance, photo, active FROM people WHERE id = 1")[0][0] == "é"
    assert execute(mariadb, "first", "INSERT INTO people (name) VALUES ('new'); SELECT max(id) FROM people") == ((8,),)
    back = restored(repository, whole(repository, first), postgres)
    assert back.errors == []
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT count(*), sum(balance) FROM people").fetchone() is not None


def drills_left(mariadb: Path) -> list[str]:
    found = execute(mariadb, "first", "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'tollhouse%'")
    return [row[0] for row in found]


def test_a_drill_of_mysql_loads_it_and_leaves_nothing(repository: Repository, mariadb: Path, first: str) -> None:  # noqa: F811
    execute(mariadb, "first", NASTY)
    left, running = ids.new("tollhouse_drill"), ids.new("tollhouse_drill")
    execute(mariadb, "first", f"CREATE DATABASE {left}; CREATE DATABASE {running}")
    with pymysql.connect(unix_socket=str(mariadb), user="root") as connection:
        connection.cursor().execute(f"SELECT GET_LOCK('{running}', 0)")  # as a drill does that is running
        done = backup.drill(repository, whole(repository, first), NOON)
        assert (done.faults, done.loaded) == ([], True)
        assert drills_left(mariadb) == [running]
    execute(mariadb, "first", f"DROP DATABASE {running}")


def test_an_account_of_mysql_that_may_make_no_database_has_its_files_compared(
    repository: Repository,  # noqa: F811
    mariadb: Path,
    first: str,
) -> None:
    execute(mariadb, "first", "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1), (2)")
    execute(mariadb, "first", "CREATE USER poor@localhost; GRANT SELECT ON first.* TO poor@localhost")
    done = backup.drill(repository, whole(repository, first.replace("//root@", "//poor@")), NOON)
    assert (done.faults, done.loaded) == ([], False)
    assert "Access denied" in done.databases[0].reason
    assert drills_left(mariadb) == []


def test_a_drill_of_mysql_in_which_a_row_is_lost_fails(
    repository: Repository,  # noqa: F811
    mariadb: Path,
    first: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    execute(mariadb, "first", "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1), (2), (3)")
    snapshot = whole(repository, first)
    insert = MySQLEngine._insert
    monkeypatch.setattr(MySQLEngine, "_insert", lambda engine, into, rows: insert(engine, into, rows[1:]))
    assert backup.drill(repository, snapshot, NOON).faults[0] == "tables/main.a: 2 rows came back of 3"
    assert drills_left(mariadb) == []
