"""Prices and discounts in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tollhouse.billing import BYTES, JOBS, SECONDS, DiscountTable, Rate, Tier
from tollhouse.kit.money import plain
from tollhouse.metering import Meter
from tollhouse.web.pages.frame import money

_NAMES = {BYTES: "Data processed", SECONDS: "Compute time", JOBS: "Jobs"}
_GIGABYTE = Decimal(1024**3)


def names_of(slugs: Sequence[str]) -> dict[str, str]:
    """What meters are called on a page, by slug."""
    return {slug: _NAMES.get(slug, slug.replace("_", " ").replace("-", " ").capitalize()) for slug in slugs}


def price_in_words(rule: Rate, meter: Meter, currency: str) -> str:
    """Such as `$0.001 per GB`, `$5 a month`, or each tier."""
    per = _unit(rule.per, meter.unit)
    match rule.model:
        case "per_unit":
            return f"{_amount(rule.amount, currency)} per {per}"
        case "flat":
            return f"{_amount(rule.amount, currency)} in a month with any use"
        case "package":
            return f"{_amount(rule.amount, currency)} for every {per} begun"
    within = "for what lies in the tier" if rule.model == "graduated" else "for all of it"
    return f"{_tiers(rule.tiers, per, currency)}; {within}"


def _tiers(tiers: Sequence[Tier], per: str, currency: str) -> str:
    said = []
    for tier in tiers:
        upto = f"up to {plain(tier.up_to):,f}" if tier.up_to is not None else "beyond"
        flat = f" and {_amount(tier.flat, currency)} flat" if tier.flat else ""
        said.append(f"{upto}: {_amount(tier.amount, currency)} per {per}{flat}")
    return ", ".join(said)


def _unit(per: Decimal, unit: str) -> str:
    if unit == "byte" and per == _GIGABYTE:
        return "GB"
    named = unit or "unit"
    return named if per == 1 else f"{plain(per):,f} {named}s"


def _amount(amount: Decimal, currency: str) -> str:
    """All digits of a price, which may be finer than the currency's smallest unit."""
    shown = money(Decimal(0), currency)
    digits = f"{plain(amount):,f}"
    return shown.replace("0.00", digits).replace("0", digits, 1) if "0.00" not in shown else shown.replace("0.00", digits)


@dataclass(frozen=True)
class DiscountInWords:
    """One tier, and whether the month has reached it and no higher one."""

    text: str
    reached: bool


def discount_in_words(table: DiscountTable, total: Decimal, currency: str) -> list[DiscountInWords]:
    """The tiers from the lowest; which one applies to a month's total so far."""
    tiers = sorted(table.tiers, key=lambda tier: tier.threshold)
    reached = max((tier.threshold for tier in tiers if total >= tier.threshold), default=None)
    said = [f"From {money(tier.threshold, currency)} a month: {plain(tier.percent):f} % off the whole month" for tier in tiers]
    return [DiscountInWords(text, tier.threshold == reached) for text, tier in zip(said, tiers, strict=True)]
