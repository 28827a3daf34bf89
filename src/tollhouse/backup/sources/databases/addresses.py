"""Which engine an address is of. A password in it is used, and neither shown nor kept."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from tollhouse.backup.sources.databases.duckdb_engine import DuckDBEngine
from tollhouse.backup.sources.databases.engine import Engine
from tollhouse.backup.sources.databases.mysql import MySQLEngine
from tollhouse.backup.sources.databases.postgres import PostgresEngine
from tollhouse.backup.sources.databases.sqlite import SQLiteEngine
from tollhouse.backup.sources.kinds import SCHEMES, is_database
from tollhouse.kit.errors import BadInput

FORMATS = ("ndjson", "csv", "parquet")
OURS = ("tables", "formats")
_SECRET = ("password", "passwd", "sslpassword")


@dataclass(frozen=True)
class Place:
    """An address taken apart; `shown` is it without the password."""

    url: sa.URL
    shown: str
    tables: tuple[str, ...]
    formats: tuple[str, ...]


def kind_of(address: str) -> str:
    """The kind of database at an address: postgresql, mysql, sqlite or duckdb; raises BadInput."""
    backend = place_of(address).url.get_backend_name()
    return {"postgres": "postgresql", "mariadb": "mysql"}.get(backend, backend)


def shown(address: str) -> str:
    """An address as people may see it: a database's without its password, any other as it is."""
    if not is_database(address):
        return address
    try:
        return place_of(address).shown
    except BadInput:
        return f"{address.partition('://')[0]}://…"


def place_of(address: str) -> Place:
    """Take `postgresql://user@host/name?tables=a,b&formats=csv` apart; raises BadInput."""
    try:
        url = sa.make_url(address)
    except (ArgumentError, ValueError):
        raise BadInput("That is no address of a database; write one such as postgresql://user@host/name or sqlite:///path.") from None
    tables = _listed(url, "tables")
    formats = tuple("ndjson" if one.lower() == "json" else one.lower() for one in _listed(url, "formats"))
    if unknown := set(formats) - set(FORMATS):
        raise BadInput(f"formats={','.join(sorted(unknown))}: there are {', '.join(FORMATS)}.")
    clean = url.difference_update_query(OURS)
    shown = clean._replace(password=None).set(drivername=url.get_backend_name()).difference_update_query(_SECRET)
    if tables:
        shown = shown.update_query_dict({"tables": ",".join(sorted(tables))})
    # Lines of JSON always: they are what is restored.
    return Place(clean, shown.render_as_string(), tables, tuple(one for one in FORMATS if one == "ndjson" or one in formats))


def engine_at(place: Place) -> Engine:
    """The engine of an address; raises BadInput where there is none."""
    backend = place.url.get_backend_name()
    _refuse_unknown(place)
    if backend in ("sqlite", "duckdb"):
        if not place.url.database or place.url.database == ":memory:":
            raise BadInput(f"{place.shown}: name a file, such as {backend}:///path (four slashes for an absolute one).")
        path = Path(place.url.database).absolute()
        return SQLiteEngine(path) if backend == "sqlite" else DuckDBEngine(path)
    if backend in ("postgresql", "postgres"):
        return PostgresEngine(place.url.set(drivername="postgresql+psycopg"), place.shown)
    if backend in ("mysql", "mariadb"):
        plain = "+" not in place.url.drivername
        return MySQLEngine(place.url.set(drivername=f"{backend}+pymysql") if plain else place.url, place.shown)
    raise BadInput(f"{backend}:// is no database that can be used here; there are {', '.join(SCHEMES)}.")


def _refuse_unknown(place: Place) -> None:
    """A mistyped parameter that is passed over would take all tables: a file has ours alone, a server none that is nearly ours."""
    for name in place.url.query:
        if place.url.get_backend_name() in ("sqlite", "duckdb"):
            raise BadInput(f"{name[:40]!r} is no parameter of this address; there are {', '.join(OURS)}.")
        if meant := get_close_matches(name.lower(), OURS, 1):
            raise BadInput(f"{name[:40]!r} is no parameter of this address; {meant[0]!r} is.")


def _listed(url: sa.URL, name: str) -> tuple[str, ...]:
    given = url.query.get(name, "")
    return tuple(one for part in ([given] if isinstance(given, str) else given) for one in part.split(",") if one)
