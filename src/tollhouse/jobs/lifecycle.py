"""How a job gets from one status to the next: claimed, kept alive, ended, sent back, tried again.

Time is what tells a slow worker from a lost one: a claim is a lease, each sign of life extends it, and who lets it run out
has lost the job. The database decides between two workers, by a conditional update; nobody holds a lock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from tollhouse.jobs import usage
from tollhouse.jobs.file import StoredFile, attach
from tollhouse.jobs.job import MOST_DATA_BYTES, Job, find, move
from tollhouse.kit.errors import Conflict, Unprocessable
from tollhouse.kit.money import QUANTITY_PLACES, plain, round_half_even

MOST_BACKOFF = timedelta(minutes=15)
LOST = "The worker was lost: it gave no sign of life before its lease ran out."


@dataclass(frozen=True)
class Terms:
    """How long a lease lasts, and how long a job waits before its second attempt (twice as long before each further one)."""

    lease: timedelta = timedelta(seconds=60)
    backoff: timedelta = timedelta(seconds=5)

    def pause(self, attempt: int) -> timedelta:
        """How long to wait after that attempt."""
        doubled: int = 1 << min(max(attempt - 1, 0), 20)
        return min(MOST_BACKOFF, self.backoff * doubled)


@dataclass(frozen=True)
class Claim:
    """Which jobs a worker takes: kinds (none means any), its name, and its lease if not the usual one."""

    worker: str
    kinds: tuple[str, ...] = ()
    lease: timedelta | None = None


@dataclass(frozen=True)
class Outcome:
    """How a job ended. `compute_seconds` is what the worker measured; else it is the time since its claim."""

    status: Literal["completed", "skipped"] = "completed"
    files: Sequence[StoredFile] = ()
    thumbnail: StoredFile | None = None
    result: dict[str, Any] | None = None
    compute_seconds: Decimal | None = None


def waiting(session: Session, organization: str, kinds: Sequence[str], now: datetime) -> bool:
    """Whether a claim would find something: a look that takes no lock."""
    overdue = sa.and_(Job.status == "processing", Job.lease_until < now)
    ready = sa.and_(Job.status == "pending", Job.available_at <= now)
    wanted = sa.select(sa.literal(1)).where(Job.organization == organization, sa.or_(ready, overdue), *_of(kinds)).limit(1)
    return session.scalar(wanted) is not None


def claim(session: Session, organization: str, wanted: Claim, now: datetime, terms: Terms) -> Job | None:
    """Take the job that has waited longest, or None; whose worker is lost goes back first."""
    release_overdue(session, now, terms, organization)
    ready = sa.select(Job).where(Job.organization == organization, Job.status == "pending", Job.available_at <= now, *_of(wanted.kinds))
    # Two workers do not wait for the same row on PostgreSQL; SQLite has one writer and needs no such word.
    job = session.scalar(ready.order_by(Job.available_at, Job.id).limit(1).with_for_update(skip_locked=True))
    if job is None:
        return None
    return move(
        session,
        job,
        "processing",
        now,
        wanted.worker,
        "claimed",
        worker=wanted.worker,
        attempt=job.attempt + 1,
        fence=job.fence + 1,
        lease_until=now + (wanted.lease or terms.lease),
        lease_seconds=(wanted.lease or terms.lease).total_seconds(),
        started_at=now,
        progress=0,
        message="",
    )


def _of(kinds: Sequence[str]) -> list[sa.ColumnElement[bool]]:
    return [Job.kind.in_(kinds)] if kinds else []


def advance(
    session: Session, organization: str, id: str, fence: int, now: datetime, terms: Terms, progress: int | None, message: str | None
) -> Job:
    """A sign of life from the worker: extends its lease, and says how far it has come (0 to 100). Never backwards."""
    job = held(session, organization, id, fence)
    lease = terms.lease if job.lease_seconds is None else timedelta(seconds=job.lease_seconds)
    values: dict[str, Any] = {"lease_until": now + lease}
    if progress is not None:
        if not 0 <= progress <= 100:
            raise Unprocessable(f"progress: {progress} is out of range; send 0 to 100.")
        # The database compares: another sign of life of the same worker may have come since the job was read.
        values["progress"] = sa.case((Job.progress < progress, progress), else_=Job.progress)
    if message is not None:
        values["message"] = message[:500]
    same = (Job.id == job.id, Job.status == "processing", Job.fence == fence)
    if session.execute(sa.update(Job).where(*same).values(**values)).rowcount != 1:  # type: ignore[attr-defined]
        raise _lost(job)
    session.refresh(job)
    return job


def held(session: Session, organization: str, id: str, fence: int) -> Job:
    """The job, if the worker with this fence token still holds it; raises Conflict where it has been taken from it."""
    job = find(session, organization, id)
    if job.status != "processing" or job.fence != fence:
        raise _lost(job)
    return job


def _lost(job: Job) -> Conflict:
    return Conflict(f"This worker does not hold the job {job.id!r} any more, which is {job.status} now; drop what you have of it.")


def complete(session: Session, organization: str, id: str, fence: int, now: datetime, actor: str, outcome: Outcome) -> Job:
    """The job is done: its files become its result, and its seconds and outcome its customer's usage, once."""
    job = held(session, organization, id, fence)
    if outcome.result is not None and len(msgspec.json.encode(outcome.result)) > MOST_DATA_BYTES:
        raise Unprocessable(f"data: it is larger than {MOST_DATA_BYTES} bytes; send a large result as a file.")
    seconds = _computed(job, now, outcome.compute_seconds)
    ended: dict[str, Any] = {"completed_at": now, "lease_until": None, "compute_seconds": seconds, "result": outcome.result, "error": None}
    if outcome.status == "completed":
        ended |= {"progress": 100, "message": ""}
    move(session, job, outcome.status, now, actor, outcome.status, **ended)
    attach(session, organization, job.id, "result", outcome.files, now)
    if outcome.thumbnail is not None:
        attach(session, organization, job.id, "thumbnail", [outcome.thumbnail], now)
    usage.report_outcome(session, organization, job.customer, job.id, job.run, outcome.status, seconds, now)
    return job


