"""The volume discount on a month's total: the percentage of the tier that the total reaches, on the whole total."""

from dataclasses import dataclass
from decimal import Decimal

from tollhouse.kit.money import wide


@dataclass(frozen=True)
class DiscountTier:
    """From a total of `threshold` on, `percent` per cent off."""

    threshold: Decimal
    percent: Decimal


@dataclass(frozen=True)
class DiscountTable:
    """The tiers, in any order; an empty table discounts nothing."""

    tiers: tuple[DiscountTier, ...] = ()

    def percent(self, total: Decimal) -> Decimal:
        """The percentage that a total earns."""
        reached = [tier for tier in self.tiers if total >= tier.threshold]
        return max(reached, key=lambda tier: tier.threshold).percent if reached else Decimal(0)

    def discount(self, total: Decimal) -> Decimal:
        """What is taken off a total, unrounded."""
        with wide():
            return total * self.percent(total) / 100
