"""Rating: from a quantity to an amount, in five models.

| model | a quantity q of units of `per` costs |
|---|---|
| per_unit | q x amount |
| flat | amount, in every month in which there was any |
| package | amount for each package that was begun: ceil(q) x amount |
| graduated | each tier's amount for the part of q that lies in it, and its flat amount once q reaches into it |
| volume | the amount of the tier that q falls into, for all of q, and that tier's flat amount |

A tier reaches up to and including `up_to`; the last one is open. A quantity below zero is rated as zero: corrections
can empty a bill but not turn it around. The result is rounded to 12 places, half to even, and nowhere before.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Literal

from tollhouse.kit.errors import Fault
from tollhouse.kit.money import ESTIMATE_PLACES, divide, round_half_even, wide

Model = Literal["per_unit", "flat", "package", "graduated", "volume"]
MODELS: tuple[Model, ...] = ("per_unit", "flat", "package", "graduated", "volume")
MODELS_WITH_AMOUNT: tuple[Model, ...] = ("per_unit", "flat", "package")
LARGEST = Decimal(10) ** 15


@dataclass(frozen=True)
class Tier:
    """Up to and including `up_to` units (None: without end) a unit costs `amount`; reaching the tier costs `flat`."""

    up_to: Decimal | None
    amount: Decimal
    flat: Decimal = Decimal(0)


@dataclass(frozen=True)
class Rate:
    """How one meter is priced: `amount` for each `per` of what it counts, or `tiers`."""

    model: Model
    amount: Decimal = Decimal(0)
    per: Decimal = Decimal(1)
    tiers: tuple[Tier, ...] = ()

    def faults(self) -> list[Fault]:
        """Everything that is wrong with it."""
        found: list[Fault] = []
        if self.model not in MODELS:
            return [Fault(f"model: {str(self.model)[:40]!r} is none of {', '.join(MODELS)}", "model")]
        amounts = [self.amount, *(amount for tier in self.tiers for amount in (tier.amount, tier.flat))]
        if any(not amount.is_finite() or not 0 <= amount < LARGEST or _places(amount) > 20 for amount in amounts):
            found.append(Fault("amount: give amounts from 0 to 10^15 with at most 20 decimals", "amount"))
        if not self.per.is_finite() or not 0 < self.per < LARGEST or _places(self.per) > 12:
            found.append(Fault("per: give a size above 0 and below 10^15 with at most 12 decimals", "per"))
        tiered = self.model not in MODELS_WITH_AMOUNT
        if tiered and self.amount.is_finite() and self.amount > 0:
            found.append(Fault(f"amount: the model {self.model} takes none; give the amounts of its tiers", "amount"))
        if tiered != bool(self.tiers) or len(self.tiers) > 100:
            needs = "needs 1 to 100 tiers" if tiered else "takes no tiers"
            found.append(Fault(f"tiers: the model {self.model} {needs}", "tiers"))
        ends = [tier.up_to for tier in self.tiers]
        if ends and (ends[-1] is not None or not _rising(ends[:-1])):
            found.append(Fault("tiers: up_to has to rise from tier to tier, and the last tier's has to be null", "tiers"))
        return found


def _rising(ends: list[Decimal | None]) -> bool:
    below = Decimal(0)
    for end in ends:
        if end is None or not end.is_finite() or not below < end < LARGEST:
            return False
        below = end
    return True


def _places(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def rate(rule: Rate, quantity: Decimal) -> Decimal:
    """What `quantity` costs, to 12 places."""
    if quantity <= 0:
        return Decimal(0)
    units = divide(quantity, rule.per)
    with wide():
        match rule.model:
            case "per_unit":
                amount = units * rule.amount
            case "flat":
                amount = rule.amount
            case "package":
                amount = units.to_integral_value(ROUND_CEILING) * rule.amount
            case "graduated":
                amount = _graduated(rule.tiers, units)
            case "volume":
                tier = next(tier for tier in rule.tiers if tier.up_to is None or units <= tier.up_to)
                amount = units * tier.amount + tier.flat
    return round_half_even(amount, ESTIMATE_PLACES)


def _graduated(tiers: tuple[Tier, ...], units: Decimal) -> Decimal:
    amount, below = Decimal(0), Decimal(0)
    for tier in tiers:
        upto = units if tier.up_to is None else min(units, tier.up_to)
        amount += (upto - below) * tier.amount + tier.flat
        if tier.up_to is None or units <= tier.up_to:
            break
        below = tier.up_to
    return amount
