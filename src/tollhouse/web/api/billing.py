"""Bills and what leads up to them, with the paths and fields of the seed documents.

In the seeds anyone may read every user's bill, by a header that anyone can set. Here the header counts only together
with a secret key, and all users' bills and resets need the admin scope.
"""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from tollhouse import access, billing
from tollhouse.billing import BillLine
from tollhouse.kit import times
from tollhouse.kit.errors import NotFound
from tollhouse.kit.paging import Page
from tollhouse.web.answer import Answer, instant
from tollhouse.web.books import books_of
from tollhouse.web.guard import Admin, MaybeCustomer, NamedCustomer, Reads
from tollhouse.web.parts import Parts, Wired, parts_of
from tollhouse.web.query import Limit, Offset


def switched_on(parts: Annotated[Parts, Depends(parts_of)]) -> None:
    """A dependency: billing is not switched off."""
    if not parts.billing.enabled:
        raise NotFound("Billing is switched off here (BILLING_ENABLED=false).")


router = APIRouter(tags=["billing"], dependencies=[Depends(switched_on)])


@router.get("/api/billing/summary")
def summary(parts: Wired, caller: Reads, customer: NamedCustomer, period: str | None = None) -> Response:
    """One customer's usage and cost since the beginning or the last reset, or in a month such as 2024-01."""
    with parts.records.reading() as session:
        return Answer(billing.summary(session, books_of(parts, session, caller), customer, period))


@router.get("/api/billing/daily-usage")
def daily_usage(
    parts: Wired, caller: Reads, customer: NamedCustomer, start_date: str | None = None, end_date: str | None = None
) -> Response:
    """One customer's days, both dates included; the last 30 days when left out."""
    with parts.records.reading() as session:
        books = books_of(parts, session, caller)
    today = times.local_date(books.now, books.home)
    end = times.parse_date(end_date, "end_date") if end_date is not None else today
    start = times.parse_date(start_date, "start_date") if start_date is not None else end - timedelta(days=29)
    days = billing.daily_usage(books, customer, start, end)
    return Answer({"user_id": customer, "start_date": f"{start}", "end_date": f"{end}", "daily_usage": days})


@router.get("/api/billing/job/{job_id}")
def job(parts: Wired, caller: Reads, job_id: str, customer: MaybeCustomer) -> Response:
    """What one job used and cost; with a customer named, only if it is theirs."""
    with parts.records.reading() as session:
        books = books_of(parts, session, caller)
    return Answer(billing.job_bill(books, job_id, customer))


@router.get("/api/billing/bill")
def bill(parts: Wired, caller: Reads, customer: NamedCustomer, period: str | None = None) -> Response:
    """One customer's bill of a month such as 2024-01 (the running one when left out), line by line, in whole cents."""
    with parts.records.reading() as session:
        books = books_of(parts, session, caller)
    month = period or f"{times.local_date(books.now, books.home):%Y-%m}"
    drawn, span = billing.month_bill(books, customer, month)
    shown = {
        "user_id": customer,
        "period": month,
        "start": times.rfc3339(span.start),
        "end": times.rfc3339(span.end),
        "currency": books.currency,
        "lines": [_line(line) for line in drawn.lines],
        "gross": drawn.gross,
        "discount_percent": drawn.discount_percent,
        "discount": drawn.discount,
        "net": drawn.net,
    }
    return Answer(shown)


@router.get("/api/billing/forecast")
def forecast(parts: Wired, caller: Reads, customer: NamedCustomer) -> Response:
    """What a customer's running month costs so far, and at its end if the days left are like the last four weeks."""
    with parts.records.reading() as session:
        books = books_of(parts, session, caller)
    foreseen = billing.forecast(books, customer).get(customer)
    month = f"{times.local_date(books.now, books.home):%Y-%m}"
    shown = {"user_id": customer, "period": month, "currency": books.currency}
    if foreseen is None:
        return Answer(shown | {"so_far": 0, "expected": 0, "discount_percent": 0})
    expected = {"expected": foreseen.expected.net, "discount_percent": foreseen.expected.discount_percent}
    return Answer(shown | {"so_far": foreseen.so_far.net} | expected)


@router.get("/api/billing/revenue")
def revenue(
    parts: Wired, caller: Admin, start_date: str | None = None, end_date: str | None = None, limit: Limit = 1000, offset: Offset = 0
) -> Response:
    """What all customers cost in a range of days, both included, before discounts: dearest first, and day by day."""
    with parts.records.reading() as session:
        books = books_of(parts, session, caller)
    end = times.parse_date(end_date, "end_date") if end_date is not None else times.local_date(books.now, books.home)
    start = times.parse_date(start_date, "start_date") if start_date is not None else end - timedelta(days=29)
    found = billing.revenue(books, start, end)
    users = [
        {
            "user_id": row.user_id,
            "bytes_processed": row.bytes_processed,
            "compute_seconds": row.compute_seconds,
            "job_count": row.job_count,
            "cost": row.cost,
        }
        for row in found.customers[offset : offset + limit]
    ]
    days = [{"date": f"{day}", "costs": costs} for day, costs in found.days]
    shown = {"start_date": f"{start}", "end_date": f"{end}", "currency": books.currency, "revenue": found.total, "days": days}
    return Answer(shown | Page(limit, offset).answer("users", users, len(found.customers)))


@router.get("/api/billing/all-users")
def all_users(parts: Wired, caller: Admin, limit: Limit = 1000, offset: Offset = 0) -> Response:
    """Every customer's lifetime totals, dearest first."""
    with parts.records.reading() as session:
        books = books_of(parts, session, caller)
        names = access.customer_ids(session, caller.organization)
        users = billing.all_users(session, books, names)
    page = Page(limit, offset)
    return Answer({"total_users": len(users)} | page.answer("users", users[offset : offset + limit], len(users)))


@router.post("/api/billing/users/{user_id}/reset")
def reset(parts: Wired, caller: Admin, user_id: str) -> Response:
    """Start a customer's lifetime totals again from now. Nothing is deleted, and no bill changes."""
    with parts.records.transaction() as session:
        access.customer(session, caller.organization, user_id)
        kept = billing.reset(session, books_of(parts, session, caller), user_id, parts.clock(), caller.name)
    return Answer({"user_id": user_id, "reset_at": instant(kept.at)})


def _line(line: BillLine) -> dict[str, Any]:
    rule = line.rule
    return {
        "meter": line.meter,
        "quantity": line.quantity,
        "unit": line.unit,
        "model": rule.model,
        "unit_amount": rule.amount,
        "per": rule.per,
        "amount": line.amount,
    }
