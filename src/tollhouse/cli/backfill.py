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
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import msgspec

from tollhouse.cli.connection import Connection
from tollhouse.kit import times
from tollhouse.kit.errors import BadInput, Fault
from tollhouse.store.files import parquet_count, parquet_rows

BATCH, BATCH_BYTES = 5000, 8 << 20  # a request may have twice that
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
_SAID = {  # what Python's csv finds, as the middle of a sentence
    "unexpected end of data": "a quote is opened and never closed",
    "',' expected after '\"'": "a field goes on behind its closing quote; write a quote inside a field twice",
}
_LINES = "application/x-ndjson"
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
    """What a run did: rows read in all, events inserted and known before with the same content, and what went wrong by row.

    A conflict is a row whose id is stored with other content. `stopped` says why the run ended before the file did.
    """

    rows: int = 0
    resumed_after: int = 0
    inserted: int = 0
    duplicates: int = 0
    conflicts: list[Fault] = field(default_factory=list)
    bad: list[Fault] = field(default_factory=list)
    stopped: str = ""

    @property
    def faults(self) -> list[Fault]:
        """Bad rows and conflicts in the file's order."""
        return sorted(self.bad + self.conflicts, key=_number)


class Torn(ValueError):
    """A row whose end cannot be found, and so neither can the next one's beginning."""


class _Stop(Exception):
    """The run ends at this fault."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault


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
    """Send a file's rows. With `strict`, what is before the first bad row is stored and nothing behind it is."""
    checkpoint = Checkpoint(server.call("GET", "/api/me")["organization"]["id"], path, mapping)
    outcome = Outcome(resumed_after=checkpoint.read())

    def acknowledged() -> None:
        checkpoint.write(outcome.rows)
        advance(outcome.rows)

    try:
        _send_rows(server, path, mapping, strict, outcome, acknowledged)
        checkpoint.clear()
    except _Stop as stop:
        outcome.stopped = f"{path}: row {stop.fault.index}: {stop.fault.detail}"
        if strict:
            alone = outcome.rows == stop.fault.index
            went = "stopped here" if alone else f"stopped, but the rows up to {outcome.rows} had gone with it"
            outcome.stopped += f" (--strict: {went})"
    outcome.bad.sort(key=_number)
    return outcome


def _send_rows(server: Connection, path: Path, mapping: Mapping, strict: bool, outcome: Outcome, acknowledged: Callable[[], None]) -> None:
    """Send batch by batch; raises _Stop where the run ends before the file does."""
    batch: list[bytes] = []
    numbers: list[int] = []
    size = 0
    encode = _encoder(path, mapping)

    def send() -> None:
        nonlocal size
        if batch:
            (_send_strictly if strict else _send)(server, batch, numbers, outcome)
        batch.clear()
        numbers.clear()
        size = 0
        if strict and outcome.faults:
            raise _Stop(outcome.faults[0])
        acknowledged()

    for number, row in enumerate(_rows(path, mapping), 1):
        if number <= outcome.resumed_after:
            outcome.rows = number
            continue
        try:
            event = encode(number, row)
            if size + len(event) > BATCH_BYTES:
                send()
            batch.append(event)
            numbers.append(number)
            size += len(event) + 1
        except ValueError as error:
            fault = Fault(str(error), None, number)
            if strict or isinstance(error, Torn):
                send()  # which may find that an earlier row is bad, and acknowledges no more than the rows before this one
                outcome.rows = number
                outcome.bad.append(fault)
                raise _Stop(fault) from None
            outcome.bad.append(fault)
        outcome.rows = number
        if len(batch) >= BATCH:
            send()
    send()


def count(path: Path, mapping: Mapping) -> int:
    """About how many rows there are, for a progress bar."""
    if mapping.format == "parquet":
        return parquet_count(path)
    with _opened(path) as file:
        lines: int = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return max(lines - (mapping.format == "csv"), 0)


def _send(server: Connection, batch: list[bytes], numbers: list[int], outcome: Outcome) -> None:
    try:
        answer = server.call("POST", "/api/events", content=b"\n".join(batch), headers={"content-type": _LINES})
    except BadInput:
        raise
    except Exception as error:
        faults = getattr(error, "faults", ())
        if getattr(error, "status", None) != 400 or not faults:
            raise
        answer = {"inserted": 0, "duplicates": 0, "rejected": [fault.as_dict() for fault in faults]}
    conflicts = answer.get("conflicts", [])
    outcome.inserted += answer["inserted"]
    outcome.duplicates += answer["duplicates"] - len(conflicts)
    for found, into in ((answer["rejected"], outcome.bad), (conflicts, outcome.conflicts)):
        into += [Fault(fault["detail"], fault.get("field"), numbers[fault["index"]]) for fault in found]


def _send_strictly(server: Connection, batch: list[bytes], numbers: list[int], outcome: Outcome) -> None:
    """Send nothing behind the first row that is refused: a row that looks bad goes alone, after all before it.

    Whether it is bad is for the server to say, whose limits may be wider. What looks good here and is refused there, an
    id that is taken or a limit that is narrower, ends the run after the rows that went with it.
    """
    doubtful = _doubtful(batch)
    cuts = sorted({0, *doubtful, *(at + 1 for at in doubtful), len(batch)})
    for start, end in pairwise(cuts):
        _send(server, batch[start:end], numbers[start:end], outcome)
        if outcome.faults:
            outcome.rows = numbers[end - 1]
            return


