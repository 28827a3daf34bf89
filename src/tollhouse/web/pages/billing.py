"""A customer's bills: what was used and what it costs, by day, with prices in words and the month's end foreseen."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from tollhouse import billing
from tollhouse.billing import Books
from tollhouse.kit import times
from tollhouse.kit.errors import NotFound
from tollhouse.web import charts
from tollhouse.web.answer import csv_file
from tollhouse.web.books import books_of
from tollhouse.web.pages.frame import money, redirect, show
from tollhouse.web.pages.range import CHOICES, DayRange, day_range
from tollhouse.web.pages.viewer import Viewer, Views
from tollhouse.web.pages.words import discount_in_words, names_of, price_in_words
from tollhouse.web.parts import Parts, Wired

router = APIRouter(include_in_schema=False)
ROWS = 14
Days = Annotated[int | None, Query(ge=1, le=366)]
Text = Annotated[str | None, Query(max_length=40)]
COLUMNS = ("date", "bytes_processed", "compute_seconds", "job_count", "jobs_completed", "jobs_failed", "cost")


def books_for(parts: Parts, viewer: Viewer) -> Books:
    """What the figures of the page are computed from; raises NotFound where billing is switched off."""
    if not parts.billing.enabled:
        raise NotFound("Billing is switched off here (BILLING_ENABLED=false).")
    with parts.records.reading() as session:
        return books_of(parts, session, viewer.caller)


def _chosen(books: Books, days: int | None, start: str | None, end: str | None) -> DayRange:
    return day_range(books.now, books.home, days, start, end)


@router.get("/dashboard/billing")
def page(
    request: Request,
    parts: Wired,
    viewer: Views,
    days: Days = None,
    start: Text = None,
    end: Text = None,
    page: Annotated[int, Query(ge=1, le=1000)] = 1,
) -> Response:
    """The cards, the chart, the table, the prices, the forecast."""
    if viewer.customer is None:
        return redirect("/admin/billing")
    books = books_for(parts, viewer)
    chosen = _chosen(books, days, start, end)
    customer = viewer.customer
    usage = billing.daily_usage(books, customer, chosen.start, chosen.end)
    foreseen = billing.forecast(books, customer).get(customer)
    newest = usage[::-1]
    today = times.local_date(books.now, books.home)
    rules = [(meter, books.prices.rule(meter.id, customer, today)) for meter in books.meters]
    return show(
        request,
        viewer,
        "billing.html",
        chosen=chosen,
        choices=CHOICES,
        totals=totals(usage),
        rows=newest[(page - 1) * ROWS : page * ROWS],
        page=page,
        pages=max(1, -(-len(newest) // ROWS)),
        spec=daily_chart(books, [(date.fromisoformat(day["date"]), day["costs"]) for day in usage]),
        prices=[(names_of([meter.slug])[meter.slug], price_in_words(rule, meter, books.currency)) for meter, rule in rules if rule],
        discounts=discount_in_words(books.discounts, foreseen.so_far.gross if foreseen else Decimal(0), books.currency),
        forecast=foreseen,
        currency=books.currency,
        zone=books.home.key,
        now=parts.clock(),
    )


@router.get("/dashboard/billing/chart.svg")
def chart(
    parts: Wired, viewer: Views, days: Days = None, start: Text = None, end: Text = None, theme: Annotated[str, Query()] = "light"
) -> Response:
    """The chart as a picture, for where there is no script."""
    books = books_for(parts, viewer)
    chosen = _chosen(books, days, start, end)
    usage = billing.daily_usage(books, viewer.named_customer, chosen.start, chosen.end)
    spec = daily_chart(books, [(date.fromisoformat(day["date"]), day["costs"]) for day in usage])
    return picture(spec, theme)


@router.get("/dashboard/billing.csv")
def table(parts: Wired, viewer: Views, days: Days = None, start: Text = None, end: Text = None) -> Response:
    """The daily table as CSV, every digit of it."""
    books = books_for(parts, viewer)
    chosen = _chosen(books, days, start, end)
    usage = billing.daily_usage(books, viewer.named_customer, chosen.start, chosen.end)
    return csv_file(f"usage-{chosen.start}-{chosen.end}.csv", COLUMNS, [[day[column] for column in COLUMNS] for day in usage])


def totals(usage: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sums over the days, for the cards."""
    return {name: sum((day[name] for day in usage), Decimal(0)) for name in COLUMNS[1:]}


def daily_chart(books: Books, days: Sequence[tuple[date, dict[str, Decimal]]]) -> charts.Spec:
    """Cost by day and meter."""
    priced = [meter.slug for meter in books.meters if books.prices.priced(meter.id)]
    sign = money(Decimal(0), books.currency)[:1]
    return charts.stacked_days(days, names_of(priced), sign if sign in "$" else "", f"Cost by day in {books.currency}")


def picture(spec: charts.Spec, theme: str) -> Response:
    """A chart as an answer."""
    drawn = charts.svg(spec, theme if theme in ("light", "dark") else "light")
    shown = {"cache-control": "private, max-age=60", "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(drawn, headers=shown | {"x-content-type-options": "nosniff"}, media_type="image/svg+xml")
