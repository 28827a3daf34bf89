"""Forgetting a repository: what the server knew of it goes, and what is in it stays.

The list of its runs goes with it: nothing can be restored from a run without its repository. What they did stays in the journal.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tollhouse import journal
from tollhouse.backup.operations.history import BackupRun
from tollhouse.backup.operations.places import BackupPlace, find_place
from tollhouse.backup.operations.schedules import list_schedules
from tollhouse.kit.errors import Conflict

ABANDONED = timedelta(days=7)  # a run that began earlier and has no end was killed with its server


def forget_place(session: Session, organization: str, name: str, now: datetime, actor: str) -> tuple[BackupPlace, int]:
    """Forget a repository and its runs, how many is told; raises NotFound, and Conflict while a schedule or a run uses it."""
    place = find_place(session, organization, name)
    if using := [one.name for one in list_schedules(session, organization) if place.id in (one.repository, one.copy_to)]:
        raise Conflict(f"The repository {place.name!r} is used by the schedules {', '.join(using)}; remove those first.")
    of_it = sa.and_(BackupRun.organization == organization, BackupRun.repository == place.id)
    busy = sa.select(BackupRun.id).where(of_it, BackupRun.status == "running", BackupRun.started_at > now - ABANDONED)
    if (run := session.scalar(busy.limit(1))) is not None:
        raise Conflict(f"The run {run} of the repository {place.name!r} has not ended yet; try again when it has.")
    runs = session.scalar(sa.select(sa.func.count()).select_from(BackupRun).where(of_it)) or 0
    session.execute(sa.delete(BackupRun).where(of_it))
    session.delete(place)
    journal.write(session, organization, now, actor, "deleted", "repository", place.name, address=place.address, runs=runs)
    return place, runs
