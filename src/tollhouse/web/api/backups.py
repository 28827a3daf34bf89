"""Backups of the server: repositories, schedules, runs and drills. Who names places on this machine is its operator."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from starlette.responses import Response

from tollhouse import backup
from tollhouse.access import Caller
from tollhouse.backup import Part, Selection, operations
from tollhouse.backup.operations import BackupPlace, BackupRun, BackupSchedule, NewSchedule, is_directory
from tollhouse.kit.errors import Conflict, Forbidden, Unprocessable
from tollhouse.web.answer import Answer, body_of, instant, schema_of
from tollhouse.web.guard import Admin, Operator
from tollhouse.web.parts import Parts, Wired
from tollhouse.web.query import Paged

router = APIRouter(tags=["backups"])
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
Address = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class RepositoryIn(msgspec.Struct, forbid_unknown_fields=True):
    """A repository that is there already (`tollhouse backup init`)."""

    name: Name
    address: Address
    passphrase_file: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    medium: Annotated[str, msgspec.Meta(max_length=40)] = ""
    offsite: bool = False


class ScheduleIn(msgspec.Struct, forbid_unknown_fields=True):
    """When to do what; `keep` as in `{"within_days": 7, "daily": 30}`. `preset` stands for the usual six."""

    repository: Name
    name: Annotated[str, msgspec.Meta(max_length=80)] = ""
    kind: Annotated[str, msgspec.Meta(max_length=20)] = ""
    source: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    cron: Annotated[str, msgspec.Meta(max_length=100)] = ""
    keep: dict[str, int] = {}
    copy_to: Name | None = None
    preset: bool = False


class BackupIn(msgspec.Struct, forbid_unknown_fields=True):
    """A backup to be taken now; `repository` is a name, or an address that is then known by it."""

    repository: Address
    kind: Annotated[str, msgspec.Meta(max_length=20)] = "incremental"
    source: Address = "tollhouse"


class DrillIn(msgspec.Struct, forbid_unknown_fields=True):
    """A drill to be held now, of the newest snapshot of a source, or of any; `scratch` is for the operator to name.

    It is the address of a database server to make scratch databases on.
    """

    repository: Name
    source: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    scenario: Annotated[str, msgspec.Meta(max_length=20)] = ""
    snapshot: Annotated[str, msgspec.Meta(max_length=80)] = "latest"
    scratch: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class RestoreIn(msgspec.Struct, forbid_unknown_fields=True):
    """Where to, what of each object, and of which; with `configuration` a bucket's settings as well. A dry run unless told otherwise."""

    to: Address
    part: Part = "full"
    prefix: Annotated[str, msgspec.Meta(max_length=1000)] | None = None
    key: Annotated[str, msgspec.Meta(max_length=1000)] | None = None
    overwrite: bool = False
    configuration: bool = False
    dry_run: bool = True


@router.get("/api/backup-repositories")
def list_repositories(parts: Wired, caller: Admin) -> Response:
    """The repositories that this server knows."""
    with parts.records.reading() as session:
        found = [_place(one) for one in operations.list_places(session, caller.organization)]
    return Answer({"repositories": found, "total": len(found), "limit": len(found), "offset": 0})


@router.post("/api/backup-repositories", openapi_extra=schema_of(RepositoryIn), status_code=201)
def add_repository(parts: Wired, caller: Operator, wanted: Annotated[RepositoryIn, Depends(body_of(RepositoryIn))]) -> Response:
    """Make a repository known by a name; it is opened once, to see that it can be."""
    with parts.records.transaction() as session:
        place = operations.add_place(
            session,
            caller.organization,
            parts.clock(),
            caller.name,
            wanted.name,
            wanted.address,
            wanted.passphrase_file,
            wanted.medium,
            wanted.offsite,
        )
    try:
        parts.backups.open(place)
    except Exception:
        with parts.records.transaction() as session:
            session.delete(session.merge(place))
        raise
    return Answer(_place(place), 201)


@router.delete("/api/backup-repositories/{name}")
def remove_repository(parts: Wired, caller: Operator, name: str) -> Response:
    """Forget a repository, by its name or id, and the list of its runs; what is in it stays."""
    with parts.records.transaction() as session:
        place, runs = operations.forget_place(session, caller.organization, name, parts.clock(), caller.name)
        return Answer(_place(place) | {"runs": runs})


