"""An event as it arrives: a CloudEvent (https://github.com/cloudevents/spec, version 1.0), or the same members plain.

Reading is in two speeds. A well-formed body is decoded in one go and turned into columns in one go (`columns`). Where
that fails, each event is taken by itself, so that one bad event never sinks its batch, and its fault says index, field
and reason. Both give the same columns; a property test holds them to it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

import msgspec

from tollhouse.events.payload import Payload, PayloadFault, Promotion
from tollhouse.kit import times
from tollhouse.kit.errors import BadInput, Fault, TooLarge
from tollhouse.store.events import EventBatch

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Incoming(msgspec.Struct, gc=False):
    """The members that count; a CloudEvent's other attributes are accepted and not kept."""

    id: Name
    type: Name
    source: Annotated[str, msgspec.Meta(max_length=255)] = ""
    subject: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    specversion: str = "1.0"
    data_base64: str | None = None
    stamped: bool = False  # an extension of ours: `time` is when the sender noted the event, and a retry may note another


_one = msgspec.json.Decoder(Incoming)
_many = msgspec.json.Decoder(list[Incoming])
_raws = msgspec.json.Decoder(list[msgspec.Raw])
_FIELD = re.compile(r" - at `\$\.?(?:\[[0-9]+\]\.?)?(\w*)")
_MISSING = re.compile(r"missing required field `(\w+)`")
_ESCAPE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL)
_GAP = re.compile(rb"[\s,]*")
_LINE_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines")


@dataclass(frozen=True)
class EventLimits:
    """What is accepted: bytes of a body (unpacked) and of one event's data, events a request, days ahead of now."""

    body_bytes: int = 16 << 20
    data_bytes: int = 256 << 10
    batch_events: int = 100_000
    days_ahead: float = 1.0


@dataclass
class Submission:
    """What one request brought: the events that are valid, each one's place in the request, and what was wrong elsewhere."""

    batch: EventBatch = field(default_factory=EventBatch)
    places: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def parse(
    body: bytes, content_type: str, organization: str, now: int, limits: EventLimits, promoted: Mapping[str, Promotion]
) -> Submission:
    """Read a request's body in any of the five forms.

    `now` is in microseconds. Raises BadInput where nothing could be read and TooLarge past a limit; a fault of a
    single event goes into `Submission.faults`.
    """
    payload = Payload(body, limits.data_bytes, promoted)
    events, places, faults = _decode(body, content_type.partition(";")[0].strip().lower())
    if len(events) + len(faults) > limits.batch_events:
        raise TooLarge(f"The request has more than {limits.batch_events} events; send it in parts.")
    submission = Submission(faults=faults)
    latest = now + int(limits.days_ahead * times.DAY)
    if payload.is_plain and not faults:
        batch = columns(events, payload, organization, now, latest)
        if batch is not None:
            return Submission(batch, places)
    for place, event in zip(places, events, strict=True):
        try:
            _accept(submission, event, payload, organization, now, latest)
        except PayloadFault as fault:
            faults.append(Fault(fault.detail, fault.field, place))
        else:
            submission.places.append(place)
    faults.sort(key=lambda fault: fault.index or 0)
    return submission


def columns(events: Sequence[Incoming], payload: Payload, organization: str, now: int, latest: int) -> EventBatch | None:
    """All events at once, or None where any of them needs a closer look."""
    raws = [bytes(event.data) for event in events]
    instants = [now if event.time is None else times.micros(event.time) for event in events]
    unusual = (
        not events
        or min(instants) < times.EARLIEST
        or max(instants) > latest
        or any(event.specversion != "1.0" or event.data_base64 is not None for event in events)
        or not payload.all_small_and_flat(raws)
    )
    if unusual:
        return None
    types = [event.type for event in events]
    count = len(events)
    jobs, paths, values = payload.promoted_of(types, raws)
    return EventBatch(
        [organization] * count,
        [event.source for event in events],
        [event.id for event in events],
        types,
        [event.subject or None for event in events],
        instants,
        [now] * count,
        [event.time is not None and not event.stamped for event in events],
        jobs,
        paths,
        values,
        [raw.decode() for raw in raws],
        [None] * count,
    )


