"""A drill: restore the newest snapshot into a scratch place, compare everything, and measure what that says of a real disaster.

The recovery time is how long the restore took. The recovery point is how old the snapshot was: what would have been lost.
"""

import tempfile
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from tollhouse.backup.progress import Report, silent
from tollhouse.backup.repository import Repository
from tollhouse.backup.restore import Selection, restore, selected
from tollhouse.backup.snapshot import Snapshot
from tollhouse.backup.sources.directory import DirectoryTarget
from tollhouse.backup.sources.tollhouse import bring_back
from tollhouse.kit.errors import TollhouseError

# Scenario: (recovery time, recovery point), the objectives of the seed documents.
OBJECTIVES = {
    "object": (timedelta(hours=1), timedelta(hours=1)),
    "bucket": (timedelta(hours=4), timedelta(days=1)),
    "store": (timedelta(hours=2), timedelta(hours=1)),
    "site": (timedelta(hours=24), timedelta(days=1)),
}


@dataclass(frozen=True)
class Drilled:
    """What a drill showed: both times in seconds, measured and as aimed for, and what was wrong (nothing: it passed)."""

    scenario: str
    snapshot: str
    objects: int
    bytes: int
    rto_seconds: float
    rpo_seconds: float
    rto_objective: float
    rpo_objective: float
    faults: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether everything came back as it was; the objectives are another question."""
        return not self.faults

    @property
    def in_time(self) -> bool:
        """Whether both objectives were met."""
        return self.rto_seconds <= self.rto_objective and self.rpo_seconds <= self.rpo_objective


def drill(
    repository: Repository,
    snapshot: Snapshot,
    now: datetime,
    scenario: str = "store",
    scratch: Path | None = None,
    report: Report = silent,
) -> Drilled:
    """Restore a snapshot to a scratch directory, which is removed again, and compare each object with what was recorded."""
    rto, rpo = OBJECTIVES[scenario]
    faults: list[str] = []
    objects = size = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tollhouse-drill-", dir=scratch) as place:
        for at, collection in enumerate(snapshot.collections):
            target = DirectoryTarget(Path(place) / str(at))
            chosen = Selection(source=collection.address)
            if collection.objects:
                restored = restore(repository, snapshot, target, chosen=chosen, report=report)
                faults += [f"{error['key']}: {error['reason']}" for error in restored.errors]
        for at, collection in enumerate(snapshot.collections):
            if collection.kind == "tollhouse" and not faults:  # files that are right are not yet a Tollhouse that starts
                faults += _revived(Path(place) / str(at), Path(place) / f"{at}-data")
        took = time.monotonic() - began
        for at, collection in enumerate(snapshot.collections):
            target = DirectoryTarget(Path(place) / str(at))
            for entry in selected(repository, snapshot, Selection(source=collection.address)) if collection.objects else ():
                objects, size = objects + 1, size + entry.size
                if collection.kind == "tollhouse":
                    continue  # its files were moved to where they belong, and each was compared when it was written
                present = target.present(entry.key)
                if present is None or (present.size, present.sha256) != (entry.size, entry.sha256):
                    faults.append(f"{entry.key}: it did not come back as it was.")
    age = max(timedelta(0), now - snapshot.moment)
    return Drilled(scenario, snapshot.id, objects, size, took, age.total_seconds(), rto.total_seconds(), rpo.total_seconds(), faults[:100])


def _revived(staged: Path, data: Path) -> list[str]:
    """Make a data directory of what was restored, and open its stores; returns what went wrong."""
    try:
        bring_back(staged, data, "192MB")
    except TollhouseError as error:
        return [error.detail]
    return []
