"""Jobs as workers see them: claimed with a lease, kept alive, ended. The fence token tells a worker that lost its job."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tollhouse import jobs
from tollhouse.access import Caller
from tollhouse.jobs import Claim, FileLimits, Job, JobFile, Outcome, StoredFile
from tollhouse.kit.errors import TollhouseError, Unprocessable
from tollhouse.web.answer import Answer, body_of, instant, schema_of
from tollhouse.web.api.jobs import file_shown, shown
from tollhouse.web.forms import Form, form_of
from tollhouse.web.guard import Works
from tollhouse.web.parts import Parts, Wired

router = APIRouter(tags=["jobs"])
LOOK_AGAIN = 1.0
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]


class ClaimIn(msgspec.Struct, forbid_unknown_fields=True):
    """Which jobs a worker takes, and for how many seconds it waits for one and holds it."""

    worker: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = "worker"
    kinds: Annotated[list[Name], msgspec.Meta(max_length=100)] = []
    wait: Annotated[float, msgspec.Meta(ge=0, le=30)] = 0
    lease: Annotated[float, msgspec.Meta(ge=1, le=3600)] | None = None


class ProgressIn(msgspec.Struct, forbid_unknown_fields=True):
    """A sign of life; `progress` in per cent."""

    fence: int
    progress: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    message: Annotated[str, msgspec.Meta(max_length=500)] | None = None


class CompleteIn(msgspec.Struct, forbid_unknown_fields=True):
    """The end of a job whose result files, if any, were sent before with `/api/presign`-like uploads or are in the form."""

    fence: int
    status: Literal["completed", "skipped"] = "completed"
    compute_seconds: Decimal | None = None
    data: dict[str, Any] | None = None


class FailIn(msgspec.Struct, forbid_unknown_fields=True):
    """What went wrong, and whether another attempt may help; or `release`: nothing did, but the worker is being stopped."""

    fence: int
    error: Annotated[str, msgspec.Meta(max_length=20_000)] = ""
    retry: bool = True
    release: bool = False
    compute_seconds: Decimal | None = None


_FORM = {
    "type": "object",
    "required": ["fence"],
    "properties": {
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "fence": {"type": "string"},
        "status": {"type": "string", "enum": ["completed", "skipped"]},
        "compute_seconds": {"type": "string"},
        "data": {"type": "string", "description": "a JSON object"},
    },
}
_COMPLETE = schema_of(CompleteIn)
_COMPLETE["requestBody"]["content"]["multipart/form-data"] = {"schema": _FORM}


@router.post("/api/jobs/claim", openapi_extra=schema_of(ClaimIn), responses={204: {"description": "No job was there in time"}})
async def claim(request: Request, parts: Wired, caller: Works, wanted: Annotated[ClaimIn, Depends(body_of(ClaimIn))]) -> Response:
    """Take a job, waiting up to `wait` seconds for one; 204 where none came."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wanted.wait
    while True:
        taken = await run_in_threadpool(_claim, parts, caller, wanted)
        if taken is not None:
            return Answer(await run_in_threadpool(_claimed, parts, request, taken))
        left = until - loop.time()
        if left <= 0 or parts.bell.closed:
            return Response(status_code=204)
        await parts.bell.heard(min(left, LOOK_AGAIN))
        if await request.is_disconnected():  # before the next look: a job for somebody who is gone would be lost for a lease
            return Response(status_code=204)


def _claim(parts: Parts, caller: Caller, wanted: ClaimIn) -> Job | None:
    now = parts.clock()
    with parts.records.reading() as session:
        if not jobs.waiting(session, caller.organization, wanted.kinds, now):
            return None
    lease = None if wanted.lease is None else timedelta(seconds=wanted.lease)
    with parts.records.transaction() as session:
        return jobs.claim(session, caller.organization, Claim(wanted.worker, tuple(wanted.kinds), lease), now, parts.jobs.terms)


def _claimed(parts: Parts, request: Request, job: Job) -> dict[str, Any]:
    with parts.records.reading() as session:
        files = jobs.files_of(session, job.organization, [job.id])[job.id]
    held = {
        "fence": job.fence,
        "attempts": job.attempts,
        "lease_until": instant(job.lease_until),
        "lease_seconds": (job.lease_until - parts.clock()).total_seconds() if job.lease_until else 0,
        "files": [_fetchable(parts, request, file) for file in files if file.role == "input"],
    }
    return shown(parts, job) | held


