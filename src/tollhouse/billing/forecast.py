"""What a running month is going to cost: what was used so far, and for the days left as much a day as lately.

"Lately" is the last 28 whole days; the last 7 for who used nothing before, and today for who began today. The quantities
are carried forward and then billed, so tiers, packages and the volume discount apply to the month's end as they will.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from tollhouse.billing.bill import Bill
from tollhouse.billing.summary import Books
from tollhouse.kit import times
from tollhouse.kit.money import divide, minor_places, round_half_even, wide
from tollhouse.kit.times import Span
from tollhouse.metering import Snapshot, UsageQuery

LATELY, BRIEFLY = 28, 7


@dataclass(frozen=True)
class Forecast:
    """The running month such as 2024-01: its bill so far and the one expected at its end, in the currency's smallest unit."""

    month: str
    so_far: Bill
    expected: Bill


def forecast(books: Books, customer: str | None = None) -> dict[str, Forecast]:
    """The running month of one customer, or of all, who have used anything in it or lately."""
    today = times.local_date(books.now, books.home)
    midnight = times.midnight(today, books.home)
    month = times.midnight(today.replace(day=1), books.home)
    left = Decimal(times.midnight(times.next_month(today), books.home) - books.now) / times.DAY
    lately, briefly = (times.midnight(today - timedelta(days=days), books.home) for days in (LATELY, BRIEFLY))
    spans = [Span(month, books.now), Span(lately, midnight), Span(briefly, midnight), Span(midnight, books.now)]
    used, long, short, today_so_far = _of_all(books, spans) if customer is None else _of_one(books, customer, spans)
    places, named = minor_places(books.currency), f"{today:%Y-%m}"
    carried = [meter.id for meter in books.counted() if meter.aggregation in ("sum", "count")]
    found: dict[str, Forecast] = {}
    with wide():
        for name in sorted(used.keys() | long.keys()):
            mine = used.get(name, {})
            weeks, week, fresh = long.get(name, {}), short.get(name, {}), today_so_far.get(name, {})
            expected = dict(mine)
            for meter in carried:
                pace = _pace(books, fresh.get(meter, Decimal(0)), weeks.get(meter), week.get(meter))
                expected[meter] = mine.get(meter, Decimal(0)) + left * pace
            now, then = (books.bill(name, month, quantities, places) for quantities in (mine, _rounded(expected)))
            found[name] = Forecast(named, now, then)
    return found


def _pace(books: Books, fresh: Decimal, lately: Decimal | None, briefly: Decimal | None) -> Decimal:
    """How much a day: of the last four weeks; of the last one, if it was the first; of what is `fresh` today, if today is the first day."""
    if lately is None:
        today = times.midnight(times.local_date(books.now, books.home), books.home)
        elapsed = max(Decimal(books.now - today), Decimal(times.HOUR)) / times.DAY
        return divide(max(fresh, Decimal(0)), elapsed)
    return divide(max(lately, Decimal(0)), Decimal(BRIEFLY if lately == briefly else LATELY))


def _rounded(quantities: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {meter: round_half_even(quantity, 6) for meter, quantity in quantities.items()}


ByCustomer = dict[str, dict[str, Decimal]]
"""Customer to meter id to quantity."""


def _of_all(books: Books, spans: Sequence[Span]) -> tuple[ByCustomer, ...]:
    """Everybody in each span, in one query a meter; in the last one, today, only where somebody began to use something today."""
    found: tuple[ByCustomer, ...] = tuple({} for _ in spans)
    with books.snapshot() as asked:
        _gather(books, asked, spans[:-1], found[:-1])
        used, lately = found[:2]
        if any(meter not in lately.get(name, {}) for name, quantities in used.items() for meter in quantities):
            _gather(books, asked, spans[-1:], found[-1:])
    return found


def _gather(books: Books, asked: Snapshot, spans: Sequence[Span], found: Sequence[ByCustomer]) -> None:
    for meter in books.counted():
        for into, used in zip(found, asked.by_subject(meter, spans), strict=True):
            for name, quantity in used.items():
                into.setdefault(name, {})[meter.id] = Decimal(quantity or 0)


def _of_one(books: Books, customer: str, spans: Sequence[Span]) -> tuple[ByCustomer, ...]:
    """One customer in each span, out of one query a meter whose days are put together."""
    found: tuple[ByCustomer, ...] = tuple({} for _ in spans)
    whole = min(span.start for span in spans), max(span.end for span in spans)
    with books.snapshot() as asked:
        for meter in books.counted():
            if meter.aggregation not in ("sum", "count"):  # its days cannot be put together, and it is not carried forward
                for row in asked.usage(meter, UsageQuery(spans[0].start, spans[0].end, None, books.home, (customer,), ("subject",))):
                    found[0].setdefault(customer, {})[meter.id] = Decimal(row.value or 0)
                continue
            for row in asked.usage(meter, UsageQuery(*whole, "day", books.home, (customer,))):
                for into, span in zip(found, spans, strict=True):
                    if span.start <= (row.start or 0) < span.end:
                        quantities = into.setdefault(customer, {})
                        with wide():
                            quantities[meter.id] = quantities.get(meter.id, Decimal(0)) + Decimal(row.value or 0)
    return found
