"""Signed addresses of a directory's objects: fetch one file, or fill one upload, for as long as the address says.

On S3 these addresses are S3's own. The address is the credential: no key is needed, and nothing else can be reached.
"""

import tempfile

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from tollhouse import jobs
from tollhouse.kit.errors import BadInput, Conflict, NotFound, TooLarge, Unprocessable
from tollhouse.web.answer import Answer
from tollhouse.web.intake import disposition
from tollhouse.web.parts import Parts, Wired

router = APIRouter(tags=["files"])


@router.get("/files/{token}/{name}")
def fetch(parts: Wired, token: str, name: str) -> Response:
    """The file that the address was signed for; 403 where it has expired."""
    file_id = parts.intake.read_download(token, parts.clock())
    with parts.records.reading() as session:
        file = jobs.file(session, file_id)
    if name != file.name:
        raise NotFound("There is nothing at this address.")
    inline = file.role == "thumbnail"
    headers = {
        "content-length": str(file.size),
        "content-disposition": "inline" if inline else disposition(file.name),
        # Whatever a customer has uploaded, it must not run as a page of ours.
        "content-security-policy": "default-src 'none'; sandbox",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "cross-origin",
        "cache-control": "private, max-age=3600" if inline else "private, no-store",
    }
    return StreamingResponse(parts.objects.stream(file.key), media_type=file.content_type, headers=headers)


@router.put("/files/{token}")
async def fill(request: Request, parts: Wired, token: str) -> Response:
    """Send the announced file; whole or not at all."""
    key, size = parts.intake.read_upload(token, parts.clock())
    received = 0
    with tempfile.SpooledTemporaryFile(1 << 20) as file:
        try:
            async for chunk in request.stream():
                received += len(chunk)
                if received > size:
                    raise TooLarge(f"The upload has more than the {size} bytes that were announced; announce it anew.")
                file.write(chunk)
        except ClientDisconnect:
            raise BadInput("The upload broke off; nothing of it was kept.") from None
        if received != size:
            raise Unprocessable(f"The upload has {received} bytes and not the {size} that were announced; send all of it.")
        file.seek(0)
        await run_in_threadpool(_keep, parts, key, file)
    return Answer({"key": key, "size": received})


def _keep(parts: Parts, key: str, file: "tempfile.SpooledTemporaryFile[bytes]") -> None:
    with parts.records.reading() as session:
        if not jobs.is_open(session, key, parts.clock()):
            raise Conflict("This upload has been used for a job already, or has expired; announce a new one.")
    parts.objects.put(key, file)
