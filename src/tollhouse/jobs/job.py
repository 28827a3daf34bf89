"""A job: work that an app's customer hands in, and that one of the app's workers does.

    pending ──▶ processing ──▶ completed
       │  ▲         │ │ │
       │  └─retry───┘ │ └────▶ skipped
       ▼              ▼
    cancelled ◀────── ├──────▶ failed ──(retried by a person)──▶ pending

Every arrow is one conditional update and one journal row. `run` counts how often a person (re)started the job and
`attempt` how often a worker has taken it up in this run. `fence` rises with every claim and every return to `pending`,
so a worker that lost its job is told so by the number it holds.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import access, journal
from tollhouse.jobs import usage
from tollhouse.jobs.file import StoredFile, attach
from tollhouse.kit import ids
from tollhouse.kit.errors import Conflict, Fault, NotFound, Unprocessable
from tollhouse.kit.paging import Page
from tollhouse.store.records import Record

Status = Literal["pending", "processing", "completed", "failed", "cancelled", "skipped"]
STATUSES: tuple[Status, ...] = ("pending", "processing", "completed", "failed", "cancelled", "skipped")
MOST_DATA_BYTES = 64 << 10


class Job(Record):
    """`bytes` is the size of its input files; times are when it was made, last taken up, and ended."""

    __tablename__ = "jobs"
    __table_args__ = (
        sa.UniqueConstraint("organization", "idempotency_key"),
        sa.Index("ix_jobs_customer", "organization", "customer", "id"),
        sa.Index("ix_jobs_status", "organization", "status", "available_at"),
    )

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"))
    customer: Mapped[str] = mapped_column(sa.String(255))
    kind: Mapped[str] = mapped_column(sa.String(80))
    status: Mapped[str] = mapped_column(sa.String(20))
    data: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
    bytes: Mapped[int] = mapped_column(sa.BigInteger)
    progress: Mapped[int]
    message: Mapped[str] = mapped_column(sa.String(500))
    error: Mapped[str | None] = mapped_column(sa.String(2000))
    run: Mapped[int]
    attempt: Mapped[int]
    attempts: Mapped[int]
    fence: Mapped[int]
    worker: Mapped[str | None] = mapped_column(sa.String(200))
    lease_until: Mapped[datetime | None] = mapped_column(index=True)
    lease_seconds: Mapped[float | None]
    available_at: Mapped[datetime]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    compute_seconds: Mapped[Decimal | None]
    idempotency_key: Mapped[str | None] = mapped_column(sa.String(255))
    request_hash: Mapped[str | None] = mapped_column(sa.String(64))


@dataclass(frozen=True)
class NewJob:
    """What a job is made from. `attempts` is how many workers may try before it counts as failed.

    `uploads` are the keys to which its files were sent directly, if they were; `files` are then the copies that were judged.
    """

    customer: str
    kind: str
    data: dict[str, Any] = field(default_factory=dict)
    files: Sequence[StoredFile] = ()
    attempts: int = 3
    idempotency_key: str | None = None
    uploads: Sequence[str] = ()

    def faults(self) -> list[Fault]:
        """Everything that is wrong with it."""
        found: list[Fault] = []
        if not 1 <= len(self.customer) <= 255 or "\0" in self.customer:
            found.append(Fault("user_id: a customer's id has 1 to 255 characters", "user_id"))
        if not 1 <= len(self.kind) <= 80 or not self.kind.isprintable():
            found.append(Fault("kind: a kind of job is named in 1 to 80 printable characters, such as animate", "kind"))
        if len(msgspec.json.encode(self.data)) > MOST_DATA_BYTES:
            found.append(Fault(f"data: it is larger than {MOST_DATA_BYTES} bytes; send large input as a file", "data"))
        if self.idempotency_key is not None and not 1 <= len(self.idempotency_key) <= 255:
            found.append(Fault("Idempotency-Key: a key has 1 to 255 characters", "Idempotency-Key"))
        return found

    @property
    def request_hash(self) -> str:
        """What has to be equal in two requests that carry the same idempotency key."""
        files: Sequence[Any] = self.uploads or [(file.name, file.size, file.sha256) for file in self.files]
        return hashlib.sha256(msgspec.json.encode([self.customer, self.kind, self.data, files], order="sorted")).hexdigest()


def create(session: Session, organization: str, now: datetime, actor: str, new: NewJob) -> Job:
    """Make a job, and report the bytes of its files as its customer's usage; raises Unprocessable with every fault."""
    if faults := new.faults():
        raise Unprocessable("; ".join(fault.detail for fault in faults) + ".", faults)
    access.remember(session, now, [(organization, new.customer)])
    job = Job(
        id=ids.new("job"),
        organization=organization,
        customer=new.customer,
        kind=new.kind,
        status="pending",
        data=new.data,
        result=None,
        bytes=sum(file.size for file in new.files),
        progress=0,
        message="",
        error=None,
        run=1,
        attempt=0,
        attempts=new.attempts,
        fence=0,
        worker=None,
        lease_until=None,
        lease_seconds=None,
        available_at=now,
        created_at=now,
        started_at=None,
        completed_at=None,
        compute_seconds=None,
        idempotency_key=new.idempotency_key,
        request_hash=new.request_hash if new.idempotency_key else None,
    )
    session.add(job)
    session.flush()
    attach(session, organization, job.id, "input", new.files, now)
    usage.report_bytes(session, organization, job.customer, job.id, job.bytes, now)
    journal.write(session, organization, now, actor, "created", "job", job.id, kind=job.kind, customer=job.customer, bytes=job.bytes)
    return job


