"""The operators' alerts: what is open, who was told, and the rules and channels behind it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tollhouse import alerts
from tollhouse.alerts import Happened, NewChannel, NewRule
from tollhouse.kit.errors import TollhouseError, Unprocessable
from tollhouse.kit.paging import Page
from tollhouse.web.forms import form_of
from tollhouse.web.pages.frame import redirect, show
from tollhouse.web.pages.jobs import PageNumber
from tollhouse.web.pages.viewer import Operates, Viewer
from tollhouse.web.parts import Parts, Wired

router = APIRouter(include_in_schema=False)
HOME = "/admin/alerts"
ROWS = 20
FILTERS = ("all", *alerts.STATUSES)
SNOOZES = {"1": "1 hour", "8": "8 hours", "24": "1 day", "168": "1 week"}
Filter = Literal["all", "open", "acknowledged", "resolved"]
Fields = dict[str, str]


@router.get(HOME)
def alerts_page(
    request: Request, parts: Wired, viewer: Operates, status: Filter = "all", page: PageNumber = 1, tested: Annotated[str, Query()] = ""
) -> Response:
    """What is open comes first."""
    return _page(request, parts, viewer, status, page, tested=tested)


def _page(
    request: Request, parts: Parts, viewer: Viewer, status: str = "all", page: int = 1, fault: str = "", tested: str = "", code: int = 200
) -> Response:
    owner, now = viewer.caller.organization, parts.clock()
    with parts.records.reading() as session:
        counts = alerts.count_by_status(session, owner)
        found, total = alerts.list_alerts(session, owner, Page(ROWS, (page - 1) * ROWS), None if status == "all" else status)
        deliveries = alerts.deliveries_of(session, owner, [one.id for one in found])
        rules = alerts.list_rules(session, owner)
        channels = alerts.list_channels(session, owner)
        dead = alerts.count_dead(session, owner)
    return show(
        request,
        viewer,
        "admin_alerts.html",
        code,
        alerts=found,
        deliveries=deliveries,
        counts=counts | {"all": sum(counts.values())},
        filters=FILTERS,
        status=status,
        total=total,
        page=page,
        pages=max(1, -(-total // ROWS)),
        dead=dead,
        rules=rules,
        channels=channels,
        names={channel.id: channel.name for channel in channels},
        severities=alerts.SEVERITIES,
        kinds=alerts.KINDS,
        snoozes=SNOOZES,
        fault=fault,
        tested=next((channel.name for channel in channels if channel.id == tested), ""),
        now=now,
    )


async def _acted(request: Request, parts: Parts, viewer: Viewer, act: Callable[[Fields], None], to: str = HOME) -> Response:
    """Read the form, do it, and go on; what was wrong is said on the page itself."""
    async with form_of(request, parts.jobs.limits) as form:
        viewer.check_csrf(request, form.fields.get("csrf"))
        fields = form.fields
    try:
        await run_in_threadpool(act, fields)
    except TollhouseError as error:
        return await run_in_threadpool(_page, request, parts, viewer, fault=error.detail, code=error.status)
    return redirect(to)


@router.post(HOME + "/rules")
async def add_rule(request: Request, parts: Wired, viewer: Operates) -> Response:
    """Make a rule on what happens."""

    def act(fields: Fields) -> None:
        verbs = tuple(filter(None, (verb.strip() for verb in fields.get("verbs", "").split(","))))
        watched = Happened(fields.get("noun", "").strip(), verbs)
        new = NewRule(fields.get("name", ""), watched, fields.get("severity", "warning"))
        with parts.records.transaction() as session:
            alerts.add_rule(session, viewer.caller.organization, parts.clock(), viewer.caller.name, new)

    return await _acted(request, parts, viewer, act, HOME + "#rules")


@router.post(HOME + "/rules/{id}/{verb}")
async def change_rule(request: Request, parts: Wired, viewer: Operates, id: str, verb: Literal["enable", "disable", "delete"]) -> Response:
    """Switch a rule on or off, or delete it."""

    def act(_fields: Fields) -> None:
        owner, now, who = viewer.caller.organization, parts.clock(), viewer.caller.name
        with parts.records.transaction() as session:
            if verb == "delete":
                alerts.remove_rule(session, owner, id, now, who)
            else:
                alerts.change_rule(session, owner, id, now, who, verb == "enable")

    return await _acted(request, parts, viewer, act, HOME + "#rules")


@router.post(HOME + "/channels")
async def add_channel(request: Request, parts: Wired, viewer: Operates) -> Response:
    """Make a channel."""

    def act(fields: Fields) -> None:
        new = NewChannel(fields.get("name", ""), fields.get("kind", ""), fields.get("address", ""))
        address = new.settled(alerts.channels.check)
        with parts.records.transaction() as session:
            alerts.add_channel(session, viewer.caller.organization, parts.clock(), viewer.caller.name, new.name, new.kind, address)

    return await _acted(request, parts, viewer, act, HOME + "#channels")


@router.post(HOME + "/channels/{id}/test")
async def try_channel(request: Request, parts: Wired, viewer: Operates, id: str) -> Response:
    """Send a message through a channel now."""

    def act(_fields: Fields) -> None:
        with parts.records.reading() as session:
            channel = alerts.find_channel(session, viewer.caller.organization, id)
        parts.deliverer.try_out(channel)

    return await _acted(request, parts, viewer, act, viewer.link(HOME, tested=id) + "#channels")


@router.post(HOME + "/channels/{id}/{verb}")
async def change_channel(
    request: Request, parts: Wired, viewer: Operates, id: str, verb: Literal["enable", "disable", "delete"]
) -> Response:
    """Switch a channel on or off, or delete it."""

    def act(_fields: Fields) -> None:
        owner, now, who = viewer.caller.organization, parts.clock(), viewer.caller.name
        with parts.records.transaction() as session:
            if verb == "delete":
                alerts.remove_channel(session, owner, id, now, who)
            else:
                alerts.switch_channel(session, owner, id, now, who, verb == "enable")

    return await _acted(request, parts, viewer, act, HOME + "#channels")


@router.post(HOME + "/deliveries/{id}/retry")
async def retry_delivery(request: Request, parts: Wired, viewer: Operates, id: str) -> Response:
    """Have a dead delivery tried again."""

    def act(_fields: Fields) -> None:
        with parts.records.transaction() as session:
            alerts.retry(session, viewer.caller.organization, id, parts.clock(), viewer.caller.name)

    return await _acted(request, parts, viewer, act)


@router.post(HOME + "/{id}/{verb}")
async def change_alert(
    request: Request, parts: Wired, viewer: Operates, id: str, verb: Literal["acknowledge", "resolve", "snooze"]
) -> Response:
    """Look after an alert, leave it for a while, or say that it is over."""

    def act(fields: Fields) -> None:
        owner, now, who = viewer.caller.organization, parts.clock(), viewer.caller.name
        with parts.records.transaction() as session:
            if verb == "snooze":
                hours = fields.get("hours", "")
                if hours not in SNOOZES:
                    raise Unprocessable("hours: choose one of the times that the form offers.")
                alerts.snooze(session, owner, id, now + timedelta(hours=int(hours)), now, who)
            elif verb == "resolve":
                alerts.resolve(session, owner, id, now, who)
            else:
                alerts.acknowledge(session, owner, id, now, who)

    return await _acted(request, parts, viewer, act)
