"""JSON out, JSON in: decimals are JSON numbers digit for digit, and request bodies are read into typed structs."""

import csv
import io
import re
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from fastapi import Request
from starlette.responses import Response

from tollhouse.kit import times
from tollhouse.kit.errors import BadInput, Fault, TooLarge, Unprocessable

T = TypeVar("T")
MOST_BYTES = 1 << 20
encode = msgspec.json.Encoder(decimal_format="number").encode
_FIELD = re.compile(r" - at `\$\.?([^`]*)`")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class Answer(Response):
    """A JSON response written by msgspec; not cached, since it is somebody's own."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: dict[str, str] | None = None) -> None:
        shown = {"cache-control": "no-store", "x-content-type-options": "nosniff", **(headers or {})}
        super().__init__(encode(content), status_code, shown)


def instant(moment: int | datetime | None) -> str | None:
    """An instant as answers show it, or nothing where there was none."""
    return None if moment is None else times.rfc3339(moment)


def csv_file(name: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Response:
    """A CSV file to save (RFC 4180). A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(columns)
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(written.getvalue(), headers=headers, media_type="text/csv; charset=utf-8")


def _cell(cell: object) -> object:
    if isinstance(cell, Decimal):
        return format(cell, "f")
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def body_of(type: type[T]) -> Callable[[Request], Awaitable[T]]:
    """A dependency that reads the request's JSON body as `type`; a fault is a 400 or 422 that names its field."""
    decoder = msgspec.json.Decoder(type)

    async def read(request: Request) -> T:
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
            if len(content) > MOST_BYTES:
                raise TooLarge(f"The body is larger than {MOST_BYTES} bytes; send less.")
        try:
            content.decode()
            read = decoder.decode(content)
        except msgspec.ValidationError as error:
            at = _FIELD.search(str(error))
            field = at.group(1) if at else None
            sentence = f"{field}: {_FIELD.split(str(error))[0]}" if field else str(error)
            raise Unprocessable(f"{sentence}.", [Fault(sentence, field)]) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BadInput("The body is no JSON; send a JSON object in UTF-8.") from None
        if _NUL.search(content):  # half of a surrogate pair is refused by the decoder
            raise Unprocessable("The body holds a NUL character; leave it out.")
        return read

    return read


def schema_of(type: Any) -> dict[str, Any]:
    """The OpenAPI request body of a struct."""
    (schema,), components = msgspec.json.schema_components([type], ref_template="#/$defs/{name}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": _inlined(schema, components)}}}}


def _inlined(schema: Any, components: dict[str, Any]) -> Any:
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inlined(components[schema["$ref"].rsplit("/", 1)[1]], components)
        return {key: _inlined(value, components) for key, value in schema.items()}
    return [_inlined(item, components) for item in schema] if isinstance(schema, list) else schema
