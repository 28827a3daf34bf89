"""A delivery: one alert on its way to one channel.

    pending ──▶ sending ──▶ sent
                 │   ▲
                 ▼   │ (after a pause that doubles)
               failed ──▶ dead (no attempt is left; a journal row says so)
                           └──▶ pending (somebody has it tried again, with all its attempts)

Written down in the transaction that raises the alert, and brought after it. A claim is a conditional update with a lease:
`next_at` of what is being sent is when a process that died with it counts as dead.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import journal
from tollhouse.alerts.channel import Channel, find_channel
from tollhouse.alerts.sighting import insert_new
from tollhouse.kit import ids
from tollhouse.kit.errors import Conflict, NotFound
from tollhouse.store.records import Record

Status = Literal["pending", "sending", "sent", "failed", "dead"]
MOST_PAUSE = timedelta(hours=6)
LOST = "The process that was sending it ended before it knew the outcome."


class Delivery(Record):
    """`channel` may have been deleted since, so its name is kept; `error` is why the last attempt failed."""

    __tablename__ = "alert_deliveries"
    __table_args__ = (
        sa.UniqueConstraint("alert", "channel", "round"),
        sa.Index("ix_alert_deliveries_status", "status", "next_at"),
    )

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"))
    alert: Mapped[str] = mapped_column(sa.ForeignKey("alerts.id"))
    channel: Mapped[str] = mapped_column(sa.String(40))
    channel_name: Mapped[str] = mapped_column(sa.String(80))
    round: Mapped[int]
    status: Mapped[str] = mapped_column(sa.String(20))
    attempts: Mapped[int]
    next_at: Mapped[datetime]
    error: Mapped[str | None] = mapped_column(sa.String(500))
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]


@dataclass(frozen=True)
class DeliveryTerms:
    """How often to try, the pause after the first attempt (twice as long after each further one), and how long one may take."""

    attempts: int = 6
    backoff: timedelta = timedelta(seconds=30)
    timeout: timedelta = timedelta(seconds=20)

    def pause(self, attempt: int) -> timedelta:
        """How long to wait after that attempt."""
        doubled: int = 1 << min(max(attempt - 1, 0), 20)
        return min(MOST_PAUSE, self.backoff * doubled)

    @property
    def lease(self) -> timedelta:
        """How long a claim lasts: longer than any attempt, so that nobody else tries meanwhile."""
        return self.timeout + timedelta(seconds=60)


def enqueue(session: Session, organization: str, alert: str, channels: Sequence[str], round: int, now: datetime) -> None:
    """Write down that the alert is to be brought to these channels, or to all where none is named; those in use."""
    wanted = sa.select(Channel).where(Channel.organization == organization, Channel.enabled)
    for channel in session.scalars((wanted.where(Channel.id.in_(channels)) if channels else wanted).order_by(Channel.id)):
        values = {
            "id": ids.new("delivery"),
            "organization": organization,
            "alert": alert,
            "channel": channel.id,
            "channel_name": channel.name,
            "round": round,
            "status": "pending",
            "attempts": 0,
            "next_at": now,
            "created_at": now,
        }
        insert_new(session, Delivery, values)


def due(session: Session, now: datetime) -> int:
    """Among how many channels the deliveries are that could be tried now."""
    counted = sa.select(sa.func.count(Delivery.channel.distinct())).join(Channel, Channel.id == Delivery.channel)
    return session.scalar(counted.where(*_due(now))) or 0


def claim(session: Session, now: datetime, terms: DeliveryTerms, busy: Collection[str] = ()) -> tuple[Delivery, Channel] | None:
    """Take the delivery that has waited longest, for a channel that is not busy; or None."""
    ready = sa.select(Delivery, Channel).join(Channel, Channel.id == Delivery.channel)
    ready = ready.where(*_due(now), Channel.id.not_in(busy)).order_by(Delivery.next_at, Delivery.id).limit(1)
    while (found := session.execute(ready.with_for_update(of=Delivery, skip_locked=True)).first()) is not None:
        delivery, channel = found
        if delivery.attempts >= terms.attempts:
            _move(session, delivery, "dead", now, LOST)
        elif _move(session, delivery, "sending", now, attempts=delivery.attempts + 1, next_at=now + terms.lease):
            return delivery, channel
    return None


def _due(now: datetime) -> list[sa.ColumnElement[bool]]:
    return [Delivery.status.in_(("pending", "failed", "sending")), Delivery.next_at <= now, Channel.enabled.is_(True)]


def note_sent(session: Session, delivery: Delivery, now: datetime) -> None:
    """It arrived."""
    _move(session, delivery, "sent", now, sent_at=now)


def note_failed(session: Session, delivery: Delivery, now: datetime, error: str, terms: DeliveryTerms) -> None:
    """It did not arrive; it is tried again, or it has come to a dead end."""
    if delivery.attempts >= terms.attempts:
        _move(session, delivery, "dead", now, error)
    else:
        _move(session, delivery, "failed", now, error, next_at=now + terms.pause(delivery.attempts))


def retry(session: Session, organization: str, id: str, now: datetime, actor: str) -> Delivery:
    """Have a dead delivery tried again, from its first attempt; raises NotFound, and Conflict where there is nothing to try."""
    delivery = session.scalar(sa.select(Delivery).where(Delivery.organization == organization, Delivery.id == id))
    if delivery is None:
        raise NotFound(f"There is no delivery {id[:60]!r}.")
    if delivery.status != "dead":
        raise Conflict(f"The delivery is {delivery.status}; only one that has come to a dead end is tried again by hand.")
    if session.get(Channel, delivery.channel) is None:
        raise Conflict(f"The channel {delivery.channel_name} has been deleted; there is nowhere to bring it.")
    if not _move(session, delivery, "pending", now, attempts=0, next_at=now):
        raise Conflict("The delivery has changed meanwhile; look at it again.")
    journal.write(session, organization, now, actor, "retried", "alert", delivery.alert, channel=delivery.channel_name, delivery=id)
    return delivery


def remove_channel(session: Session, organization: str, id: str, now: datetime, actor: str) -> None:
    """Delete a channel; what was still on its way to it has come to a dead end. Raises NotFound."""
    channel = find_channel(session, organization, id)
    waiting = sa.select(Delivery).where(Delivery.channel == id, Delivery.status.in_(("pending", "failed", "sending")))
    for delivery in session.scalars(waiting):
        _move(session, delivery, "dead", now, "The channel was deleted before the alert had been delivered.")
    session.execute(sa.delete(Channel).where(Channel.id == id))
    journal.write(session, organization, now, actor, "deleted", "alert-channel", id, name=channel.name)


def deliveries_of(session: Session, organization: str, alerts: Sequence[str]) -> dict[str, list[Delivery]]:
    """The deliveries of each of these alerts, oldest first."""
    found: dict[str, list[Delivery]] = {alert: [] for alert in alerts}
    query = sa.select(Delivery).where(Delivery.organization == organization, Delivery.alert.in_(alerts))
    for delivery in session.scalars(query.order_by(Delivery.id)):
        found[delivery.alert].append(delivery)
    return found


def _move(session: Session, delivery: Delivery, to: Status, now: datetime, error: str | None = None, **values: Any) -> bool:
    """Change a delivery from the state that was read, and only from it; says whether it was still so."""
    same = (Delivery.id == delivery.id, Delivery.status == delivery.status, Delivery.attempts == delivery.attempts)
    if error is not None:
        values["error"] = error[:500]
    changed = session.execute(sa.update(Delivery).where(*same).values(status=to, **values))
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        return False
    verb = {"sent": "delivered", "dead": "undelivered"}.get(to)
    if verb is not None:
        told = {"channel": delivery.channel_name, "attempts": delivery.attempts} | ({"error": error} if error else {})
        journal.write(session, delivery.organization, now, "alerts", verb, "alert", delivery.alert, **told)
    if delivery in session:
        session.refresh(delivery)
    return True
