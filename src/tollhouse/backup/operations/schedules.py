"""When backups, drills, verifications and prunes run by themselves.

A schedule is a cron expression in UTC. Its next time is a column: whoever moves it on by a conditional update runs it, so it
runs once however many processes there are. Schedules of one server are staggered by up to ten minutes, or every customer's nightly backup
would begin at the same second.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from croniter import CroniterBadDateError, croniter
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import journal
from tollhouse.backup.operations.places import BackupPlace
from tollhouse.backup.retention import Keep, span
from tollhouse.backup.sources.databases import shown
from tollhouse.kit import ids
from tollhouse.kit.errors import Conflict, NotFound, Unprocessable
from tollhouse.store.records import Record

Task = Literal["full", "incremental", "metadata", "verify", "drill", "prune", "copy"]
TASKS: tuple[Task, ...] = ("full", "incremental", "metadata", "verify", "drill", "prune", "copy")
TAKING: tuple[Task, ...] = ("full", "incremental", "metadata")
STAGGER = timedelta(minutes=10)
NOTHING_TO_KEEP = 'keep: say what a prune keeps, such as {"daily": 30}; no schedule of this repository says it.'


class BackupSchedule(Record):
    """`keep` is what a prune after the task keeps (empty: no prune); `copy_to` is where the snapshots go next.

    A prune without a `keep` of its own keeps what the repository's backups say, see `kept_in`.
    """

    __tablename__ = "backup_schedules"
    __table_args__ = (sa.UniqueConstraint("organization", "name"),)

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"), index=True)
    name: Mapped[str] = mapped_column(sa.String(80))
    kind: Mapped[str] = mapped_column(sa.String(20))
    source: Mapped[str] = mapped_column(sa.String(1000))
    repository: Mapped[str] = mapped_column(sa.ForeignKey("backup_repositories.id"))
    copy_to: Mapped[str | None] = mapped_column(sa.ForeignKey("backup_repositories.id"))
    cron: Mapped[str] = mapped_column(sa.String(100))
    keep: Mapped[dict[str, Any]]
    enabled: Mapped[bool]
    created_at: Mapped[datetime]
    next_at: Mapped[datetime] = mapped_column(index=True)

    @property
    def shown(self) -> str:
        """The source as people may see it: it may hold a password."""
        return shown(self.source)


@dataclass(frozen=True)
class NewSchedule:
    """What a schedule is made from; `repository` and `copy_to` are ids.

    A drill is of its source's newest snapshot, or of the newest of all without a source. If that is a database's address, it
    is also where scratch databases of that kind are made, and may be a server that nothing was backed up of.
    """

    name: str
    kind: str
    source: str
    repository: str
    cron: str
    keep: dict[str, int] = field(default_factory=dict)
    copy_to: str | None = None


# The seeds' schedule: hourly for a week, daily for a month, weekly offsite for a year, monthly for seven years.
PRESET: tuple[tuple[str, Task, str, dict[str, int]], ...] = (
    ("hourly", "incremental", "0 * * * *", {"within_days": 7}),
    ("daily", "full", "0 2 * * *", {"within_days": 7, "daily": 30}),
    ("weekly", "full", "0 3 * * 0", {"weekly": 52}),
    ("monthly", "full", "0 4 1 * *", {"monthly": 84}),
    ("drill", "drill", "0 5 * * 1", {}),
    ("verify", "verify", "0 6 * * 2", {}),
)


def add_schedule(session: Session, organization: str, now: datetime, actor: str, new: NewSchedule) -> BackupSchedule:
    """Make a schedule; raises Unprocessable or Conflict."""
    if new.kind not in TASKS:
        raise Unprocessable(f"kind: {new.kind[:40]!r} is none of {', '.join(TASKS)}.")
    if not croniter.is_valid(new.cron) or len(new.cron.split()) != 5:
        raise Unprocessable(f"cron: {new.cron[:60]!r} is no cron expression of five fields; write it like 0 2 * * *.")
    if not _comes(new.cron, now):
        raise Unprocessable(f"cron: {new.cron[:60]!r} never comes; no month has that day.")
    if not _addressable(new.name):
        raise Unprocessable("name: a schedule's name has 1 to 80 printable characters, none of them / \\ ? # %, and is neither . nor ..")
    if new.kind in TAKING and not new.source:
        raise Unprocessable("source: say what is to be backed up: tollhouse, a directory, s3://bucket/prefix or a database.")
    _check_aim(session, organization, new)
    same = sa.select(BackupSchedule).where(BackupSchedule.organization == organization, BackupSchedule.name == new.name)
    if session.scalar(same) is not None:
        raise Conflict(f"There is a schedule {new.name!r} already; choose another name.")
    schedule = BackupSchedule(
        id=ids.new("bks"),
        organization=organization,
        name=new.name,
        kind=new.kind,
        source=new.source,
        repository=new.repository,
        copy_to=new.copy_to,
        cron=new.cron,
        keep=new.keep,
        enabled=True,
        created_at=now,
        next_at=now,
    )
    schedule.next_at = following(schedule, now)
    session.add(schedule)
    session.flush()
    journal.write(session, organization, now, actor, "created", "backup schedule", schedule.name, kind=schedule.kind, cron=schedule.cron)
    return schedule


def _check_aim(session: Session, organization: str, new: NewSchedule) -> None:
    """Whether a copy has somewhere to go and a prune something to keep; raises Unprocessable."""
    if new.kind == "copy" and new.copy_to is None:
        raise Unprocessable("copy_to: name the second repository that the snapshots are copied to.")
    if new.copy_to is not None and _same_place(session, new.copy_to, new.repository):
        raise Unprocessable("copy_to: that is the same repository; a copy needs another one.")
    if keep_of(new.keep) is None and new.kind == "prune" and kept_in(session, organization, new.repository) is None:
        raise Unprocessable(NOTHING_TO_KEEP)


def _comes(cron: str, now: datetime) -> bool:
    """Whether a cron expression has a time at all: the 30th of February has none."""
    try:
        croniter(cron, now).get_next(datetime)
    except CroniterBadDateError:
        return False
    return True


def _addressable(name: str) -> bool:
    """Whether a name can be a part of an address: it is how a schedule is run and removed."""
    return 1 <= len(name) <= 80 and name.strip(" .") != "" and name.isprintable() and not set(name) & set("/\\?#%")


def _same_place(session: Session, one: str, other: str) -> bool:
    """Whether two repositories are one, maybe under two names."""
    return one == other or session.get_one(BackupPlace, one).resolved == session.get_one(BackupPlace, other).resolved


def following(schedule: BackupSchedule, after: datetime) -> datetime:
    """When it runs next: the cron expression's time and its own part of the stagger."""
    shift = stagger(schedule.id)
    when: datetime = croniter(schedule.cron, (after - shift).astimezone(UTC)).get_next(datetime)
    return when + shift


