"""`tollhouse alerts`, `alert-rules` and `alert-channels`: what ought to be noticed, when, and by whom."""

import json
from typing import Annotated, Any

import typer

from tollhouse.cli.connection import connected
from tollhouse.cli.output import AsJson, InOrganization, console, show
from tollhouse.kit.errors import Unprocessable

alerts = typer.Typer(name="alerts", help="Alerts: what ought to be noticed.", no_args_is_help=True)
rules = typer.Typer(name="alert-rules", help="The rules that raise alerts.", no_args_is_help=True)
channels = typer.Typer(name="alert-channels", help="The channels that tell people of alerts.", no_args_is_help=True)
COLUMNS = ("id", "severity", "status", "title", "fired", "snoozed until")
DELIVERY_COLUMNS = ("id", "channel", "state", "attempts", "error")
RULE_COLUMNS = ("id", "name", "watches", "severity", "enabled")
CHANNEL_COLUMNS = ("id", "name", "kind", "address", "enabled")


@alerts.command("list")
def list_alerts(
    status: Annotated[str, typer.Option(help="open, acknowledged, resolved or all.")] = "all",
    severity: Annotated[str, typer.Option(help="info, warning, critical or all.")] = "all",
    limit: int = 50,
    offset: int = 0,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """List alerts, what is open first."""
    params: dict[str, Any] = {"status": status, "severity": severity, "limit": limit, "offset": offset}
    with connected(organization) as server:
        answer = server.call("GET", "/api/alerts", params=params)
    show(answer, as_json, COLUMNS, [_alert(one) for one in answer["alerts"]], f"{len(answer['alerts'])} of {answer['total']} alerts")


@alerts.command("show")
def show_alert(id: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Show one alert with its history and its deliveries."""
    with connected(organization) as server:
        answer = server.call("GET", f"/api/alerts/{id}")
        answer["deliveries"] = server.call("GET", f"/api/alerts/{id}/deliveries")["deliveries"]
    if as_json:
        show(answer, True)
        return
    console().print(f"{answer['title']} ({answer['severity']}, {answer['status']})\n{answer['message']}\n", markup=False)
    show(answer, False, ("when", "who", "what"), [(row["at"][:19], row["actor"], row["verb"]) for row in answer["history"]], "History")
    show(answer, False, DELIVERY_COLUMNS, [_delivery(one) for one in answer["deliveries"]], "Deliveries")


@alerts.command("acknowledge")
def acknowledge(id: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Say that somebody looks after an alert."""
    _change(id, "acknowledge", None, as_json, organization)


@alerts.command("resolve")
def resolve(id: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Say that an alert is over."""
    _change(id, "resolve", None, as_json, organization)


@alerts.command("snooze")
def snooze(
    id: str,
    hours: Annotated[float | None, typer.Option(help="For so many hours.")] = None,
    until: Annotated[str | None, typer.Option(help="Until then, such as 2024-01-31T13:00:00Z.")] = None,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Leave an alert for a while; 24 hours if not said otherwise."""
    body = {"until": until} if until else {"hours": hours if hours is not None else 24}
    _change(id, "snooze", body | ({"hours": hours} if hours is not None else {}), as_json, organization)


@alerts.command("retry")
def retry(
    id: Annotated[str, typer.Argument(help="A delivery's id, as `tollhouse alerts show` says it.")],
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Have a delivery that has come to a dead end tried again."""
    with connected(organization) as server:
        answer = server.call("POST", f"/api/alerts/deliveries/{id}/retry")
    show(answer, as_json, DELIVERY_COLUMNS, [_delivery(answer)])


@rules.command("list")
def list_rules(as_json: AsJson = False, organization: InOrganization = None) -> None:
    """List the rules."""
    with connected(organization) as server:
        answer = server.call("GET", "/api/alert-rules")
    show(answer, as_json, RULE_COLUMNS, [_rule(one) for one in answer["rules"]])


@rules.command("create")
def create_rule(
    name: str,
    noun: Annotated[str, typer.Option(help="What it is about: a noun of the journal, such as backup or job.")],
    verb: Annotated[list[str], typer.Option(help="What happens to it, such as failed; repeatable.")],
    where: Annotated[str, typer.Option(help="A comparison with a field of the row, such as 'percent >= 50'.")] = "",
    at_least: Annotated[int | None, typer.Option(help="Only when it happens so often, with --within.")] = None,
    within: Annotated[int | None, typer.Option(help="Seconds within which to count.")] = None,
    by: Annotated[str, typer.Option(help="Count by a field of the row, such as customer, or * for all together; else by subject.")] = "",
    missing: Annotated[int | None, typer.Option(help="When it does not happen for so many seconds.")] = None,
    severity: Annotated[str, typer.Option(help="info, warning or critical.")] = "warning",
    period: Annotated[int, typer.Option(help="Seconds in which it speaks once about a subject.")] = 3600,
    channel: Annotated[list[str] | None, typer.Option(help="Id of a channel; all of them if none is given.")] = None,
    resolved_by: Annotated[list[str] | None, typer.Option(help="A verb that says it is over, such as completed.")] = None,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Make a rule."""
    condition: dict[str, Any] = {"kind": "happened", "noun": noun, "verbs": verb}
    if where:
        condition["where"] = _where(where)
    if missing is not None:
        condition |= {"kind": "missing", "longer_than_seconds": missing}
    elif at_least is not None or within is not None:
        condition |= {"kind": "counted", "at_least": at_least, "within_seconds": within, "by": by}
    body = {"name": name, "condition": condition, "severity": severity, "period_seconds": period}
    body |= {"channels": channel or [], "resolved_by": resolved_by or []}
    with connected(organization) as server:
        answer = server.call("POST", "/api/alert-rules", json=body)
    show(answer, as_json, RULE_COLUMNS, [_rule(answer)])


@rules.command("enable")
def enable_rule(id: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Switch a rule on."""
    _switch_rule(id, True, as_json, organization)


@rules.command("disable")
def disable_rule(id: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Switch a rule off."""
    _switch_rule(id, False, as_json, organization)


@rules.command("delete")
def delete_rule(id: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Delete a rule; what it raised stays."""
    with connected(organization) as server:
        server.call("DELETE", f"/api/alert-rules/{id}")
    show({"id": id, "deleted": True}, as_json, ("id", "deleted"), [(id, "yes")])


@channels.command("list")
def list_channels(as_json: AsJson = False, organization: InOrganization = None) -> None:
    """List the channels, without their addresses."""
    with connected(organization) as server:
        answer = server.call("GET", "/api/alert-channels")
    show(answer, as_json, CHANNEL_COLUMNS, [_channel(one) for one in answer["channels"]])


@channels.command("create")
def create_channel(
    name: str,
    address: Annotated[
        str, typer.Argument(help="Where to send: an Apprise address, or a webhook's https://; - reads it from standard input.")
    ],
    kind: Annotated[str, typer.Option(help="email, slack, webhook or other.")] = "webhook",
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Make a channel; its address is never shown again."""
    given = typer.get_text_stream("stdin").readline().strip() if address == "-" else address
    with connected(organization) as server:
        answer = server.call("POST", "/api/alert-channels", json={"name": name, "kind": kind, "address": given})
    show(answer, as_json, CHANNEL_COLUMNS, [_channel(answer)])


@channels.command("delete")
def delete_channel(id: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Delete a channel; what was on its way to it has come to a dead end."""
    with connected(organization) as server:
        server.call("DELETE", f"/api/alert-channels/{id}")
    show({"id": id, "deleted": True}, as_json, ("id", "deleted"), [(id, "yes")])


@channels.command("test")
def try_channel(id: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Send a message through a channel now."""
    with connected(organization) as server:
        answer = server.call("POST", f"/api/alert-channels/{id}/test")
    show(answer, as_json, ("id", "sent"), [(id, "yes")])


def _change(id: str, verb: str, body: dict[str, Any] | None, as_json: bool, organization: str | None) -> None:
    with connected(organization) as server:
        answer = server.call("POST", f"/api/alerts/{id}/{verb}", json=body)
    show(answer, as_json, COLUMNS, [_alert(answer)])


def _switch_rule(id: str, enabled: bool, as_json: bool, organization: str | None) -> None:
    with connected(organization) as server:
        answer = server.call("PATCH", f"/api/alert-rules/{id}", json={"enabled": enabled})
    show(answer, as_json, RULE_COLUMNS, [_rule(answer)])


def _where(text: str) -> dict[str, Any]:
    """`percent >= 50` as the API takes it; a word that is no JSON value is text, one behind a $ another field."""
    field, op, value = (*text.split(maxsplit=2), "", "")[:3]
    if not value:
        raise Unprocessable(f"--where: {text[:60]!r} is no comparison; write it like 'percent >= 50'.")
    if value.startswith("$"):
        return {"field": field, "op": op, "than": value[1:]}
    try:
        read = json.loads(value)
    except ValueError:
        read = value
    return {"field": field, "op": op, "value": read}


def _alert(one: dict[str, Any]) -> tuple[Any, ...]:
    snoozed = one["snoozed_until"]
    return (one["id"], one["severity"], one["status"], one["title"], one["fired_at"][:19], snoozed and snoozed[:19])


def _delivery(one: dict[str, Any]) -> tuple[Any, ...]:
    return (one["id"], one["channel_name"], one["status"], one["attempts"], one["error"])


def _rule(one: dict[str, Any]) -> tuple[Any, ...]:
    return (one["id"], one["name"], one["watches"], one["severity"], "yes" if one["enabled"] else "no")


def _channel(one: dict[str, Any]) -> tuple[Any, ...]:
    return (one["id"], one["name"], one["kind"], one["hint"], "yes" if one["enabled"] else "no")
