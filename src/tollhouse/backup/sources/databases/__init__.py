"""Databases as collections: how each engine is read in one state, and how its tables are made again. `engine_at` chooses by address."""

from tollhouse.backup.sources.databases.addresses import Place, engine_at, kind_of, place_of, shown
from tollhouse.backup.sources.databases.engine import Engine
from tollhouse.backup.sources.databases.scratch import scratch_database
from tollhouse.backup.sources.databases.table import Column, Name, Table

__all__ = [
    "Column",
    "Engine",
    "Name",
    "Place",
    "Table",
    "engine_at",
    "kind_of",
    "place_of",
    "scratch_database",
    "shown",
]
