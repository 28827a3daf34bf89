"""A database to load a snapshot into for practice: new, of the same kind, and gone again afterwards.

SQLite and DuckDB get a file. On a server it is a database with a name of ours, which a connection holds for as long as it is
used: one that nobody holds was left by a drill that was killed, and the next drill takes it away.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import cast

from tollhouse.backup.sources.databases.addresses import engine_at, place_of
from tollhouse.backup.sources.databases.mysql import MySQLEngine
from tollhouse.backup.sources.databases.postgres import PostgresEngine
from tollhouse.kit import ids
from tollhouse.kit.errors import BadInput, Unavailable

PREFIX = "tollhouse_drill"
_OURS = re.compile(PREFIX + "_[0-9a-z]{26}")
_FILES = ("sqlite", "duckdb")
_POSTGRES_UNUSED = """
SELECT datname FROM pg_catalog.pg_database d WHERE pg_catalog.starts_with(datname::text, %s)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)
"""
_POSTGRES_LIKE = """
SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype FROM pg_catalog.pg_database
WHERE datname = pg_catalog.current_database()
"""
_MYSQL_UNUSED = "SELECT schema_name FROM information_schema.schemata WHERE LEFT(schema_name, %s) = %s AND IS_FREE_LOCK(schema_name)"
_MYSQL_LIKE = "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata WHERE schema_name = DATABASE()"


@contextmanager
def scratch_database(dialect: str, server: str, folder: Path, extensions: tuple[str, ...] = ()) -> Iterator[str]:
    """The address of an empty database of that kind, made in the folder or on the server that an address names.

    `extensions` are PostgreSQL's that tables may need. Raises BadInput where the address is of another kind, and Unavailable where the
    server cannot be reached or its account may not make a database.
    """
    if dialect in _FILES:
        yield f"{dialect}:///{folder.absolute()}/scratch.{dialect}"
        return
    engine = engine_at(place_of(server))
    if engine.dialect != dialect or not isinstance(engine, PostgresEngine | MySQLEngine):
        raise BadInput(f"{engine.dialect} is another kind of database than {dialect}, whose scratch database was to be made there.")
    name = ids.new(PREFIX)
    address = place_of(server).url.set(database=name).render_as_string(hide_password=False)
    with _made(engine, name, address, extensions):
        yield address


def _made(engine: PostgresEngine | MySQLEngine, name: str, address: str, extensions: tuple[str, ...]) -> AbstractContextManager[None]:
    if isinstance(engine, PostgresEngine):
        return _on_postgres(engine, name, address, extensions)
    return _on_mysql(engine, name)


@contextmanager
def _on_postgres(server: PostgresEngine, name: str, address: str, extensions: tuple[str, ...]) -> Iterator[None]:
    with server.connected():
        _sweep(server, [row[0] for row in server.run(_POSTGRES_UNUSED, PREFIX)])
        encoding, collate, ctype = (text.replace("'", "''") for text in server.run(_POSTGRES_LIKE)[0])
        like = f"ENCODING '{encoding}' LC_COLLATE '{collate}' LC_CTYPE '{ctype}'"
        server.run(f"CREATE DATABASE {server.quote(name)} TEMPLATE template0 {like}")
    try:
        holder = cast(PostgresEngine, engine_at(place_of(address)))
        with holder.connected():
            for extension in extensions:
                _try(holder, f"CREATE EXTENSION IF NOT EXISTS {holder.quote(extension)} CASCADE")  # a table that needs it says so
            yield
    finally:
        with server.connected():
            server.run(f"DROP DATABASE {server.quote(name)} WITH (FORCE)")


@contextmanager
def _on_mysql(server: MySQLEngine, name: str) -> Iterator[None]:
    with server.connected():
        _sweep(server, [row[0] for row in server.run(_MYSQL_UNUSED, len(PREFIX), PREFIX)])
        characters, collation = server.run(_MYSQL_LIKE)[0]
        server.run("SELECT GET_LOCK(%s, 0)", name)  # it ends with the connection
        server.run(f"CREATE DATABASE {server.quote(name)} CHARACTER SET {characters} COLLATE {collation}")
        try:
            yield
        finally:
            server.run(f"DROP DATABASE {server.quote(name)}")


def _sweep(server: PostgresEngine | MySQLEngine, unused: list[str]) -> None:
    for name in unused:
        if _OURS.fullmatch(name):
            _try(server, f"DROP DATABASE {server.quote(name)}")  # another account's stays, and so does one taken meanwhile


def _try(server: PostgresEngine | MySQLEngine, statement: str) -> None:
    try:
        server.run(statement)
    except Unavailable:
        return
