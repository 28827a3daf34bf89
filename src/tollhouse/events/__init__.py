"""Events: what happened in an app, stored once, in order to be counted.

`parse` reads what a request brought, `Ingest` commits it, `recent` and `export` read it back, `erase` and
`forget` remove it. The event table is the only source of truth for usage.
"""

from tollhouse.events.event import EventLimits, Submission, parse
from tollhouse.events.ingest import Ingest, Receipt
from tollhouse.events.payload import Promotion
from tollhouse.events.reading import EventFilter, export_sql, of_job, recent
from tollhouse.events.removal import Erasure, erase, forget

__all__ = [
    "Erasure",
    "EventFilter",
    "EventLimits",
    "Ingest",
    "Promotion",
    "Receipt",
    "Submission",
    "erase",
    "export_sql",
    "forget",
    "of_job",
    "parse",
    "recent",
]
