"""The operators' page of backups: is everything safe right now, what ran, what runs next, what drills have shown."""

from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tollhouse import access, backup
from tollhouse.backup import Selection, operations
from tollhouse.backup.operations import BackupRun
from tollhouse.jobs import FileLimits
from tollhouse.kit.errors import Forbidden, TollhouseError, Unprocessable
from tollhouse.kit.paging import Page
from tollhouse.web import charts
from tollhouse.web.api.backups import run_now
from tollhouse.web.forms import form_of
from tollhouse.web.pages.billing import picture
from tollhouse.web.pages.frame import redirect, show
from tollhouse.web.pages.jobs import PageNumber
from tollhouse.web.pages.viewer import Operates, Viewer
from tollhouse.web.parts import Parts, Wired

router = APIRouter(include_in_schema=False)
ROWS = 20
_NO_FILES = FileLimits(job_files=0)


@router.get("/admin/backups")
def page(
    request: Request, parts: Wired, viewer: Operates, page: PageNumber = 1, fault: Annotated[str, Query(max_length=300)] = ""
) -> Response:
    """Everything about backups."""
    owner, now = viewer.caller.organization, parts.clock()
    with parts.records.reading() as session:
        runs, total = operations.list_runs(session, owner, Page(ROWS, (page - 1) * ROWS))
        drills, _ = operations.list_runs(session, owner, Page(5), ("drill",))
        history, _ = operations.list_runs(session, owner, Page(200), ("full", "incremental"))
        places = {one.id: one for one in operations.list_places(session, owner)}
        schedules = operations.list_schedules(session, owner)
        covered = operations.coverage(session, owner, now)
    return show(
        request,
        viewer,
        "backups.html",
        runs=runs,
        total=total,
        drills=drills,
        places=places,
        schedules=schedules,
        covered=covered,
        spec=_sizes(history),
        page=page,
        pages=max(1, -(-total // ROWS)),
        fault=fault,
        now=now,
    )


@router.get("/admin/backups/chart.svg")
def chart(parts: Wired, viewer: Operates, theme: str = "light") -> Response:
    """The sizes as a picture, for where there is no script."""
    with parts.records.reading() as session:
        history, _ = operations.list_runs(session, viewer.caller.organization, Page(200), ("full", "incremental"))
    return picture(_sizes(history), theme)


def _sizes(history: list[BackupRun]) -> charts.Spec:
    """What repositories grew by, day by day, in megabytes."""
    days: dict[date, Decimal] = {}
    for run in history:
        day = run.started_at.date()
        days[day] = days.get(day, Decimal(0)) + Decimal(run.added_bytes) / 1_000_000
    return charts.stacked_days(
        [(day, {"added": megabytes}) for day, megabytes in sorted(days.items())], {"added": "MB added"}, "", "Megabytes added, by day"
    )


@router.post("/admin/backups/schedules/{name}/run")
async def run_schedule(request: Request, parts: Wired, viewer: Operates, name: str) -> Response:
    """Run a schedule now."""
    async with form_of(request, _NO_FILES) as form:
        viewer.check_csrf(request, form.fields.get("csrf"))
    await run_in_threadpool(run_now, parts, viewer.caller, name)
    return redirect("/admin/backups")


@router.get("/admin/backups/{id}")
def detail(request: Request, parts: Wired, viewer: Operates, id: str) -> Response:
    """One run, and the way to restore it."""
    return _detail(request, parts, viewer, id)


def _detail(
    request: Request,
    parts: Parts,
    viewer: Viewer,
    id: str,
    wanted: "_Wanted | None" = None,
    plan: backup.Restored | None = None,
    done: bool = False,
    fault: str = "",
) -> Response:
    with parts.records.reading() as session:
        run = operations.find_run(session, viewer.caller.organization, id)
        place = operations.find_place(session, viewer.caller.organization, run.repository)
        ours = access.default_organization(session)
    may = ours is not None and ours.id == viewer.caller.organization
    return show(
        request,
        viewer,
        "backup.html",
        run=run,
        place=place,
        wanted=wanted or _Wanted(),
        plan=plan,
        done=done,
        may=may,
        fault=fault,
        now=parts.clock(),
    )


@router.post("/admin/backups/{id}/restore")
async def restore(request: Request, parts: Wired, viewer: Operates, id: str) -> Response:
    """Say what a restore would change; and only when that was seen, restore."""
    async with form_of(request, _NO_FILES) as form:
        viewer.check_csrf(request, form.fields.get("csrf"))
        fields = dict(form.fields)
    return await run_in_threadpool(_restore, request, parts, viewer, id, fields)


@dataclass(frozen=True)
class _Wanted:
    """What a restore is to do."""

    to: str = ""
    prefix: str = ""
    overwrite: bool = False
    configuration: bool = False

    @property
    def said(self) -> str:
        """All of it in one line: what the button to restore sends back, so that nothing is done but what was shown."""
        return urlencode(asdict(self))


def _restore(request: Request, parts: Parts, viewer: Viewer, id: str, fields: dict[str, str]) -> Response:
    wanted = _Wanted(fields.get("to", "").strip(), fields.get("prefix", ""), "overwrite" in fields, "configuration" in fields)
    really = fields.get("really") == wanted.said
    with parts.records.reading() as session:
        run = operations.find_run(session, viewer.caller.organization, id)
        place = operations.find_place(session, viewer.caller.organization, run.repository)
        ours = access.default_organization(session)
    if ours is None or ours.id != viewer.caller.organization:
        raise Forbidden("Only the people of this server's own organization may write to places on it.")
    try:
        if not wanted.to or run.snapshot is None:
            raise Unprocessable("Say where to restore to: a directory on the server, or s3://bucket/prefix.")
        repository = parts.backups.open(place)
        plan = backup.restore(
            repository,
            repository.snapshot(run.snapshot),
            parts.backups.target_at(wanted.to),
            "full",
            Selection(prefix=wanted.prefix or None),
            wanted.overwrite,
            dry_run=not really,
            configuration=wanted.configuration,
        )
    except TollhouseError as error:
        return _detail(request, parts, viewer, id, wanted, fault=error.detail)
    return _detail(request, parts, viewer, id, wanted, plan, really)