@router.get("/api/backup-schedules")
def list_schedules(parts: Wired, caller: Admin) -> Response:
    """What runs by itself, and when next."""
    with parts.records.reading() as session:
        places = {one.id: one.name for one in operations.list_places(session, caller.organization)}
        found = [_schedule(one, places) for one in operations.list_schedules(session, caller.organization)]
    return Answer({"schedules": found, "total": len(found), "limit": len(found), "offset": 0})


@router.post("/api/backup-schedules", openapi_extra=schema_of(ScheduleIn), status_code=201)
def add_schedule(parts: Wired, caller: Operator, wanted: Annotated[ScheduleIn, Depends(body_of(ScheduleIn))]) -> Response:
    """Make a schedule, or with `preset` the usual ones: hourly, daily, weekly, monthly, a weekly drill and verification."""
    with parts.records.transaction() as session:
        owner, now = caller.organization, parts.clock()
        place = operations.find_place(session, owner, wanted.repository)
        second = operations.find_place(session, owner, wanted.copy_to).id if wanted.copy_to else None
        names = {one.id: one.name for one in operations.list_places(session, owner)}
        if wanted.preset:
            source = wanted.source or "tollhouse"
            news = [NewSchedule(name, kind, source, place.id, cron, dict(keep), second) for name, kind, cron, keep in operations.PRESET]
        else:
            news = [NewSchedule(wanted.name, wanted.kind, wanted.source, place.id, wanted.cron, wanted.keep, second)]
        made = [_schedule(operations.add_schedule(session, owner, now, caller.name, new), names) for new in news]
    return Answer({"schedules": made, "total": len(made)}, 201)


@router.delete("/api/backup-schedules/{name}")
def remove_schedule(parts: Wired, caller: Operator, name: str) -> Response:
    """Take a schedule away; what it made stays."""
    with parts.records.transaction() as session:
        operations.remove_schedule(session, caller.organization, name, parts.clock(), caller.name)
    return Answer({"name": name})


@router.post("/api/backup-schedules/{name}/run")
def run_schedule(parts: Wired, caller: Admin, name: str) -> Response:
    """Run a schedule now; its times stay as they are."""
    return Answer(_run(run_now(parts, caller, name)))


def run_now(parts: Parts, caller: Caller, name: str) -> BackupRun:
    """Run a schedule of the caller's organization."""
    with parts.records.reading() as session:
        schedule = operations.find_schedule(session, caller.organization, name)
        places = {one.id: one for one in operations.list_places(session, caller.organization)}
    second = places[schedule.copy_to] if schedule.copy_to else None
    return parts.backups.run(
        caller.organization, caller.name, schedule.kind, schedule.source, places[schedule.repository], schedule, second
    )


@router.get("/api/backups")
def list_backups(parts: Wired, caller: Admin, page: Paged) -> Response:
    """What was run and what became of it, the newest first."""
    with parts.records.reading() as session:
        runs, total = operations.list_runs(session, caller.organization, page)
    return Answer(page.answer("backups", [_run(run) for run in runs], total))


@router.post("/api/backups", openapi_extra=schema_of(BackupIn), status_code=201)
def take_backup(parts: Wired, caller: Operator, wanted: Annotated[BackupIn, Depends(body_of(BackupIn))]) -> Response:
    """Back up now, `tollhouse` itself or another source, and answer when it is done."""
    if wanted.kind not in ("full", "incremental", "metadata"):
        raise Unprocessable(f"kind: {wanted.kind!r} is none of full, incremental, metadata.")
    run = parts.backups.run(caller.organization, caller.name, wanted.kind, wanted.source, _known(parts, caller, wanted.repository))
    if run.status == "failed":
        kept = f" The snapshot {run.snapshot} has what could be read." if run.snapshot else ""
        raise Conflict(f"The backup {run.id} failed: {run.reason}{kept}")
    return Answer(_run(run), 201)


def _known(parts: Parts, caller: Caller, repository: str) -> BackupPlace:
    """The repository of that name or address, which is known from now on."""
    with parts.records.transaction() as session:
        for place in operations.list_places(session, caller.organization):
            if repository in (place.name, place.id, place.address):
                return place
        if "://" not in repository and not is_directory(repository):
            return operations.find_place(session, caller.organization, repository)
        address = repository if "://" in repository else str(Path(repository).absolute())
        return operations.add_place(session, caller.organization, parts.clock(), caller.name, address[-80:], address, "", "", False)


