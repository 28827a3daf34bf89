"""What customers have used and what it costs: in all, by day, by job, by month.

Every figure is read from the meters and goes through `draw_up` or `rate`. Estimates carry 12 decimals, so that the
days of a month add up to the month; a bill is in the currency's smallest unit.
"""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import events, journal, metering
from tollhouse.billing.bill import Bill, draw_up
from tollhouse.billing.discount import DiscountTable
from tollhouse.billing.price import PriceBook
from tollhouse.billing.rating import Rate, rate
from tollhouse.billing.seed_meters import BYTES, GIGABYTE, JOB_COMPLETION, JOBS, SECONDS
from tollhouse.kit import times
from tollhouse.kit.errors import NotFound, Unprocessable
from tollhouse.kit.money import ESTIMATE_PLACES, divide, minor_places, plain, round_half_even, wide
from tollhouse.kit.times import Span
from tollhouse.metering import Meter, UsageQuery, UsageRow
from tollhouse.store.events import EventStore
from tollhouse.store.records import Record

MOST_DAYS = 3660
_OUTCOMES = ("completed", "failed", "skipped")
Quantities = dict[str, dict[int, Decimal]]
"""Meter id to month start to quantity."""


class Reset(Record):
    """From `at` on a customer's lifetime totals start again: what was counted by then is taken off for ever."""

    __tablename__ = "billing_resets"

    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"), primary_key=True)
    customer: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    at: Mapped[datetime]
    counted: Mapped[dict[str, Any]]


