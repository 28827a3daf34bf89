"""Reading events back: the newest ones page by page, one job's, and all of them as CSV."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from tollhouse.kit import times
from tollhouse.kit.errors import Unprocessable
from tollhouse.store.events import EventStore, Expressions, Params


@dataclass(frozen=True)
class EventFilter:
    """Which of an organization's events are wanted; `start` and `end` are microseconds, half-open."""

    organization: str
    type: str | None = None
    subject: str | None = None
    source: str | None = None
    id: str | None = None
    start: int | None = None
    end: int | None = None

    def condition(self) -> tuple[str, dict[str, Any]]:
        """The filter as a SQL condition and its parameters."""
        clauses, params = ["organization = $organization"], {"organization": self.organization}
        for name in ("type", "subject", "source", "id"):
            if (value := getattr(self, name)) is not None:
                clauses.append(f"{name} = ${name}")
                params[name] = value
        for name, sign in (("start", ">="), ("end", "<")):
            if (value := getattr(self, name)) is not None:
                clauses.append(f"time {sign} ${name}")
                params[name] = value
        return " AND ".join(clauses), params


_COLUMNS = "source, id, type, subject, time, received_at, COALESCE(original, CAST(data AS VARCHAR)) AS data"


def recent(store: EventStore, wanted: EventFilter, limit: int, cursor: str | None = None) -> tuple[list[dict[str, Any]], str | None]:
    """The newest events first, `limit` of them, and the cursor of the next page or None.

    A page starts behind the last event of the page before by (time, source, id), so what arrives meanwhile moves nothing.
    """
    condition, params = wanted.condition()
    if cursor is not None:
        last = _read_cursor(cursor)
        condition += " AND (time < $last_time OR (time = $last_time AND (source, id) < ($last_source, $last_id)))"
        params |= {"last_time": last[0], "last_source": last[1], "last_id": last[2]}
    sql = f"SELECT {_COLUMNS} FROM events WHERE {condition} ORDER BY time DESC, source DESC, id DESC LIMIT $limit"
    with store.reading() as read:
        rows = read.rows(sql, {**params, "limit": limit + 1})
    following = None
    if len(rows) > limit:
        source, id, _, _, time, *_ = rows[limit - 1]
        following = base64.urlsafe_b64encode(json.dumps([time, source, id]).encode()).decode()
    return [_event(row) for row in rows[:limit]], following


def of_job(store: EventStore, organization: str, job: str) -> list[dict[str, Any]]:
    """The events whose data names that job, oldest first."""
    sql = f"SELECT {_COLUMNS} FROM events WHERE organization = $organization AND job = $job ORDER BY time, source, id"
    with store.reading() as read:
        return [_event(row) for row in read.rows(sql, {"organization": organization, "job": job})]


def export_sql(wanted: EventFilter, x: Expressions) -> tuple[str, Params]:
    """The query whose rows are the export, and its parameters.

    A text that a spreadsheet would run as a formula gets an apostrophe in front (OWASP, "CSV Injection").
    """
    condition, params = wanted.condition()
    texts = ", ".join(f"{_unformulated(name)} AS {name}" for name in ("source", "id", "type", "subject"))
    sql = f"SELECT {x.iso_time('time')} AS time, {texts}, COALESCE(original, CAST(data AS VARCHAR)) AS data FROM events WHERE {condition}"
    return sql, params


def _unformulated(column: str) -> str:
    return f"CASE WHEN left({column}, 1) IN ('=', '+', '-', '@') THEN '''' || {column} ELSE {column} END"


def _event(row: tuple[Any, ...]) -> dict[str, Any]:
    source, id, type, subject, time, received_at, data = row
    return {
        "id": id,
        "source": source,
        "type": type,
        "subject": subject,
        "time": times.rfc3339(time),
        "received_at": times.rfc3339(received_at),
        "data": data,
    }


def _read_cursor(cursor: str) -> tuple[int, str, str]:
    try:
        time, source, id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if not (isinstance(time, int) and isinstance(source, str) and isinstance(id, str)):
            raise ValueError
        (source + id).encode()
        if "\0" in source + id or not 0 <= time < 2**63:
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise Unprocessable("cursor: this is not a cursor of a page before; leave it out to start at the newest event") from None
    return time, source, id
