"""What a job reports as its customer's usage: the same three events that the billing routes read.

A job changes in the records and its usage is counted in the event store, and no transaction spans both. So the event is
written down beside the change, and delivered after it, as often as it takes: its id is the job's, and the event store
keeps an id once.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse.kit import times
from tollhouse.store.records import Record

SOURCE = "tollhouse-jobs"
_encode = msgspec.json.Encoder(decimal_format="number").encode


class UsageReport(Record):
    """One event that the event store has not confirmed yet; `data` is its JSON, digit for digit."""

    __tablename__ = "job_usage"

    id: Mapped[str] = mapped_column(sa.String(120), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"))
    type: Mapped[str] = mapped_column(sa.String(60))
    customer: Mapped[str] = mapped_column(sa.String(255))
    at: Mapped[datetime]
    data: Mapped[str] = mapped_column(sa.Text)

    def event(self) -> dict[str, Any]:
        """The event as it is sent."""
        return {
            "id": self.id,
            "source": SOURCE,
            "type": self.type,
            "subject": self.customer,
            "time": times.rfc3339(times.micros(self.at)),
            "data": msgspec.Raw(self.data.encode()),
        }


def report_bytes(session: Session, organization: str, customer: str, job: str, bytes: int, now: datetime) -> None:
    """A job has so many bytes to process."""
    _report(session, organization, customer, f"{job}:bytes_processed", "bytes_processed", now, {"bytes": bytes, "job_id": job})


def report_outcome(
    session: Session, organization: str, customer: str, job: str, run: int, status: str, seconds: Decimal | None, now: datetime
) -> None:
    """A run of a job has ended: completed, failed or skipped, after that many seconds of computing.

    A run is reported once, whatever became of workers that were lost on the way.
    """
    suffix = f":{run}" if run > 1 else ""
    if seconds is not None:
        computed = {"seconds": seconds, "job_id": job}
        _report(session, organization, customer, f"{job}:compute_seconds{suffix}", "compute_seconds", now, computed)
    ended = {"status": status, "job_id": job}
    _report(session, organization, customer, f"{job}:job_completion{suffix}", "job_completion", now, ended)


def _report(session: Session, organization: str, customer: str, id: str, type: str, now: datetime, data: Mapping[str, Any]) -> None:
    text = _encode(data).decode()
    session.add(UsageReport(id=id, organization=organization, type=type, customer=customer, at=now, data=text))


def unsent(session: Session, limit: int = 1000) -> list[UsageReport]:
    """The oldest reports that wait to be delivered."""
    return list(session.scalars(sa.select(UsageReport).order_by(UsageReport.at, UsageReport.id).limit(limit)))


def confirm(session: Session, reports: Sequence[UsageReport]) -> None:
    """The event store has them."""
    session.execute(sa.delete(UsageReport).where(UsageReport.id.in_([report.id for report in reports])))