def ended_by(session: Session, organization: str, id: str, fence: int, status: str) -> Job | None:
    """The job, if the worker with this fence token has ended it so already: its answer may have been lost on the way."""
    job = find(session, organization, id)
    return job if job.fence == fence and job.status == status else None


def give_back(session: Session, organization: str, id: str, fence: int, now: datetime, actor: str) -> Job:
    """The worker is being stopped: the job is free at once, and no attempt has been used."""
    job = held(session, organization, id, fence)
    back = {"available_at": now, "lease_until": None, "worker": None, "fence": job.fence + 1, "attempt": job.attempt - 1}
    return move(session, job, "pending", now, actor, "given back", **back)


def fail(
    session: Session,
    organization: str,
    id: str,
    fence: int,
    now: datetime,
    actor: str,
    terms: Terms,
    reason: str,
    retry: bool = True,
    compute_seconds: Decimal | None = None,
) -> Job:
    """The worker could not do it: another attempt later while there are any and it asks for one, else the job has failed."""
    job = held(session, organization, id, fence)
    seconds = _computed(job, now, compute_seconds)
    return _give_back(session, job, now, actor, terms, reason or "The worker gave no reason.", retry, seconds)


def _give_back(
    session: Session, job: Job, now: datetime, actor: str, terms: Terms, reason: str, retry: bool, seconds: Decimal | None
) -> Job:
    reason = reason.replace("\0", "")[:2000]
    if retry and job.attempt < job.attempts:
        later = now + terms.pause(job.attempt)
        back = {"available_at": later, "lease_until": None, "worker": None, "fence": job.fence + 1, "error": reason}
        return move(session, job, "pending", now, actor, "returned", **back)
    ended = {"completed_at": now, "lease_until": None, "error": reason, "compute_seconds": seconds}
    move(session, job, "failed", now, actor, "failed", **ended)
    usage.report_outcome(session, job.organization, job.customer, job.id, job.run, "failed", seconds, now)
    return job


def release_overdue(session: Session, now: datetime, terms: Terms, organization: str | None = None, limit: int = 100) -> int:
    """Take jobs back from workers that let their lease run out; returns how many."""
    overdue = sa.select(Job).where(Job.status == "processing", Job.lease_until < now)
    if organization is not None:
        overdue = overdue.where(Job.organization == organization)
    jobs = list(session.scalars(overdue.order_by(Job.lease_until).limit(limit).with_for_update(skip_locked=True)))
    for job in jobs:
        # A worker that was lost has measured nothing, and what it was at cannot be told from its silence: not billed.
        _give_back(session, job, now, "tollhouse", terms, LOST, True, None)
    return len(jobs)


def cancel(session: Session, organization: str, id: str, now: datetime, actor: str, customer: str | None = None) -> Job:
    """Stop a job that has not ended; its worker learns of it at its next sign of life."""
    job = find(session, organization, id, customer)
    if job.status not in ("pending", "processing"):
        raise Conflict(f"The job {id!r} is {job.status} and cannot be cancelled any more.")
    ended = {"completed_at": now, "lease_until": None, "fence": job.fence + 1}
    return move(session, job, "cancelled", now, actor, "cancelled", **ended)


def retry(session: Session, organization: str, id: str, now: datetime, actor: str, customer: str | None = None) -> Job:
    """Run a failed or cancelled job again, as a run of its own with all its attempts."""
    job = find(session, organization, id, customer)
    if job.status not in ("failed", "cancelled"):
        raise Conflict(f"The job {id!r} is {job.status}; only a failed or cancelled job can be retried.")
    afresh: dict[str, Any] = dict.fromkeys(("error", "completed_at", "started_at", "worker", "compute_seconds", "result"))
    afresh |= {"run": job.run + 1, "attempt": 0, "fence": job.fence + 1, "available_at": now, "progress": 0, "message": ""}
    return move(session, job, "pending", now, actor, "retried", **afresh)


def _computed(job: Job, now: datetime, measured: Decimal | None) -> Decimal:
    """The seconds of computing that a run is billed for: the worker's own measure, else the time since it was claimed."""
    if measured is None:
        return Decimal((now - (job.started_at or now)) // timedelta(milliseconds=1)) / 1000
    if not measured.is_finite() or not 0 <= measured < 10**9:
        raise Unprocessable(f"compute_seconds: {str(measured)[:40]} is no time; send seconds, such as 12.5.")
    return plain(round_half_even(measured, QUANTITY_PLACES))
