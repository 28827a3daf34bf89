"""Databases as collections: what comes back is what was there, to the byte, on the engine it came from and as far as it goes on others."""

import json
import math
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tollhouse import backup
from tollhouse.backup import Order, Repository, Restored, Selection, Snapshot
from tollhouse.backup.sources.databases import engine_at, place_of
from tollhouse.backup.sources.databases.rows import Common
from tollhouse.backup.sources.databases.table import Column, Name, key_parts
from tollhouse.kit.errors import BadInput, NotFound, Unavailable
from tollhouse.store.objects import Objects, S3Access

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NO_S3 = S3Access()

POSTGRES = """
CREATE TYPE mood AS ENUM ('happy', 'it''s "fine"');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE SCHEMA "odd schema";
CREATE TABLE "odd schema"."odd ""table"" %s /.:x" (
  "id" bigint GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT 5) PRIMARY KEY, "a ""b"" %(x)s :c" text COLLATE "C" DEFAULT 'it''s',
  n numeric(38,12), free numeric, f double precision, f4 real, bin bytea, j json, jb jsonb, arr text[], nested integer[][], at timestamptz,
  naive timestamp(3), d date, t time, tz timetz, span interval, u uuid, ip inet, m mood, moods mood[], p positive, bits bit varying(9),
  fixed char(5), flag boolean, r tstzrange, double_n numeric GENERATED ALWAYS AS (n * 2) STORED, CHECK (f <> 13), UNIQUE (u, ip));
COMMENT ON TABLE "odd schema"."odd ""table"" %s /.:x" IS 'said ''so''';
COMMENT ON COLUMN "odd schema"."odd ""table"" %s /.:x".n IS '😀';
CREATE INDEX "odd index" ON "odd schema"."odd ""table"" %s /.:x" (lower("a ""b"" %(x)s :c")) WHERE flag;
CREATE TABLE left_side (id serial PRIMARY KEY, other integer);
CREATE TABLE right_side (id integer PRIMARY KEY, other integer REFERENCES left_side(id) DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE left_side ADD CONSTRAINT there FOREIGN KEY (other) REFERENCES right_side(id) ON DELETE CASCADE;
CREATE TABLE tree (id text, part integer, above text, above_part integer, PRIMARY KEY (id, part), FOREIGN KEY (above, above_part) REFERENCES tree);
CREATE TABLE empty (nothing text);
CREATE TABLE parted (day date NOT NULL, what text) PARTITION BY RANGE (day);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
CREATE TABLE bag (a text, b numeric);
CREATE SEQUENCE tickets START 100;
CREATE TABLE ticketed (id bigint DEFAULT nextval('tickets'), what text);
CREATE VIEW seen AS SELECT id FROM tree;
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made, _ = backup.init(Objects.at(str(tmp_path / "repository"), NO_S3), None, NOON)
    return made


def taken(repository: Repository, address: str) -> Snapshot:
    return backup.take(repository, [backup.source_at(address, NO_S3)], NOON, Order("full"))


def whole(repository: Repository, address: str) -> Snapshot:
    snapshot = taken(repository, address)
    assert snapshot.complete, snapshot.collections[0].errors
    return snapshot


def restored(repository: Repository, snapshot: Snapshot, address: str, overwrite: bool = False, prefix: str | None = None) -> Restored:
    target = backup.target_at(address, NO_S3)
    return backup.restore(repository, snapshot, target, "full", Selection(prefix=prefix), overwrite)


def contents(repository: Repository, snapshot: Snapshot) -> dict[str, bytes]:
    entries = backup.entries_of(snapshot.collections[0].lists, repository.blob)
    return {entry.key: b"".join(repository.blob(id) for id in entry.chunks) for entry in entries}


def lines(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def came_back(repository: Repository, snapshot: Snapshot, address: str) -> None:
    done = restored(repository, snapshot, address)
    assert done.errors == []
    assert contents(repository, whole(repository, address)) == contents(repository, snapshot)


@pytest.fixture
def second(postgres_server: str) -> Iterator[str]:
    """Another empty database of the same server."""
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE second_place")
    yield postgres_server.replace("/postgres?", "/second_place?")
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("DROP DATABASE second_place WITH (FORCE)")


def nasty_postgres(address: str) -> None:
    with psycopg.connect(address) as connection:
        connection.execute(POSTGRES.encode())
        table = '"odd schema"."odd ""table"" %s /.:x"'
        for values in (
            "DEFAULT, '', -0.000000000001, 'NaN', 'NaN', 'Infinity', '\\x00ff', '{\"a\":  1, \"a\": 1.10}', '{\"b\": null}', '{a,NULL,\"N,\\\"x\"}', "
            "'{{1,2},{3,4}}', '2026-03-29 01:59:59.999999+01', '2026-01-01 00:00:00.123', '2026-02-28', '24:00', '12:00+05:30', '1 mon -3 days 00:00:01.5', "
            "'00000000-0000-0000-0000-00000000abcd', '::1/64', 'happy', '{happy,\"it''s \\\"fine\\\"\"}', 7, '101', 'ab', true, '[2026-01-01,)', DEFAULT",
            "DEFAULT, E'a\\tb\\n\\\\.\\n😀', 99999999999999999999999999.123456789012, 'Infinity', '-Infinity', '1e-40', '', 'null', '\"x\"', '{}', NULL, "
            "'infinity', '0044-03-15 BC', '-infinity', '00:00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, DEFAULT",
            "DEFAULT, NULL, NULL, 1e100, 0.1, 0.1, NULL, NULL, 'null', NULL, NULL, '2026-10-25 02:30+02', 'epoch', '0001-01-01 BC', NULL, NULL, NULL, NULL, NULL, "
            "NULL, NULL, NULL, NULL, NULL, false, NULL, DEFAULT",
        ):
            connection.execute(f"INSERT INTO {table} VALUES ({values})".encode())
        connection.execute("INSERT INTO left_side (other) VALUES (NULL), (NULL)")
        connection.execute("INSERT INTO right_side VALUES (1, 2), (2, 1)")
        connection.execute("UPDATE left_side SET other = id")
        connection.execute("INSERT INTO tree VALUES ('é', 1, NULL, NULL), ('Z', 1, 'é', 1), ('a', 2, 'Z', 1)")
        connection.execute("INSERT INTO parted VALUES ('2026-01-05', 'in'), ('1999-01-01', 'out')")
        connection.execute("INSERT INTO bag VALUES ('x', 1.0), ('x', 1.00), ('x', 1.0), (NULL, NULL), ('', 0)")
        connection.execute("INSERT INTO ticketed (what) VALUES ('a'), ('b')")


def test_postgres_comes_back_with_everything_a_table_can_be(repository: Repository, postgres: str, second: str) -> None:
    nasty_postgres(postgres)
    snapshot = whole(repository, postgres + "&formats=csv,parquet")
    kept = {key: content for key, content in contents(repository, snapshot).items() if key.endswith("json")}
    done = restored(repository, snapshot, second)
    assert done.errors == []
    assert contents(repository, whole(repository, second)) == kept
    with psycopg.connect(second, autocommit=True) as connection:
        odd = connection.execute(b'INSERT INTO "odd schema"."odd ""table"" %s /.:x" (f) VALUES (1) RETURNING id'.replace(b"%s", b"%s"))
        assert odd.fetchone() == (20,)
        assert connection.execute("INSERT INTO left_side DEFAULT VALUES RETURNING id").fetchone() == (3,)
        assert connection.execute("INSERT INTO ticketed (what) VALUES ('c') RETURNING id").fetchone() == (102,)
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(b'INSERT INTO "odd schema"."odd ""table"" %s /.:x" (f) VALUES (13)')
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute("INSERT INTO left_side (other) VALUES (99)")


def test_postgres_rows_say_their_values_exactly(repository: Repository, postgres: str) -> None:
    nasty_postgres(postgres)
    content = contents(repository, whole(repository, postgres))
    key = 'tables/odd schema.odd "table" %25s %2F%2E:x/rows.ndjson'
    first, other, third = lines(content[key])
    assert (first["id"], first["n"], first["free"], first["f"], first["bin"]) == (5, "-0.000000000001", "NaN", "NaN", "AP8=")
    assert first["at"] == "2026-03-29T00:59:59.999999Z"
    assert first["j"] == '{"a":  1, "a": 1.10}'
    assert (other["at"], other["naive"], other["d"]) == ("infinity", "0044-03-15 00:00:00 BC", "-infinity")
    assert (third["j"], third["jb"], third["f4"]) == (None, "null", 0.1)
    assert [row["id"] for row in lines(content["tables/public.tree/rows.ndjson"])] == ["Z", "a", "é"]
    assert [row["b"] for row in lines(content["tables/public.bag/rows.ndjson"])] == [None, "0", "1.0", "1.0", "1.00"]


def test_overwriting_replaces_a_table_that_others_refer_to_and_keeps_their_foreign_keys(repository: Repository, postgres: str) -> None:
    nasty_postgres(postgres)
    snapshot = whole(repository, postgres)
    with psycopg.connect(postgres) as connection:
        connection.execute("UPDATE left_side SET other = 2")
    refused = restored(repository, snapshot, postgres)
    assert {error["reason"] for error in refused.errors} == {"something else is there; say --overwrite to replace it"}
    assert contents(repository, whole(repository, postgres)) != contents(repository, snapshot)
    assert restored(repository, snapshot, postgres, overwrite=True).errors == []
    assert contents(repository, whole(repository, postgres)) == contents(repository, snapshot)


def test_only_a_schema_that_differs_is_put_right_without_losing_rows(repository: Repository, postgres: str) -> None:
    nasty_postgres(postgres)
    snapshot = whole(repository, postgres)
    with psycopg.connect(postgres) as connection:
        connection.execute("CREATE INDEX extra ON empty (nothing)")
        connection.execute("ALTER TABLE bag ADD CHECK (b IS NULL OR b < 100)")
    done = restored(repository, snapshot, postgres, overwrite=True)
    assert sorted(done.actions["overwrite"]) == ["tables/public.bag/schema.json", "tables/public.empty/schema.json"]
    assert done.errors == []
    assert contents(repository, whole(repository, postgres)) == contents(repository, snapshot)


def test_chosen_tables_are_taken_and_chosen_ones_restored(repository: Repository, postgres: str, second: str) -> None:
    nasty_postgres(postgres)
    snapshot = taken(repository, postgres + "&tables=tree,public.bag,nothing_such")
    assert {key.split("/")[1] for key in contents(repository, snapshot)} == {"public.tree", "public.bag"}
    assert snapshot.collections[0].errors == [{"key": "tables/nothing_such", "reason": "there is no such table"}]
    done = restored(repository, snapshot, second, prefix="tables/public.bag/")
    assert (len(done.actions["create"]), done.errors) == (2, [])
    assert {key.split("/")[1] for key in contents(repository, whole(repository, second))} == {"public.bag"}


def test_a_table_that_cannot_be_read_is_named_and_the_rest_is_kept(repository: Repository, postgres: str) -> None:
    with psycopg.connect(postgres) as connection:
        connection.execute("CREATE TABLE good AS SELECT generate_series(1, 10) AS n")
        connection.execute("CREATE TABLE bad AS SELECT 0 AS n")
        connection.execute("ALTER TABLE bad ADD wrong integer GENERATED ALWAYS AS (1 / n) VIRTUAL")
    snapshot = taken(repository, postgres)
    assert not snapshot.complete
    assert snapshot.collections[0].errors == [
        {"key": "tables/public.bad/rows.ndjson", "reason": f"{snapshot.collections[0].address}: division by zero"}
    ]
    assert len(lines(contents(repository, snapshot)["tables/public.good/rows.ndjson"])) == 10


def test_a_table_that_cannot_be_restored_leaves_the_others(repository: Repository, tmp_path: Path, postgres: str) -> None:
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.executescript("CREATE TABLE good (n INTEGER); CREATE TABLE bad (n INTEGER);")
        connection.execute("INSERT INTO good VALUES (1)")
        connection.execute("INSERT INTO bad VALUES ('not a number')")
    connection.close()
    done = restored(repository, whole(repository, f"sqlite:///{tmp_path / 'a.db'}"), postgres)
    assert any("tables/main.bad: its rows cannot be put in" in error["reason"] for error in done.errors)
    with psycopg.connect(postgres) as there:
        assert there.execute("SELECT n FROM good").fetchall() == [(1,)]
        assert there.execute("SELECT to_regclass('bad')").fetchone() == (None,)


def test_a_snapshot_is_of_one_moment_while_money_moves(repository: Repository, postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        for table in ("accounts", "savings"):
            connection.execute(f"CREATE TABLE {table} (id integer PRIMARY KEY, amount bigint)".encode())
            connection.execute(f"INSERT INTO {table} SELECT n, 1000 FROM generate_series(1, 300) n".encode())
    stop, moved = threading.Event(), threading.Event()

    def transfers() -> None:
        with psycopg.connect(postgres, autocommit=True) as connection:
            n = 0
            while not stop.is_set():
                n += 1
                with connection.transaction():
                    connection.execute("UPDATE accounts SET amount = amount - 7 WHERE id = %s", (n % 300 + 1,))
                    connection.execute("UPDATE savings SET amount = amount + 7 WHERE id = %s", ((n * 7) % 300 + 1,))
                if n > 50:
                    moved.set()

    thread = threading.Thread(target=transfers)
    thread.start()
    try:
        moved.wait(30)
        snapshots = [whole(repository, postgres) for _ in range(4)]
    finally:
        stop.set()
        thread.join()
    for snapshot in snapshots:
        content = contents(repository, snapshot)
        rows = [row for key, text in content.items() if key.endswith("ndjson") for row in lines(text)]
        assert sum(row["amount"] for row in rows) == 600_000
    assert len({contents(repository, one)["tables/public.accounts/rows.ndjson"] for one in snapshots}) > 1


def test_sqlite_is_of_one_moment_too(repository: Repository, tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'bank.db'}"
    writer = sqlite3.connect(tmp_path / "bank.db", isolation_level=None, check_same_thread=False)
    writer.executescript(
        "PRAGMA journal_mode=WAL; CREATE TABLE a (v INTEGER); CREATE TABLE b (v INTEGER); INSERT INTO a VALUES (9); INSERT INTO b VALUES (1)"
    )
    source = backup.source_at(address, NO_S3)
    with source.opened() as opened:
        found = {one.key: one for one in opened.listing()}
        with opened.content(found["tables/main.a/rows.ndjson"]) as content:
            first = content.read()
        writer.executescript("BEGIN; UPDATE a SET v = 0; UPDATE b SET v = 10; COMMIT")
        with opened.content(found["tables/main.b/rows.ndjson"]) as content:
            assert (first, content.read()) == (b'{"v":9}\n', b'{"v":1}\n')
    writer.close()


SQLITE = """
CREATE TABLE "odd "" name" (id INTEGER PRIMARY KEY AUTOINCREMENT, "a b" TEXT, n NUMERIC, b BLOB, f REAL, flag BOOLEAN, anything,
  twice INTEGER GENERATED ALWAYS AS (id * 2) VIRTUAL);
