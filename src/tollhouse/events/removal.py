"""Removing events: on purpose (`erase`), and because their time is over (`forget`).

What the meters counted is not touched here: metering decides what an erased event means for its rollups, and keeps
what a forgotten one was counted into.
"""

from dataclasses import dataclass

from tollhouse.events.reading import EventFilter
from tollhouse.kit.errors import Unprocessable
from tollhouse.store.events import Writer


@dataclass(frozen=True)
class Erasure:
    """What an erasure took away: how many events, and of each type the first and the last instant."""

    events: int
    types: dict[str, tuple[int, int]]


def erase(write: Writer, wanted: EventFilter) -> Erasure:
    """Delete the events of a filter that names more than the organization."""
    condition, params = wanted.condition()
    if len(params) < 2:
        raise Unprocessable("Name what to delete: type, subject, source, id, start or end.")
    spans = write.rows(f"SELECT type, min(time), max(time) FROM events WHERE {condition} GROUP BY type", params)
    deleted = write.delete_events(condition, params)
    return Erasure(deleted, {type: (first, last) for type, first, last in spans})


def forget(write: Writer, organization: str, type: str, received_before: int, before: int, through: int) -> Erasure:
    """Delete events of a type that were received and happened before those instants, and that are counted (`seq <= through`)."""
    condition = "organization = $organization AND type = $type AND received_at < $received_before AND time < $before AND seq <= $through"
    params = {
        "organization": organization,
        "type": type,
        "received_before": received_before,
        "before": before,
        "through": through,
    }
    spans = write.rows(f"SELECT type, min(time), max(time) FROM events WHERE {condition} GROUP BY type", params)
    deleted = write.delete_events(condition, params)
    return Erasure(deleted, {type: (first, last) for type, first, last in spans})
