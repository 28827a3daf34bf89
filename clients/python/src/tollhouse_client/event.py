"""An event as it is sent: a CloudEvent (https://github.com/cloudevents/spec, version 1.0) in one line of JSON.

It gets its id and its time when the app tracks it, so that however often it is sent, it counts once and when it happened.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tollhouse_client.encoding import encode


def new_id() -> str:
    """32 hexadecimal digits that nobody else has."""
    return uuid.uuid4().hex


def line(type: str, source: str, subject: str | int | None, data: Mapping[str, Any] | None, id: str, time: datetime | str | None) -> bytes:
    """The event in one line, without the newline; raises ValueError or TypeError where JSON cannot say it.

    A time that the app did not give is marked as `stamped`, so that the same event tracked again later is no other event.
    """
    members: dict[str, Any] = {"specversion": "1.0", "id": id, "source": source, "type": type, "time": _instant(time)}
    if time is None:
        members["stamped"] = True
    if subject is not None:
        members["subject"] = _name(subject)
    return encode(members | ({} if data is None else {"data": data}))


def _name(subject: object) -> str:
    if isinstance(subject, str):
        return subject
    if isinstance(subject, (int, uuid.UUID)) and not isinstance(subject, bool):
        return str(subject)
    raise TypeError(f"subject: a {type(subject).__name__} names no customer; send a text")


def _instant(time: datetime | str | None) -> str:
    """RFC 3339 in UTC; a datetime without a zone is local time, as everywhere in Python."""
    if isinstance(time, str):
        return time
    moment = datetime.now(UTC) if time is None else time.astimezone(UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
