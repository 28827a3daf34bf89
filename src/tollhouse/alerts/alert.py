"""An alert: a rule has spoken about a subject. Once a period, whoever evaluates, and how often.

    open ──▶ acknowledged ──▶ resolved
      │                          ▲ │
      └──────────────────────────┘ └──(it happens again in the same period)──▶ open

It is resolved by a person, or by a journal row that says the opposite. While it is snoozed it counts as quiet; when the
snooze ends and it is not resolved, its channels are told again. Every arrow is a conditional update and a journal row.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import journal
from tollhouse.alerts import delivery
from tollhouse.alerts.rule import Rule
from tollhouse.alerts.sighting import insert_new
from tollhouse.kit import ids
from tollhouse.kit.errors import Conflict, NotFound, Unprocessable
from tollhouse.kit.paging import Page
from tollhouse.store.records import Record

Status = Literal["open", "acknowledged", "resolved"]
STATUSES: tuple[Status, ...] = ("open", "acknowledged", "resolved")
LONGEST_SNOOZE = timedelta(days=366)
NOUN = "alert"


class Alert(Record):
    """`last_at` is when it last happened, `entry` the journal row that raised it, `round` how often a snooze has ended."""

    __tablename__ = "alerts"
    __table_args__ = (
        sa.UniqueConstraint("rule", "subject", "period_start"),
        sa.Index("ix_alerts_status", "organization", "status", "id"),
    )

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"))
    rule: Mapped[str] = mapped_column(sa.String(40))
    rule_name: Mapped[str] = mapped_column(sa.String(120))
    severity: Mapped[str] = mapped_column(sa.String(20))
    noun: Mapped[str] = mapped_column(sa.String(60))
    subject: Mapped[str] = mapped_column(sa.String(255))
    period_start: Mapped[datetime]
    status: Mapped[str] = mapped_column(sa.String(20))
    title: Mapped[str] = mapped_column(sa.String(500))
    message: Mapped[str] = mapped_column(sa.String(4000))
    channels: Mapped[list[str]]
    entry: Mapped[str | None] = mapped_column(sa.String(40))
    fired_at: Mapped[datetime]
    last_at: Mapped[datetime]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None] = mapped_column(sa.String(200))
    resolved_at: Mapped[datetime | None]
    resolved_by: Mapped[str | None] = mapped_column(sa.String(200))
    snoozed_until: Mapped[datetime | None] = mapped_column(index=True)
    round: Mapped[int]

    def quiet(self, now: datetime) -> bool:
        """Whether it is snoozed."""
        return self.snoozed_until is not None and self.snoozed_until > now and self.status != "resolved"


@dataclass(frozen=True)
class Finding:
    """What a rule has found: about whom, in which period, when, in which words, and from which row."""

    rule: Rule
    subject: str
    period_start: datetime
    at: datetime
    title: str
    message: str
    entry: str | None = None


def fire(session: Session, finding: Finding, now: datetime) -> bool:
    """Raise the alert, unless this rule has spoken about this subject in this period; then note that it goes on."""
    rule = finding.rule
    kept = _of_period(session, finding)
    if kept is None:
        values = {
            "id": ids.new("alert"),
            "organization": rule.organization,
            "rule": rule.id,
            "rule_name": rule.name,
            "severity": rule.severity,
            "noun": rule.watches.noun,
            "subject": finding.subject,
            "period_start": finding.period_start,
            "status": "open",
            "title": finding.title,
            "message": finding.message,
            "channels": rule.channels,
            "entry": finding.entry,
            "fired_at": now,
            "last_at": finding.at,
            "round": 0,
        }
        if insert_new(session, Alert, values):
            named = {"rule": rule.name, "severity": rule.severity, "about": finding.subject}
            journal.write(session, rule.organization, now, "alerts", "fired", NOUN, str(values["id"]), **named)
            delivery.enqueue(session, rule.organization, str(values["id"]), rule.channels, 0, now)
            return True
        kept = _of_period(session, finding)
    if kept is not None and finding.at > kept.last_at:
        _goes_on(session, kept, finding.at, now)
    return False


def _of_period(session: Session, finding: Finding) -> Alert | None:
    same = (Alert.rule == finding.rule.id, Alert.subject == finding.subject, Alert.period_start == finding.period_start)
    return session.scalar(sa.select(Alert).where(*same).execution_options(populate_existing=True))


def _goes_on(session: Session, alert: Alert, at: datetime, now: datetime) -> None:
    session.execute(sa.update(Alert).where(Alert.id == alert.id, Alert.last_at < at).values(last_at=at))
    if alert.status == "resolved" and alert.resolved_at is not None and at > alert.resolved_at:
        move(session, alert, "open", now, "alerts", "reopened", resolved_at=None, resolved_by=None)


def settle(session: Session, rule: Rule, subject: str, at: datetime, now: datetime, verb: str) -> None:
    """A row of the journal said the opposite at that time: what happened before it is over."""
    going_on = (Alert.rule == rule.id, Alert.subject == subject, Alert.status != "resolved", Alert.last_at < at)
    for alert in session.scalars(sa.select(Alert).where(*going_on).order_by(Alert.id)):
        by = f"{alert.noun} {verb}"
        move(session, alert, "resolved", now, "alerts", "resolved", resolved_at=at, resolved_by=by[:200], snoozed_until=None)


def acknowledge(session: Session, organization: str, id: str, now: datetime, actor: str) -> Alert:
    """Somebody looks after it; raises NotFound, and Conflict unless it is open."""
    alert = find(session, organization, id)
    if alert.status != "open":
        raise Conflict(f"The alert is {alert.status}; only an open one can be acknowledged.")
    return move(session, alert, "acknowledged", now, actor, "acknowledged", acknowledged_at=now, acknowledged_by=actor[:200])


def resolve(session: Session, organization: str, id: str, now: datetime, actor: str) -> Alert:
    """It is over; raises NotFound, and Conflict where it is so already."""
    alert = find(session, organization, id)
    if alert.status == "resolved":
        raise Conflict("The alert is resolved already.")
    return move(session, alert, "resolved", now, actor, "resolved", resolved_at=now, resolved_by=actor[:200], snoozed_until=None)


def snooze(session: Session, organization: str, id: str, until: datetime, now: datetime, actor: str) -> Alert:
    """Leave it until then; raises NotFound, Unprocessable for a time that is not ahead, Conflict where it is resolved."""
    alert = find(session, organization, id)
    if alert.status == "resolved":
        raise Conflict("The alert is resolved; there is nothing to snooze.")
    if not now < until <= now + LONGEST_SNOOZE:
        raise Unprocessable("until: name a time ahead, within a year.")
    detail = {"until": until.isoformat()}
    return move(session, alert, alert.status, now, actor, "snoozed", detail, snoozed_until=until)


def wake(session: Session, organization: str, now: datetime) -> None:
    """End the snoozes whose time has come, and tell the channels again of what is not resolved."""
    over = (Alert.organization == organization, Alert.snoozed_until <= now, Alert.status != "resolved")
    for alert in session.scalars(sa.select(Alert).where(*over).order_by(Alert.id)):
        move(session, alert, alert.status, now, "alerts", "woke", snoozed_until=None, round=alert.round + 1)
        delivery.enqueue(session, organization, alert.id, alert.channels, alert.round, now)


def move(
    session: Session, alert: Alert, to: str, now: datetime, actor: str, verb: str, detail: dict[str, Any] | None = None, **values: Any
) -> Alert:
    """The one way in which an alert changes: only from the state that was read, with a journal row; else Conflict."""
    same = (Alert.id == alert.id, Alert.status == alert.status, Alert.round == alert.round, Alert.snoozed_until == alert.snoozed_until)
    changed = session.execute(sa.update(Alert).where(*same).values(status=to, **values))
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        raise Conflict("The alert has changed meanwhile; look at it again.")
    told = {"from": alert.status, "to": to} | (detail or {})
    journal.write(session, alert.organization, now, actor, verb, NOUN, alert.id, **told)
    session.refresh(alert)
    return alert


def find(session: Session, organization: str, id: str) -> Alert:
    """The alert with that id; raises NotFound."""
    alert = session.scalar(sa.select(Alert).where(Alert.organization == organization, Alert.id == id))
    if alert is None:
        raise NotFound(f"There is no alert {id[:60]!r}.")
    return alert


def list_alerts(
    session: Session, organization: str, page: Page, status: str | None = None, severity: str | None = None
) -> tuple[list[Alert], int]:
    """One page of alerts, and how many there are: what is open first, then acknowledged, each by severity; then resolved, newest first."""
    wanted = sa.select(Alert).where(Alert.organization == organization)
    if status is not None:
        wanted = wanted.where(Alert.status == status)
    if severity is not None:
        wanted = wanted.where(Alert.severity == severity)
    total = session.scalar(sa.select(sa.func.count()).select_from(wanted.subquery())) or 0
    rank = sa.case({"open": 0, "acknowledged": 1}, value=Alert.status, else_=2)
    grave = sa.case((Alert.status == "resolved", 0), (Alert.severity == "critical", 0), (Alert.severity == "warning", 1), else_=2)
    return list(session.scalars(wanted.order_by(rank, grave, Alert.id.desc()).limit(page.limit).offset(page.offset))), total


def count_by_status(session: Session, organization: str) -> dict[str, int]:
    """How many alerts there are in each status."""
    counted = sa.select(Alert.status, sa.func.count()).where(Alert.organization == organization).group_by(Alert.status)
    return dict.fromkeys(STATUSES, 0) | {row[0]: row[1] for row in session.execute(counted)}


def count_open(session: Session, organization: str, now: datetime) -> int:
    """How many alerts wait for somebody: open, and not snoozed."""
    awake = sa.or_(Alert.snoozed_until.is_(None), Alert.snoozed_until <= now)
    return session.scalar(sa.select(sa.func.count()).where(Alert.organization == organization, Alert.status == "open", awake)) or 0


def count_dead(session: Session, organization: str) -> int:
    """How many deliveries of alerts that are not resolved have come to a dead end."""
    dead = sa.select(sa.func.count()).select_from(delivery.Delivery).join(Alert, Alert.id == delivery.Delivery.alert)
    dead = dead.where(Alert.organization == organization, Alert.status != "resolved", delivery.Delivery.status == "dead")
    return session.scalar(dead) or 0
