"""Alerts, the rules that raise them, and the channels that tell people."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends
from starlette.responses import Response

from tollhouse import alerts, journal
from tollhouse.alerts import Alert, Channel, Counted, Delivery, Happened, Missing, NewChannel, NewRule, Rule
from tollhouse.kit import times
from tollhouse.kit.errors import Unprocessable
from tollhouse.web.answer import Answer, body_of, instant, schema_of
from tollhouse.web.guard import Admin, Reads
from tollhouse.web.parts import Wired
from tollhouse.web.query import Paged

router = APIRouter(tags=["alerts"])
Name = Annotated[str, msgspec.Meta(max_length=120)]
Short = Annotated[str, msgspec.Meta(max_length=60)]
Ids = Annotated[list[Short], msgspec.Meta(max_length=50)]


class SnoozeIn(msgspec.Struct, forbid_unknown_fields=True):
    """How long to leave an alert: `until` a time, or for so many `hours`."""

    until: str | None = None
    hours: Annotated[float, msgspec.Meta(gt=0, le=8784)] | None = None


class RuleIn(msgspec.Struct, forbid_unknown_fields=True):
    """A rule to be made; no `channels` means every channel."""

    name: Name
    condition: Happened | Counted | Missing
    severity: Literal["info", "warning", "critical"] = "warning"
    period_seconds: int = 3600
    channels: Ids = []
    resolved_by: Ids = []
    enabled: bool = True


class RuleChange(msgspec.Struct, forbid_unknown_fields=True):
    """What to change of a rule."""

    enabled: bool | None = None
    channels: Ids | None = None


class ChannelIn(msgspec.Struct, forbid_unknown_fields=True):
    """A channel to be made; its address is never shown again."""

    name: Name
    kind: Literal["email", "slack", "webhook", "other"]
    address: Annotated[str, msgspec.Meta(max_length=2000)]


class ChannelChange(msgspec.Struct, forbid_unknown_fields=True):
    """Switch a channel on or off."""

    enabled: bool


@router.get("/api/alerts")
def list_alerts(
    parts: Wired,
    caller: Reads,
    page: Paged,
    status: Literal["all", "open", "acknowledged", "resolved"] = "all",
    severity: Literal["all", "info", "warning", "critical"] = "all",
) -> Response:
    """The organization's alerts: what is open first, then acknowledged, each by severity; then resolved, newest first."""
    now = parts.clock()
    with parts.records.reading() as session:
        chosen = [None if one == "all" else one for one in (status, severity)]
        found, total = alerts.list_alerts(session, caller.organization, page, *chosen)
    return Answer(page.answer("alerts", [_alert(one, now) for one in found], total))


@router.get("/api/alerts/{id}")
def get_alert(parts: Wired, caller: Reads, id: str) -> Response:
    """One alert with its history."""
    with parts.records.reading() as session:
        found = alerts.find(session, caller.organization, id)
        written = journal.history(session, caller.organization, "alert", found.id)
    history = [{"at": instant(row.at), "actor": row.actor, "verb": row.verb, "detail": row.detail} for row in written]
    return Answer(_alert(found, parts.clock()) | {"history": history})


@router.get("/api/alerts/{id}/deliveries")
def list_deliveries(parts: Wired, caller: Reads, id: str) -> Response:
    """To which channels an alert was brought, how often that was tried, and why it failed."""
    with parts.records.reading() as session:
        found = alerts.find(session, caller.organization, id)
        kept = alerts.deliveries_of(session, caller.organization, [found.id])[found.id]
    return Answer({"deliveries": [_delivery(one) for one in kept], "total": len(kept), "limit": len(kept), "offset": 0})


@router.post("/api/alerts/deliveries/{id}/retry")
def retry_delivery(parts: Wired, caller: Admin, id: str) -> Response:
    """Have a delivery that has come to a dead end tried again; within a minute, and as often as a new one."""
    with parts.records.transaction() as session:
        return Answer(_delivery(alerts.retry(session, caller.organization, id, parts.clock(), caller.name)))


@router.post("/api/alerts/{id}/acknowledge")
def acknowledge_alert(parts: Wired, caller: Admin, id: str) -> Response:
    """Say that somebody looks after an alert."""
    now = parts.clock()
    with parts.records.transaction() as session:
        return Answer(_alert(alerts.acknowledge(session, caller.organization, id, now, caller.name), now))


@router.post("/api/alerts/{id}/resolve")
def resolve_alert(parts: Wired, caller: Admin, id: str) -> Response:
    """Say that an alert is over."""
    now = parts.clock()
    with parts.records.transaction() as session:
        return Answer(_alert(alerts.resolve(session, caller.organization, id, now, caller.name), now))


@router.post("/api/alerts/{id}/snooze", openapi_extra=schema_of(SnoozeIn))
def snooze_alert(parts: Wired, caller: Admin, id: str, wanted: Annotated[SnoozeIn, Depends(body_of(SnoozeIn))]) -> Response:
    """Leave an alert for a while; its channels are told again when the time is over and it is not resolved."""
    now = parts.clock()
    if (wanted.until is None) == (wanted.hours is None):
        raise Unprocessable("until: say until when, or for how many hours; one of the two.")
    until = now + timedelta(hours=wanted.hours) if wanted.hours is not None else times.moment(times.parse_time(wanted.until or "", "until"))
    with parts.records.transaction() as session:
        return Answer(_alert(alerts.snooze(session, caller.organization, id, until, now, caller.name), now))


@router.get("/api/alert-rules")
def list_rules(parts: Wired, caller: Reads) -> Response:
    """The organization's rules, oldest first."""
    with parts.records.reading() as session:
        found = [_rule(one) for one in alerts.list_rules(session, caller.organization)]
    return Answer({"rules": found, "total": len(found), "limit": len(found), "offset": 0})


