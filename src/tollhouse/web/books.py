"""The books of a caller's organization, as billing wants them: its meters, prices and zone, at this instant."""

from sqlalchemy.orm import Session

from tollhouse import billing, metering
from tollhouse.access import Caller
from tollhouse.billing import Books
from tollhouse.kit import times
from tollhouse.web.parts import Parts


def books_of(parts: Parts, session: Session, caller: Caller) -> Books:
    """Everything that a figure is computed from."""
    meters, _ = metering.list_meters(session, caller.organization)
    rates = parts.billing.rates.by_slug()
    defaults = {meter.id: rates[meter.slug] for meter in meters if meter.slug in rates}
    return Books(
        parts.events,
        caller.organization,
        tuple(meters),
        billing.price_book(session, caller.organization, defaults),
        parts.billing.discounts,
        times.zone(caller.time_zone),
        parts.billing.currency,
        times.micros(parts.clock()),
    )
