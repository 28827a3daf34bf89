"""A customer's jobs: cards that move on by themselves, one job in detail, uploads, results."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tollhouse import billing, jobs
from tollhouse.jobs import Job, JobFile, NewJob
from tollhouse.kit.errors import NotFound, TollhouseError, Unprocessable
from tollhouse.kit.paging import Page
from tollhouse.web.answer import Answer
from tollhouse.web.api.jobs import make, thumbnail_of
from tollhouse.web.books import books_of
from tollhouse.web.forms import Form, form_of
from tollhouse.web.pages.frame import redirect, show
from tollhouse.web.pages.viewer import Viewer, Views
from tollhouse.web.parts import Parts, Wired
from tollhouse.web.problem import respond

router = APIRouter(include_in_schema=False)
PAGE = 24
FILTERS = ("all", "pending", "processing", "completed", "failed")
Filter = Literal["all", "pending", "processing", "completed", "failed", "cancelled", "skipped"]
PageNumber = Annotated[int, Query(ge=1, le=10**6)]


@dataclass(frozen=True)
class Card:
    """One job as it is shown: with its picture's address, and whether that is only an icon."""

    job: Job
    files: tuple[JobFile, ...]
    picture: str
    is_icon: bool


@router.get("/")
def home() -> Response:
    """To the pages."""
    return redirect("/admin/jobs")


@router.get("/dashboard")
def dashboard(viewer: Views) -> Response:
    """To the first page."""
    return redirect(viewer.link("/dashboard/jobs"))


@router.get("/dashboard/jobs")
def list_page(request: Request, parts: Wired, viewer: Views, status: Filter = "all", page: PageNumber = 1) -> Response:
    """The cards."""
    if viewer.customer is None:
        return redirect("/admin/jobs")
    return _list_page(request, parts, viewer, status, page)


def _list_page(
    request: Request, parts: Parts, viewer: Viewer, status: str = "all", page: int = 1, fault: str = "", code: int = 200
) -> Response:
    owner, customer = viewer.caller.organization, viewer.named_customer
    with parts.records.reading() as session:
        counts = jobs.count_by_status(session, owner, customer)
        chosen = () if status == "all" else (status,)
        found, total = jobs.list_jobs(session, owner, Page(PAGE, (page - 1) * PAGE), customer, chosen)
        files = jobs.files_of(session, owner, [job.id for job in found])
    return show(
        request,
        viewer,
        "jobs.html",
        code,
        cards=[card_of(parts, request, job, files[job.id]) for job in found],
        counts=counts | {"all": sum(counts.values())},
        filters=FILTERS,
        status=status,
        total=total,
        page=page,
        pages=max(1, -(-total // PAGE)),
        now=parts.clock(),
        limits=parts.jobs.limits,
        accepts=accepts(parts.jobs.limits.types),
        fault=fault,
    )


def accepts(types: frozenset[str]) -> str:
    """The types for a file field's `accept`; comic archives are archives by another name."""
    return ",".join(sorted(types) + ([".cbz"] if "application/zip" in types else []))


def card_of(parts: Parts, request: Request, job: Job, files: list[JobFile]) -> Card:
    """A job as it is shown."""
    picture, media_type = thumbnail_of(parts, request, files)
    shown = tuple(file for file in files if file.role != "thumbnail")
    return Card(job, shown, picture.removeprefix(parts.base(request)), media_type == "image/svg+xml")


@router.post("/dashboard/jobs")
async def upload(request: Request, parts: Wired, viewer: Views) -> Response:
    """Make a job of what was picked or dropped. A script is answered with JSON, a browser with the page."""
    async with form_of(request, parts.jobs.limits) as form:
        viewer.check_csrf(request, form.fields.get("csrf"))
        return await run_in_threadpool(_upload, request, parts, viewer, form)


def _upload(request: Request, parts: Parts, viewer: Viewer, form: Form) -> Response:
    customer, by_script = viewer.named_customer, "application/json" in request.headers.get("accept", "")
    try:
        if not form.files:
            raise Unprocessable("Choose at least one file to upload.")
        stored = parts.intake.store(viewer.caller.organization, customer, form.files, parts.clock(), parts.jobs.limits)
        try:
            kind = viewer.kind or parts.jobs.kind
            job, _ = make(parts, viewer.caller, NewJob(customer, kind, {}, stored, parts.jobs.attempts))
        except TollhouseError:
            parts.intake.discard(stored)
            raise
    except TollhouseError as error:
        return respond(error) if by_script else _list_page(request, parts, viewer, fault=error.detail, code=error.status)
    return Answer({"id": job.id}, 201) if by_script else redirect(viewer.link("/dashboard/jobs"))


@router.get("/dashboard/jobs/{id}")
def detail_page(request: Request, parts: Wired, viewer: Views, id: str) -> Response:
    """One job."""
    with parts.records.reading() as session:
        job = jobs.find(session, viewer.caller.organization, id, viewer.customer)
        files = jobs.files_of(session, job.organization, [job.id])[job.id]
        books = books_of(parts, session, viewer.caller)
    try:
        bill = billing.job_bill(books, id, job.customer) if parts.billing.enabled else None
    except NotFound:
        bill = None
    card = card_of(parts, request, job, files)
    return show(request, viewer, "job.html", card=card, bill=bill, currency=books.currency, now=parts.clock())


@router.post("/dashboard/jobs/{id}/{verb}")
async def change(request: Request, parts: Wired, viewer: Views, id: str, verb: Literal["cancel", "retry"]) -> Response:
    """Cancel a job, or run it again."""
    async with form_of(request, parts.jobs.limits) as form:
        viewer.check_csrf(request, form.fields.get("csrf"))
    await run_in_threadpool(_change, parts, viewer, id, verb)
    return redirect(viewer.link(f"/dashboard/jobs/{id}"))


def _change(parts: Parts, viewer: Viewer, id: str, verb: str) -> None:
    act = jobs.cancel if verb == "cancel" else jobs.retry
    with parts.records.transaction() as session:
        act(session, viewer.caller.organization, id, parts.clock(), viewer.caller.name, viewer.customer)
    parts.bell.ring()


@router.get("/dashboard/jobs/{id}/files/{file}")
def download(request: Request, parts: Wired, viewer: Views, id: str, file: str) -> Response:
    """To a fresh signed address of one of the job's files: a page that stays open has no links that expire."""
    with parts.records.reading() as session:
        job = jobs.find(session, viewer.caller.organization, id, viewer.customer)
        files = jobs.files_of(session, job.organization, [job.id])[job.id]
    chosen = next((one for one in files if one.id == file), None)
    if chosen is None:
        raise NotFound("There is no such file any more.")
    return redirect(parts.intake.download_address(chosen, parts.base(request), parts.clock()))