def made_before(session: Session, organization: str, new: NewJob) -> Job | None:
    """The job that an earlier request with this idempotency key made; raises Unprocessable if that was another request."""
    if new.idempotency_key is None:
        return None
    kept = session.scalar(sa.select(Job).where(Job.organization == organization, Job.idempotency_key == new.idempotency_key))
    if kept is not None and kept.request_hash != new.request_hash:
        raise Unprocessable("Idempotency-Key: it was used for another job; use a new key for a new job.")
    return kept


def find(session: Session, organization: str, id: str, customer: str | None = None) -> Job:
    """The job of that id, and with a customer named only if it is theirs; raises NotFound."""
    wanted = sa.select(Job).where(Job.organization == organization, Job.id == id)
    job = session.scalar(wanted if customer is None else wanted.where(Job.customer == customer))
    if job is None:
        raise NotFound(f"There is no job {id[:60]!r}.")
    return job


def list_jobs(
    session: Session, organization: str, page: Page, customer: str | None = None, statuses: Sequence[str] = (), search: str = ""
) -> tuple[list[Job], int]:
    """One page of jobs, the newest first, and how many there are in all."""
    wanted = sa.select(Job).where(*_whose(organization, customer))
    if statuses:
        wanted = wanted.where(Job.status.in_(statuses))
    if search:
        like = "%" + search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        wanted = wanted.where(sa.or_(Job.customer.ilike(like, escape="\\"), Job.kind.ilike(like, escape="\\"), Job.id == search))
    total = session.scalar(sa.select(sa.func.count()).select_from(wanted.subquery())) or 0
    return list(session.scalars(wanted.order_by(Job.id.desc()).limit(page.limit).offset(page.offset))), total


def count_by_status(session: Session, organization: str, customer: str | None = None) -> dict[str, int]:
    """How many jobs there are in each status."""
    counted = sa.select(Job.status, sa.func.count()).where(*_whose(organization, customer)).group_by(Job.status)
    return dict.fromkeys(STATUSES, 0) | {row[0]: row[1] for row in session.execute(counted)}


def _whose(organization: str, customer: str | None) -> list[sa.ColumnElement[bool]]:
    return [Job.organization == organization] + ([Job.customer == customer] if customer is not None else [])


def move(session: Session, job: Job, to: Status, now: datetime, actor: str, verb: str, **values: Any) -> Job:
    """The one way in which a job changes its status: only from the state that was read, with a journal row.

    Raises Conflict where somebody else was quicker.
    """
    same = (Job.id == job.id, Job.status == job.status, Job.fence == job.fence)
    changed = session.execute(sa.update(Job).where(*same).values(status=to, **values))
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        raise Conflict(f"The job {job.id!r} has changed meanwhile; look at it again.")
    detail = {"from": job.status, "to": to, "run": job.run, "attempt": values.get("attempt", job.attempt), "customer": job.customer}
    journal.write(session, job.organization, now, actor, verb, "job", job.id, **detail, error=values.get("error"))
    session.refresh(job)
    return job