CREATE TABLE child (x INTEGER REFERENCES parent(y), y INTEGER PRIMARY KEY);
CREATE TABLE parent (y INTEGER PRIMARY KEY, x INTEGER REFERENCES child(y) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE keyed (a TEXT COLLATE NOCASE, b INT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE empty (a TEXT DEFAULT 'x' CHECK (a <> 'y'));
CREATE INDEX ix ON child(x) WHERE x > 1;
CREATE TRIGGER fires AFTER INSERT ON child BEGIN INSERT INTO empty VALUES ('fired'); END;
CREATE VIEW v AS SELECT * FROM child;
"""


def nasty_sqlite(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(SQLITE)
    into = 'INSERT INTO "odd "" name" ("a b", n, b, f, flag, anything) VALUES (?, ?, ?, ?, ?, ?)'
    connection.executemany(
        into,
        [
            (None, 1, b"\0\xff", math.inf, 1, None),
            ("", 0.1, b"", -0.5, 0, "text"),
            ("😀'\n\x00,", "abc", "text in a blob", 1e308, 2, b"bytes"),
            (b"bytes in text", 2**63 - 1, None, -math.inf, "maybe", -(2**63)),
        ],
    )
    connection.execute('INSERT INTO "odd "" name" ("a b") VALUES (CAST(x\'ff41\' AS TEXT))')
    connection.execute('INSERT INTO "odd "" name" (id) VALUES (99)')
    connection.execute('DELETE FROM "odd "" name" WHERE id = 99')
    connection.execute("INSERT INTO child VALUES (1, 2)")
    connection.execute("INSERT INTO parent VALUES (1, 2)")
    connection.execute("DELETE FROM empty")
    connection.executemany("INSERT INTO keyed VALUES (?, ?)", [("b", 1), ("A", 2), ("a", 1)])
    connection.commit()
    connection.close()


def test_sqlite_comes_back_whatever_its_columns_hold(repository: Repository, tmp_path: Path) -> None:
    nasty_sqlite(tmp_path / "a.db")
    came_back(repository, whole(repository, f"sqlite:///{tmp_path / 'a.db'}"), f"sqlite:///{tmp_path / 'b.db'}")
    with sqlite3.connect(tmp_path / "b.db") as connection:
        numbered = connection.execute('INSERT INTO "odd "" name" (n) VALUES (1) RETURNING id').fetchone()
        assert numbered == (100,)
        connection.execute("INSERT INTO child VALUES (2, 3)")
        assert connection.execute("SELECT a FROM empty").fetchall() == [("fired",)]
    connection.close()


def test_a_dry_run_makes_no_file(repository: Repository, tmp_path: Path) -> None:
    nasty_sqlite(tmp_path / "a.db")
    snapshot = whole(repository, f"sqlite:///{tmp_path / 'a.db'}")
    for kind in ("sqlite", "duckdb"):
        target = backup.target_at(f"{kind}:///{tmp_path / 'none'}", NO_S3)
        done = backup.restore(repository, snapshot, target, dry_run=True)
        assert len(done.actions["create"]) == 10
        assert not (tmp_path / "none").exists()


DUCKDB = """
CREATE SCHEMA s; CREATE SEQUENCE numbers START 10;
CREATE TYPE mood AS ENUM ('a', 'b');
CREATE TABLE "odd "" name" ("i d" BIGINT PRIMARY KEY DEFAULT nextval('numbers'), h HUGEINT, n DECIMAL(38, 12), f DOUBLE, bin BLOB, j JSON, l VARCHAR[],
  st STRUCT(a INTEGER, b VARCHAR), m MAP(VARCHAR, INTEGER), "at" TIMESTAMPTZ, ts TIMESTAMP, ns TIMESTAMP_NS, d DATE, t TIME, u UUID, iv INTERVAL, flag BOOLEAN,
  big UBIGINT, t2 VARCHAR UNIQUE);
INSERT INTO "odd "" name" (h, n, f, bin, j, l, st, m, "at", ts, ns, d, t, u, iv, flag, big, t2) VALUES
  (170141183460469231731687303715884105727, 99999999999999999999999999.123456789012, 'NaN', '\\x00\\xFF', '{"a":  1.10}', ['a', NULL, 'x,"''y'],
   {'a': 1, 'b': 'it''s, "x"'}, MAP {'k': 1}, '2026-03-29 01:59:59.999999+01', '2026-01-01 00:00:00.1', '2026-01-01 00:00:00.123456789', '2026-01-01',
   '12:00:00.5', '00000000-0000-0000-0000-00000000abcd', INTERVAL 3 DAY, true, 18446744073709551615, '😀'),
  (NULL, NULL, '-Infinity', '', 'null', [], NULL, NULL, 'infinity', '-infinity', NULL, '0044-03-15 (BC)', NULL, NULL, NULL, NULL, 0, '');
CREATE TABLE above (id INTEGER PRIMARY KEY, name VARCHAR CHECK (name <> 'no'));
CREATE TABLE below (id INTEGER, above INTEGER REFERENCES above(id));
INSERT INTO above VALUES (1, 'x'); INSERT INTO below VALUES (5, 1), (NULL, NULL);
CREATE INDEX ix ON below (id);
CREATE TABLE s.empty (a INTEGER, b INTEGER GENERATED ALWAYS AS (a * 2));
COMMENT ON TABLE above IS 'it''s';
"""


def test_duckdb_comes_back(repository: Repository, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "a.duckdb")) as connection:
        connection.execute(DUCKDB)
    snapshot = whole(repository, f"duckdb:///{tmp_path / 'a.duckdb'}")
    came_back(repository, snapshot, f"duckdb:///{tmp_path / 'b.duckdb'}")
    with duckdb.connect(str(tmp_path / "b.duckdb")) as connection:
        assert connection.execute('INSERT INTO "odd "" name" (f) VALUES (1) RETURNING "i d"').fetchone() == (12,)
    assert restored(repository, snapshot, f"duckdb:///{tmp_path / 'b.duckdb'}", overwrite=True).errors == []


def test_a_duckdb_file_that_another_has_open_is_said_so(tmp_path: Path) -> None:
    import subprocess
    import sys

    path = tmp_path / "held.duckdb"
    program = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        source = backup.source_at(f"duckdb:///{path}", NO_S3)
        with pytest.raises(Unavailable, match="another process has it open"), source.opened():
            pass
        assert holder.stdin is not None
        holder.stdin.close()


def test_csv_and_parquet_hold_the_same_rows(repository: Repository, postgres: str, tmp_path: Path) -> None:
    with psycopg.connect(postgres) as connection:
        connection.execute("CREATE TABLE sums (id integer PRIMARY KEY, n numeric(20,4), said text, bin bytea, at timestamptz, f float8)")
        connection.execute(
            "INSERT INTO sums VALUES (1, 1.5, '=1+1', '\\x00', '2026-01-01 00:00Z', 'NaN'), (2, NULL, NULL, NULL, NULL, NULL), (3, 0, E'\"\\n', '', NULL, 1)"
        )
    content = contents(repository, whole(repository, postgres + "&formats=csv,parquet"))
    assert content["tables/public.sums/rows.csv"].decode() == (
        '"id","n","said","bin","at","f"\r\n1,"1.5000","=1+1","AA==","2026-01-01T00:00:00.000000Z","NaN"\r\n2,,,,,\r\n3,"0.0000","""\n","",,1.0\r\n'
    )
    (tmp_path / "p").write_bytes(content["tables/public.sums/rows.parquet"])
    with duckdb.connect() as reader:
        sql = 'SELECT id, n, said, bin, epoch("at"), isnan(f) FROM read_parquet(?) ORDER BY id'
        rows = reader.execute(sql, [str(tmp_path / "p")]).fetchall()
    assert rows == [
        (1, Decimal("1.5"), "=1+1", b"\0", 1767225600.0, True),
        (2, None, None, None, None, None),
        (3, Decimal(0), '"\n', b"", None, False),
    ]


def test_an_unchanged_database_stores_no_rows_again(repository: Repository, tmp_path: Path) -> None:
    nasty_sqlite(tmp_path / "a.db")
    address = f"sqlite:///{tmp_path / 'a.db'}"
    before = whole(repository, address)
    after = backup.take(repository, [backup.source_at(address, NO_S3)], NOON, Order("incremental"))
    assert (after.statistics["changed"], after.statistics["new"], after.statistics["unchanged"]) == (0, 0, before.objects)


COMMON = """
CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(40) NOT NULL, balance DECIMAL(20, 6), photo BLOB, active BOOLEAN, born DATE,
  joined DATETIME, score REAL, likes JSON, boss INTEGER REFERENCES people(id), UNIQUE (name));
CREATE TABLE visits (person INTEGER NOT NULL REFERENCES people(id), n INTEGER NOT NULL, PRIMARY KEY (person, n));
CREATE INDEX by_boss ON people(boss);
"""


def common_sqlite(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        connection.executescript(COMMON)
        connection.executemany(
            "INSERT INTO people VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (1, "é", 10.25, b"\0\xff", True, "2000-01-31", "2026-01-01 10:00:00.500000", 0.1, '{"a": [1, 2]}', 7),
                (7, "", 3, None, False, None, "2026-01-01 10:00:00", 1e300, None, None),
            ],
        )
        connection.execute("INSERT INTO visits VALUES (1, 1), (1, 2), (7, 1)")
    connection.close()
    return f"sqlite:///{path}"


def test_sqlite_moves_to_postgres_and_duckdb(repository: Repository, tmp_path: Path, postgres: str) -> None:
    snapshot = whole(repository, common_sqlite(tmp_path / "a.db"))
    assert restored(repository, snapshot, postgres).errors == []
    with psycopg.connect(postgres, autocommit=True) as connection:
        row = connection.execute(
            "SELECT name, balance, photo, active, born::text, joined::text, score, likes, boss FROM people WHERE id = 1"
        ).fetchone()
        assert row == ("é", Decimal("10.25"), b"\0\xff", True, "2000-01-31", "2026-01-01 10:00:00.5", 0.1, {"a": [1, 2]}, 7)
        assert connection.execute("INSERT INTO people (name) VALUES ('new') RETURNING id").fetchone() == (8,)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute("INSERT INTO visits VALUES (99, 1)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO people (name) VALUES ('new')")
    done = restored(repository, snapshot, f"duckdb:///{tmp_path / 'b.duckdb'}")
    assert all("not carried over from sqlite to duckdb" in error["reason"] for error in done.errors)
    with duckdb.connect(str(tmp_path / "b.duckdb")) as there:
        assert there.execute("SELECT balance, photo, joined FROM people ORDER BY id").fetchone() == (
            Decimal("10.25"), b"\0\xff", datetime(2026, 1, 1, 10, 0, 0, 500000),
        )  # fmt: skip


def test_postgres_moves_to_sqlite(repository: Repository, tmp_path: Path, postgres: str) -> None:
    with psycopg.connect(postgres) as connection:
        connection.execute(
            "CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, amount numeric(38,12), at timestamptz, tags text[], ok boolean)"
        )
        connection.execute(
            "INSERT INTO ledger (amount, at, tags, ok) VALUES (99999999999999999999999999.123456789012, '2026-01-01', '{a,b}', true), (NULL, NULL, NULL, NULL)"
        )
    done = restored(repository, whole(repository, postgres), f"sqlite:///{tmp_path / 'b.db'}")
    assert done.errors == []
    with sqlite3.connect(tmp_path / "b.db") as there:
        assert there.execute("SELECT * FROM ledger").fetchone() == (
            1,
            "99999999999999999999999999.123456789012",
            "2026-01-01T00:00:00.000000Z",
            "{a,b}",
            1,
        )
    there.close()


def test_a_hundred_thousand_rows_come_back(repository: Repository, postgres: str, second: str) -> None:
    with psycopg.connect(postgres) as connection:
        connection.execute(
            "CREATE TABLE many AS SELECT n AS id, md5(n::text) AS name, n::numeric / 7 AS share, now() + n * interval '1 s' AS at FROM generate_series(1, 100000) n"
        )
        connection.execute("CREATE TABLE large AS SELECT repeat('x😀', 3000000) AS t")
    came_back(repository, whole(repository, postgres), second)


def test_a_password_is_neither_shown_nor_kept(repository: Repository, postgres: str) -> None:
    with_password = postgres.replace("postgresql://postgres", "postgresql://postgres:sesame-1", 1)
    if "sesame-1" not in with_password:
        with_password = postgres + "&password=sesame-1"
    snapshot = taken(repository, with_password)
    assert "sesame-1" not in snapshot.collections[0].address
    for address in ("postgresql://u:sesame-1@127.0.0.1:1/x", "mysql://u:sesame-1@127.0.0.1:1/x"):
        with pytest.raises(Unavailable) as refused, backup.source_at(address, NO_S3).opened():
            pass
        assert "sesame-1" not in str(refused.value)
    with pytest.raises(BadInput) as unknown:
        backup.source_at("oracle://u:sesame-1@host/x", NO_S3)
    assert "sesame-1" not in str(unknown.value)


def test_addresses_that_name_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        backup.source_at(f"sqlite:///{tmp_path / 'none.db'}", NO_S3)
    for address in ("sqlite://", "sqlite:///:memory:", "duckdb://", "mysql://host", "sqlite:///x?formats=xml"):
        with pytest.raises(BadInput):
            backup.source_at(address, NO_S3)


@pytest.mark.parametrize("given", ["table=people", "Tables=people", "mode=ro", "tabels=a&password=sesame-1"])
@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
def test_a_file_takes_no_parameters_but_ours(tmp_path: Path, engine: str, given: str) -> None:
    for opened in (backup.source_at, backup.target_at):
        with pytest.raises(BadInput, match=f"{given.partition('=')[0]}.*there are tables, formats") as refused:
            opened(f"{engine}:///{tmp_path / 'd.db'}?{given}", NO_S3)
        assert "sesame-1" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
@pytest.mark.parametrize(("given", "meant"), [("table", "tables"), ("TABLES", "tables"), ("tabels", "tables"), ("format", "formats")])
def test_a_parameter_of_a_server_that_is_nearly_ours_is_refused(scheme: str, given: str, meant: str) -> None:
    with pytest.raises(BadInput, match=f"'{given}' is no parameter of this address; '{meant}' is"):
        backup.source_at(f"{scheme}://host/name?{given}=x", NO_S3)


def test_a_drivers_own_parameters_are_passed_on() -> None:
    for address in ("postgresql://host/name?sslmode=require&application_name=x&port=1", "mysql://host/name?database=x&read_timeout=3"):
        assert engine_at(place_of(address)) is not None


def test_json_is_understood_as_lines_of_json() -> None:
    assert place_of("sqlite:///d.db?formats=json").formats == ("ndjson",)
    assert place_of("sqlite:///d.db?formats=Parquet,JSON,csv").formats == ("ndjson", "csv", "parquet")


values = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(st.characters(codec="utf-8")), st.binary()
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(values, values, values, values, values), max_size=20))
def test_any_rows_of_sqlite_come_back(tmp_path: Path, rows: list[tuple[Any, ...]]) -> None:
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    with sqlite3.connect(folder / "a.db") as connection:
        connection.execute("CREATE TABLE t (a INTEGER, b TEXT, c REAL, d BLOB, e)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
    connection.close()
    made, _ = backup.init(Objects.at(str(folder / "repository"), NO_S3), None, NOON)
    came_back(made, whole(made, f"sqlite:///{folder / 'a.db'}"), f"sqlite:///{folder / 'b.db'}")


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_name_comes_back_out_of_its_key(schema: str, table: str) -> None:
    name = Name(schema, table)
    key = f"{name.folder}/rows.ndjson"
    assert key_parts(key) == (name, "rows.ndjson")
    assert all(part not in ("", ".", "..") for part in key.split("/"))


def test_rows_are_compared_across_engines_by_what_they_mean() -> None:
    def digest(*rows: tuple[Any, ...]) -> tuple[int, int]:
        common = Common([Column("a", "", "decimal"), Column("b", "", "instant"), Column("c", "", "boolean")])
        for row in rows:
            common.add(row)
        return common.digest

    one, other = ("1.50", "2026-01-01T10:00:00.500000Z", True), ("2", None, None)
    assert digest(one, other) == digest((2, None, None), (1.5, "2026-01-01 10:00:00.5", 1))
    assert digest(one, other) != digest(one, one)
    assert digest(one) != digest(("1.51", one[1], True))
