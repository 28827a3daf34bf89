"""`POST /api/events`, the one hot route: plain ASGI, ahead of the framework, so that an event costs as little as it can.

Authentication, limits and errors are the same as everywhere else; only routing and dependency injection are left out.
"""

import asyncio
import zlib
from typing import Any
from urllib.parse import parse_qsl

import zstandard
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from tollhouse.events import Submission, parse
from tollhouse.kit import times
from tollhouse.kit.errors import BadInput, Fault, TollhouseError, TooLarge
from tollhouse.web import problem
from tollhouse.web.answer import encode
from tollhouse.web.parts import Parts
from tollhouse.web.query import refuse_others

OPENMETER_PATH = "/api/v1/events"
_LARGE_BODY = 256 << 10  # parsing one of these would hold up every other request for milliseconds
_MOST_PARTS = 1000  # of a packed body; each copies what is behind it
_PREFLIGHT = [
    (b"access-control-allow-methods", b"POST"),
    (b"access-control-allow-headers", b"authorization, content-type, content-encoding, x-api-key"),
    (b"access-control-max-age", b"86400"),
]


class IngestRoute:
    """Takes events in any of the five forms, plain, gzip or zstd."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = Headers(scope=scope)
        try:
            if scope["method"] == "OPTIONS":
                await _send(send, 204, b"", _cors(headers) + _PREFLIGHT)
                return
            if scope["query_string"] and scope["path"] != OPENMETER_PATH:
                refuse_others((), (name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)))
            status, shown = 200, await self._take(headers, receive)
            media_type, extra = "application/json", {}
            if scope["path"] == OPENMETER_PATH:
                status, shown = _as_openmeter(shown)
        except Exception as error:
            known = error if isinstance(error, TollhouseError) else problem.unexpected(error)
            status, shown, media_type = known.status, problem.document(known), problem.MEDIA_TYPE
            extra = problem.headers(known)
        fields = [(b"content-type", media_type.encode()), *_cors(headers)]
        fields += [(name.encode(), value.encode()) for name, value in extra.items()]
        await _send(send, status, b"" if status == 204 else encode(shown), fields)

    async def _take(self, headers: Headers, receive: Receive) -> dict[str, Any]:
        guard = self._parts.guard
        caller = guard.remembered(headers)
        if caller is None:  # a look-up in the records may block
            caller = await asyncio.to_thread(guard.caller, headers)
        caller.require("events:write")
        body = await _read(headers, receive, self._parts.limits.body_bytes)
        now = times.micros(self._parts.clock())
        content_type = headers.get("content-type", "")
        limits, promoted = self._parts.limits, self._parts.promoted(caller.organization)
        if len(body) > _LARGE_BODY:
            submission = await asyncio.to_thread(parse, body, content_type, caller.organization, now, limits, promoted)
        else:
            submission = parse(body, content_type, caller.organization, now, limits, promoted)
        guard.admit_publishable(caller, headers.get("origin"), len(submission.batch))
        return await self._store(submission)

    async def _store(self, submission: Submission) -> dict[str, Any]:
        receipt = await self._parts.ingest.submit(submission.batch)
        if submission.faults and not submission.places:
            raise BadInput("None of the events could be taken; see errors.", submission.faults)
        conflicts = [
            Fault("this id is stored with other content, which stays; send a new event under an id of its own", "id", submission.places[at])
            for at in receipt.conflicts
        ]
        answer = {
            "inserted": receipt.inserted,
            "duplicates": receipt.duplicates,
            "rejected": [fault.as_dict() for fault in submission.faults],
        }
        return answer | ({"conflicts": [fault.as_dict() for fault in conflicts]} if conflicts else {})


def _as_openmeter(answer: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """OpenMeter says 204 for a whole batch; for a part of one it has no word, so what is wrong with the rest is an error."""
    if answer["rejected"]:
        partial = BadInput(f"{len(answer['rejected'])} events were not taken, the others were; see errors.")
        return partial.status, problem.document(partial) | {"errors": answer["rejected"]}
    return 204, {}


async def _read(headers: Headers, receive: Receive, most: int) -> bytes:
    """The whole body, unpacked; raises TooLarge as soon as it is."""
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise TooLarge(f"The body is larger than {most} bytes; send the events in parts.")
    chunks: list[bytes] = []
    size = 0
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise BadInput("The connection ended before the body did; nothing was stored.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise TooLarge(f"The body is larger than {most} bytes; send the events in parts.")
        chunks.append(chunk)
        if not message.get("more_body", False):
            break
    body = b"".join(chunks) if len(chunks) > 1 else chunks[0]
    encoding = headers.get("content-encoding", "").strip().lower()
    return body if encoding in ("", "identity") else await asyncio.to_thread(_unpacked, body, encoding, most)


def _unpacked(body: bytes, encoding: str, most: int) -> bytes:
    """The body without its compression, up to `most` bytes: what unpacks to more is refused before it is unpacked."""
    part = {"gzip": _gzip_part, "x-gzip": _gzip_part, "zstd": _zstd_part}.get(encoding)
    if part is None:
        raise BadInput(f"content-encoding: {encoding[:40]!r} is not known; send gzip, zstd or none.")
    content, rest, parts = bytearray(), body, 0
    while rest:  # both formats allow one part behind the other
        try:
            rest = part(rest, content, most)
        except (zlib.error, zstandard.ZstdError, EOFError):
            raise BadInput(f"The body is no {encoding}; it may have been cut off. Nothing was stored.") from None
        parts += 1
        if len(content) > most or parts > _MOST_PARTS:
            raise TooLarge(f"The body unpacks to more than {most} bytes; send the events in parts.")
    return bytes(content)


def _gzip_part(packed: bytes, content: bytearray, most: int) -> bytes:
    """Unpack one gzip member onto `content` and return what is behind it; raises EOFError where it is cut off."""
    unpacker = zlib.decompressobj(wbits=31)
    content += unpacker.decompress(packed, most + 1 - len(content))
    if not unpacker.eof and len(content) <= most:
        raise EOFError
    return unpacker.unused_data


def _zstd_part(packed: bytes, content: bytearray, most: int) -> bytes:
    """Unpack one zstd frame onto `content` and return what is behind it; raises EOFError where it is cut off."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
    # A block of a few bytes unpacks to 128 KiB at most, so small bites keep a bomb small.
    for at in range(0, len(packed), 256):
        content += unpacker.decompress(packed[at : at + 256])
        if unpacker.eof:
            return unpacker.unused_data + packed[at + 256 :]
        if len(content) > most:
            return b""
    raise EOFError


def _cors(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Let a page read the answer; which pages a key may be used from is checked with the key."""
    origin = headers.get("origin")
    return [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")] if origin else []


async def _send(send: Send, status: int, body: bytes, fields: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*fields, (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
