"""What OpenMeter's Python and Node clients call: events (sent to `web.ingest`), meters, queries and subjects.

Shapes are those of OpenMeter's API, version 1 (https://openmeter.io/docs/api): camelCase names, window sizes in
capitals, and a meter's slug or id in the path. A customer is whoever its events name as their subject.
"""

import ast
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from tollhouse import events, metering
from tollhouse.access import Caller
from tollhouse.events import EventFilter
from tollhouse.kit import times
from tollhouse.kit.errors import Unprocessable
from tollhouse.metering import Meter, NewMeter, UsageQuery, UsageRow
from tollhouse.web.answer import Answer, body_of, csv_file, instant, schema_of
from tollhouse.web.api.meters import Texts, asked, usage_query
from tollhouse.web.guard import Reads, Writes
from tollhouse.web.parts import Parts, Wired
from tollhouse.web.query import instant_of

router = APIRouter(prefix="/api/v1", tags=["openmeter"])
_WINDOWS = {"MINUTE": "minute", "HOUR": "hour", "DAY": "day", "MONTH": "month"}


class MeterIn(msgspec.Struct, rename="camel"):
    """A meter as OpenMeter's clients send it."""

    slug: str
    event_type: str
    aggregation: str
    value_property: str | None = None
    group_by: dict[str, str] | None = None
    description: str | None = None
    name: str | None = None


class QueryIn(msgspec.Struct, rename="camel"):
    """A query as OpenMeter's clients send it."""

    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    window_size: str | None = None
    window_time_zone: str | None = None
    subject: Annotated[list[str], msgspec.Meta(max_length=1000)] | None = None
    filter_customer_id: Annotated[list[str], msgspec.Meta(max_length=1000)] | None = None
    group_by: Annotated[list[str], msgspec.Meta(max_length=20)] | None = None
    filter_group_by: dict[str, list[str]] = {}
    advanced_meter_group_by_filters: Any = None


