"""Meters: made, listed, changed, deleted and asked."""

import re
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from tollhouse import metering
from tollhouse.kit import times
from tollhouse.kit.errors import Unprocessable
from tollhouse.metering import Meter, NewMeter, UsageQuery, UsageRow
from tollhouse.web.answer import Answer, body_of, csv_file, instant, schema_of
from tollhouse.web.guard import Reads, Writes
from tollhouse.web.parts import Wired
from tollhouse.web.query import Paged, instant_of

router = APIRouter(tags=["meters"])
_FILTER = re.compile(r"filter\[(.+)\]", re.DOTALL)
_FILTERS = {
    "name": "filter",
    "in": "query",
    "style": "deepObject",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "description": "Only what is that text in the group of that name: `filter[region]=eu`; it may be repeated.",
}
Texts = Annotated[list[Annotated[str, Query(max_length=255)]] | None, Query(max_length=1000)]


class MeterIn(msgspec.Struct, forbid_unknown_fields=True):
    """A meter to be made."""

    slug: str
    event_type: str
    aggregation: str = "sum"
    value_property: str | None = None
    group_by: dict[str, str] = {}
    filters: dict[str, str | list[str]] = {}
    unit: str = ""
    description: str = ""


class MeterChange(msgspec.Struct, forbid_unknown_fields=True):
    """What of a meter can be edited; what it counts cannot."""

    unit: str | None = None
    description: str | None = None


@router.get("/api/meters")
def list_meters(parts: Wired, caller: Reads, page: Paged) -> Response:
    """The organization's meters by slug."""
    with parts.records.reading() as session:
        found, total = metering.list_meters(session, caller.organization, page)
    return Answer(page.answer("meters", [shown(meter) for meter in found], total))


@router.post("/api/meters", openapi_extra=schema_of(MeterIn), status_code=201)
def create_meter(parts: Wired, caller: Writes, wanted: Annotated[MeterIn, Depends(body_of(MeterIn))]) -> Response:
    """Make a meter; it counts the events that are stored already, too."""
    with parts.records.transaction() as session:
        new = NewMeter(**msgspec.structs.asdict(wanted))
        meter = metering.add(session, caller.organization, parts.clock(), caller.name, new)
    parts.meters_changed(caller.organization)
    return Answer(shown(meter), 201)


@router.get("/api/meters/{slug}")
def get_meter(parts: Wired, caller: Reads, slug: str) -> Response:
    """One meter."""
    with parts.records.reading() as session:
        return Answer(shown(metering.find(session, caller.organization, slug)))


@router.patch("/api/meters/{slug}", openapi_extra=schema_of(MeterChange))
def change_meter(parts: Wired, caller: Writes, slug: str, wanted: Annotated[MeterChange, Depends(body_of(MeterChange))]) -> Response:
    """Edit a meter's unit or description."""
    with parts.records.transaction() as session:
        meter = metering.change(session, caller.organization, slug, parts.clock(), caller.name, wanted.unit, wanted.description)
    return Answer(shown(meter))


@router.delete("/api/meters/{slug}", status_code=204)
def delete_meter(parts: Wired, caller: Writes, slug: str) -> Response:
    """Take a meter out of use; its events stay."""
    with parts.records.transaction() as session:
        metering.remove(session, caller.organization, slug, parts.clock(), caller.name)
    parts.meters_changed(caller.organization)
    return Response(status_code=204)


@router.get("/api/meters/{slug}/query", openapi_extra={"parameters": [_FILTERS]})
def query_meter(
    request: Request,
    parts: Wired,
    caller: Reads,
    slug: str,
    subject: Texts = None,
    start: str | None = None,
    end: str | None = None,
    window: str | None = None,
    time_zone: str | None = None,
    group_by: Texts = None,
) -> Response:
    """How much there was; as CSV if that is what `Accept` asks for. `filter[name]=text` may be repeated."""
    query = usage_query(caller.time_zone, subject, start, end, window, time_zone, group_by, filters_of(request))
    meter, rows = asked(parts, caller.organization, caller.time_zone, slug, query)
    if "text/csv" in request.headers.get("accept", ""):
        return _csv(meter, query, rows)
    data = [
        {
            "window_start": None if row.start is None else times.rfc3339(row.start),
            "window_end": None if row.end is None else times.rfc3339(row.end),
            "subject": row.subject,
            "group_by": row.groups,
            "value": row.value,
        }
        for row in rows
    ]
    shown_query = {"start": instant(query.start), "end": instant(query.end), "window": query.window}
    return Answer({"meter": meter.slug, "unit": meter.unit, **shown_query, "time_zone": query.tz.key, "data": data})


def asked(parts: Wired, organization: str, zone: str, slug: str, query: UsageQuery) -> tuple[Meter, list[UsageRow]]:
    """A meter and its answer."""
    with parts.records.reading() as session:
        meter = metering.find(session, organization, slug)
    return meter, metering.usage(parts.events, meter, query, times.zone(zone), times.micros(parts.clock()))


def usage_query(
    home: str,
    subject: list[str] | None,
    start: str | None,
    end: str | None,
    window: str | None,
    time_zone: str | None,
    group_by: list[str] | None,
    filters: dict[str, tuple[str, ...]],
) -> UsageQuery:
    """The question in a request's parameters; raises Unprocessable that names the bad one."""
    windows: dict[str | None, times.Window | None] = {name: name for name in ("minute", "hour", "day", "month")}
    windows[None] = None
    if window not in windows:
        raise Unprocessable(f"window: {str(window)[:40]!r} is none of minute, hour, day, month")
    return UsageQuery(
        instant_of(start, "start"),
        instant_of(end, "end"),
        windows[window],
        times.zone(time_zone or home),
        tuple(subject or ()),
        tuple(dict.fromkeys(group_by or ())),
        filters,
    )


def filters_of(request: Request) -> dict[str, tuple[str, ...]]:
    """`filter[name]=text`, repeated for several texts."""
    found: dict[str, tuple[str, ...]] = {}
    for key, text in request.query_params.multi_items():
        if (match := _FILTER.fullmatch(key)) is not None:
            found[match.group(1)] = (*found.get(match.group(1), ()), text[:255])
    return found


def shown(meter: Meter) -> dict[str, Any]:
    """A meter as JSON."""
    names = ("id", "slug", "event_type", "aggregation", "value_property", "group_by", "filters", "unit", "description")
    return {name: getattr(meter, name) for name in names} | {"created_at": instant(meter.created_at)}


def _csv(meter: Meter, query: UsageQuery, rows: list[UsageRow]) -> Response:
    named = [{**row.groups, "subject": row.subject} for row in rows]
    shown = [
        (instant(row.start), instant(row.end), *(groups[name] for name in query.group_by), row.value)
        for row, groups in zip(rows, named, strict=True)
    ]
    return csv_file(f"{meter.slug}.csv", ("window_start", "window_end", *query.group_by, "value"), shown)
