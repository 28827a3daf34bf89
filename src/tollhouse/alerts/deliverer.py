"""The deliverer: brings what was written down to its channels, after the transaction that raised it.

A few lanes work side by side. A channel is in one lane at most, and one that stalls is left alone for the rest of the
round, so it holds up its own deliveries and nobody else's. Nothing waits on the network inside a transaction.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from tollhouse.alerts import channels, delivery
from tollhouse.alerts.alert import Alert
from tollhouse.alerts.channel import Channel
from tollhouse.alerts.delivery import Delivery, DeliveryTerms
from tollhouse.kit.errors import TollhouseError, Unavailable
from tollhouse.store.records import Records

log = structlog.get_logger()
LANES = 4
ROUND = timedelta(seconds=45)
GIVEN_UP = timedelta(minutes=10)
"""After that a channel that never let go of an attempt is tried again beside it."""


@dataclass
class Deliverer:
    """Delivers. What arrived and could not be noted (the process died) is sent again: once or more, never not at all."""

    records: Records
    terms: DeliveryTerms
    clock: Callable[[], datetime]
    send: Callable[[str, str, str], None] = channels.send
    _round: threading.Lock = field(default_factory=threading.Lock)
    _choosing: threading.Lock = field(default_factory=threading.Lock)
    _busy: dict[str, datetime] = field(default_factory=dict)

    def deliver(self) -> int:
        """Try everything that is due, for less than a minute; returns how many arrived."""
        if not self._round.acquire(blocking=False):
            return 0
        try:
            started = self.clock()
            with self.records.reading() as session:
                wanted = min(LANES, delivery.due(session, started))
            arrived: list[int] = []
            lanes = [threading.Thread(target=self._lane, args=(started + ROUND, arrived), daemon=True) for _ in range(wanted)]
            for lane in lanes:
                lane.start()
            for lane in lanes:
                lane.join()
            return sum(arrived)
        finally:
            self._round.release()

    def _lane(self, until: datetime, arrived: list[int]) -> None:
        while self.clock() < until and (taken := self._take()) is not None:
            try:
                arrived.append(self._bring(*taken))
            except Exception as error:  # a lane that ends for one delivery would hold up the others; its lease runs out
                log.error("an alert's delivery failed unexpectedly", exc_info=error)
                self._leave(taken[1].id)

    def _take(self) -> tuple[Delivery, Channel, str, str] | None:
        with self._choosing:
            now = self.clock()
            self._busy = {channel: since for channel, since in self._busy.items() if since > now - GIVEN_UP}
            with self.records.transaction() as session:
                taken = delivery.claim(session, now, self.terms, tuple(self._busy))
                if taken is None:
                    return None
                title, body = _said(session.get_one(Alert, taken[0].alert))
            self._busy[taken[1].id] = now
            return *taken, title, body

    def _leave(self, channel: str) -> None:
        with self._choosing:
            self._busy.pop(channel, None)

    def _bring(self, taken: Delivery, channel: Channel, title: str, body: str) -> int:
        # The channel is left only when it lets go, also long after the time was up: until then it is stalled.
        error = self._timed(channel.address, title, body, lambda: self._leave(channel.id))
        with self.records.transaction() as session:
            if error is None:
                delivery.note_sent(session, taken, self.clock())
            else:
                delivery.note_failed(session, taken, self.clock(), error, self.terms)
        if error is not None:
            log.warning("an alert was not delivered", delivery=taken.id, attempt=taken.attempts, reason=error)
        return int(error is None)

    def try_out(self, channel: Channel) -> None:
        """Send a message now, to see whether it arrives; raises Unavailable with why it did not."""
        body = f"This is how an alert reaches the channel {channel.name}. Nothing has happened."
        error = self._timed(channel.address, "Test of an alert channel", body, lambda: None)
        if error is not None:
            raise Unavailable(error)

    def _timed(self, address: str, title: str, body: str, end: Callable[[], None]) -> str | None:
        outcome: list[Exception | None] = []

        def attempt() -> None:
            try:
                self.send(address, title, body)
                outcome.append(None)
            except Exception as error:  # of a library that speaks to a hundred services
                outcome.append(error)
            finally:
                end()

        sender = threading.Thread(target=attempt, daemon=True)
        sender.start()
        sender.join(self.terms.timeout.total_seconds())
        return _why(outcome[0]) if outcome else f"It did not answer within {self.terms.timeout.total_seconds():g} seconds."


def _why(error: Exception | None) -> str | None:
    if error is None or isinstance(error, TollhouseError):
        return error.detail if error else None
    log.error("an alert's channel failed unexpectedly", exc_info=error)
    return "The channel failed in an unexpected way; the log says how."


def _said(alert: Alert) -> tuple[str, str]:
    """The title and body of the message."""
    mark = {"critical": "[critical] ", "warning": "[warning] "}.get(alert.severity, "")
    since = {"acknowledged": f"Acknowledged by {alert.acknowledged_by}.", "resolved": f"Resolved since, by {alert.resolved_by}."}
    again = "It was snoozed, and has not been resolved." if alert.round and alert.status != "resolved" else ""
    return mark + alert.title, "\n".join(filter(None, (alert.message, again, since.get(alert.status, ""))))
