"""What the web side needs of the rest: built by the composition root, handed to every route."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

from tollhouse import metering
from tollhouse.alerts import Deliverer, DeliveryTerms
from tollhouse.backup.operations import Runner
from tollhouse.billing import DefaultRates, DiscountTable
from tollhouse.events import EventLimits, Ingest, Promotion
from tollhouse.jobs import Courier
from tollhouse.metering import Retention
from tollhouse.store.events import EventStore
from tollhouse.store.objects import Objects
from tollhouse.store.records import Records
from tollhouse.web.bell import Bell
from tollhouse.web.intake import Intake, JobTerms

if TYPE_CHECKING:
    from tollhouse.web.guard import Guard


@dataclass(frozen=True)
class BillingTerms:
    """The billing settings: default rates and the discount table, in one currency."""

    enabled: bool = True
    rates: DefaultRates = DefaultRates()
    discounts: DiscountTable = DiscountTable()
    currency: str = "USD"


@dataclass
class Parts:
    """One Tollhouse as the routes see it. `public_url` is where others reach it, if that is not where they asked."""

    records: Records
    events: EventStore
    objects: Objects
    ingest: Ingest
    guard: "Guard"
    limits: EventLimits = EventLimits()
    billing: BillingTerms = BillingTerms()
    retention: Retention = Retention()
    jobs: JobTerms = JobTerms()
    session: timedelta = timedelta(days=14)
    public_url: str = ""
    alerts: DeliveryTerms = DeliveryTerms()
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        self._promoted: dict[str, dict[str, Promotion]] = {}
        self.bell = Bell()
        self.intake = Intake(self.records, self.objects, self.jobs)
        self.courier = Courier(self.records, self.ingest, self.promoted, self.clock)
        self.deliverer = Deliverer(self.records, self.alerts, lambda: self.clock())  # noqa: PLW0108  # a test moves the clock on later

    def install(self, backups: Runner) -> None:
        """The one part that needs the others to be built."""
        self.backups = backups

    def base(self, request: Request) -> str:
        """The beginning of every address that is handed out."""
        return self.public_url.rstrip("/") or str(request.base_url).rstrip("/")

    def promoted(self, organization: str) -> dict[str, Promotion]:
        """Which property of each event type is lifted out at ingest, remembered until a meter changes.

        Another process may change one too: what is lifted out then is merely slower to read, never wrong.
        """
        known = self._promoted.get(organization)
        if known is None:
            with self.records.reading() as session:
                known = self._promoted[organization] = metering.promotions(session, organization)
        return known

    def meters_changed(self, organization: str) -> None:
        """Forget what was remembered of an organization's meters."""
        self._promoted.pop(organization, None)


def parts_of(request: Request) -> Parts:
    """The parts that this application was built from."""
    return cast(Parts, request.app.state.parts)


Wired = Annotated[Parts, Depends(parts_of)]
