"""Backup: snapshots of directories, buckets and databases in a repository that can prove itself.

docs/backup-format.md is the format. `init` and `open_repository` give a `Repository`; `take` adds a snapshot, `restore` brings one
back, `verify` checks, `prune` deletes what is not kept, `copy` replicates, `drill` restores for practice and measures.
"""

from tollhouse.backup.choosing import choose, newest
from tollhouse.backup.configuration import settings_changed, settings_shown
from tollhouse.backup.drill import OBJECTIVES, Drilled, drill
from tollhouse.backup.progress import Report
from tollhouse.backup.prune import Pruned, prune
from tollhouse.backup.repository import GRACE, Repository, init, open_repository
from tollhouse.backup.restore import Part, Restored, Selection, restore, selected
from tollhouse.backup.retention import Keep, kept
from tollhouse.backup.run import Order, take
from tollhouse.backup.snapshot import BackupKind, Collection, Entry, Snapshot, entries_of
from tollhouse.backup.sources import Source, Target, source_at, target_at
from tollhouse.backup.transfer import copy, export_tar
from tollhouse.backup.verify import Verified, verify

__all__ = [
    "GRACE",
    "OBJECTIVES",
    "BackupKind",
    "Collection",
    "Drilled",
    "Entry",
    "Keep",
    "Order",
    "Part",
    "Pruned",
    "Report",
    "Repository",
    "Restored",
    "Selection",
    "Snapshot",
    "Source",
    "Target",
    "Verified",
    "choose",
    "copy",
    "drill",
    "entries_of",
    "export_tar",
    "init",
    "kept",
    "newest",
    "open_repository",
    "prune",
    "restore",
    "selected",
    "settings_changed",
    "settings_shown",
    "source_at",
    "take",
    "target_at",
    "verify",
]