def _doubtful(batch: list[bytes]) -> list[int]:
    """The places of rows that a server with the usual limits refuses, found with the server's own code."""
    from tollhouse.events import EventLimits, parse  # noqa: PLC0415  # takes a second, and only --strict needs it

    found = parse(b"\n".join(batch), _LINES, "", times.micros(datetime.now(UTC)), EventLimits(), {})
    return [fault.index for fault in found.faults if fault.index is not None]


def _number(fault: Fault) -> int:
    return fault.index or 0


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise BadInput(f"{path}: it is cut off, or no gzip; nothing of it is read until it can be unpacked to its end.") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}.") from None


def _rows(path: Path, mapping: Mapping) -> Iterator[Row | bytes | ValueError]:
    """The rows in order; in place of one that cannot be read, what is wrong with it."""
    if mapping.format == "parquet":
        yield from parquet_rows(path)
        return
    with _opened(path) as file:
        if mapping.format == "ndjson":
            yield from (line for line in file if line.strip())
        else:
            yield from _csv_rows(path, mapping, file)


def _csv_rows(path: Path, mapping: Mapping, file: Any) -> Iterator[Row | ValueError]:
    # What is no UTF-8 is carried through as surrogates, so that it is the fault of its row alone.
    lines = (line.decode("utf-8-sig" if at == 0 else "utf-8", "surrogateescape") for at, line in enumerate(file))
    reader = csv.reader(lines, strict=True)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise BadInput(f"{path}: the header is no CSV: {_SAID.get(str(error), error)}.") from None
    if wrong := _not_utf_8(header):
        raise BadInput(f"{path}: the header: {wrong[1]}.")
    _check_columns(path, mapping, header)
    while True:
        first = reader.line_num + 1
        try:
            fields = next(reader, None)
            if fields is None:
                return
            if fields:  # an empty line is no row
                yield _csv_row(header, fields)
        except csv.Error as error:
            said = f"it is no CSV: {_SAID.get(str(error), error)}"
            if reader.line_num > first:
                yield Torn(f"{said} (lines {first} to {reader.line_num}); where the next row begins is unclear, so nothing behind was read")
                return
            yield ValueError(f"{said} (line {first})")


def _csv_row(header: list[str], fields: list[str]) -> Row | ValueError:
    if len(fields) != len(header):
        return ValueError("it has more or fewer fields than the header")
    if wrong := _not_utf_8(fields):
        return ValueError(f"{header[wrong[0]]}: {wrong[1]}")
    return dict(zip(header, fields, strict=True))


def _not_utf_8(texts: list[str]) -> tuple[int, str] | None:
    """Which of the texts holds a byte that was no UTF-8, and what to say of it."""
    if "".join(texts).isascii():
        return None
    for place, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return place, f"it is not UTF-8, there is the byte 0x{ord(text[error.start]) & 0xFF:02x}; save the file in UTF-8"
    return None


def _check_columns(path: Path, mapping: Mapping, there: Any) -> None:
    wanted = [*(name for name in (mapping.subject, mapping.time) if name), *mapping.data, *re.findall(r"{(\w+)}", mapping.id or "")]
    for name in wanted:
        if name not in there:
            raise BadInput(f"{path}: there is no column {name!r}; there are {', '.join(there)}.")


def _encoder(path: Path, mapping: Mapping) -> Callable[[int, Row | bytes | ValueError], bytes]:
    """How a row becomes an event's JSON; raises ValueError for a row that cannot."""
    zone = ZoneInfo(mapping.time_zone)
    columns: list[str] = re.findall(r"{(\w+)}", mapping.id or "")

    def encode(number: int, given: Row | bytes | ValueError) -> bytes:
        if isinstance(given, ValueError):
            raise given
        if isinstance(given, bytes):
            line = _decoded(given)
            if mapping.type is None:
                return given.strip()
            row = _object(line.removeprefix("\ufeff"))
        else:
            row = given
        event: Row = {"type": mapping.type, "source": mapping.source or path.name}
        event["id"] = mapping.id.format_map({name: row.get(name) for name in columns}) if mapping.id else f"{path.name}:{number}"
        if mapping.subject:
            event["subject"] = str(row.get(mapping.subject) or "") or None
        if mapping.time:
            event["time"] = _time(row.get(mapping.time), mapping.time, zone)
        names = mapping.data or [name for name in row if name not in (mapping.subject, mapping.time)]
        event["data"] = {name: _value(row[name]) for name in names if row.get(name) is not None and row[name] not in mapping.missing}
        try:
            return _event.encode(event)
        except UnicodeEncodeError:
            raise ValueError("it holds half of a surrogate pair, which is no character; send whole characters") from None

    return encode


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: byte {error.start} of the line is 0x{line[error.start]:02x}; save the file in UTF-8") from None


def _object(line: str) -> Row:
    try:
        row = json.loads(line, parse_float=Decimal, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error}") from None
    except RecursionError:
        raise ValueError("no JSON: it is nested too deeply; nest at most 32 levels") from None
    if not isinstance(row, dict):
        raise ValueError("it is no JSON object; write one object a line")
    return row


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"no JSON: {name} is no JSON number; leave it out or write null")


def _value(value: Any) -> Any:
    """A CSV's number as the JSON number of the same digits, everything else as it is; raises ValueError for a number that is none."""
    if isinstance(value, float | Decimal) and not isfinite(value):
        raise ValueError(f"{value} is no JSON number; leave it out or write null")
    return msgspec.Raw(value.encode()) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _time(value: Any, column: str, zone: ZoneInfo) -> str:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{column}: {str(value)[:60]!r} is not a time; write it like 2024-01-31T13:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).isoformat()
