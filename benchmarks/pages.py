"""Pages, asked of a server in the same process over loopback: 10,000 jobs, a million events, 500 customers."""

import random
import time
from datetime import timedelta
from pathlib import Path

import httpx
import msgspec
from sqlalchemy import insert

from benchmarks.report import Figure, Section, console, millions
from tollhouse import access
from tollhouse.app import Tollhouse, opened
from tollhouse.cli.embedded import served
from tollhouse.cli.server import suit_interpreter
from tollhouse.events import parse
from tollhouse.jobs import Job
from tollhouse.kit import ids, times
from tollhouse.settings import Settings

JOBS, CUSTOMERS, DAYS, ROUNDS = 10_000, 500, 85, 15
PAGES = {
    "a customer's jobs": "/dashboard/jobs?user_id=customer-7",
    "a customer's jobs, page 2, completed": "/dashboard/jobs?user_id=customer-0&status=completed",
    "one job": "/dashboard/jobs/{job}",
    "a customer's bills, 30 days": "/dashboard/billing?user_id=customer-7",
    "a customer's bills, 90 days": "/dashboard/billing?user_id=customer-7&days=90",
    "all jobs": "/admin/jobs",
    "all jobs, searched": "/admin/jobs?search=customer-77",
    "all customers, 30 days": "/admin/billing",
    "all customers, 90 days": "/admin/billing?days=90",
}


def sections(directory: Path, events: int) -> Section:
    """Fill a Tollhouse and ask each page several times; the median, and the largest page's weight without the chart bundle."""
    suit_interpreter()
    with opened(Settings(data=directory / "pages", dev=True)) as tollhouse, served(tollhouse) as url:
        with console.status(f"pages: {JOBS:,} jobs and {millions(events)} events …"):
            job = _jobs(tollhouse)
            _events(tollhouse, events)
            tollhouse.aggregate()
        found = Section(f"Pages, {JOBS:,} jobs, {millions(events)} events, {CUSTOMERS} customers")
        with httpx.Client(base_url=url, headers={"accept": "text/html"}, trust_env=False) as browser:
            weight = 0
            for name, path in PAGES.items():
                taken = []
                for _ in range(ROUNDS):
                    began = time.perf_counter()
                    answer = browser.get(path.format(job=job)).raise_for_status()
                    taken.append(time.perf_counter() - began)
                    weight = max(weight, len(answer.content))
                found.figures.append(Figure(name, sorted(taken)[ROUNDS // 2] * 1000, "ms", 100))
            ours = sum(len(browser.get(f"/static/{name}").content) for name in ("style.css", "tollhouse.js", "morph.js", "chart.js"))
        found.figures.append(Figure("the heaviest page with its style and scripts", (weight + ours) / 1000, "kB", 100))
    return found


def _jobs(tollhouse: Tollhouse) -> str:
    """Jobs of all states, most of them completed."""
    chance, now = random.Random(1), tollhouse.parts.clock()
    owner = _owner(tollhouse)
    with tollhouse.records.transaction() as session:
        rows = []
        for at in range(JOBS):
            made = now - timedelta(minutes=13 * (JOBS - at))
            status = chance.choices(("completed", "failed", "pending", "processing", "cancelled"), (90, 6, 2, 1, 1))[0]
            ended = made + timedelta(seconds=chance.randrange(5, 900)) if status in ("completed", "failed", "cancelled") else None
            rows.append(
                {
                    **{"id": ids.new("job"), "organization": owner, "customer": f"customer-{at % 20}", "kind": "animate"},
                    **{"status": status, "data": {}, "bytes": 1000 + at, "progress": 50, "message": "page 2 of 4", "run": 1},
                    **{"attempt": 1, "attempts": 3, "fence": 1, "available_at": made, "created_at": made, "started_at": made},
                    **{"completed_at": ended, "error": "It did not work." if status == "failed" else None},
                }
            )
        session.execute(insert(Job), rows)
    return str(rows[-2]["id"])


def _events(tollhouse: Tollhouse, count: int) -> None:
    """Usage of the last 85 days, a third of each of the three kinds."""
    owner, now = _owner(tollhouse), times.micros(tollhouse.parts.clock())
    with tollhouse.records.transaction() as session:
        access.remember(session, tollhouse.parts.clock(), [(owner, f"customer-{at}") for at in range(CUSTOMERS)])
    kinds: tuple[tuple[str, str, object], ...] = (
        ("bytes_processed", "bytes", 5_000_000),
        ("compute_seconds", "seconds", 12.5),
        ("job_completion", "status", "completed"),
    )
    for start in range(0, count, 50_000):
        events = []
        for at in range(start, min(start + 50_000, count)):
            type, name, value = kinds[at % 3]
            time = times.rfc3339(now - (count - at) * (DAYS * times.DAY // count))
            customer = f"customer-{at // 3 % CUSTOMERS}"
            events.append(
                {"id": f"{at}", "type": type, "subject": customer, "time": time, "data": {name: value, "job_id": f"old-{at // 3}"}}
            )
        body = msgspec.json.encode(events)
        batch = parse(body, "application/json", owner, now, tollhouse.parts.limits, tollhouse.parts.promoted(owner)).batch
        tollhouse.events.append(batch)


def _owner(tollhouse: Tollhouse) -> str:
    with tollhouse.records.reading() as session:
        return access.list_organizations(session)[0].id