@router.get("/events")
def list_events(
    parts: Wired,
    caller: Reads,
    id: Annotated[str | None, Query(max_length=255)] = None,
    subject: Annotated[str | None, Query(max_length=255)] = None,
    from_: Annotated[str | None, Query(alias="from", max_length=60)] = None,
    to: Annotated[str | None, Query(max_length=60)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> Response:
    """Events, the newest first, each with when it was taken in."""
    wanted = EventFilter(caller.organization, None, subject, None, id, instant_of(from_, "from"), instant_of(to, "to"))
    found, _ = events.recent(parts.events, wanted, limit)
    return Answer([_ingested(event) for event in found])


@router.get("/meters")
def list_meters(parts: Wired, caller: Reads) -> Response:
    """All meters, as a plain list."""
    with parts.records.reading() as session:
        return Answer([_shown(meter) for meter in metering.list_meters(session, caller.organization)[0]])


@router.post("/meters", openapi_extra=schema_of(MeterIn), status_code=201)
def create_meter(parts: Wired, caller: Writes, wanted: Annotated[MeterIn, Depends(body_of(MeterIn))]) -> Response:
    """Make a meter."""
    new = NewMeter(
        wanted.slug,
        wanted.event_type,
        wanted.aggregation.lower(),
        wanted.value_property,
        wanted.group_by or {},
        description=wanted.description or wanted.name or "",
    )
    with parts.records.transaction() as session:
        meter = metering.add(session, caller.organization, parts.clock(), caller.name, new)
    parts.meters_changed(caller.organization)
    return Answer(_shown(meter), 201)


@router.get("/meters/{slug}")
def get_meter(parts: Wired, caller: Reads, slug: str) -> Response:
    """One meter."""
    with parts.records.reading() as session:
        return Answer(_shown(metering.find(session, caller.organization, slug)))


@router.delete("/meters/{slug}", status_code=204)
def delete_meter(parts: Wired, caller: Writes, slug: str) -> Response:
    """Take a meter out of use."""
    with parts.records.transaction() as session:
        metering.remove(session, caller.organization, slug, parts.clock(), caller.name)
    parts.meters_changed(caller.organization)
    return Response(status_code=204)


@router.get("/meters/{slug}/query")
def query_meter(
    request: Request,
    parts: Wired,
    caller: Reads,
    slug: str,
    from_: Annotated[str | None, Query(alias="from", max_length=60)] = None,
    to: Annotated[str | None, Query(max_length=60)] = None,
    windowSize: str | None = None,
    windowTimeZone: str | None = None,
    subject: Texts = None,
    filterCustomerId: Texts = None,
    filterGroupBy: Annotated[str | None, Query(max_length=4000)] = None,
    advancedMeterGroupByFilters: Annotated[str | None, Query(max_length=4000)] = None,
    groupBy: Texts = None,
) -> Response:
    """A meter's answer; as CSV if that is what `Accept` asks for. `filterGroupBy[name]=text` may be repeated."""
    filters = {} if filterGroupBy is None else _as_python_sends_it(filterGroupBy)
    for key, text in request.query_params.multi_items():
        if key.startswith("filterGroupBy[") and key.endswith("]"):
            filters.setdefault(key[14:-1], []).append(text)
    wanted = QueryIn(from_, to, windowSize, windowTimeZone, subject, filterCustomerId, groupBy, filters, advancedMeterGroupByFilters)
    return _answered(request, parts, caller, slug, wanted)


@router.post("/meters/{slug}/query", openapi_extra=schema_of(QueryIn))
def post_query(request: Request, parts: Wired, caller: Reads, slug: str, wanted: Annotated[QueryIn, Depends(body_of(QueryIn))]) -> Response:
    """The same, with the question in the body."""
    return _answered(request, parts, caller, slug, wanted)


@router.get("/meters/{slug}/subjects")
def list_subjects(parts: Wired, caller: Reads, slug: str) -> Response:
    """Every subject that a meter has counted."""
    with parts.records.reading() as session:
        meter = metering.find(session, caller.organization, slug)
    home, now = times.zone(caller.time_zone), times.micros(parts.clock())
    return Answer(metering.subjects(parts.events, meter, home, now))


def _as_python_sends_it(text: str) -> dict[str, list[str]]:
    """`{'model': 'small'}`: OpenMeter's client for Python writes a dictionary as Python shows it."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(one, str) for pair in found.items() for one in pair):
        raise Unprocessable(f"filterGroupBy: {text[:60]!r} names no property and text; write it like filterGroupBy[model]=small")
    return {name: [one] for name, one in found.items()}


def _answered(request: Request, parts: Parts, caller: Caller, slug: str, wanted: QueryIn) -> Response:
    if wanted.advanced_meter_group_by_filters is not None:
        raise Unprocessable("advancedMeterGroupByFilters: only filterGroupBy, for texts that are equal, is known here")
    window = _WINDOWS.get(wanted.window_size, wanted.window_size) if wanted.window_size else None
    filters = {name: tuple(texts) for name, texts in wanted.filter_group_by.items()}
    zone_asked = wanted.window_time_zone or "UTC"
    customers = _named(wanted.subject, wanted.filter_customer_id)
    query = usage_query(caller.time_zone, customers, wanted.from_, wanted.to, window, zone_asked, wanted.group_by, filters)
    _, rows = asked(parts, caller.organization, caller.time_zone, slug, query)
    now = times.micros(parts.clock())
    shown = [_row(row, query.start or times.EARLIEST, query.end or now) for row in rows]
    if "text/csv" in request.headers.get("accept", ""):
        return _csv(slug, query, shown)
    return Answer({"data": shown, "from": wanted.from_, "to": wanted.to, "windowSize": wanted.window_size})


def _named(subjects: list[str] | None, customers: list[str] | None) -> list[str] | None:
    """Whose usage is wanted: who is named as a subject and as a customer, where both are asked for."""
    if not (subjects and customers):
        return subjects or customers
    if not (both := [one for one in subjects if one in customers]):
        raise Unprocessable("filterCustomerId: none of these is among the subjects that are asked for as well")
    return both


def _csv(slug: str, query: UsageQuery, rows: list[dict[str, Any]]) -> Response:
    """OpenMeter's columns (`query_csv.go`); a customer has neither name nor address here."""
    groups = [name for name in query.group_by if name != "subject"]
    header = ("window_start", "window_end", "subject", "customer_name", "customer_email", *groups, "value")
    shown = [
        (row["windowStart"], row["windowEnd"], row["subject"], None, None, *(row["groupBy"][name] for name in groups), row["value"])
        for row in rows
    ]
    return csv_file(f"{slug}.csv", header, shown)


def _ingested(event: dict[str, Any]) -> dict[str, Any]:
    sent = {name: event[name] for name in ("id", "source", "type", "subject", "time")}
    taken = event["received_at"]
    return {
        "event": {"specversion": "1.0"} | sent | {"data": msgspec.Raw(event["data"].encode())},
        "ingestedAt": taken,
        "storedAt": taken,
    }


def _row(row: UsageRow, start: int, end: int) -> dict[str, Any]:
    return {
        "value": row.value,
        "windowStart": times.rfc3339(start if row.start is None else row.start),
        "windowEnd": times.rfc3339(end if row.end is None else row.end),
        "subject": row.subject,
        "groupBy": row.groups,
    }


def _shown(meter: Meter) -> dict[str, Any]:
    created = instant(meter.created_at)
    return {
        "id": meter.id,
        "slug": meter.slug,
        "key": meter.slug,
        "name": meter.description or meter.slug,
        "description": meter.description,
        "eventType": meter.event_type,
        "aggregation": meter.aggregation.upper(),
        "valueProperty": meter.value_property,
        "groupBy": meter.group_by,
        "createdAt": created,
        "updatedAt": created,
    }