@dataclass(frozen=True)
class Books:
    """All that a figure is computed from: one organization's meters, prices and zone, at one instant."""

    store: EventStore
    organization: str
    meters: tuple[Meter, ...]
    prices: PriceBook
    discounts: DiscountTable
    home: ZoneInfo
    currency: str
    now: int
    _rules: dict[tuple[str | None, int], list[tuple[str, str, str, Rate]]] = field(default_factory=dict)

    def named(self, slug: str) -> Meter | None:
        """The meter of that slug, if the organization has not deleted it."""
        return next((meter for meter in self.meters if meter.slug == slug), None)

    def counted(self) -> list[Meter]:
        """The meters that a summary needs: those with a price, and those it shows."""
        return [meter for meter in self.meters if self.prices.priced(meter.id) or meter.slug in (BYTES, SECONDS)]

    def ask(self, meter: Meter, query: UsageQuery) -> list[UsageRow]:
        """The meter's answer."""
        return metering.usage(self.store, meter, query, self.home, self.now)

    def snapshot(self) -> AbstractContextManager[metering.Snapshot]:
        """One moment of the store, for figures that have to fit together."""
        return metering.snapshot(self.store, self.organization, self.home, self.now)

    def _priced(self, customer: str, month: int) -> list[tuple[str, str, str, Rate]]:
        """The meters that cost a customer something in a month: id, slug, unit and rate; looked up once for all who pay the same."""
        key = (customer if self.prices.is_special(customer) else None, month)
        if key not in self._rules:
            first = times.local_date(month, self.home)
            rated = ((meter, self.prices.rule(meter.id, customer, first)) for meter in self.meters)
            self._rules[key] = [(meter.id, meter.slug, meter.unit, rule) for meter, rule in rated if rule is not None]
        return self._rules[key]

    def costs(self, customer: str, month: int, quantities: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """What each meter, by slug, costs one customer in a month before discounts: the lines of `bill` at 12 places, and no more."""
        return {slug: rate(rule, quantities[id]) for id, slug, _, rule in self._priced(customer, month) if id in quantities}

    def bill(self, customer: str, month: int, quantities: Mapping[str, Decimal], places: int = ESTIMATE_PLACES) -> Bill:
        """One customer's bill of one month over quantities by meter id; an estimate, with the bill's percent, if no places are given."""
        usage = [(slug, unit, rule, quantities[id]) for id, slug, unit, rule in self._priced(customer, month) if id in quantities]
        return draw_up(usage, self.discounts, places, minor_places(self.currency))


def summary(session: Session, books: Books, customer: str, period: str | None = None) -> dict[str, Any]:
    """One customer's totals: since the beginning (or the last reset), or in one month such as 2024-01."""
    span = Span(0, 0) if period is None else times.month_named(period, books.home)
    customers = _quantities(books, (customer,), span or None)
    outcomes = _outcomes(books, (customer,), span or None)
    quantities = customers.get(customer, {})
    jobs: Mapping[str, int] = outcomes.get(customer, {})
    if period is None:
        quantities, jobs = _since_reset(session.get(Reset, (books.organization, customer)), quantities, jobs)
    return _totals(books, customer, quantities, jobs) | {"period": period or "lifetime"}


def all_users(session: Session, books: Books, names: list[str]) -> list[dict[str, Any]]:
    """The lifetime totals of those customers, dearest first."""
    quantities, outcomes = _quantities(books, (), None), _outcomes(books, (), None)
    resets = {kept.customer: kept for kept in session.scalars(sa.select(Reset).where(Reset.organization == books.organization))}
    rows = []
    for name in names:
        mine, jobs = _since_reset(resets.get(name), quantities.get(name, {}), outcomes.get(name, {}))
        rows.append(_totals(books, name, mine, jobs))
    return sorted(rows, key=lambda row: (-row["estimated_cost"], row["user_id"]))


def reset(session: Session, books: Books, customer: str, now: datetime, actor: str) -> Reset:
    """Start a customer's lifetime totals again from now; nothing is deleted, and bills stay as they are."""
    quantities = _quantities(books, (customer,), None).get(customer, {})
    jobs = _outcomes(books, (customer,), None).get(customer, {})
    counted = {
        "jobs": jobs,
        "meters": {meter: {str(month): str(q) for month, q in months.items()} for meter, months in quantities.items()},
    }
    kept = session.get(Reset, (books.organization, customer))
    if kept is None:
        kept = Reset(organization=books.organization, customer=customer, at=now, counted=counted)
        session.add(kept)
    else:
        kept.at, kept.counted = now, counted
    journal.write(session, books.organization, now, actor, "reset", "customer", customer, jobs=sum(jobs.values()))
    return kept


def daily_usage(books: Books, customer: str, start: date, end: date) -> list[dict[str, Any]]:
    """One customer's days, both dates included; a day's cost is what it added to its month, so days add up to months."""
    check_range(start, end)
    first = times.midnight(start.replace(day=1), books.home)
    until = times.midnight(end + timedelta(days=1), books.home)
    query = UsageQuery(first, until, "day", books.home, (customer,))
    by_day: dict[date, dict[str, Decimal]] = defaultdict(dict)
    for meter in books.counted():
        for row in books.ask(meter, query):
            by_day[times.local_date(row.start or 0, books.home)][meter.id] = Decimal(row.value or 0)
    costs = _daily_costs(books, customer, first, by_day)
    jobs: dict[date, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    if (meter_of_jobs := books.named(JOBS)) is not None:
        for row in books.ask(meter_of_jobs, UsageQuery(first, until, "day", books.home, (customer,), ("status",))):
            jobs[times.local_date(row.start or 0, books.home)][row.groups["status"] or ""] += int(row.value or 0)
    shown = (start + timedelta(days=at) for at in range((end - start).days + 1))
    return [
        {
            "date": day.isoformat(),
            **_shown_quantities(books, by_day[day]),
            "job_count": sum(jobs[day].values()),
            "jobs_completed": jobs[day]["completed"],
            "jobs_failed": jobs[day]["failed"],
            "cost": plain(sum(costs.get(day, {}).values(), Decimal(0))),
            "costs": {meter: plain(cost) for meter, cost in costs.get(day, {}).items()},
        }
        for day in shown
    ]


def check_range(start: date, end: date) -> None:
    """Raise Unprocessable for a range of dates, both included, that makes no sense."""
    if end < start:
        raise Unprocessable("end_date: it is before start_date; both dates are included")
    if (end - start).days >= MOST_DAYS:
        raise Unprocessable(f"start_date: the range has more than {MOST_DAYS} days; ask for a shorter one")


def job_bill(books: Books, job: str, customer: str | None) -> dict[str, Any]:
    """What one job used and cost; raises NotFound for a job without events, or one of another customer's."""
    happened = events.of_job(books.store, books.organization, job)
    if customer is not None:
        happened = [event for event in happened if event["subject"] == customer]
    if not happened:
        raise NotFound(f"There is no job {job[:80]!r} with usage.")
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for event in happened:
        for slug in (BYTES, SECONDS):
            meter = books.named(slug)
            if meter is not None and event["type"] == meter.event_type:
                totals[slug] += metering.value_of(meter, event["data"]) or 0
    outcome = next((event for event in reversed(happened) if event["type"] == JOB_COMPLETION), None)
    data = metering.decoded(outcome["data"]) if outcome else {}
    month = times.local_date(times.parse_time(happened[0]["time"]), books.home).replace(day=1)
    owner = happened[0]["subject"] or ""
    rules = [(slug, books.prices.rule(meter.id, owner, month)) for slug in (BYTES, SECONDS) if (meter := books.named(slug))]
    with wide():
        cost = sum((rate(rule, totals[slug]) for slug, rule in rules if rule is not None), Decimal(0))
    return {
        "job_id": job,
        "user_id": happened[0]["subject"],
        "bytes_processed": plain(totals[BYTES]),
        "bytes_processed_mb": plain(round_half_even(divide(totals[BYTES], Decimal(1024**2)), 12)),
        "compute_seconds": plain(totals[SECONDS]),
        "status": data.get("status") if outcome else "processing",
        "timestamp": happened[0]["time"],
        "completed_at": outcome["time"] if outcome else None,
        "job_cost": plain(cost),
        "metadata": data.get("metadata") or {},
    }


def month_bill(books: Books, customer: str, period: str) -> tuple[Bill, Span]:
    """One customer's bill of a month such as 2024-01, in the currency's smallest unit, and the month."""
    span = times.month_named(period, books.home)
    months = _quantities(books, (customer,), span).get(customer, {})
    quantities = {meter: next(iter(found.values())) for meter, found in months.items() if found}
    return books.bill(customer, span.start, quantities, minor_places(books.currency)), span


def _quantities(books: Books, customers: tuple[str, ...], span: Span | None) -> dict[str, Quantities]:
    """Customer to meter to month to quantity, of those customers or of all."""
    found: dict[str, Quantities] = defaultdict(dict)
    start, end = (span.start, span.end) if span else (None, None)
    for meter in books.counted():
        query = UsageQuery(start, end, "month", books.home, customers, ("subject",))
        for row in books.ask(meter, query):
            if row.subject is not None and row.start is not None:
                found[row.subject].setdefault(meter.id, {})[row.start] = Decimal(row.value or 0)
    return found


def _outcomes(books: Books, customers: tuple[str, ...], span: Span | None) -> dict[str, dict[str, int]]:
    """Customer to job status to count."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    meter = books.named(JOBS)
    if meter is None or "status" not in meter.group_by:
        return found
    start, end = (span.start, span.end) if span else (None, None)
    for row in books.ask(meter, UsageQuery(start, end, None, books.home, customers, ("subject", "status"))):
        if row.subject is not None:
            found[row.subject][row.groups["status"] or ""] += int(row.value or 0)
    return found


def _since_reset(kept: Reset | None, quantities: Quantities, jobs: Mapping[str, int]) -> tuple[Quantities, Mapping[str, int]]:
    """Take off what was counted by the last reset, month by month, so that what is left is rated as what it is.

    Where events from before the reset were deleted since, there is less than was counted, and nothing is left.
    """
    if kept is None:
        return quantities, jobs
    before = kept.counted["meters"]
    left = {
        meter: {month: _left(q, Decimal(before.get(meter, {}).get(str(month), "0"))) for month, q in months.items()}
        for meter, months in quantities.items()
    }
    return left, {status: max(count - kept.counted["jobs"].get(status, 0), 0) for status, count in jobs.items()}


def _left(quantity: Decimal, before: Decimal) -> Decimal:
    return max(quantity - before, Decimal(0))


def _totals(books: Books, customer: str, quantities: Quantities, jobs: Mapping[str, int]) -> dict[str, Any]:
    months: dict[int, dict[str, Decimal]] = defaultdict(dict)
    for meter, found in quantities.items():
        for month, quantity in found.items():
            months[month][meter] = quantity
    with wide():
        totals = {meter: sum(found.values(), Decimal(0)) for meter, found in quantities.items()}
        bills = [books.bill(customer, month, found) for month, found in months.items()]
        gross = sum((bill.gross for bill in bills), Decimal(0))
        net = sum((bill.net for bill in bills), Decimal(0))
        shown = _shown_quantities(books, totals)
    costly = [bill for bill in bills if bill.gross]
    percent = costly[0].discount_percent if len(costly) == 1 else _effective_percent(gross, net)
    seconds: Decimal = shown["compute_seconds"]
    return {
        "user_id": customer,
        "bytes_processed": shown["bytes_processed"],
        "bytes_processed_gb": plain(round_half_even(divide(shown["bytes_processed"], GIGABYTE), 12)),
        "compute_seconds": seconds,
        "compute_hours": plain(round_half_even(divide(seconds, Decimal(3600)), 12)),
        "job_count": sum(jobs.values()),
        **{f"jobs_{outcome}": jobs.get(outcome, 0) for outcome in _OUTCOMES},
        "estimated_cost": plain(gross),
        "discount_percent": plain(percent),
        "discounted_cost": plain(net),
        "currency": books.currency,
    }


def _effective_percent(gross: Decimal, net: Decimal) -> Decimal:
    """What several months' discounts come to on their sum, to two places."""
    return round_half_even(divide((gross - net) * 100, gross), 2) if gross else Decimal(0)


def _shown_quantities(books: Books, quantities: Mapping[str, Decimal]) -> dict[str, Decimal]:
    found = {slug: meter for slug in (BYTES, SECONDS) if (meter := books.named(slug)) is not None}
    return {slug: plain(quantities.get(found[slug].id, Decimal(0))) if slug in found else Decimal(0) for slug in (BYTES, SECONDS)}


def _daily_costs(books: Books, customer: str, first: int, by_day: Mapping[date, Mapping[str, Decimal]]) -> dict[date, dict[str, Decimal]]:
    """What each day added to the cost of its month so far, by meter."""
    month, so_far = times.local_date(first, books.home), _MonthSoFar(books)
    before: dict[str, Decimal] = {}
    costs: dict[date, dict[str, Decimal]] = {}
    for day in sorted(by_day):
        if (day.year, day.month) != (month.year, month.month):
            month, so_far, before = day, _MonthSoFar(books), {}
        so_far.add(by_day[day])
        start = times.midnight(day.replace(day=1), books.home)
        total = books.costs(customer, start, so_far.quantities(customer, start, day))
        costs[day] = {meter: amount - before.get(meter, Decimal(0)) for meter, amount in total.items()}
        before = total
    return costs


class _MonthSoFar:
    """A month's quantities up to some day, from the days' own where they can be put together."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._meters = {meter.id: meter for meter in books.counted()}
        self._quantities: dict[str, Decimal] = {}

    def add(self, day: Mapping[str, Decimal]) -> None:
        """One more day."""
        for meter, quantity in day.items():
            known = self._quantities.get(meter)
            self._quantities[meter] = quantity if known is None else self._meters[meter].rule.together(known, quantity)

    def quantities(self, customer: str, start: int, day: date) -> dict[str, Decimal]:
        """Up to the end of `day`; a mean and a count of different ones have to be asked for."""
        found = dict(self._quantities)
        for id in found:
            if self._meters[id].aggregation in ("avg", "unique_count"):
                end = times.midnight(day + timedelta(days=1), self._books.home)
                rows = self._books.ask(self._meters[id], UsageQuery(start, end, None, self._books.home, (customer,)))
                found[id] = Decimal(rows[0].value or 0) if rows else Decimal(0)
        return found
