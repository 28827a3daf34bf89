"""Backfill: the rows of a file as events, in batches, resumable, one bad row at a time.

A row's id is what makes a second run harmless, so it comes out of the row: a template such as `{carrier}-{flight}`,
or the file's name and the row's number. How far a run has come is kept beside the user's other state until it ends.
"""

import csv
import gzip
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from tollhouse.cli.connection import Connection
from tollhouse.kit.errors import BadInput, Fault, Unprocessable
from tollhouse.store.files import parquet_count, parquet_rows

BATCH = 5000
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
_event = msgspec.json.Encoder(decimal_format="number", enc_hook=str)
Row = dict[str, Any]


@dataclass(frozen=True)
class Mapping:
    """Which column becomes what. `id` is a template over columns; `missing` are texts that stand for no value."""

    format: str
    type: str | None = None
    subject: str | None = None
    time: str | None = None
    data: tuple[str, ...] = ()
    id: str | None = None
    source: str = ""
    time_zone: str = "UTC"
    missing: tuple[str, ...] = ("",)


@dataclass
class Outcome:
    """What a run did: rows read in all, events inserted and known before, and the rows that were bad."""

    rows: int = 0
    resumed_after: int = 0
    inserted: int = 0
    duplicates: int = 0
    bad: list[Fault] = field(default_factory=list)


class Checkpoint:
    """How many rows of one file are acknowledged by one server, kept until the run ends."""

    def __init__(self, server: str, path: Path, mapping: Mapping) -> None:
        stat = path.stat()
        named = json.dumps([server, str(path.absolute()), stat.st_size, stat.st_mtime_ns, asdict(mapping)])
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        self._path = state / "tollhouse" / "imports" / f"{hashlib.sha256(named.encode()).hexdigest()[:32]}.json"

    def read(self) -> int:
        """Rows acknowledged by a run that did not end; 0 for a fresh one."""
        try:
            return int(json.loads(self._path.read_text())["rows"])
        except (FileNotFoundError, ValueError, KeyError):
            return 0

    def write(self, rows: int) -> None:
        """Remember how far it has come."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({"rows": rows}))
        fresh.replace(self._path)

    def clear(self) -> None:
        """The run has ended."""
        self._path.unlink(missing_ok=True)


def run(server: Connection, path: Path, mapping: Mapping, strict: bool, advance: Callable[[int], None]) -> Outcome:
    """Send a file's rows. With `strict`, the first bad row ends the run with Unprocessable, after what came before it."""
    checkpoint = Checkpoint(server.call("GET", "/api/me")["organization"]["id"], path, mapping)
    outcome = Outcome(resumed_after=checkpoint.read())
    batch: list[bytes] = []
    numbers: list[int] = []
    encode = _encoder(path, mapping)

    def send() -> None:
        if batch:
            _send(server, batch, numbers, outcome)
        batch.clear()
        numbers.clear()
        if strict and outcome.bad:
            first = outcome.bad[0]
            raise Unprocessable(f"{path}: row {first.index}: {first.detail} (--strict: stopped here)")
        checkpoint.write(outcome.rows)
        advance(outcome.rows)

    for number, row in enumerate(_rows(path, mapping), 1):
        if number <= outcome.resumed_after:
            outcome.rows = number
            continue
        try:
            batch.append(encode(number, row))
            numbers.append(number)
        except ValueError as error:
            outcome.bad.append(Fault(str(error), None, number))
        outcome.rows = number
        if len(batch) >= BATCH:
            send()
    send()
    checkpoint.clear()
    return outcome


def count(path: Path, mapping: Mapping) -> int:
    """About how many rows there are, for a progress bar."""
    if mapping.format == "parquet":
        return parquet_count(path)
    with _opened(path) as file:
        lines: int = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return max(lines - (mapping.format == "csv"), 0)


def _send(server: Connection, batch: list[bytes], numbers: list[int], outcome: Outcome) -> None:
    try:
        body, kind = b"\n".join(batch), {"content-type": "application/x-ndjson"}
        answer = server.call("POST", "/api/events", content=body, headers=kind)
    except BadInput:
        raise
    except Exception as error:
        faults = getattr(error, "faults", ())
        if getattr(error, "status", None) != 400 or not faults:
            raise
        answer = {"inserted": 0, "duplicates": 0, "rejected": [fault.as_dict() for fault in faults]}
    outcome.inserted += answer["inserted"]
    outcome.duplicates += answer["duplicates"]
    outcome.bad += [Fault(fault["detail"], fault.get("field"), numbers[fault["index"]]) for fault in answer["rejected"]]


def _opened(path: Path) -> Any:
    try:
        return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}.") from None


def _rows(path: Path, mapping: Mapping) -> Iterator[Row | bytes]:
    if mapping.format == "parquet":
        yield from parquet_rows(path)
        return
    with _opened(path) as file:
        if mapping.format == "ndjson":
            yield from (line for line in file if line.strip())
            return
        reader = csv.DictReader((line.decode("utf-8-sig" if at == 0 else "utf-8") for at, line in enumerate(file)), strict=True)
        _check_columns(path, mapping, reader.fieldnames or [])
        yield from reader


def _check_columns(path: Path, mapping: Mapping, there: Any) -> None:
    wanted = [*(name for name in (mapping.subject, mapping.time) if name), *mapping.data, *re.findall(r"{(\w+)}", mapping.id or "")]
    for name in wanted:
        if name not in there:
            raise BadInput(f"{path}: there is no column {name!r}; there are {', '.join(there)}.")


def _encoder(path: Path, mapping: Mapping) -> Callable[[int, Row | bytes], bytes]:
    """How a row becomes an event's JSON; raises ValueError for a row that cannot."""
    zone = ZoneInfo(mapping.time_zone)
    columns: list[str] = re.findall(r"{(\w+)}", mapping.id or "")

    def encode(number: int, given: Row | bytes) -> bytes:
        row = given
        if isinstance(row, bytes):
            if mapping.type is None:
                return row.strip()
            try:
                row = json.loads(row, parse_float=Decimal)
            except ValueError as error:
                raise ValueError(f"no JSON: {error}") from None
        if not isinstance(row, dict) or None in row or (None in row.values() and mapping.format == "csv"):
            raise ValueError("it has more or fewer fields than the header")
        event: Row = {"type": mapping.type, "source": mapping.source or path.name}
        event["id"] = mapping.id.format_map({name: row.get(name) for name in columns}) if mapping.id else f"{path.name}:{number}"
        if mapping.subject:
            event["subject"] = str(row.get(mapping.subject) or "") or None
        if mapping.time:
            event["time"] = _time(row.get(mapping.time), mapping.time, zone)
        names = mapping.data or [name for name in row if name not in (mapping.subject, mapping.time)]
        event["data"] = {name: _value(row[name]) for name in names if row.get(name) is not None and row[name] not in mapping.missing}
        return _event.encode(event)

    return encode


def _value(value: Any) -> Any:
    """A CSV's number as the JSON number of the same digits, everything else as it is."""
    return msgspec.Raw(value.encode()) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _time(value: Any, column: str, zone: ZoneInfo) -> str:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{column}: {str(value)[:60]!r} is not a time; write it like 2024-01-31T13:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).isoformat()
