"""A month's bill: one line a priced meter, a total, the discount it earns, and what is due.

`places` decides whether it is an estimate (12 places) or in the currency's smallest unit. Each line is rounded by
itself, so the total is the sum of what the reader sees. The discount's tier is chosen by the sum of the lines as a bill
shows them, of an estimate too: so a bill never contradicts itself, and an estimate and a bill never disagree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tollhouse.billing.discount import DiscountTable
from tollhouse.billing.rating import Rate, rate
from tollhouse.kit.money import ESTIMATE_PLACES, round_half_even, wide


@dataclass(frozen=True)
class BillLine:
    """One meter on a bill."""

    meter: str
    quantity: Decimal
    unit: str
    rule: Rate
    amount: Decimal


@dataclass(frozen=True)
class Bill:
    """`gross` is the sum of the lines, `net` is `gross - discount`."""

    lines: tuple[BillLine, ...]
    gross: Decimal
    discount_percent: Decimal
    discount: Decimal

    @property
    def net(self) -> Decimal:
        """What is due."""
        return self.gross - self.discount


def draw_up(
    usage: Sequence[tuple[str, str, Rate, Decimal]], discounts: DiscountTable, places: int = ESTIMATE_PLACES, minor: int | None = None
) -> Bill:
    """A bill over (meter, unit, rate, quantity) of one month, with amounts of `places` decimals.

    `minor` is how many the currency's smallest unit has, where `places` are others: the tier is chosen by lines of so many.
    """
    with wide():
        exact = [rate(rule, quantity) for _, _, rule, quantity in usage]
        lines = tuple(
            BillLine(meter, quantity, unit, rule, round_half_even(amount, places))
            for (meter, unit, rule, quantity), amount in zip(usage, exact, strict=True)
        )
        gross = sum((line.amount for line in lines), Decimal(0))
        billed = gross if minor is None else sum((round_half_even(amount, minor) for amount in exact), Decimal(0))
        percent = discounts.percent(billed)
        return Bill(lines, gross, percent, round_half_even(gross * percent / 100, places))
