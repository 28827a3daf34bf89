"""3-2-1: three copies, on two media, one of them elsewhere. Whether it holds right now, and what is missing.

The original counts as one copy on one medium (Krogh, The DAM Book, 2005). A repository counts if a backup of the source has been
completed in it within the time that is asked for, or if one was that has been copied to it since.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tollhouse.backup.operations.history import BackupRun
from tollhouse.backup.operations.places import list_places

FRESH = timedelta(days=8)


@dataclass(frozen=True)
class Coverage:
    """One source: how many copies on which media there are, whether one is elsewhere, how old the newest is, and what is missing."""

    source: str
    copies: int
    media: tuple[str, ...]
    offsite: bool
    newest: datetime | None
    missing: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def coverage(session: Session, organization: str, now: datetime, fresh: timedelta = FRESH) -> list[Coverage]:
    """Each source that was ever backed up."""
    kinds = ("full", "incremental", "copy")
    done = sa.select(BackupRun).where(BackupRun.organization == organization, BackupRun.status == "completed", BackupRun.kind.in_(kinds))
    every = list(session.scalars(done.order_by(BackupRun.id)))
    runs = [run for run in every if run.kind != "copy"]
    copies_made = [run for run in every if run.detail.get("copied_to")]
    places = {one.id: one for one in list_places(session, organization)}
    by_name = {one.name: one for one in places.values()}
    found = []
    for source in sorted({run.source for run in runs}):
        mine = [run for run in runs if run.source == source]
        recent = [run for run in mine if run.started_at >= now - fresh]
        holding = {places[run.repository].id: places[run.repository] for run in recent if run.repository in places}
        for copied in copies_made:  # of everything that was in the repository by then
            second = by_name.get(str(copied.detail["copied_to"]))
            if second is not None and any(run.repository == copied.repository and run.id <= copied.id for run in recent):
                holding[second.id] = second
        media = {"disk", *(place.medium for place in holding.values())}
        copies, offsite = 1 + len(holding), any(place.offsite for place in holding.values())
        missing = []
        if copies < 3:
            missing.append(f"{3 - copies} more {'copy' if copies == 2 else 'copies'}")
        if len(media) < 2:
            missing.append("a second medium")
        if not offsite:
            missing.append("a copy offsite")
        found.append(Coverage(source, copies, tuple(sorted(media)), offsite, mine[-1].started_at, tuple(missing)))
    return found