@router.post("/api/alert-rules", openapi_extra=schema_of(RuleIn), status_code=201)
def create_rule(parts: Wired, caller: Admin, wanted: Annotated[RuleIn, Depends(body_of(RuleIn))]) -> Response:
    """Make a rule."""
    new = NewRule(
        wanted.name, wanted.condition, wanted.severity, wanted.period_seconds, wanted.channels, wanted.resolved_by, wanted.enabled
    )
    with parts.records.transaction() as session:
        return Answer(_rule(alerts.add_rule(session, caller.organization, parts.clock(), caller.name, new)), 201)


@router.get("/api/alert-rules/{id}")
def get_rule(parts: Wired, caller: Reads, id: str) -> Response:
    """One rule."""
    with parts.records.reading() as session:
        return Answer(_rule(alerts.find_rule(session, caller.organization, id)))


@router.patch("/api/alert-rules/{id}", openapi_extra=schema_of(RuleChange))
def change_rule(parts: Wired, caller: Admin, id: str, wanted: Annotated[RuleChange, Depends(body_of(RuleChange))]) -> Response:
    """Switch a rule on or off, or have other channels told."""
    with parts.records.transaction() as session:
        owner, now = caller.organization, parts.clock()
        return Answer(_rule(alerts.change_rule(session, owner, id, now, caller.name, wanted.enabled, wanted.channels)))


@router.delete("/api/alert-rules/{id}", status_code=204)
def delete_rule(parts: Wired, caller: Admin, id: str) -> Response:
    """Delete a rule; what it raised stays."""
    with parts.records.transaction() as session:
        alerts.remove_rule(session, caller.organization, id, parts.clock(), caller.name)
    return Response(status_code=204)


@router.get("/api/alert-channels")
def list_channels(parts: Wired, caller: Reads) -> Response:
    """The organization's channels, without their addresses."""
    with parts.records.reading() as session:
        found = [_channel(one) for one in alerts.list_channels(session, caller.organization)]
    return Answer({"channels": found, "total": len(found), "limit": len(found), "offset": 0})


@router.post("/api/alert-channels", openapi_extra=schema_of(ChannelIn), status_code=201)
def create_channel(parts: Wired, caller: Admin, wanted: Annotated[ChannelIn, Depends(body_of(ChannelIn))]) -> Response:
    """Make a channel."""
    address = NewChannel(wanted.name, wanted.kind, wanted.address).settled(alerts.channels.check)
    with parts.records.transaction() as session:
        made = alerts.add_channel(session, caller.organization, parts.clock(), caller.name, wanted.name, wanted.kind, address)
        return Answer(_channel(made), 201)


@router.patch("/api/alert-channels/{id}", openapi_extra=schema_of(ChannelChange))
def change_channel(parts: Wired, caller: Admin, id: str, wanted: Annotated[ChannelChange, Depends(body_of(ChannelChange))]) -> Response:
    """Switch a channel on or off; what waits for it waits on."""
    with parts.records.transaction() as session:
        return Answer(_channel(alerts.switch_channel(session, caller.organization, id, parts.clock(), caller.name, wanted.enabled)))


@router.delete("/api/alert-channels/{id}", status_code=204)
def delete_channel(parts: Wired, caller: Admin, id: str) -> Response:
    """Delete a channel; what was on its way to it has come to a dead end."""
    with parts.records.transaction() as session:
        alerts.remove_channel(session, caller.organization, id, parts.clock(), caller.name)
    return Response(status_code=204)


@router.post("/api/alert-channels/{id}/test")
def try_channel(parts: Wired, caller: Admin, id: str) -> Response:
    """Send a message through a channel now; 503 says why it did not arrive."""
    with parts.records.reading() as session:
        channel = alerts.find_channel(session, caller.organization, id)
    parts.deliverer.try_out(channel)
    return Answer({"id": channel.id, "sent": True})


def _alert(one: Alert, now: datetime) -> dict[str, Any]:
    return {
        "id": one.id,
        "rule": one.rule,
        "rule_name": one.rule_name,
        "severity": one.severity,
        "status": one.status,
        "noun": one.noun,
        "subject": one.subject,
        "title": one.title,
        "message": one.message,
        "period_start": instant(one.period_start),
        "fired_at": instant(one.fired_at),
        "last_at": instant(one.last_at),
        "acknowledged_at": instant(one.acknowledged_at),
        "acknowledged_by": one.acknowledged_by,
        "resolved_at": instant(one.resolved_at),
        "resolved_by": one.resolved_by,
        "snoozed_until": instant(one.snoozed_until) if one.quiet(now) else None,
    }


def _delivery(one: Delivery) -> dict[str, Any]:
    return {
        "id": one.id,
        "channel": one.channel,
        "channel_name": one.channel_name,
        "status": one.status,
        "attempts": one.attempts,
        "next_at": instant(one.next_at) if one.status in ("pending", "failed") else None,
        "error": one.error,
        "created_at": instant(one.created_at),
        "sent_at": instant(one.sent_at),
    }


def _rule(one: Rule) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "watches": one.watches.words(),
        "condition": one.condition,
        "severity": one.severity,
        "period_seconds": one.period_seconds,
        "channels": one.channels,
        "resolved_by": one.resolved_by,
        "enabled": one.enabled,
        "created_at": instant(one.created_at),
    }


def _channel(one: Channel) -> dict[str, Any]:
    shown = {"id": one.id, "name": one.name, "kind": one.kind, "hint": one.hint, "enabled": one.enabled}
    return shown | {"created_at": instant(one.created_at)}
