"""How a meter reads events: the SQL that both a query and a rollup begin with.

Every text that came from a user (a path, a filter's text, a subject) is a bound parameter.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from tollhouse.kit import times
from tollhouse.metering.meter import Meter
from tollhouse.store.events import Expressions


@dataclass
class MeterSql:
    """SQL for one meter on one engine; `params` gathers what the fragments bind."""

    meter: Meter
    x: Expressions
    params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.params |= {"organization": self.meter.organization, "type": self.meter.event_type}
        for at, (path, texts) in enumerate(sorted(self.meter.filters.items())):
            self.params |= {f"filter_path_{at}": path, f"filter_texts_{at}": texts}
        for at, name in enumerate(self.meter.group_names):
            self.params[f"group_path_{at}"] = self.meter.group_by[name]
        if self.meter.value_path is not None:
            self.params["value_path"] = str(self.meter.value_path)

    def bind(self, name: str, value: Any) -> str:
        """Bind a value and return its placeholder."""
        self.params[name] = value
        return f"${name}"

    def group(self, name: str) -> str:
        """A group-by value out of an event."""
        return self.x.json_text("data", f"$group_path_{self.meter.group_names.index(name)}")

    def stored_group(self, name: str) -> str:
        """A group-by value out of a rollup's `groups`."""
        at = self.meter.group_names.index(name)
        return self.x.json_text(self.x.json_document("groups"), self.bind(f"group_at_{at}", f"$[{at}]"))

    def groups(self) -> str:
        """All group-by values of an event, as a rollup keeps them."""
        return self.x.json_list([self.group(name) for name in self.meter.group_names]) if self.meter.group_by else "'[]'"

    def events(self, columns: dict[str, str], condition: str) -> str:
        """A query over the meter's events under `condition`: the columns, and `value` and `mark` where the meter reads them.

        An event whose value was lifted out at ingest is read from its column, any other from its payload; an event
        without a readable value does not count.
        """
        mine = ["organization = $organization", "type = $type"]
        if condition:
            mine.append(f"({condition})")
        mine += [f"{self.x.json_text('data', f'$filter_path_{at}')} = ANY($filter_texts_{at})" for at in range(len(self.meter.filters))]
        rule, where = self.meter.rule, " AND ".join(mine)
        chosen = ", ".join(f"{expression} AS {name}" for name, expression in columns.items()) or "1 AS one"
        if not rule.reads_value:
            return f"SELECT {chosen} FROM events WHERE {where}"
        text = self.x.json_text("data", "$value_path")
        if not rule.merges:
            return f"SELECT * FROM (SELECT {chosen}, {text} AS value FROM events WHERE {where}) e WHERE value IS NOT NULL"
        if "mark" in rule.partials:
            chosen += f", {self.x.sortable('time')} || ' ' || source || ' ' || id AS mark"
        parsed = f"SELECT {chosen}, {self.x.number(text)} AS value FROM events WHERE {where} AND path IS DISTINCT FROM $value_path"
        return (
            f"SELECT {chosen}, value FROM events WHERE {where} AND path = $value_path AND value IS NOT NULL"
            f" UNION ALL SELECT * FROM ({parsed}) e WHERE value IS NOT NULL"
        )


def bucket(x: Expressions, instant: str, window: times.Window, tz: ZoneInfo, start: int, end: int) -> str:
    """The window of each instant in `[start, end)`: for minutes and hours its start, for days and months its local start.

    The zone's offsets are constants between changes of its clocks, so a window is integer arithmetic.
    """
    pieces = times.offsets(tz, start, end)
    offset = str(pieces[-1][1])
    if len(pieces) > 1:
        changes = pairwise(pieces)
        cases = " ".join(f"WHEN {instant} < {until} THEN {value}" for (_, value), (until, _) in changes)
        offset = f"(CASE {cases} ELSE {offset} END)"
    local = f"{instant} + {offset}" if offset != "0" else instant
    if window == "month":
        return x.month_start(local)
    if window == "day":
        return x.floor_to(local, times.DAY)
    size = times.HOUR if window == "hour" else times.MINUTE
    return f"{x.floor_to(local, size)} - {offset}" if offset != "0" else x.floor_to(local, size)


def bucket_start(key: int, window: times.Window, tz: ZoneInfo) -> int:
    """The instant at which the window with that key begins."""
    return times.local_window_start(key, tz) if window in ("day", "month") else key