def _accept(submission: Submission, event: Incoming, payload: Payload, organization: str, now: int, latest: int) -> None:
    """Put one decoded event behind the others; raises PayloadFault and leaves the columns even."""
    if event.specversion != "1.0":
        raise PayloadFault("specversion", f"{event.specversion[:20]!r} is not supported; send 1.0")
    if event.data_base64 is not None:
        raise PayloadFault("data_base64", "binary data cannot be metered; send JSON in `data`")
    time = now if event.time is None else times.micros(event.time)
    if not times.EARLIEST <= time <= latest:
        until = times.rfc3339(latest // times.SECOND * times.SECOND)
        given = event.time.isoformat().replace("+00:00", "Z") if event.time else "now"
        raise PayloadFault("time", f"{given} is out of range; send a time from 2000-01-01T00:00:00Z to {until}")
    if payload.may_hold_nul:
        for name in ("id", "type", "source", "subject"):
            if "\0" in (getattr(event, name) or ""):
                raise PayloadFault(name, "holds a NUL character, which cannot be stored; leave it out")
    kept = payload.keep(event.type, event.data)
    batch = submission.batch
    batch.organization.append(organization)
    batch.source.append(event.source)
    batch.id.append(event.id)
    batch.type.append(event.type)
    batch.subject.append(event.subject or None)
    batch.time.append(time)
    batch.received_at.append(now)
    batch.timed.append(event.time is not None and not event.stamped)
    batch.job.append(kept.job)
    batch.path.append(kept.path)
    batch.value.append(kept.value)
    batch.data.append(kept.data)
    batch.original.append(kept.original)


Decoded = tuple[list[Incoming], list[int], list[Fault]]  # events, their places in the request, and what was wrong elsewhere


def _decode(body: bytes, content_type: str) -> Decoded:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"The body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}; send JSON in UTF-8.") from None
    text = body.strip()
    if not text:
        raise BadInput("The body is empty; send one event, a JSON array of events, or one event a line (NDJSON).")
    if content_type in _LINE_TYPES:
        return _separately(_lines(text))
    try:
        if text.startswith(b"["):
            events = _many.decode(text)
            return events, list(range(len(events))), []
        return [_one.decode(text)], [0], []
    except msgspec.ValidationError:
        pass  # then each by itself
    except (msgspec.DecodeError, RecursionError) as error:
        lines = _lines(text)
        if text.startswith(b"{") and len(lines) > 1 and "json" not in content_type:
            return _separately(lines)
        if not text.startswith(b"["):
            raise BadInput(f"The body is no JSON: {_said(error)}.") from None
    try:
        return _separately(_items(text) if text.startswith(b"[") else [text])
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInput(f"The body is no JSON: {_said(error)}.") from None


def _items(text: bytes) -> list[bytes]:
    """The texts of a JSON array's items. Half of a surrogate pair in one of them shall not hide the others."""
    items, at = [], 1
    for item in _raws.decode(_ESCAPE.sub(_whole, text) if b"\\u" in text else text):
        at = _GAP.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
        items.append(text[at : (at := at + len(bytes(item)))])
    return items


def _whole(escape: re.Match[bytes]) -> bytes:
    """A question mark of the same length for half of a surrogate pair; every other escape as it is."""
    return b"\\u003f" if escape[1] else escape[0]


def _lines(text: bytes) -> list[bytes]:
    return [line for line in text.split(b"\n") if line.strip()]


def _separately(items: Sequence[bytes | msgspec.Raw]) -> Decoded:
    """Decode each event by itself and say of each bad one what is wrong with it."""
    events: list[Incoming] = []
    places: list[int] = []
    faults: list[Fault] = []
    for place, item in enumerate(items):
        try:
            events.append(_one.decode(item))
            places.append(place)
        except msgspec.ValidationError as error:
            named = _MISSING.search(str(error)) or _FIELD.search(str(error))
            faults.append(Fault(_said(error), named.group(1) if named and named.group(1) else None, place))
        except (msgspec.DecodeError, RecursionError) as error:
            faults.append(Fault(f"no JSON: {_said(error)}", None, place))
    return events, places, faults


def _said(error: Exception) -> str:
    """What msgspec found, as the end of a sentence."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply; nest at most 32 levels"
    return _FIELD.split(str(error))[0].removeprefix("JSON is malformed: ").rstrip(".")