def stagger(id: str) -> timedelta:
    """Which part of the ten minutes a schedule waits: always the same for one schedule."""
    share = int.from_bytes(hashlib.sha256(id.encode()).digest()[:4], "big") / 2**32
    return timedelta(seconds=int(STAGGER.total_seconds() * share))


def interval(schedule: BackupSchedule, now: datetime) -> timedelta:
    """How far apart its times are."""
    first = following(schedule, now)
    return following(schedule, first) - first


def claim_due(session: Session, now: datetime) -> BackupSchedule | None:
    """Take a schedule whose time has come, and move it on; None where none is due or somebody else was quicker."""
    due = sa.select(BackupSchedule).where(BackupSchedule.enabled.is_(True), BackupSchedule.next_at <= now)
    schedule = session.scalar(due.order_by(BackupSchedule.next_at).limit(1))
    if schedule is None:
        return None
    was = (BackupSchedule.id == schedule.id, BackupSchedule.next_at == schedule.next_at)
    moved = session.execute(sa.update(BackupSchedule).where(*was).values(next_at=following(schedule, now)))
    return schedule if moved.rowcount == 1 else None  # type: ignore[attr-defined]


def list_schedules(session: Session, organization: str | None = None) -> list[BackupSchedule]:
    """An organization's schedules, or all, by name."""
    every = sa.select(BackupSchedule).order_by(BackupSchedule.name)
    return list(session.scalars(every if organization is None else every.where(BackupSchedule.organization == organization)))


def find_schedule(session: Session, organization: str, name: str) -> BackupSchedule:
    """The schedule of that name or id; raises NotFound."""
    named = sa.or_(BackupSchedule.name == name, BackupSchedule.id == name)
    schedule = session.scalar(sa.select(BackupSchedule).where(BackupSchedule.organization == organization, named))
    if schedule is None:
        raise NotFound(f"There is no backup schedule {name[:80]!r}.")
    return schedule


def remove_schedule(session: Session, organization: str, name: str, now: datetime, actor: str) -> None:
    """Take a schedule away; what it made stays."""
    schedule = find_schedule(session, organization, name)
    session.delete(schedule)
    journal.write(session, organization, now, actor, "deleted", "backup schedule", schedule.name)


def keep_of(said: dict[str, int]) -> Keep | None:
    """What a schedule keeps, or None for everything; raises Unprocessable."""
    known = {"hourly", "daily", "weekly", "monthly", "yearly", "within_days"}
    if set(said) - known or any(not isinstance(count, int) for count in said.values()):
        raise Unprocessable(f"keep: give numbers for some of {', '.join(sorted(known))}.")
    counts = {name: count for name, count in said.items() if name != "within_days"}
    keep = Keep(**counts, within=span(said.get("within_days", 0), timedelta(days=1)))
    return None if keep.everything else keep


def kept_in(session: Session, organization: str, repository: str) -> Keep | None:
    """What all schedules of a repository keep, together: the hourly one must not forget what the monthly one keeps for years.

    None for everything: where none says anything, or where a backup says nothing and no prune says it instead.
    """
    mine = [one for one in list_schedules(session, organization) if one.repository == repository and one.kind in (*TAKING, "prune")]
    said = [(one.kind, keep) for one in mine if (keep := keep_of(one.keep)) is not None]
    silent = any(one.kind != "prune" and keep_of(one.keep) is None for one in mine)
    if not said or (silent and all(kind != "prune" for kind, _ in said)):
        return None
    names = ("hourly", "daily", "weekly", "monthly", "yearly", "within")
    return Keep(*(max(getattr(keep, name) for _, keep in said) for name in names))