def _fetchable(parts: Parts, request: Request, file: JobFile) -> dict[str, Any]:
    # As long as an upload may wait for its job: a worker may come to a file hours after it was handed the job.
    return file_shown(file) | {"url": parts.intake.download_address(file, parts.base(request), parts.clock(), parts.jobs.upload)}


@router.post("/api/jobs/{id}/progress", openapi_extra=schema_of(ProgressIn))
def progress(parts: Wired, caller: Works, id: str, said: Annotated[ProgressIn, Depends(body_of(ProgressIn))]) -> Response:
    """Extend the lease, and say how far the job has come; 409 once the job is somebody else's."""
    now = parts.clock()
    with parts.records.transaction() as session:
        job = jobs.advance(session, caller.organization, id, said.fence, now, parts.jobs.terms, said.progress, said.message)
    return Answer({"id": job.id, "status": job.status, "progress": job.progress, "lease_until": instant(job.lease_until)})


@router.post("/api/jobs/{id}/complete", openapi_extra=_COMPLETE)
async def complete(request: Request, parts: Wired, caller: Works, id: str) -> Response:
    """End a job with its result files (`multipart/form-data`) or without (JSON)."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        async with form_of(request, parts.jobs.limits) as form:
            said = await run_in_threadpool(_said, form)
            return await run_in_threadpool(_complete, parts, caller, id, said, form)
    said = await body_of(CompleteIn)(request)
    return await run_in_threadpool(_complete, parts, caller, id, said, Form())


def _said(form: Form) -> CompleteIn:
    """The fields of the form, which are texts, as the JSON that they stand for."""
    given: dict[str, Any] = {name: text for name, text in form.fields.items() if text}
    try:
        if "data" in given:
            given["data"] = msgspec.json.decode(given["data"])
        return msgspec.convert(given, CompleteIn, strict=False)
    except msgspec.DecodeError as error:
        raise Unprocessable(f"The form: {str(error).rstrip('.')}.") from None


def _complete(parts: Parts, caller: Caller, id: str, said: CompleteIn, form: Form) -> Response:
    with parts.records.reading() as session:
        before = jobs.ended_by(session, caller.organization, id, said.fence, said.status)
        if before is not None:
            return Answer(shown(parts, before))
        jobs.held(session, caller.organization, id, said.fence)  # before anything is stored for a job that is lost
    limits = parts.jobs.limits
    anything = FileLimits(limits.file_bytes, limits.job_bytes, limits.job_files)
    stored = parts.intake.store(caller.organization, None, form.files, parts.clock(), anything)
    thumbnail = _thumbnail(parts, caller, stored)
    kept = [*stored, thumbnail] if thumbnail else stored
    outcome = Outcome(said.status, stored, thumbnail, said.data, said.compute_seconds)
    try:
        with parts.records.transaction() as session:
            jobs.take(session, [file.key for file in kept])
            job = jobs.complete(session, caller.organization, id, said.fence, parts.clock(), caller.name, outcome)
    except TollhouseError:
        parts.intake.discard(kept)
        raise
    parts.courier.deliver()
    return Answer(shown(parts, job))


def _thumbnail(parts: Parts, caller: Caller, stored: list[StoredFile]) -> StoredFile | None:
    try:
        return parts.intake.thumbnail(caller.organization, stored, parts.clock())
    except TollhouseError:
        parts.intake.discard(stored)
        raise


@router.post("/api/jobs/{id}/fail", openapi_extra=schema_of(FailIn))
def fail(parts: Wired, caller: Works, id: str, said: Annotated[FailIn, Depends(body_of(FailIn))]) -> Response:
    """Give a job up: it is tried again later while it has attempts left and `retry` is true, else it has failed.

    With `release` it is free again at once, and the attempt does not count.
    """
    if said.release:
        with parts.records.transaction() as session:
            job = jobs.give_back(session, caller.organization, id, said.fence, parts.clock(), caller.name)
        parts.bell.ring()
        return Answer(shown(parts, job))
    with parts.records.transaction() as session:
        job = jobs.fail(
            session,
            caller.organization,
            id,
            said.fence,
            parts.clock(),
            caller.name,
            parts.jobs.terms,
            said.error,
            said.retry,
            said.compute_seconds,
        )
    parts.courier.deliver()
    return Answer(shown(parts, job))
