"""Prices on meters."""

from decimal import Decimal
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from starlette.responses import Response

from tollhouse import billing, metering
from tollhouse.billing import MODELS_WITH_AMOUNT, NewPrice, Price, Rate, Tier
from tollhouse.kit.errors import Fault, Unprocessable
from tollhouse.web.answer import Answer, body_of, schema_of
from tollhouse.web.guard import Reads, Writes
from tollhouse.web.parts import Wired
from tollhouse.web.query import Paged

router = APIRouter(tags=["prices"])


class TierIn(msgspec.Struct, forbid_unknown_fields=True):
    """Up to and including `up_to` units; the last tier leaves it out."""

    amount: Decimal
    up_to: Decimal | None = None
    flat: Decimal = Decimal(0)


class PriceIn(msgspec.Struct, forbid_unknown_fields=True):
    """A price to be put on a meter; `starts` is a month, `customer` whom it is for if not for everybody.

    Who forgets the amount does not mean to give it away, so nothing stands in for it; the tiered models have none.
    """

    meter: str
    model: str = "per_unit"
    amount: Decimal | None = None
    per: Decimal = Decimal(1)
    tiers: list[TierIn] = []
    customer: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None
    starts: str | None = None


@router.get("/api/prices")
def list_prices(parts: Wired, caller: Reads, page: Paged) -> Response:
    """The organization's prices, oldest first."""
    with parts.records.reading() as session:
        found, total = billing.list_prices(session, caller.organization, page)
        slugs = {meter.id: meter.slug for meter in metering.list_meters(session, caller.organization)[0]}
    return Answer(page.answer("prices", [_shown(price, slugs) for price in found], total))


@router.post("/api/prices", openapi_extra=schema_of(PriceIn), status_code=201)
def create_price(parts: Wired, caller: Writes, wanted: Annotated[PriceIn, Depends(body_of(PriceIn))]) -> Response:
    """Put a price on a meter. It takes over from the month it starts in."""
    new = NewPrice(wanted.meter, _rule(wanted), wanted.customer, wanted.starts)
    with parts.records.transaction() as session:
        price = billing.add_price(session, caller.organization, parts.clock(), caller.name, new)
    return Answer(_shown(price, {price.meter: wanted.meter}), 201)


@router.delete("/api/prices/{id}", status_code=204)
def delete_price(parts: Wired, caller: Writes, id: str) -> Response:
    """Take a price away."""
    with parts.records.transaction() as session:
        billing.remove_price(session, caller.organization, id, parts.clock(), caller.name)
    return Response(status_code=204)


def _rule(wanted: PriceIn) -> Rate:
    if wanted.amount is None and wanted.model in MODELS_WITH_AMOUNT:
        fault = f'amount: the model {wanted.model} needs one, such as "0.10"; "0" is free'
        raise Unprocessable(fault, [Fault(fault, "amount")])
    tiers = tuple(Tier(tier.up_to, tier.amount, tier.flat) for tier in wanted.tiers)
    return Rate(wanted.model, wanted.amount or Decimal(0), wanted.per, tiers)  # type: ignore[arg-type]  # faults() checks it


def _shown(price: Price, slugs: dict[str, str]) -> dict[str, Any]:
    rule = price.rule
    return {
        "id": price.id,
        "meter": slugs.get(price.meter, price.meter),
        "model": price.model,
        "amount": price.amount,
        "per": price.per,
        "tiers": [{"up_to": tier.up_to, "amount": tier.amount, "flat": tier.flat} for tier in rule.tiers],
        "customer": price.customer,
        "starts": None if price.starts is None else f"{price.starts:%Y-%m}",
    }
