"""Forms with files: read as they come, the files to disk, and nothing beyond the limits.

A form that breaks off, has more than is allowed, or is no form at all, is one clear error, and its files are gone.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import IO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from tollhouse.jobs import FileLimits
from tollhouse.kit.errors import BadInput, TooLarge

MOST_FIELD_BYTES = 128 << 10
MOST_FIELDS = 50


@dataclass
class Form:
    """What a form held: its fields (the last of each name) and its files as (name, open file), in order."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, IO[bytes]]] = field(default_factory=list)


class _Parser(MultiPartParser):
    """Starlette's parser, which also knows whether the form came to its end."""

    ended = False

    def on_end(self) -> None:
        self.ended = True

    def close(self) -> None:
        """Close what was begun, also a file whose part did not come to its end."""
        for file in self._files_to_close_on_error:
            file.close()


@asynccontextmanager
async def form_of(request: Request, limits: FileLimits) -> AsyncIterator[Form]:
    """The request's form; its files are closed, and thereby gone, when the block ends."""
    opened: list[UploadFile] = []
    try:
        yield await _read(request, limits, opened)
    finally:
        for file in opened:
            file.file.close()


async def _read(request: Request, limits: FileLimits, opened: list[UploadFile]) -> Form:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    most = limits.job_bytes + (1 << 20) + MOST_FIELD_BYTES
    stream = _bounded(request, most)
    try:
        if media_type == "application/x-www-form-urlencoded":
            return Form(_texts(await FormParser(request.headers, _bounded(request, MOST_FIELD_BYTES)).parse()))
        parser = _Parser(request.headers, stream, max_files=limits.job_files, max_fields=MOST_FIELDS, max_part_size=MOST_FIELD_BYTES)
        parsed = await parser.parse()
    except MultiPartException as error:
        raise BadInput(f"The form cannot be read: {error.message.rstrip('.')}; send multipart/form-data.") from None
    except (FormParserError, KeyError, UnicodeDecodeError):
        raise BadInput("The form cannot be read; send multipart/form-data.") from None
    except ClientDisconnect:
        raise BadInput("The upload broke off; nothing of it was kept.") from None
    opened += [item for _, item in parsed.multi_items() if isinstance(item, UploadFile)]
    if not parser.ended:
        parser.close()
        raise BadInput("The upload is cut off before its end; nothing of it was kept.")
    # A file field that was left empty is sent by browsers as a file without name and content.
    files: list[tuple[str, IO[bytes]]] = [(file.filename or "", file.file) for file in opened if file.filename or file.size]
    return Form(_texts(parsed), files)


def _texts(parsed: object) -> dict[str, str]:
    items = parsed.multi_items()  # type: ignore[attr-defined]
    fields = {name: text for name, text in items if isinstance(text, str)}
    for name, text in fields.items():
        if "\0" in text or "\0" in name:
            raise BadInput(f"{name[:40]}: the field holds a NUL character; leave it out.")
    return fields


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise TooLarge(f"The request has {announced} bytes; at most {most} are accepted.")
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > most:
            raise TooLarge(f"The request has more than {most} bytes; send less.")
        yield chunk
