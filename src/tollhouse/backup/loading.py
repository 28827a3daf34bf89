"""Loading a snapshot of a database into a scratch database of the same kind, and comparing what is in it then.

The restore reads every row again and compares checksums before it commits; the rows are counted after, when it has.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tollhouse.backup.progress import Report
from tollhouse.backup.repository import Repository
from tollhouse.backup.restore import Selection, checked_pieces, restore, selected
from tollhouse.backup.snapshot import Collection, Snapshot
from tollhouse.backup.sources.database import ROWS, DatabaseTarget
from tollhouse.backup.sources.databases import kind_of, scratch_database
from tollhouse.backup.sources.kinds import is_database
from tollhouse.kit.errors import TollhouseError, Unprocessable


@dataclass(frozen=True)
class Loaded:
    """What became of one database; where it could not be loaded, `reason` says why."""

    source: str
    loaded: bool
    tables: int = 0
    rows: int = 0
    seconds: float = 0.0
    reason: str = ""
    faults: list[str] = field(default_factory=list)

    @property
    def told(self) -> dict[str, Any]:
        """What a result says of it."""
        known = {"tables": self.tables, "rows": self.rows} if self.loaded else {"reason": self.reason}
        return {"source": self.source, "loaded": self.loaded} | known


def server_for(address: str, named: str, known: Mapping[str, str]) -> str:
    """Where the scratch database for a database is made: at the named address, if it is of the same kind, else at its own.

    A snapshot does not know passwords; `known` has whole addresses by what is shown of them. Raises Unprocessable.
    """
    if named and not is_database(named):
        raise Unprocessable("scratch: write the address of a database server, such as postgresql://user@host/name.")
    own = known.get(address, address)
    return named if named and kind_of(named) == kind_of(own) else own


def load(repository: Repository, snapshot: Snapshot, collection: Collection, server: str, folder: Path, report: Report) -> Loaded:
    """Load a collection and compare it; `server` is the address at which the scratch database is made, or a folder takes it."""
    about = collection.configuration["database.json"]
    source, began, made = collection.address, time.monotonic(), False
    try:
        with scratch_database(about["dialect"], server, folder, tuple(about.get("extensions", ()))) as address:
            made = True
            target = DatabaseTarget(address)
            restored = restore(repository, snapshot, target, chosen=Selection(source=source), report=report)
            took = time.monotonic() - began
            faults = [f"{error['key']}: {error['reason']}".removeprefix(": ") for error in restored.errors]
            wanted = _recorded(repository, snapshot, source)
            if not faults:
                there = target.counted(wanted)
                faults = [
                    f"{key.rpartition('/')[0]}: {there.get(key, 0)} rows came back of {count}"
                    for key, count in wanted.items()
                    if there.get(key) != count
                ]
            return Loaded(source, True, len(wanted), sum(wanted.values()), took, faults=faults)
    except TollhouseError as error:
        if made:
            return Loaded(source, True, seconds=time.monotonic() - began, faults=[f"{source}: {error.detail}"])
        return Loaded(source, False, reason=error.detail)


def _recorded(repository: Repository, snapshot: Snapshot, source: str) -> dict[str, int]:
    """How many rows the snapshot has of each table, by the key of its rows; reads and checks every file, those for other programs, too."""
    found: dict[str, int] = {}
    for entry in selected(repository, snapshot, Selection(source=source)):
        lines = sum(piece.count(b"\n") for piece in checked_pieces(repository, entry))
        if entry.key.endswith(f"/{ROWS}"):
            found[entry.key] = lines
    return found
