"""What a server keeps and does about backups: repositories it knows by name, schedules, a row for each run, and what is missing.

Rows are in the records; a command line without a server needs none of this.
"""

from tollhouse.backup.operations.coverage import Coverage, coverage
from tollhouse.backup.operations.forgetting import forget_place
from tollhouse.backup.operations.history import BackupRun, find_run, list_runs
from tollhouse.backup.operations.places import BackupPlace, add_place, find_place, list_places
from tollhouse.backup.operations.runner import Runner, is_directory
from tollhouse.backup.operations.schedules import (
    PRESET,
    BackupSchedule,
    NewSchedule,
    add_schedule,
    find_schedule,
    list_schedules,
    remove_schedule,
)

__all__ = [
    "PRESET",
    "BackupPlace",
    "BackupRun",
    "BackupSchedule",
    "Coverage",
    "NewSchedule",
    "Runner",
    "add_place",
    "add_schedule",
    "coverage",
    "find_place",
    "find_run",
    "find_schedule",
    "forget_place",
    "is_directory",
    "list_places",
    "list_runs",
    "list_schedules",
    "remove_schedule",
]
