"""The three things a job-running app is billed for, ready from the first start.

The meters count what the client's `track_bytes_processed`, `track_compute_seconds` and `track_job_completion` send.
Their default prices are settings, and a price of the organization's own takes their place.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy.orm import Session

from tollhouse import metering
from tollhouse.billing.rating import Rate
from tollhouse.metering import NewMeter

GIGABYTE = Decimal(1024**3)
BYTES, SECONDS, JOBS = "bytes_processed", "compute_seconds", "jobs"
JOB_COMPLETION = "job_completion"

_METERS = (
    NewMeter(BYTES, BYTES, "sum", "$.bytes", unit="byte", description="Data processed"),
    NewMeter(SECONDS, SECONDS, "sum", "$.seconds", unit="second", description="Compute time"),
    NewMeter(JOBS, JOB_COMPLETION, "count", group_by={"status": "$.status"}, unit="job", description="Jobs by outcome"),
)


@dataclass(frozen=True)
class DefaultRates:
    """What a gigabyte (1024^3 bytes) and a second cost where the organization has set no price."""

    gigabyte: Decimal = Decimal("0.001")
    second: Decimal = Decimal("0.0001")

    def by_slug(self) -> dict[str, Rate]:
        """The rates by the slug of the meter they price."""
        return {
            BYTES: Rate("per_unit", self.gigabyte, per=GIGABYTE),
            SECONDS: Rate("per_unit", self.second),
        }


def lay_meters(session: Session, organization: str, now: datetime, actor: str = "setup") -> None:
    """Give a new organization the meters."""
    for meter in _METERS:
        metering.add(session, organization, now, actor, meter)
