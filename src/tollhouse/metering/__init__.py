"""Metering: what is counted (`Meter`), how much of it there was (`usage`), and the rollups that make that quick.

A number comes from two places that are merged in one query: rollups for what has been aggregated, and the raw
events that came since, whatever time they bear. So an answer is exact at every moment, and aggregation only
decides how fast it is.
"""

from tollhouse.metering.meter import Meter, NewMeter, add, change, find, list_meters, of_types, promotions, remove
from tollhouse.metering.rollup import Aggregated, aggregate, erase, rebuild
from tollhouse.metering.retention import Retention, Trimmed, trim
from tollhouse.metering.usage import UsageQuery, UsageRow, subjects, usage

__all__ = [
    "Aggregated",
    "Meter",
    "NewMeter",
    "Retention",
    "Trimmed",
    "UsageQuery",
    "UsageRow",
    "add",
    "aggregate",
    "change",
    "erase",
    "find",
    "list_meters",
    "of_types",
    "promotions",
    "rebuild",
    "remove",
    "subjects",
    "trim",
    "usage",
]
