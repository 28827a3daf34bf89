"""Rows as bytes: lines of JSON that lose nothing, CSV for people, and what two engines' rows have in common.

A line of `rows.ndjson` is an object by column. By the column's kind a value is: integer and finite float, a number; boolean; decimal,
text, UUID, interval, array and the like, a string as the engine writes it; bytes, base64; date and time, ISO 8601 with microseconds, an
instant in UTC with `Z`; JSON, the document's text in a string, because spaces, long numbers and `null` in it are part of what
was stored; NULL, null. What is no number is "NaN", "Infinity" or "-Infinity".
"""

import base64
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from tollhouse.backup.sources.databases.table import Column

Row = Sequence[Any]
Page = Sequence[Row]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_NO_NUMBERS = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}
_FRACTION = re.compile(r"\.?0*$")


def base64_of(value: bytes | memoryview) -> str:
    """How bytes are written."""
    return base64.b64encode(value).decode()


def bytes_of(value: str) -> bytes:
    """How they are read."""
    return base64.b64decode(value, validate=True)


def float_of(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else _NO_NUMBERS[str(value)]


def ndjson(columns: Sequence[Column], pages: Iterable[Page]) -> Iterator[bytes]:
    """Lines of JSON, a page at a time."""
    names = [column.name for column in columns]
    for page in pages:
        if page:
            yield b"\n".join([_encode(dict(zip(names, row, strict=True))) for row in page]) + b"\n"


def csv(columns: Sequence[Column], pages: Iterable[Page]) -> Iterator[bytes]:
    """RFC 4180, UTF-8, a header; text always in quotes, so that nothing between two commas is NULL and `""` is empty text.

    Bytes are exactly those of the database: a cell that begins with `=` is not defused for spreadsheets.
    """
    yield ",".join(_quoted(column.name) for column in columns).encode() + b"\r\n"
    for page in pages:
        yield "".join([",".join([_cell(value) for value in row]) + "\r\n" for row in page]).encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return _quoted(value)
    text = _encode(value).decode()
    return _quoted(text) if isinstance(value, dict) else text


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def read_ndjson(content: Iterable[bytes], columns: Sequence[Column]) -> Iterator[list[Any]]:
    """The rows of `rows.ndjson`, values in the columns' order; raises what msgspec raises, and KeyError for a missing column."""
    names = [column.name for column in columns]
    for line in content:
        row = _decode(line)
        yield [row[name] for name in names]


class Common:
    """A digest of rows in which two engines agree: the order does not count, nor how a number or a time is written."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._read = [_COMMON.get(column.kind, str) for column in columns]
        self.count = 0
        self._sum = 0

    def add(self, row: Row) -> None:
        """One more row."""
        common = [None if value is None else _try(read, value) for read, value in zip(self._read, row, strict=True)]
        self._sum += int.from_bytes(hashlib.blake2b(json.dumps(common).encode(errors="surrogatepass"), digest_size=16).digest())
        self.count += 1

    @property
    def digest(self) -> tuple[int, int]:
        """Rows, and what they are."""
        return self.count, self._sum % (1 << 128)


def _try(read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except (ValueError, TypeError, InvalidOperation):
        return str(value)


def _common_decimal(value: Any) -> str:
    number = Decimal(str(value))
    if not number.is_finite():
        return str(number)
    text = format(number, "f")  # normalize() would round to 28 digits
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _common_time(value: Any) -> str:
    text = str(value).replace(" ", "T").removesuffix("Z").removesuffix("+00:00")
    return _FRACTION.sub("", text) if "." in text else text


def _common_json(value: Any) -> str:
    return json.dumps(json.loads(value), sort_keys=True)


_COMMON: dict[str, Callable[[Any], Any]] = {
    "integer": int,
    "decimal": _common_decimal,
    "float": lambda value: repr(float(value)),
    "boolean": lambda value: bool(int(value)),
    "time": _common_time,
    "datetime": _common_time,
    "instant": _common_time,
    "date": lambda value: str(value)[:10],
    "json": _common_json,
    "uuid": lambda value: str(value).lower(),
}


class Stream(io.RawIOBase):
    """Pieces as a file that is read once; a read gives as much as was asked for, unless it is the end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._held, self._ended = pieces, bytearray(), False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._ended and (size < 0 or len(self._held) < size):
            piece = next(self._pieces, None)
            if piece is None:
                self._ended = True
            else:
                self._held += piece
        taken = bytes(self._held if size < 0 else self._held[:size])
        del self._held[: len(taken)]
        return taken
