"""A rule: what is watched, how bad it is, and who is told. A rule is a row; there is none in the code.

It speaks once per subject and period. `since` is when it was made or last switched on: what happened before is history.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import journal
from tollhouse.alerts import sighting
from tollhouse.alerts.channel import Channel
from tollhouse.alerts.condition import LONGEST_SECONDS, Condition, Missing, as_json, from_json
from tollhouse.kit import ids
from tollhouse.kit.errors import Conflict, Fault, NotFound, Unprocessable
from tollhouse.store.records import Record

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Rule(Record):
    """`channels` are ids, and none means every channel; `resolved_by` are verbs of the noun that say the opposite."""

    __tablename__ = "alert_rules"
    __table_args__ = (sa.UniqueConstraint("organization", "name"),)

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"))
    name: Mapped[str] = mapped_column(sa.String(120))
    condition: Mapped[dict[str, Any]]
    severity: Mapped[str] = mapped_column(sa.String(20))
    period_seconds: Mapped[int]
    channels: Mapped[list[str]]
    resolved_by: Mapped[list[str]]
    enabled: Mapped[bool]
    since: Mapped[datetime]
    created_at: Mapped[datetime]

    @property
    def watches(self) -> Condition:
        """The condition, typed."""
        return from_json(self.condition)

    def period_of(self, at: datetime) -> datetime:
        """The start of the period that holds the instant; periods are counted from 1970."""
        period = timedelta(seconds=self.period_seconds)
        return _EPOCH + (at - _EPOCH) // period * period


@dataclass(frozen=True)
class NewRule:
    """What a rule is made from."""

    name: str
    condition: Condition
    severity: str = "warning"
    period_seconds: int = 3600
    channels: Sequence[str] = ()
    resolved_by: Sequence[str] = ()
    enabled: bool = True

    def faults(self) -> list[Fault]:
        """Everything that is wrong with it."""
        found = [Fault(text, text.partition(":")[0]) for text in self.condition.faults()]
        if not 1 <= len(self.name.strip()) <= 120 or not self.name.isprintable():
            found.append(Fault("name: a rule's name has 1 to 120 printable characters", "name"))
        if self.severity not in SEVERITIES:
            found.append(Fault(f"severity: {self.severity[:40]!r} is none of info, warning, critical", "severity"))
        if not 60 <= self.period_seconds <= LONGEST_SECONDS:
            found.append(Fault(f"period_seconds: give 60 to {LONGEST_SECONDS}", "period_seconds"))
        if len(self.resolved_by) > 20 or not all(0 < len(verb) <= 60 for verb in self.resolved_by):
            found.append(Fault("resolved_by: name at most 20 verbs of 1 to 60 characters", "resolved_by"))
        if set(self.resolved_by) & set(self.condition.verbs):
            found.append(Fault("resolved_by: a verb cannot both raise the alert and resolve it", "resolved_by"))
        return found


def add_rule(session: Session, organization: str, now: datetime, actor: str, new: NewRule) -> Rule:
    """Make a rule; raises Unprocessable with every fault, Conflict where the name is taken."""
    if faults := [*new.faults(), *_unknown_channels(session, organization, new.channels)]:
        raise Unprocessable("; ".join(fault.detail for fault in faults) + ".", faults)
    name = new.name.strip()
    if session.scalar(sa.select(Rule.id).where(Rule.organization == organization, Rule.name == name)):
        raise Conflict(f"There is a rule named {name!r} already; choose another name.")
    rule = Rule(
        id=ids.new("rule"),
        organization=organization,
        name=name,
        condition=as_json(new.condition),
        severity=new.severity,
        period_seconds=new.period_seconds,
        channels=list(new.channels),
        resolved_by=list(new.resolved_by),
        enabled=new.enabled,
        since=now,
        created_at=now,
    )
    session.add(rule)
    session.flush()
    _begin(session, rule, new.condition)
    journal.write(session, organization, now, actor, "created", "alert-rule", rule.id, name=rule.name, severity=rule.severity)
    return rule


def change_rule(
    session: Session,
    organization: str,
    id: str,
    now: datetime,
    actor: str,
    enabled: bool | None = None,
    channels: Sequence[str] | None = None,
) -> Rule:
    """Switch a rule on or off, or have others told; raises NotFound, Unprocessable."""
    rule = find_rule(session, organization, id)
    if faults := _unknown_channels(session, organization, channels or ()):
        raise Unprocessable(faults[0].detail + ".", faults)
    if channels is not None:
        rule.channels = list(channels)
    if enabled is not None and enabled != rule.enabled:
        rule.enabled = enabled
        if enabled:
            rule.since = now
            _begin(session, rule, rule.watches)
    journal.write(session, organization, now, actor, "changed", "alert-rule", rule.id, enabled=rule.enabled, channels=rule.channels)
    return rule


def remove_rule(session: Session, organization: str, id: str, now: datetime, actor: str) -> None:
    """Delete a rule; what it raised stays. Raises NotFound."""
    rule = find_rule(session, organization, id)
    session.execute(sa.delete(Rule).where(Rule.id == rule.id))
    journal.write(session, organization, now, actor, "deleted", "alert-rule", rule.id, name=rule.name)


def find_rule(session: Session, organization: str, id: str) -> Rule:
    """The rule with that id; raises NotFound."""
    rule = session.scalar(sa.select(Rule).where(Rule.organization == organization, Rule.id == id))
    if rule is None:
        raise NotFound(f"There is no alert rule {id[:60]!r}.")
    return rule


def list_rules(session: Session, organization: str) -> list[Rule]:
    """The organization's rules, oldest first."""
    return list(session.scalars(sa.select(Rule).where(Rule.organization == organization).order_by(Rule.id)))


def _begin(session: Session, rule: Rule, condition: Condition) -> None:
    sighting.start_reading(session, rule.organization)
    if isinstance(condition, Missing):
        seen = journal.last_seen(session, rule.organization, condition.noun, condition.verbs)
        sighting.note(session, {(rule.id, subject): at for subject, at in seen.items()})


def _unknown_channels(session: Session, organization: str, channels: Sequence[str]) -> list[Fault]:
    known = set(session.scalars(sa.select(Channel.id).where(Channel.organization == organization)))
    return [Fault(f"channels: there is no alert channel {id[:60]!r}", "channels") for id in channels if id not in known][:20]
