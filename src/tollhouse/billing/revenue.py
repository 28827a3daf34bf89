"""What all customers cost together over some days: who the most, and how it developed from day to day.

A customer's cost in a range is what their months cost up to its end, less what the first month had cost before it began:
so the ranges of a month add up to the month, whatever the price's model. A day's revenue is its share, by quantity, of
what a meter cost in its month; for a price per unit that is exactly what the day cost.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from tollhouse.billing.seed_meters import BYTES, JOBS, SECONDS
from tollhouse.billing.summary import Books, check_range
from tollhouse.kit import times
from tollhouse.kit.money import ESTIMATE_PLACES, divide, plain, round_half_even, wide
from tollhouse.kit.times import Span
from tollhouse.metering import Meter, Snapshot, UsageQuery, UsageRow


@dataclass(frozen=True)
class CustomerRevenue:
    """One customer in a range of days; `cost` is before discounts."""

    user_id: str
    bytes_processed: Decimal
    compute_seconds: Decimal
    job_count: int
    cost: Decimal


@dataclass(frozen=True)
class Revenue:
    """All customers, dearest first; the days with what each meter (by slug) brought in on them."""

    customers: tuple[CustomerRevenue, ...]
    days: tuple[tuple[date, dict[str, Decimal]], ...]
    total: Decimal


def revenue(books: Books, start: date, end: date) -> Revenue:
    """Both dates included. Raises Unprocessable for a range that makes no sense."""
    check_range(start, end)
    first = times.midnight(start.replace(day=1), books.home)
    begin, until = times.midnight(start, books.home), times.midnight(end + timedelta(days=1), books.home)
    with books.snapshot() as asked:
        months, before = _by_month(books, asked, first, begin, until)
        jobs = _jobs(books, asked, Span(begin, until))
        daily = {meter: asked.usage(meter, UsageQuery(first, until, "day", books.home)) for meter in books.counted()}
    (cost_of, meter_costs), (cost_before, _) = _costs(books, months), _costs(books, before)
    slugs = {meter.slug: meter.id for meter in books.meters}
    rows = []
    with wide():
        for name in months.keys() | jobs.keys():
            used = _total(months.get(name, {}), before.get(name, {}))
            cost = cost_of.get(name, Decimal(0)) - cost_before.get(name, Decimal(0))
            bytes, seconds = (used.get(slugs.get(slug, ""), Decimal(0)) for slug in (BYTES, SECONDS))
            rows.append(CustomerRevenue(name, plain(bytes), plain(seconds), jobs.get(name, 0), plain(cost)))
        total = sum((row.cost for row in rows), Decimal(0))
    rows.sort(key=lambda row: (-row.cost, row.user_id))
    return Revenue(tuple(rows), _days(books, meter_costs, daily, start, end), plain(total))


Months = dict[int, dict[str, Decimal]]
"""Month start to meter id to quantity."""


def _by_month(books: Books, asked: Snapshot, first: int, begin: int, until: int) -> tuple[dict[str, Months], dict[str, Months]]:
    """Customer to months: the months from `first` up to `until`, and what of the first of them was before `begin`."""
    months = [Span(max(start, first), min(end, until)) for start, end in times.windows(first, until, "month", books.home)]
    found: dict[str, Months] = defaultdict(lambda: defaultdict(dict))
    before: dict[str, Months] = defaultdict(lambda: defaultdict(dict))
    for meter in books.counted():
        *by_month, earlier = asked.by_subject(meter, [*months, Span(first, begin)])
        for month, used in zip(months, by_month, strict=True):
            for name, quantity in used.items():
                found[name][month.start][meter.id] = Decimal(quantity or 0)
        for name, quantity in earlier.items():
            before[name][first][meter.id] = Decimal(quantity or 0)
    return found, before


def _costs(books: Books, customers: dict[str, Months]) -> tuple[dict[str, Decimal], dict[tuple[int, str], Decimal]]:
    """Customer to cost, and (month, slug) to cost."""
    by_customer: dict[str, Decimal] = defaultdict(Decimal)
    by_meter: dict[tuple[int, str], Decimal] = defaultdict(Decimal)
    with wide():
        for name, months in customers.items():
            for month, quantities in months.items():
                for slug, amount in books.costs(name, month, quantities).items():
                    by_customer[name] += amount
                    by_meter[month, slug] += amount
    return by_customer, by_meter


def _total(months: Months, before: Months) -> dict[str, Decimal]:
    total: dict[str, Decimal] = defaultdict(Decimal)
    with wide():
        for sign, some in ((1, months), (-1, before)):
            for quantities in some.values():
                for meter, quantity in quantities.items():
                    total[meter] += sign * quantity
    return total


def _jobs(books: Books, asked: Snapshot, span: Span) -> dict[str, int]:
    meter = books.named(JOBS)
    if meter is None:
        return {}
    (counted,) = asked.by_subject(meter, [span])
    return {name: int(count or 0) for name, count in counted.items()}


def _days(
    books: Books, meter_costs: dict[tuple[int, str], Decimal], daily: Mapping[Meter, Sequence[UsageRow]], start: date, end: date
) -> tuple[tuple[date, dict[str, Decimal]], ...]:
    shown: dict[date, dict[str, Decimal]] = {start + timedelta(days=at): {} for at in range((end - start).days + 1)}
    for meter, rows in daily.items():
        month_total: dict[int, Decimal] = defaultdict(Decimal)
        quantities = [(row.start or 0, Decimal(row.value or 0)) for row in rows]
        with wide():
            for at, quantity in quantities:
                month_total[times.floor(at, "month", books.home)] += quantity
            for at, quantity in quantities:
                day, month = times.local_date(at, books.home), times.floor(at, "month", books.home)
                if day in shown and month_total[month]:
                    share = divide(meter_costs[month, meter.slug] * quantity, month_total[month])
                    shown[day][meter.slug] = plain(round_half_even(share, ESTIMATE_PLACES))
    return tuple(sorted(shown.items()))
