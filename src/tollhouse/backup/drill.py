"""A drill: restore the newest snapshot into a scratch place, compare everything, and measure what that says of a real disaster.

The recovery time is how long the restore took. The recovery point is how old the snapshot was: what would have been lost. A
database is loaded into a scratch database; where none can be made, its files alone are restored and compared, and the result says so.
"""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tollhouse.backup.progress import Report, silent
from tollhouse.backup.repository import Repository
from tollhouse.backup.restore import Selection, restore, selected
from tollhouse.backup.snapshot import Collection, Snapshot
from tollhouse.backup.sources.directory import DirectoryTarget
from tollhouse.backup.sources.kinds import DATABASE, OBJECTS, TOLLHOUSE
from tollhouse.kit.errors import TollhouseError

if TYPE_CHECKING:
    from tollhouse.backup.loading import Loaded

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
    databases: "list[Loaded]" = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether everything came back as it was; the objectives are another question."""
        return not self.faults

    @property
    def in_time(self) -> bool:
        """Whether both objectives were met."""
        return self.rto_seconds <= self.rto_objective and self.rpo_seconds <= self.rpo_objective

    @property
    def loaded(self) -> bool:
        """Whether every database of the snapshot was loaded into one."""
        return all(one.loaded for one in self.databases)


def drill(
    repository: Repository,
    snapshot: Snapshot,
    now: datetime,
    scenario: str = "",
    scratch: Path | None = None,
    report: Report = silent,
    server: str = "",
    known: Mapping[str, str] | None = None,
) -> Drilled:
    """Restore a snapshot to a scratch place, which is removed again, and compare each object with what was recorded.

    Without a scenario, the objectives are those of a bucket if it holds nothing but objects, and else of a store.
    Scratch databases are made on the database server at `server` if it is of their kind, else on their own; `known` has
    whole addresses, with passwords, by what is shown of them.
    """
    scenario = scenario or ("bucket" if all(one.kind == OBJECTS for one in snapshot.collections) else "store")
    rto, rpo = OBJECTIVES[scenario]
    faults = [] if snapshot.objects else ["The snapshot holds no objects, so nothing was proved."]
    databases: list[Loaded] = []
    took = 0.0
    with tempfile.TemporaryDirectory(prefix="tollhouse-drill-", dir=scratch) as place:
        for at, collection in enumerate(snapshot.collections):
            folder = Path(place) / str(at)
            if collection.kind == DATABASE and collection.objects:
                from tollhouse.backup import loading  # noqa: PLC0415  # it brings the drivers

                folder.mkdir()
                at_server = loading.server_for(collection.address, server, known or {})
                databases.append(loading.load(repository, snapshot, collection, at_server, folder, report))
                faults += databases[-1].faults
                took += databases[-1].seconds
                if databases[-1].loaded:
                    continue
            began = time.monotonic()
            faults += _restored(repository, snapshot, collection, folder, report)
            took += time.monotonic() - began
            faults += _different(repository, snapshot, collection, folder)
    age = max(timedelta(0), now - snapshot.moment)
    times = (took, age.total_seconds(), rto.total_seconds(), rpo.total_seconds())
    return Drilled(scenario, snapshot.id, snapshot.objects, snapshot.bytes, *times, faults[:100], databases)


def _restored(repository: Repository, snapshot: Snapshot, collection: Collection, folder: Path, report: Report) -> list[str]:
    """Restore a collection's files; returns what went wrong."""
    if not collection.objects:
        return []
    done = restore(repository, snapshot, DirectoryTarget(folder), chosen=Selection(source=collection.address), report=report)
    if done.errors or collection.kind != TOLLHOUSE:
        return [f"{error['key']}: {error['reason']}" for error in done.errors]
    return _revived(folder, folder.with_name(f"{folder.name}-data"))  # files that are right are not yet a Tollhouse that starts


def _different(repository: Repository, snapshot: Snapshot, collection: Collection, folder: Path) -> list[str]:
    """What of a collection's files is not as it was recorded."""
    if collection.kind == TOLLHOUSE or not collection.objects:
        return []  # Tollhouse's own were moved to where they belong, and each was compared when it was written
    target, found = DirectoryTarget(folder), []
    for entry in selected(repository, snapshot, Selection(source=collection.address)):
        present = target.present(entry.key)
        if present is None or (present.size, present.sha256) != (entry.size, entry.sha256):
            found.append(f"{entry.key}: it did not come back as it was.")
    return found


def _revived(staged: Path, data: Path) -> list[str]:
    """Make a data directory of what was restored, and open its stores; returns what went wrong."""
    from tollhouse.backup.sources.tollhouse import bring_back  # noqa: PLC0415  # it brings every store

    try:
        bring_back(staged, data, "192MB")
    except TollhouseError as error:
        return [error.detail]
    return []
