"""Manga's alerts on each records database, with a clock that a test moves on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.alerts.receivers import Mailbox, Webhook, mailbox, webhook
from tollhouse import access, alerts, journal
from tollhouse.alerts import Alert, Channel, Deliverer, Delivery, DeliveryTerms, NewChannel, NewRule
from tollhouse.alerts.evaluation import SAFETY
from tollhouse.journal import Entry
from tollhouse.kit.paging import Page
from tollhouse.store.records import Records

NOON = datetime(2024, 3, 1, 12, 0, tzinfo=UTC)
TERMS = DeliveryTerms(3, timedelta(seconds=30), timedelta(seconds=20))


@dataclass
class Watch:
    """One organization's alerts, and what a test does with them."""

    records: Records
    organization: str
    now: datetime = NOON
    kept: list[str] = field(default_factory=list)

    def clock(self) -> datetime:
        """The time here."""
        return self.now

    def later(self, **span: float) -> None:
        """Move the clock on."""
        self.now += timedelta(**span)

    def rule(self, *args: Any, **values: Any) -> alerts.Rule:
        """Make a rule."""
        with self.records.transaction() as session:
            return alerts.add_rule(session, self.organization, self.now, "alice", NewRule(*args, **values))

    def happens(
        self, noun: str, verb: str, subject: str = "nightly", id: str | None = None, at: datetime | None = None, **detail: Any
    ) -> Entry:
        """Write a journal row, as a domain does."""
        with self.records.transaction() as session:
            entry = journal.write(session, self.organization, at or self.now, "backup", verb, noun, subject, **detail)
            if id is not None:
                entry.id = id
            return entry

    def evaluate(self, safety: timedelta = SAFETY) -> int:
        """A tick."""
        return alerts.evaluation.evaluate(self.records, self.now, safety)

    def alerts(self, status: str | None = None) -> list[Alert]:
        """What fired, the oldest first."""
        with self.records.reading() as session:
            return sorted(alerts.list_alerts(session, self.organization, Page(1000), status)[0], key=lambda one: one.id)

    def alert(self) -> Alert:
        """The only one."""
        (one,) = self.alerts()
        return one

    def act(self, verb: Any, *args: Any) -> Any:
        """A verb on the only alert, by Alice."""
        with self.records.transaction() as session:
            return verb(session, self.organization, self.alert().id, *args, self.now, "alice")

    def channel(self, address: str, name: str = "ops", kind: str = "other") -> Channel:
        """Make a channel."""
        settled = NewChannel(name, kind, address).settled(alerts.channels.check)
        with self.records.transaction() as session:
            return alerts.add_channel(session, self.organization, self.now, "alice", name, kind, settled)

    def deliverer(self, terms: DeliveryTerms = TERMS, **values: Any) -> Deliverer:
        """A process that delivers."""
        return Deliverer(self.records, terms, self.clock, **values)

    def deliveries(self) -> list[Delivery]:
        """Of all alerts, the oldest first."""
        with self.records.reading() as session:
            found = alerts.deliveries_of(session, self.organization, [one.id for one in self.alerts()])
        return sorted((one for some in found.values() for one in some), key=lambda one: one.id)

    def delivery(self) -> Delivery:
        """The only one."""
        (one,) = self.deliveries()
        return one

    def told(self, noun: str = "alert") -> list[tuple[str, str]]:
        """The journal's (verb, actor) of a noun."""
        with self.records.reading() as session:
            rows = journal.read_on(session, self.organization, [noun], "", 1000)
        return [(row.verb, row.actor) for row in rows]


def founded(records: Records, name: str = "Manga") -> Watch:
    """An organization without rules."""
    with records.transaction() as session:
        return Watch(records, access.found(session, NOON, name).id)


@pytest.fixture
def watch(records: Records) -> Watch:
    """Manga, without rules."""
    return founded(records)


@pytest.fixture
def hook() -> Iterator[Webhook]:
    """A webhook receiver."""
    with webhook() as kept:
        yield kept


@pytest.fixture
def post() -> Iterator[Mailbox]:
    """A mail server."""
    with mailbox() as kept:
        yield kept
