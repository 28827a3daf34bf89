"""What keeps usage quick and bounded: aggregating, rebuilding, retention."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from tollhouse import metering
from tollhouse.kit import times
from tollhouse.metering import Aggregated, Meter
from tollhouse.web.answer import Answer
from tollhouse.web.guard import Admin
from tollhouse.web.parts import Parts, Wired

router = APIRouter(tags=["usage"])
OneMeter = Annotated[str | None, Query(max_length=64)]


@router.post("/api/usage/aggregate")
def aggregate(parts: Wired, caller: Admin, meter: OneMeter = None) -> Response:
    """Merge the events that came since into the hourly, daily and monthly rollups, of one meter or of all."""
    chosen = _meters(parts, caller.organization, meter)
    home = times.zone(caller.time_zone)
    return Answer(_shown(metering.aggregate(parts.events, [(one, home) for one in chosen])))


@router.post("/api/usage/rebuild")
def rebuild(parts: Wired, caller: Admin, meter: OneMeter = None) -> Response:
    """Compute the rollups again from the events, of one meter or of all."""
    chosen = _meters(parts, caller.organization, meter)
    home = times.zone(caller.time_zone)
    return Answer(_shown(metering.rebuild(parts.events, [(one, home) for one in chosen])))


@router.post("/api/usage/trim")
def trim(parts: Wired, caller: Admin) -> Response:
    """Remove what retention no longer keeps; what an open bill needs stays."""
    chosen, home = _meters(parts, caller.organization, None), times.zone(caller.time_zone)
    metering.aggregate(parts.events, [(one, home) for one in chosen])
    trimmed = metering.trim(parts.events, caller.organization, home, chosen, parts.retention, parts.clock())
    return Answer(asdict(trimmed))


def _meters(parts: Parts, organization: str, slug: str | None) -> list[Meter]:
    with parts.records.reading() as session:
        if slug is not None:
            return [metering.find(session, organization, slug)]
        return metering.list_meters(session, organization)[0]


def _shown(done: Aggregated) -> dict[str, object]:
    return {"meters": done.meters, "events": done.events, "periods": done.periods}
