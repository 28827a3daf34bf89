"""Which part of a query is read from which rollup.

The range of a query is cut into segments: whole months, days and hours out of rollups, as coarse as the windows
allow, and what sticks out at the ends out of raw events. Days and months of a rollup are the organization's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

from tollhouse.kit import times
from tollhouse.kit.errors import DetailGone
from tollhouse.kit.times import Span, Window

Detail = Literal["hour", "day", "month", "raw"]
UTC = times.zone("UTC")
_FINER: dict[str, Detail] = {"month": "day", "day": "hour", "hour": "raw"}


@dataclass(frozen=True)
class Segment:
    """One interval and where it is read from."""

    detail: Detail
    span: Span


@dataclass(frozen=True)
class Kept:
    """What is still there: the first instant of each detail that retention has not given up."""

    floors: Mapping[str, int]

    def floor(self, detail: str) -> int:
        """From when on a detail is complete."""
        return self.floors.get(detail, 0)


def coarsest(window: Window | None, tz: ZoneInfo, home: ZoneInfo, span: Span) -> Detail:
    """The coarsest detail whose every period lies inside one window."""
    if window is None or (window == "month" and tz == home):
        return "month"
    if (window == "day" and tz == home) or (window == "month" and tz.key == home.key):
        return "day"
    if window == "minute":
        return "raw"
    return "hour" if times.keeps_whole_hours(tz, span.start, span.end) else "raw"


def segments(span: Span, detail: Detail, home: ZoneInfo, kept: Kept) -> list[Segment]:
    """Cut a span into disjoint segments that cover it; raises DetailGone where what is needed was given up."""
    if not span:
        return []
    if detail == "raw":
        if span.start < kept.floor("raw"):
            raise DetailGone(
                f"Single events before {times.rfc3339(kept.floor('raw'))} are no longer kept; ask for whole months, or start later."
            )
        return [Segment("raw", span)]
    tz = UTC if detail == "hour" else home
    inner = Span(times.ceil(span.start, detail, tz), times.floor(span.end, detail, tz))
    finer = _FINER[detail]
    if not inner:
        return segments(span, finer, home, kept)
    before, after = Span(span.start, inner.start), Span(inner.end, span.end)
    # Below its floor a detail's rows are gone; the raw events may still be there.
    gone = Span(inner.start, min(inner.end, max(inner.start, kept.floor(detail))))
    there = Span(gone.end, inner.end)
    return [
        *segments(before, finer, home, kept),
        *segments(gone, "raw", home, kept),
        *([Segment(detail, there)] if there else []),
        *segments(after, finer, home, kept),
    ]
