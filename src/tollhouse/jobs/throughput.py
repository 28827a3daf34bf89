"""How the work goes: what was finished day by day, how much of it failed, and what waits."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tollhouse.jobs.job import Job
from tollhouse.kit import times


@dataclass(frozen=True)
class Day:
    """What ended on one local date."""

    date: str
    completed: int
    failed: int


@dataclass(frozen=True)
class Throughput:
    """The last days, the oldest first; the failure rate of what ended in them (None if nothing did); what waits and since when."""

    days: tuple[Day, ...]
    failure_rate: float | None
    pending: int
    processing: int
    oldest_pending: datetime | None
    median_seconds: float | None


def throughput(session: Session, organization: str, now: datetime, home: ZoneInfo, days: int = 14) -> Throughput:
    """The last `days` local days, today included."""
    today = times.local_date(times.micros(now), home)
    first = today - timedelta(days=days - 1)
    since = times.moment(times.midnight(first, home))
    ended = sa.select(Job.status, Job.completed_at, Job.started_at).where(
        Job.organization == organization, Job.status.in_(("completed", "failed")), Job.completed_at >= since
    )
    counts = {first + timedelta(days=at): {"completed": 0, "failed": 0} for at in range(days)}
    took: list[float] = []
    for status, completed_at, started_at in session.execute(ended):
        if completed_at is None:
            continue
        day = times.local_date(times.micros(completed_at), home)
        if day in counts:
            counts[day][status] += 1
        if status == "completed" and started_at is not None:
            took.append((completed_at - started_at).total_seconds())
    completed, failed = (sum(count[status] for count in counts.values()) for status in ("completed", "failed"))
    waiting = sa.select(Job.status, sa.func.count(), sa.func.min(Job.created_at)).where(
        Job.organization == organization, Job.status.in_(("pending", "processing"))
    )
    queue = {status: (count, oldest) for status, count, oldest in session.execute(waiting.group_by(Job.status))}
    return Throughput(
        tuple(Day(day.isoformat(), **count) for day, count in counts.items()),
        failed / (completed + failed) if completed + failed else None,
        queue.get("pending", (0, None))[0],
        queue.get("processing", (0, None))[0],
        queue.get("pending", (0, None))[1],
        sorted(took)[len(took) // 2] if took else None,
    )
