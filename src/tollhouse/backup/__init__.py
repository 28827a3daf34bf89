"""Backup: snapshots of directories, buckets and databases in a repository that can prove itself.

docs/backup-format.md is the format. `init` and `open_repository` give a `Repository`; `take` adds a snapshot, `restore` brings one
back, `verify` checks, `prune` deletes what is not kept, `copy` replicates, `drill` restores for practice and measures.
"""

from tollhouse.backup.configuration import settings_changed, settings_shown
from tollhouse.backup.coverage import Coverage, coverage
from tollhouse.backup.drill import OBJECTIVES, Drilled, drill
from tollhouse.backup.history import BackupRun, find_run, list_runs
from tollhouse.backup.loading import Loaded, server_for
from tollhouse.backup.places import BackupPlace, add_place, find_place, list_places
from tollhouse.backup.progress import Report
from tollhouse.backup.prune import Pruned, prune
from tollhouse.backup.repository import GRACE, Repository, init, open_repository
from tollhouse.backup.restore import Part, Restored, Selection, restore, selected
from tollhouse.backup.retention import Keep, kept
from tollhouse.backup.run import Order, take
from tollhouse.backup.runner import Runner
from tollhouse.backup.schedules import PRESET, BackupSchedule, NewSchedule, add_schedule, find_schedule, list_schedules, remove_schedule
from tollhouse.backup.snapshot import BackupKind, Collection, Entry, Snapshot, entries_of
from tollhouse.backup.sources import Source, Target, source_at, target_at
from tollhouse.backup.sources.tollhouse import BroughtBack, TollhouseSource, bring_back
from tollhouse.backup.transfer import copy, export_tar
from tollhouse.backup.verify import Verified, verify

__all__ = [
    "GRACE",
    "OBJECTIVES",
    "PRESET",
    "BackupKind",
    "BackupPlace",
    "BackupRun",
    "BackupSchedule",
    "BroughtBack",
    "Collection",
    "Coverage",
    "Drilled",
    "Entry",
    "Keep",
    "Loaded",
    "NewSchedule",
    "Order",
    "Part",
    "Pruned",
    "Report",
    "Repository",
    "Restored",
    "Runner",
    "Selection",
    "Snapshot",
    "Source",
    "Target",
    "TollhouseSource",
    "Verified",
    "add_place",
    "add_schedule",
    "bring_back",
    "copy",
    "coverage",
    "drill",
    "entries_of",
    "export_tar",
    "find_place",
    "find_run",
    "find_schedule",
    "init",
    "kept",
    "list_places",
    "list_runs",
    "list_schedules",
    "open_repository",
    "prune",
    "remove_schedule",
    "restore",
    "selected",
    "server_for",
    "settings_changed",
    "settings_shown",
    "source_at",
    "take",
    "target_at",
    "verify",
]
