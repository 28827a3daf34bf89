"""What can be backed up, and restored to: one module a kind. `source_at` and `target_at` choose by address."""

from tollhouse.backup.sources.addresses import source_at, target_at
from tollhouse.backup.sources.source import Found, Source, Target, Written

__all__ = ["Found", "Source", "Target", "Written", "source_at", "target_at"]
