"""The event table, behind one contract with an engine a file.

`contract` says what every engine can do; `duckdb` is the embedded default and `postgres` the shared one.
"""

from tollhouse.store.events.contract import (
    CONFLICT,
    DUPLICATE,
    INSERTED,
    EventBatch,
    EventStore,
    Expressions,
    Params,
    Reader,
    Row,
    Writer,
)
from tollhouse.store.events.duckdb import DuckDBEvents
from tollhouse.store.events.postgres import PostgresEvents
from tollhouse.store.events.statistics import percentiles

__all__ = [
    "CONFLICT",
    "DUPLICATE",
    "INSERTED",
    "DuckDBEvents",
    "EventBatch",
    "EventStore",
    "Expressions",
    "Params",
    "PostgresEvents",
    "Reader",
    "Row",
    "Writer",
    "percentiles",
]
