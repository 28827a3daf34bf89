"""The operators' pages: everybody's jobs with the queue, and everybody's bills."""

import asyncio
from datetime import date
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tollhouse import billing, jobs
from tollhouse.billing import Books, Revenue
from tollhouse.kit import times
from tollhouse.kit.paging import Page
from tollhouse.web import charts
from tollhouse.web.answer import csv_file
from tollhouse.web.pages.billing import Days, Text, books_for, daily_chart, picture
from tollhouse.web.pages.frame import redirect, show
from tollhouse.web.pages.jobs import FILTERS, Filter, PageNumber
from tollhouse.web.pages.range import CHOICES, day_range
from tollhouse.web.pages.viewer import Operates
from tollhouse.web.parts import Parts, Wired

router = APIRouter(include_in_schema=False)
ROWS = 25
Search = Annotated[str, Query(max_length=100)]


@router.get("/admin")
def home(_viewer: Operates) -> Response:
    """To the first page."""
    return redirect("/admin/jobs")


@router.get("/admin/jobs")
def jobs_page(
    request: Request, parts: Wired, viewer: Operates, status: Filter = "all", search: Search = "", page: PageNumber = 1
) -> Response:
    """All jobs, how many are done a day, how many fail, and what waits."""
    owner, now = viewer.caller.organization, parts.clock()
    home = times.zone(viewer.caller.time_zone)
    with parts.records.reading() as session:
        counts = jobs.count_by_status(session, owner)
        chosen = () if status == "all" else (status,)
        found, total = jobs.list_jobs(session, owner, Page(ROWS, (page - 1) * ROWS), None, chosen, search.strip())
        flow = jobs.throughput(session, owner, now, home)
    return show(
        request,
        viewer,
        "admin_jobs.html",
        jobs=found,
        counts=counts | {"all": sum(counts.values())},
        filters=FILTERS,
        status=status,
        search=search,
        total=total,
        page=page,
        pages=max(1, -(-total // ROWS)),
        flow=flow,
        spec=_flow_chart(flow),
        now=now,
    )


@router.get("/admin/jobs/chart.svg")
def jobs_chart(parts: Wired, viewer: Operates, theme: str = "light") -> Response:
    """The throughput as a picture, for where there is no script."""
    with parts.records.reading() as session:
        flow = jobs.throughput(session, viewer.caller.organization, parts.clock(), times.zone(viewer.caller.time_zone))
    return picture(_flow_chart(flow), theme)


def _flow_chart(flow: jobs.Throughput) -> charts.Spec:
    days = [(date.fromisoformat(day.date), {"completed": Decimal(day.completed), "failed": Decimal(day.failed)}) for day in flow.days]
    return charts.stacked_days(days, {"completed": "Completed", "failed": "Failed"}, "", "Jobs that ended, by day")


@router.get("/admin/billing")
async def billing_page(
    request: Request,
    parts: Wired,
    viewer: Operates,
    days: Days = None,
    start: Text = None,
    end: Text = None,
    search: Search = "",
    page: PageNumber = 1,
) -> Response:
    """All customers, dearest first, with the trend and the month's end foreseen."""
    books = await run_in_threadpool(books_for, parts, viewer)
    chosen = day_range(books.now, books.home, days, start, end)
    found, foreseen = await asyncio.gather(  # the two halves of the work, each a handful of questions to the event store
        run_in_threadpool(billing.revenue, books, chosen.start, chosen.end), run_in_threadpool(billing.forecast, books)
    )
    rows = _matching(found, search)
    return show(
        request,
        viewer,
        "admin_billing.html",
        chosen=chosen,
        choices=CHOICES,
        revenue=found,
        rows=rows[(page - 1) * ROWS : page * ROWS],
        matching=len(rows),
        search=search,
        page=page,
        pages=max(1, -(-len(rows) // ROWS)),
        spec=daily_chart(books, found.days),
        so_far=sum((one.so_far.net for one in foreseen.values()), Decimal(0)),
        expected=sum((one.expected.net for one in foreseen.values()), Decimal(0)),
        month=f"{times.local_date(books.now, books.home):%B %Y}",
        currency=books.currency,
        now=parts.clock(),
    )


@router.get("/admin/billing/chart.svg")
def billing_chart(
    parts: Wired, viewer: Operates, days: Days = None, start: Text = None, end: Text = None, theme: str = "light"
) -> Response:
    """The trend as a picture, for where there is no script."""
    books, found = _revenue(parts, viewer, days, start, end)
    return picture(daily_chart(books, found.days), theme)


@router.get("/admin/billing.csv")
def billing_csv(parts: Wired, viewer: Operates, days: Days = None, start: Text = None, end: Text = None, search: Search = "") -> Response:
    """The customers as CSV, every digit of it."""
    books, found = _revenue(parts, viewer, days, start, end)
    columns = ("user_id", "bytes_processed", "compute_seconds", "job_count", "cost")
    rows = [[getattr(row, column) for column in columns] for row in _matching(found, search)]
    return csv_file("customers.csv", (*columns[:-1], f"cost_{books.currency.lower()}"), rows)


def _revenue(parts: Parts, viewer: Operates, days: int | None, start: str | None, end: str | None) -> tuple[Books, Revenue]:
    books = books_for(parts, viewer)
    chosen = day_range(books.now, books.home, days, start, end)
    return books, billing.revenue(books, chosen.start, chosen.end)


def _matching(found: Revenue, search: str) -> list[billing.CustomerRevenue]:
    wanted = search.strip().lower()
    return [row for row in found.customers if wanted in row.user_id.lower()]