@router.get("/api/backups/{id}")
def get_backup(parts: Wired, caller: Admin, id: str) -> Response:
    """One run."""
    with parts.records.reading() as session:
        return Answer(_run(operations.find_run(session, caller.organization, id)))


@router.post("/api/backups/{id}/verify")
def verify_backup(parts: Wired, caller: Admin, id: str) -> Response:
    """Read everything in the repository that a backup went to, and check it."""
    with parts.records.reading() as session:
        run = operations.find_run(session, caller.organization, id)
        place = operations.find_place(session, caller.organization, run.repository)
    return Answer(_run(parts.backups.run(caller.organization, caller.name, "verify", "", place)))


@router.post("/api/backups/{id}/restore", openapi_extra=schema_of(RestoreIn))
def restore_backup(parts: Wired, caller: Operator, id: str, wanted: Annotated[RestoreIn, Depends(body_of(RestoreIn))]) -> Response:
    """Restore a backup's snapshot to a place on this machine or a bucket; says what would change unless `dry_run` is false."""
    with parts.records.reading() as session:
        run = operations.find_run(session, caller.organization, id)
        place = operations.find_place(session, caller.organization, run.repository)
    if run.snapshot is None:
        raise Conflict(f"The run {id} made no snapshot.")
    repository = parts.backups.open(place)
    target = parts.backups.target_at(wanted.to)
    chosen = Selection(wanted.key, wanted.prefix)
    taken = repository.snapshot(run.snapshot)
    done = backup.restore(
        repository, taken, target, wanted.part, chosen, wanted.overwrite, wanted.dry_run, configuration=wanted.configuration
    )
    return Answer(
        {"snapshot": run.snapshot, "dry_run": wanted.dry_run, "bytes": done.bytes, "actions": done.actions, "errors": done.errors}
        | {"settings": done.settings}
    )


@router.get("/api/drills")
def list_drills(parts: Wired, caller: Admin, page: Paged) -> Response:
    """Drills, the newest first: recovery time and point as measured, beside the objectives."""
    with parts.records.reading() as session:
        runs, total = operations.list_runs(session, caller.organization, page, ("drill",))
    return Answer(page.answer("drills", [_run(run) for run in runs], total))


@router.post("/api/drills", openapi_extra=schema_of(DrillIn), status_code=201)
def hold_drill(parts: Wired, caller: Admin, wanted: Annotated[DrillIn, Depends(body_of(DrillIn))]) -> Response:
    """Restore into a scratch place, compare everything, measure."""
    if wanted.scratch and not caller.operator:
        raise Forbidden("scratch: only the command line on the server itself may name a database server.")
    if wanted.scenario and wanted.scenario not in backup.OBJECTIVES:
        raise Unprocessable(f"scenario: {wanted.scenario!r} is none of {', '.join(backup.OBJECTIVES)}.")
    with parts.records.reading() as session:
        place = operations.find_place(session, caller.organization, wanted.repository)
    options = {"scenario": wanted.scenario, "snapshot": wanted.snapshot, "scratch": wanted.scratch}
    return Answer(_run(parts.backups.run(caller.organization, caller.name, "drill", wanted.source, place, options=options)), 201)


def _place(one: BackupPlace) -> dict[str, Any]:
    shown = {"name": one.name, "address": one.address, "medium": one.medium, "offsite": one.offsite}
    return {"id": one.id} | shown | {"created_at": instant(one.created_at)}


def _schedule(one: BackupSchedule, places: dict[str, str]) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "kind": one.kind,
        "source": one.shown,
        "repository": places.get(one.repository, one.repository),
        "cron": one.cron,
        "keep": one.keep,
        "copy_to": places.get(one.copy_to, one.copy_to) if one.copy_to else None,
        "next_at": instant(one.next_at),
        "enabled": one.enabled,
    }


def _run(run: BackupRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "kind": run.kind,
        "source": run.source,
        "status": run.status,
        "actor": run.actor,
        "snapshot": run.snapshot,
        "started_at": instant(run.started_at),
        "ended_at": instant(run.ended_at),
        "seconds": run.seconds,
        "objects": run.objects,
        "bytes": run.bytes,
        "added_bytes": run.added_bytes,
        "changed": run.changed,
        "errors": run.errors,
        "detail": run.detail,
    }
