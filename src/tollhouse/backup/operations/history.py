"""What was run and what became of it: backups, verifications, drills, prunes and copies, by hand or by schedule."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse.kit import ids
from tollhouse.kit.errors import NotFound
from tollhouse.kit.paging import Page
from tollhouse.store.records import Record


class BackupRun(Record):
    """`bytes` is the size of what was backed up or restored, `added_bytes` what the repository grew by; `status` is running,
    completed, or failed; `detail` is what the kind of run has to say, such as a drill's times."""

    __tablename__ = "backup_runs"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"), index=True)
    schedule: Mapped[str | None] = mapped_column(sa.String(40))
    repository: Mapped[str] = mapped_column(sa.ForeignKey("backup_repositories.id"), index=True)
    kind: Mapped[str] = mapped_column(sa.String(20))
    source: Mapped[str] = mapped_column(sa.String(1000))
    status: Mapped[str] = mapped_column(sa.String(20))
    actor: Mapped[str] = mapped_column(sa.String(200))
    snapshot: Mapped[str | None] = mapped_column(sa.String(80))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    objects: Mapped[int] = mapped_column(sa.BigInteger)
    bytes: Mapped[int] = mapped_column(sa.BigInteger)
    added_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    changed: Mapped[int] = mapped_column(sa.BigInteger)
    errors: Mapped[list[Any]]
    detail: Mapped[dict[str, Any]]

    @property
    def reason(self) -> str:
        """Why it failed, as far as a sentence has room for it."""
        failed = [error for error in self.errors if "severity" not in error]
        said = [f"{error['key']}: {error['reason']}" if error["key"] else str(error["reason"]) for error in failed[:3]]
        return "; ".join([*said, *([f"and {len(failed) - 3} more"] if len(failed) > 3 else [])])

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return None if self.ended_at is None else (self.ended_at - self.started_at).total_seconds()


def begin_run(
    session: Session, organization: str, now: datetime, actor: str, kind: str, source: str, repository: str, schedule: str | None = None
) -> BackupRun:
    """Write down that something has begun."""
    run = BackupRun(
        id=ids.new("bkp"),
        organization=organization,
        schedule=schedule,
        repository=repository,
        kind=kind,
        source=source,
        status="running",
        actor=actor,
        snapshot=None,
        started_at=now,
        ended_at=None,
        objects=0,
        bytes=0,
        added_bytes=0,
        changed=0,
        errors=[],
        detail={},
    )
    session.add(run)
    session.flush()
    return run


def list_runs(
    session: Session, organization: str, page: Page, kinds: tuple[str, ...] = (), repository: str | None = None
) -> tuple[list[BackupRun], int]:
    """One page of runs, the newest first, and how many there are."""
    mine = sa.select(BackupRun).where(BackupRun.organization == organization)
    if kinds:
        mine = mine.where(BackupRun.kind.in_(kinds))
    if repository is not None:
        mine = mine.where(BackupRun.repository == repository)
    total = session.scalar(sa.select(sa.func.count()).select_from(mine.subquery())) or 0
    return list(session.scalars(mine.order_by(BackupRun.id.desc()).limit(page.limit).offset(page.offset))), total


def find_run(session: Session, organization: str, id: str) -> BackupRun:
    """The run of that id; raises NotFound."""
    run = session.scalar(sa.select(BackupRun).where(BackupRun.organization == organization, BackupRun.id == id))
    if run is None:
        raise NotFound(f"There is no backup {id[:60]!r}.")
    return run


def last_completed(session: Session, schedule: str) -> datetime | None:
    """When a schedule's newest completed run began."""
    done = sa.select(sa.func.max(BackupRun.started_at)).where(BackupRun.schedule == schedule, BackupRun.status == "completed")
    return session.scalar(done)


def usual_growth(session: Session, repository: str, source: str, before: str, runs: int = 8) -> int | None:
    """The median of what the last runs of a source added; None where there were fewer than four."""
    same = sa.select(BackupRun.added_bytes).where(
        BackupRun.repository == repository,
        BackupRun.source == source,
        BackupRun.status == "completed",
        BackupRun.kind.in_(("full", "incremental")),
        BackupRun.id < before,
    )
    added = sorted(session.scalars(same.order_by(BackupRun.id.desc()).limit(runs)))
    return added[len(added) // 2] if len(added) >= 4 else None
