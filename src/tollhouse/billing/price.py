"""A price: what one meter's usage costs, from some month on, for everybody or for one customer.

A price is never edited. A new one for the same meter takes over from the month it starts in, so the bill of a month
that has passed stays what it was.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import journal, metering
from tollhouse.billing.rating import Rate, Tier
from tollhouse.kit import ids, times
from tollhouse.kit.errors import Conflict, NotFound, Unprocessable
from tollhouse.kit.paging import Page
from tollhouse.store.records import Record


class Price(Record):
    """`starts` is the first day of a month, or None for all time; `customer` None is everybody."""

    __tablename__ = "prices"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"), index=True)
    meter: Mapped[str] = mapped_column(sa.ForeignKey("meters.id"))
    customer: Mapped[str | None] = mapped_column(sa.String(255))
    model: Mapped[str] = mapped_column(sa.String(20))
    amount: Mapped[Decimal]
    per: Mapped[Decimal]
    tiers: Mapped[list[Any]]
    starts: Mapped[date | None]
    created_at: Mapped[datetime]

    @property
    def rule(self) -> Rate:
        """The price as `rate` takes it."""
        tiers = tuple(
            Tier(None if tier["up_to"] is None else Decimal(tier["up_to"]), Decimal(tier["amount"]), Decimal(tier["flat"]))
            for tier in self.tiers
        )
        return Rate(self.model, self.amount, self.per, tiers)  # type: ignore[arg-type]  # checked when it was added


@dataclass(frozen=True)
class NewPrice:
    """What a price is made from; `meter` is a slug and `starts` a month such as 2024-01."""

    meter: str
    rule: Rate
    customer: str | None = None
    starts: str | None = None


@dataclass(frozen=True)
class PriceBook:
    """The prices that an organization's usage is rated with, by meter id."""

    prices: dict[str, list[Price]]
    defaults: dict[str, Rate]

    def rule(self, meter: str, customer: str, month: date) -> Rate | None:
        """The rate of a meter for a customer in a month: their own price before everybody's, the latest start first."""
        offered = [price for price in self.prices.get(meter, []) if price.starts is None or price.starts <= month]
        mine = [price for price in offered if price.customer == customer] or [price for price in offered if price.customer is None]
        if mine:
            return max(mine, key=lambda price: price.starts or date.min).rule
        return self.defaults.get(meter)

    def is_special(self, customer: str) -> bool:
        """Whether the customer has a price of their own for anything."""
        return any(price.customer == customer for prices in self.prices.values() for price in prices)

    def priced(self, meter: str) -> bool:
        """Whether the meter can cost anything."""
        return meter in self.prices or meter in self.defaults


def add_price(session: Session, organization: str, now: datetime, actor: str, new: NewPrice) -> Price:
    """Put a price on a meter; raises NotFound, Unprocessable with every fault, or Conflict with one that starts then."""
    meter = metering.find(session, organization, new.meter)
    if faults := new.rule.faults():
        raise Unprocessable("; ".join(fault.detail for fault in faults) + ".", faults)
    starts = None
    if new.starts is not None:
        starts = times.local_date(times.month_named(new.starts, times.zone("UTC"), "starts").start, times.zone("UTC"))
    same = sa.select(Price).where(
        Price.organization == organization, Price.meter == meter.id, Price.customer == new.customer, Price.starts == starts
    )
    if session.scalar(same) is not None:
        when = "from the beginning" if starts is None else f"in {new.starts}"
        raise Conflict(f"The meter {meter.slug!r} has a price that starts {when}; delete that one, or start this one later.")
    tiers = [
        {"up_to": None if tier.up_to is None else str(tier.up_to), "amount": str(tier.amount), "flat": str(tier.flat)}
        for tier in new.rule.tiers
    ]
    price = Price(
        id=ids.new("prc"),
        organization=organization,
        meter=meter.id,
        customer=new.customer,
        model=new.rule.model,
        amount=new.rule.amount,
        per=new.rule.per,
        tiers=tiers,
        starts=starts,
        created_at=now,
    )
    session.add(price)
    journal.write(session, organization, now, actor, "created", "price", price.id, meter=meter.slug, model=price.model)
    session.flush()
    return price


def list_prices(session: Session, organization: str, page: Page | None = None) -> tuple[list[Price], int]:
    """An organization's prices, oldest first, one page or all, and how many there are."""
    mine = sa.select(Price).where(Price.organization == organization).order_by(Price.id)
    total = session.scalar(sa.select(sa.func.count()).select_from(mine.subquery())) or 0
    return list(session.scalars(mine if page is None else mine.limit(page.limit).offset(page.offset))), total


def remove_price(session: Session, organization: str, id: str, now: datetime, actor: str) -> None:
    """Take a price away; raises NotFound."""
    price = session.scalar(sa.select(Price).where(Price.organization == organization, Price.id == id))
    if price is None:
        raise NotFound(f"There is no price {id[:60]!r}.")
    session.delete(price)
    journal.write(session, organization, now, actor, "deleted", "price", id, meter=price.meter, model=price.model)


def price_book(session: Session, organization: str, defaults: dict[str, Rate]) -> PriceBook:
    """An organization's prices; `defaults` are rates by meter id for meters without a price of their own."""
    by_meter: dict[str, list[Price]] = {}
    for price in list_prices(session, organization)[0]:
        by_meter.setdefault(price.meter, []).append(price)
    return PriceBook(by_meter, defaults)
