"""Jobs as an app and its customers see them: handed in, watched, cancelled, tried again, fetched."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.exc import IntegrityError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tollhouse import jobs
from tollhouse.access import Caller
from tollhouse.jobs import Job, JobFile, NewJob
from tollhouse.kit.errors import Conflict, NotFound, TollhouseError, Unprocessable
from tollhouse.kit.paging import Page
from tollhouse.web.answer import Answer, body_of, instant, schema_of
from tollhouse.web.forms import Form, form_of
from tollhouse.web.guard import MaybeCustomer, Reads, Writes
from tollhouse.web.parts import Parts, Wired
from tollhouse.web.query import Paged

router = APIRouter(tags=["jobs"])
Text = Annotated[str, msgspec.Meta(max_length=500)]
Kind = Literal["all", "pending", "processing", "completed", "failed", "cancelled", "skipped"]
ICONS = {"image": "image", "video": "video", "audio": "audio", "text": "text"}


class JobIn(msgspec.Struct, forbid_unknown_fields=True):
    """A job to be made out of finished uploads, or without files."""

    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=80)] = ""
    user_id: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    data: dict[str, Any] = {}
    uploads: Annotated[list[Text], msgspec.Meta(max_length=1000)] = []


class UploadIn(msgspec.Struct, forbid_unknown_fields=True):
    """A file that is going to be uploaded directly."""

    filename: Annotated[str, msgspec.Meta(max_length=255)]
    contentType: Annotated[str, msgspec.Meta(max_length=120)]  # the interface's own names
    fileSizeBytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 50)]
    user_id: Annotated[str, msgspec.Meta(max_length=255)] | None = None


_FORM = {
    "type": "object",
    "properties": {
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "kind": {"type": "string"},
        "data": {"type": "string", "description": "a JSON object"},
        "user_id": {"type": "string"},
    },
}
_CREATE = schema_of(JobIn)
_CREATE["requestBody"]["content"]["multipart/form-data"] = {"schema": _FORM}


@router.post("/api/jobs", openapi_extra=_CREATE, status_code=201)
async def create_job(request: Request, parts: Wired, caller: Writes, customer: MaybeCustomer) -> Response:
    """Hand in work for a customer, with files in the request or uploaded before."""
    key = request.headers.get("idempotency-key")
    if request.headers.get("content-type", "").startswith("multipart/"):
        async with form_of(request, parts.jobs.limits) as form:
            return await run_in_threadpool(_create_from_form, parts, caller, customer, form, key)
    wanted = await body_of(JobIn)(request)
    return await run_in_threadpool(_create_from_uploads, parts, caller, customer, wanted, key)


def _create_from_form(parts: Parts, caller: Caller, customer: str | None, form: Form, key: str | None) -> Response:
    owner = _owner(customer, form.fields.get("user_id"))
    data = _object(form.fields.get("data", "") or "{}")
    stored = parts.intake.store(caller.organization, owner, form.files, parts.clock(), parts.jobs.limits)
    job = _made_of(parts, caller, NewJob(owner, form.fields.get("kind", ""), data, stored, parts.jobs.attempts, key))
    return Answer(shown(parts, job), 201)


def _create_from_uploads(parts: Parts, caller: Caller, customer: str | None, wanted: JobIn, key: str | None) -> Response:
    owner = _owner(customer, wanted.user_id)
    new = NewJob(owner, wanted.kind, wanted.data, (), parts.jobs.attempts, key, wanted.uploads)
    if (before := _made_before(parts, caller, new)) is not None:
        return Answer(shown(parts, before), 201)
    try:
        stored = parts.intake.collect(caller.organization, owner, wanted.uploads, parts.clock())
    except TollhouseError:  # unless the same request was quicker by a moment, and its job has them
        if (before := _made_before(parts, caller, new)) is None:
            raise
        return Answer(shown(parts, before), 201)
    job = _made_of(parts, caller, replace(new, files=stored))
    parts.intake.empty(wanted.uploads)
    return Answer(shown(parts, job), 201)


def _made_before(parts: Parts, caller: Caller, new: NewJob) -> Job | None:
    with parts.records.reading() as session:
        return jobs.made_before(session, caller.organization, new)


def _made_of(parts: Parts, caller: Caller, new: NewJob) -> Job:
    """The job of files that have just been stored, which go again where it is not made of them."""
    try:
        job, fresh = make(parts, caller, new)
    except TollhouseError:
        parts.intake.discard(new.files)
        raise
    if not fresh:
        parts.intake.discard(new.files)
    return job


def make(parts: Parts, caller: Caller, new: NewJob) -> tuple[Job, bool]:
    """Make the job, or find the one that the same request made before; returns it and whether it is new."""
    try:
        with parts.records.transaction() as session:
            before = jobs.made_before(session, caller.organization, new)
            if before is not None:
                return before, False
            jobs.take(session, [file.key for file in new.files])
            jobs.use(session, new.uploads, parts.clock())
            job = jobs.create(session, caller.organization, parts.clock(), caller.name, new)
    except (IntegrityError, Conflict):  # unless the same request was quicker by a moment
        if (made := _made_before(parts, caller, new)) is None:
            raise
        return made, False
    parts.bell.ring()
    parts.courier.deliver()
    return job, True


@router.post("/api/presign", openapi_extra=schema_of(UploadIn))
def presign(
    request: Request, parts: Wired, caller: Writes, customer: MaybeCustomer, wanted: Annotated[UploadIn, Depends(body_of(UploadIn))]
) -> Response:
    """Announce a file; the answer says where to send it directly, and the key to hand in with the job."""
    limits, now = parts.jobs.limits, parts.clock()
    name, owner = jobs.safe_name(wanted.filename), _owner(customer, wanted.user_id)
    most = parts.intake.largest_direct
    if wanted.fileSizeBytes > most:
        raise Unprocessable(f"fileSizeBytes: {wanted.fileSizeBytes} is too large; at most {most} are accepted.")
    if limits.types and jobs.plain_type(wanted.contentType) not in limits.types:
        raise Unprocessable(f"contentType: {wanted.contentType!r} is not accepted; send one of {', '.join(sorted(limits.types))}.")
    with parts.records.transaction() as session:
        place = jobs.reserve(session, caller.organization, owner, name, wanted.contentType, wanted.fileSizeBytes, now, parts.jobs.upload)
    return Answer(
        {
            "url": parts.intake.upload_address(place.key, place.size, parts.base(request), now),
            "method": "PUT",
            "headers": {"Content-Type": wanted.contentType},
            "key": place.key,
            "expires_in": parts.intake.upload_seconds,
        }
    )


@router.get("/api/jobs")
def list_jobs(parts: Wired, caller: Reads, customer: MaybeCustomer, page: Paged, status: Kind = "all") -> Response:
    """A customer's jobs, the newest first; without a customer everybody's, which needs the admin scope."""
    if customer is None:
        caller.require("admin")
    with parts.records.reading() as session:
        found, total = jobs.list_jobs(session, caller.organization, page, customer, () if status == "all" else (status,))
        files = jobs.files_of(session, caller.organization, [job.id for job in found])
    listed = [_shown(job, files[job.id]) for job in found]
    return Answer({"user_id": customer} | Page(page.limit, page.offset).answer("jobs", listed, total))


@router.get("/api/jobs/{id}")
def get_job(parts: Wired, caller: Reads, id: str, customer: MaybeCustomer) -> Response:
    """One job; with a customer named, only if it is theirs."""
    with parts.records.reading() as session:
        job = jobs.find(session, caller.organization, id, customer)
    return Answer(shown(parts, job))


@router.get("/api/jobs/{id}/download")
def download(
    request: Request,
    parts: Wired,
    caller: Reads,
    id: str,
    customer: MaybeCustomer,
    file: Annotated[str | None, Query(max_length=40)] = None,
) -> Response:
    """Where the result can be fetched for an hour: its first file, or the one named by `file`."""
    with parts.records.reading() as session:
        job = jobs.find(session, caller.organization, id, customer)
        files = [one for one in jobs.files_of(session, caller.organization, [id])[id] if one.role != "thumbnail"]
    if job.status != "completed":
        raise Conflict(f"The job {id!r} is {job.status}; its result can be fetched when it is completed.")
    offered = [one for one in files if (one.id == file if file else one.role == "result")]
    if not offered:
        raise NotFound(f"The job {id!r} has no such result file." if file else f"The job {id!r} was completed without a file.")
    chosen, now = offered[0], parts.clock()
    return Answer(
        {
            "job_id": id,
            "download_url": parts.intake.download_address(chosen, parts.base(request), now),
            "expires_in": int(parts.jobs.link.total_seconds()),
            "content_type": chosen.content_type,
            "name": chosen.name,
            "size": chosen.size,
        }
    )


@router.get("/api/jobs/{id}/thumbnail")
def thumbnail(request: Request, parts: Wired, caller: Reads, id: str, customer: MaybeCustomer) -> Response:
    """Where a small picture of the result is, or an icon where there is none."""
    with parts.records.reading() as session:
        jobs.find(session, caller.organization, id, customer)
        files = jobs.files_of(session, caller.organization, [id])[id]
    url, content_type = thumbnail_of(parts, request, files)
    return Answer({"job_id": id, "thumbnail_url": url, "expires_in": int(parts.jobs.link.total_seconds()), "content_type": content_type})


@router.post("/api/jobs/{id}/cancel")
def cancel(parts: Wired, caller: Writes, id: str, customer: MaybeCustomer) -> Response:
    """Stop a job that has not ended."""
    with parts.records.transaction() as session:
        job = jobs.cancel(session, caller.organization, id, parts.clock(), caller.name, customer)
    return Answer(shown(parts, job))


@router.post("/api/jobs/{id}/retry")
def retry(parts: Wired, caller: Writes, id: str, customer: MaybeCustomer) -> Response:
    """Run a failed or cancelled job again."""
    with parts.records.transaction() as session:
        job = jobs.retry(session, caller.organization, id, parts.clock(), caller.name, customer)
    parts.bell.ring()
    return Answer(shown(parts, job))


def shown(parts: Parts, job: Job) -> dict[str, Any]:
    """A job as JSON."""
    with parts.records.reading() as session:
        files = jobs.files_of(session, job.organization, [job.id])[job.id]
    return _shown(job, files)


def _shown(job: Job, files: Sequence[JobFile]) -> dict[str, Any]:
    return {
        "id": job.id,
        "user_id": job.customer,
        "kind": job.kind,
        "status": job.status,
        "progress": job.progress,
        "message": job.message,
        "created_at": instant(job.created_at),
        "started_at": instant(job.started_at),
        "completed_at": instant(job.completed_at),
        "error": job.error,
        "attempt": job.attempt,
        "run": job.run,
        "bytes": job.bytes,
        "compute_seconds": job.compute_seconds,
        "data": job.data,
        "result": job.result,
        "files": [file_shown(file) for file in files if file.role != "thumbnail"],
    }


def file_shown(file: JobFile) -> dict[str, Any]:
    """A file as JSON."""
    return {"id": file.id, "role": file.role, "name": file.name, "size": file.size, "content_type": file.content_type}


def thumbnail_of(parts: Parts, request: Request, files: Sequence[JobFile]) -> tuple[str, str]:
    """The address and media type of the picture of a job's result: its thumbnail, else an icon of what it is."""
    drawn = next((file for file in files if file.role == "thumbnail"), None)
    if drawn is not None:
        return parts.intake.picture_address(drawn, parts.base(request), parts.clock()), drawn.content_type
    result = next((file for file in files if file.role == "result"), None)
    icon = ICONS.get(result.content_type.partition("/")[0], "file") if result else "file"
    return f"{parts.base(request)}/static/icons/{icon}.svg", "image/svg+xml"


def _owner(named: str | None, inside: str | None) -> str:
    """The customer, from the address or the header, or from the body."""
    if named is not None and inside is not None and named != inside:
        raise Unprocessable("user_id: it differs between the address and the body; send one of the two.")
    owner = named if named is not None else inside
    if not owner or len(owner) > 255:
        raise Unprocessable("user_id: name the customer with ?user_id=, an X-User-ID header, or in the body.")
    return owner


def _object(text: str) -> dict[str, Any]:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        raise Unprocessable("data: it is no JSON; send a JSON object.") from None
    if not isinstance(read, dict):
        raise Unprocessable("data: send a JSON object.")
    return read
