"""Metering: what is counted (`Meter`), how much of it there was (`usage`), and the rollups that make that quick.

A number comes from two places that are merged in one query: rollups for what has been aggregated, and the raw
events that came since, whatever time they bear. So an answer is exact at every moment, and aggregation only
decides how fast it is.
"""

from tollhouse.metering.meter import (
    Meter,
    NewMeter,
    add,
    change,
    decoded,
    find,
    list_meters,
    promotions,
    remove,
    value_of,
)
from tollhouse.metering.retention import Retention, Trimmed, trim
from tollhouse.metering.rollup import Aggregated, aggregate, erase, note_erasure, rebuild
from tollhouse.metering.usage import Snapshot, UsageQuery, UsageRow, snapshot, subjects, usage

__all__ = [
    "Aggregated",
    "Meter",
    "NewMeter",
    "Retention",
    "Snapshot",
    "Trimmed",
    "UsageQuery",
    "UsageRow",
    "add",
    "aggregate",
    "change",
    "decoded",
    "erase",
    "find",
    "list_meters",
    "note_erasure",
    "promotions",
    "rebuild",
    "remove",
    "snapshot",
    "subjects",
    "trim",
    "usage",
    "value_of",
]
