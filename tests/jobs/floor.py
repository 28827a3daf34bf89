"""A workshop's floor: one organization's jobs on a records database, with a clock that is moved by hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tollhouse import access, jobs, journal
from tollhouse.jobs import Claim, Job, NewJob, Outcome, StoredFile, Terms, UsageReport
from tollhouse.store.records import Records

START = datetime(2024, 5, 1, tzinfo=UTC)
TERMS = Terms(lease=timedelta(seconds=60), backoff=timedelta(seconds=5))


@dataclass
class Clock:
    """Shows what it was set to."""

    now: datetime = START

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def forward(self, **by: float) -> datetime:
        """Move it on, as by `minutes=5`."""
        self.now += timedelta(**by)
        return self.now


@dataclass
class Floor:
    """Each verb is a transaction of its own, at the clock's time."""

    records: Records
    clock: Clock = field(default_factory=Clock)
    terms: Terms = TERMS
    organization: str = ""

    def __post_init__(self) -> None:
        with self.records.transaction() as session:
            self.organization = self.organization or access.found(session, self.clock.now, "Manga").id

    def _do(self, verb: Callable[[Session], Any]) -> Any:
        with self.records.transaction() as session:
            return verb(session)

    def create(self, kind: str = "animate", attempts: int = 3, sizes: Sequence[int] = (), customer: str = "carol") -> Job:
        """A job with files of those sizes."""
        files = [StoredFile(f"{at}.png", f"files/{at}", size, "image/png") for at, size in enumerate(sizes)]
        new = NewJob(customer, kind, {}, files, attempts)
        made: Job = self._do(lambda session: jobs.create(session, self.organization, self.clock.now, "alice", new))
        return made

    def claim(self, worker: str = "w1", kinds: tuple[str, ...] = (), lease: timedelta | None = None) -> Job | None:
        """What a worker is given."""
        wanted = Claim(worker, kinds, lease)
        given: Job | None = self._do(lambda session: jobs.claim(session, self.organization, wanted, self.clock.now, self.terms))
        return given

    def claimed(self, worker: str = "w1") -> Job:
        """The same, where there is one."""
        job = self.claim(worker)
        assert job is not None
        return job

    def advance(self, job: Job, progress: int | None = None, message: str | None = None) -> Job:
        """A sign of life from whoever holds that job."""
        told: Job = self._do(
            lambda session: jobs.advance(session, self.organization, job.id, job.fence, self.clock.now, self.terms, progress, message)
        )
        return told

    def complete(self, job: Job, outcome: Outcome | None = None) -> Job:
        """The end."""
        done = outcome or Outcome()
        ended: Job = self._do(lambda session: jobs.complete(session, self.organization, job.id, job.fence, self.clock.now, "w1", done))
        return ended

    def skip(self, job: Job) -> Job:
        """The other end."""
        return self.complete(job, Outcome("skipped"))

    def fail(self, job: Job, reason: str = "torn page", retry: bool = True, seconds: Decimal | None = None) -> Job:
        """The worker gives up."""
        failed: Job = self._do(
            lambda session: jobs.fail(
                session, self.organization, job.id, job.fence, self.clock.now, "w1", self.terms, reason, retry, seconds
            )
        )
        return failed

    def give_up(self, job: Job) -> Job:
        """And for good."""
        return self.fail(job, retry=False)

    def give_back(self, job: Job) -> Job:
        """The worker is stopped."""
        back: Job = self._do(lambda session: jobs.give_back(session, self.organization, job.id, job.fence, self.clock.now, "w1"))
        return back

    def release(self) -> int:
        """Take back what is overdue."""
        returned: int = self._do(lambda session: jobs.release_overdue(session, self.clock.now, self.terms, self.organization))
        return returned

    def cancel(self, job: Job) -> Job:
        """A person stops it."""
        stopped: Job = self._do(lambda session: jobs.cancel(session, self.organization, job.id, self.clock.now, "alice"))
        return stopped

    def retry(self, job: Job) -> Job:
        """A person runs it again."""
        again: Job = self._do(lambda session: jobs.retry(session, self.organization, job.id, self.clock.now, "alice"))
        return again

    def look(self, job: Job) -> Job:
        """The job as it is now."""
        with self.records.reading() as session:
            return jobs.find(session, self.organization, job.id)

    def history(self, job: Job) -> list[str]:
        """The verbs of its journal, oldest first."""
        with self.records.reading() as session:
            return [entry.verb for entry in journal.history(session, self.organization, "job", job.id)]

    def reports(self) -> dict[str, UsageReport]:
        """What this organization's jobs have reported, by id."""
        with self.records.reading() as session:
            mine = sa.select(UsageReport).where(UsageReport.organization == self.organization)
            return {report.id: report for report in session.scalars(mine)}

    def bring(self, status: str) -> Job:
        """A job in that status."""
        job = self.create()
        if status == "pending":
            return job
        if status == "cancelled":
            return self.cancel(job)
        held = self.claimed()
        ways: dict[str, Callable[[Job], Job]] = {"completed": self.complete, "skipped": self.skip, "failed": self.give_up}
        return ways[status](held) if status in ways else held
