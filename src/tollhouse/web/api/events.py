"""Events, read back and deleted. Sending them is `web.ingest`."""

from itertools import chain
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from tollhouse import events, metering
from tollhouse.events import EventFilter
from tollhouse.kit import times
from tollhouse.web.answer import Answer
from tollhouse.web.guard import Admin, Reads
from tollhouse.web.parts import Wired
from tollhouse.web.query import Limit, instant_of

router = APIRouter(tags=["events"])
Text = Annotated[str | None, Query(max_length=255)]


@router.get("/api/events")
def list_events(
    parts: Wired,
    caller: Reads,
    type: Text = None,
    subject: Text = None,
    source: Text = None,
    id: Text = None,
    start: str | None = None,
    end: str | None = None,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(max_length=4000)] = None,
) -> Response:
    """Events, the newest first; `cursor` continues where a page ended."""
    wanted = EventFilter(caller.organization, type, subject, source, id, instant_of(start, "start"), instant_of(end, "end"))
    found, following = events.recent(parts.events, wanted, limit, cursor)
    shown = [{**event, "data": msgspec.Raw(event["data"].encode())} for event in found]
    return Answer({"events": shown, "limit": limit, "next_cursor": following})


@router.get("/api/events/export")
def export_events(
    parts: Wired,
    caller: Reads,
    type: Text = None,
    subject: Text = None,
    source: Text = None,
    start: str | None = None,
    end: str | None = None,
) -> Response:
    """The events as CSV, in constant memory."""
    bounds = instant_of(start, "start"), instant_of(end, "end")
    wanted = EventFilter(caller.organization, type, subject, source, None, *bounds)
    sql, params = events.export_sql(wanted, parts.events.expressions)
    shown = {"content-disposition": 'attachment; filename="events.csv"', "cache-control": "no-store"}
    chunks = parts.events.csv(sql, params)
    first = next(chunks, b"")  # what fails here is an answer of its own and not a body that breaks off
    return StreamingResponse(chain([first], chunks), media_type="text/csv; charset=utf-8", headers=shown)


@router.delete("/api/events")
def delete_events(
    parts: Wired,
    caller: Admin,
    type: Text = None,
    subject: Text = None,
    source: Text = None,
    id: Text = None,
    start: str | None = None,
    end: str | None = None,
) -> Response:
    """Delete the events that match, and take them out of every meter and bill. Name at least one property."""
    wanted = EventFilter(caller.organization, type, subject, source, id, instant_of(start, "start"), instant_of(end, "end"))
    with parts.records.transaction() as session:
        home = times.zone(caller.time_zone)
        meters = [(meter, home) for meter in metering.list_meters(session, caller.organization)[0]]
        deleted = metering.erase(parts.events, meters, wanted)
        metering.note_erasure(session, parts.clock(), caller.name, wanted, deleted)
    return Answer({"deleted": deleted})
