"""Running what was asked for or is due: with a row for it, journal rows that alerts read, and one failure that stops nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.orm import Session

from tollhouse import journal
from tollhouse.backup.choosing import newest
from tollhouse.backup.drill import OBJECTIVES, drill
from tollhouse.backup.operations.history import BackupRun, begin_run, last_completed, usual_growth
from tollhouse.backup.operations.places import BackupPlace
from tollhouse.backup.operations.schedules import (
    NOTHING_TO_KEEP,
    TAKING,
    BackupSchedule,
    claim_due,
    following,
    interval,
    kept_in,
    list_schedules,
)
from tollhouse.backup.prune import prune
from tollhouse.backup.repository import Repository, open_repository
from tollhouse.backup.run import Order, take
from tollhouse.backup.snapshot import Snapshot
from tollhouse.backup.sources import Source, Target
from tollhouse.backup.sources.databases import shown
from tollhouse.backup.sources.kinds import is_database
from tollhouse.backup.transfer import copy
from tollhouse.backup.verify import verify
from tollhouse.kit.errors import NotFound, TollhouseError, Unprocessable
from tollhouse.store.objects import Objects
from tollhouse.store.records import Records

log = structlog.get_logger()
MUCH = 50  # per cent of the objects changed at once: encrypting them all looks like this
MUCH_OF = 20  # objects there have to have been at least, before a share means anything
ODD = 5  # times the usual growth
ODD_BYTES = 64 << 20
LATE = 2  # intervals without a completed run


@dataclass
class Runner:
    """One server's backups. `source_at` knows every address, and `tollhouse` for the server itself."""

    records: Records
    objects_at: Callable[[str], Objects]
    source_at: Callable[[str], Source]
    target_at: Callable[[str], Target]
    passphrase: str
    clock: Callable[[], datetime]

    def open(self, place: BackupPlace) -> Repository:
        """A known repository, opened with its own passphrase."""
        if "://" not in place.address and not is_directory(place.address):
            raise NotFound(f"There is no directory {place.address[:200]} on the server; make a repository with `tollhouse backup init`.")
        try:
            phrase = Path(place.passphrase_file).read_text().strip() if place.passphrase_file else self.passphrase
        except (OSError, ValueError):
            raise Unprocessable(f"passphrase_file: {place.passphrase_file[:200]} cannot be read on the server.") from None
        return open_repository(self.objects_at(place.address), phrase or None)

    def run(
        self,
        organization: str,
        actor: str,
        kind: str,
        source: str,
        place: BackupPlace,
        schedule: BackupSchedule | None = None,
        second: BackupPlace | None = None,
        options: dict[str, Any] | None = None,
    ) -> BackupRun:
        """Do one thing and return its row, completed or failed; only what is no error of ours is raised."""
        with self.records.transaction() as session:
            run = begin_run(session, organization, self.clock(), actor, kind, shown(source), place.id, schedule.id if schedule else None)
        try:
            values = self._do(kind, source, place, schedule, second, actor, options or {})
        except Exception as error:  # whatever it was, the row and the journal have to say so
            reason = error.detail if isinstance(error, TollhouseError) else f"{type(error).__name__}: {error}"
            log.error("backup failed", kind=kind, source=run.source, reason=reason, exc_info=not isinstance(error, TollhouseError))
            values = {"status": "failed", "errors": [{"key": "", "reason": reason[:2000]}]}
        with self.records.transaction() as session:
            kept = (
                session.get(BackupRun, run.id) or run
            )  # if its repository was forgotten meanwhile, the journal alone says what became of it
            for name, value in (values | {"ended_at": self.clock()}).items():
                setattr(kept, name, value)
            self._tell(session, kept, place, schedule)
        return kept

    def run_due(self) -> int:
        """Run every schedule whose time has come, and say which are late; returns how many ran."""
        ran = 0
        while True:
            with self.records.transaction() as session:
                schedule = claim_due(session, self.clock())
            if schedule is None:
                break
            with self.records.reading() as session:
                place = session.get_one(BackupPlace, schedule.repository)
                second = session.get(BackupPlace, schedule.copy_to) if schedule.copy_to else None
            self.run(schedule.organization, f"schedule {schedule.name}", schedule.kind, schedule.source, place, schedule, second)
            ran += 1
        self._note_late()
        return ran

    def _do(
        self,
        kind: str,
        source: str,
        place: BackupPlace,
        schedule: BackupSchedule | None,
        second: BackupPlace | None,
        actor: str,
        options: dict[str, Any],
    ) -> dict[str, Any]:
        repository = self.open(place)
        match kind:
            case "full" | "incremental" | "metadata":
                values = self._take(repository, kind, source, actor)
            case "verify":
                values = self._verify(repository, float(options.get("percent", 100)))
            case "drill":
                # Whoever makes schedules may name a database server; whoever asks for a drill may not.
                scratch = str(options.get("scratch", "")) or (schedule.source if schedule and is_database(schedule.source) else "")
                values = self._drill(repository, place, source, options, scratch)
            case _:  # a copy or a prune alone, which the others do after their own work
                values = {"status": "completed"}
        try:
            if kind == "copy" or (second is not None and values["status"] == "completed"):
                values |= self._copy(repository, kind, second, values.get("detail", {}))
            if kind == "prune" or (schedule is not None and schedule.keep):
                values["detail"] = values.get("detail", {}) | self._prune(repository, kind, place)
        except TollhouseError as error:
            if kind not in TAKING:
                raise
            reason = f"The snapshot was taken; what was to follow failed: {error.detail}"
            values |= {"status": "failed", "errors": [*values["errors"], {"key": "", "reason": reason}]}
        return values

    def _copy(self, repository: Repository, kind: str, second: BackupPlace | None, detail: dict[str, Any]) -> dict[str, Any]:
        """Bring over what the second repository has not; of a copy alone that is what the run is measured by."""
        if second is None:
            raise Unprocessable("copy_to: the second repository is not known any more; make the schedule again.")
        copied = copy(repository, self.open(second), repository.snapshots(), lambda *_: None)
        sizes = {"objects": sum(one.objects for one in copied), "bytes": sum(one.bytes for one in copied)} if kind == "copy" else {}
        return sizes | {"detail": detail | {"copied": [one.id for one in copied], "copied_to": second.name}}

    def _prune(self, repository: Repository, kind: str, place: BackupPlace) -> dict[str, Any]:
        with self.records.reading() as session:
            keep = kept_in(session, place.organization, place.id)
        if keep is None and kind == "prune":
            raise Unprocessable(NOTHING_TO_KEEP)
        if keep is None:
            return {}
        done = prune(repository, keep, self.clock())
        return {"forgotten": len(done.forgotten), "freed_bytes": done.freed_bytes, "left_for_later": done.left_for_later}

    def _take(self, repository: Repository, kind: str, source: str, actor: str) -> dict[str, Any]:
        snapshot = take(repository, [self.source_at(source)], self.clock(), Order(kind, actor))  # type: ignore[arg-type]  # one of the three
        errors = [error for collection in snapshot.collections for error in sorted(collection.errors, key=lambda one: "severity" in one)]
        return {
            "status": "completed" if snapshot.complete else "failed",
            "snapshot": snapshot.id,
            "objects": snapshot.objects,
            "bytes": snapshot.bytes,
            "added_bytes": snapshot.statistics.get("added_bytes", 0),
            "changed": snapshot.statistics.get("changed", 0) + snapshot.statistics.get("deleted", 0),
            "errors": errors[:200],
            "detail": {"statistics": snapshot.statistics},
        }

    def _verify(self, repository: Repository, percent: float) -> dict[str, Any]:
        found = verify(repository, percent)
        return {
            "status": "completed" if not found.faults else "failed",
            "objects": found.objects,
            "errors": [{"key": "", "reason": fault} for fault in found.faults[:200]],
            "detail": {"packs": found.packs, "packs_read": found.packs_read, "snapshots": found.snapshots},
        }

    def _drill(self, repository: Repository, place: BackupPlace, source: str, options: dict[str, Any], scratch: str) -> dict[str, Any]:
        scenario, wanted = str(options.get("scenario", "")), str(options.get("snapshot", "latest"))
        if scenario and scenario not in OBJECTIVES:
            raise Unprocessable(f"scenario: {scenario!r} is none of {', '.join(OBJECTIVES)}.")
        snapshot = repository.snapshot(wanted) if wanted != "latest" else self._newest(repository, source, scratch)
        with self.records.reading() as session:
            known = {one.shown: one.source for one in list_schedules(session, place.organization)}
        done = drill(repository, snapshot, self.clock(), scenario, server=scratch, known=known)
        return {
            "status": "completed" if done.passed else "failed",
            "snapshot": snapshot.id,
            "objects": done.objects,
            "bytes": done.bytes,
            "errors": [{"key": "", "reason": fault} for fault in done.faults[:200]],
            "detail": {
                "scenario": done.scenario,
                "rto_seconds": round(done.rto_seconds, 3),
                "rpo_seconds": round(done.rpo_seconds, 3),
                "rto_objective": done.rto_objective,
                "rpo_objective": done.rpo_objective,
                "in_time": done.in_time,
            }
            | ({"loaded": done.loaded, "databases": [one.told for one in done.databases]} if done.databases else {}),
        }

    def _newest(self, repository: Repository, source: str, scratch: str) -> Snapshot:
        """The newest snapshot of the source, or of any if the source only says where to load databases."""
        try:
            return newest(repository, source)
        except NotFound:
            if source != scratch:
                raise
            return newest(repository)

    def _tell(self, session: Session, run: BackupRun, place: BackupPlace, schedule: BackupSchedule | None) -> None:
        """The journal rows that alerts, activity and people read."""
        subject = schedule.name if schedule else f"{run.source or place.name} to {place.name}"
        reason = run.reason
        now = run.ended_at or run.started_at

        def note(verb: str, noun: str, about: str, **detail: Any) -> None:
            journal.write(session, run.organization, now, run.actor, verb, noun, about[:255], run=run.id, **detail)

        if run.kind in TAKING:
            if run.status == "failed":
                note("failed", "backup", subject, reason=reason)
            else:
                figures = {"bytes": run.bytes, "objects": run.objects, "added_bytes": run.added_bytes, "changed": run.changed}
                note("completed", "backup", subject, seconds=run.seconds, snapshot=run.snapshot, **figures)
            self._note_odd(session, run, place, subject, note)
        elif run.kind == "verify":
            note("passed" if run.status == "completed" else "failed", "verification", place.name, reason=reason)
        elif run.kind == "drill":
            note("passed" if run.status == "completed" else "failed", "drill", place.name, reason=reason, **run.detail)
        elif run.status == "failed":
            note("failed", "backup", subject, reason=reason)
        else:
            note("completed", "backup", subject, kind=run.kind, seconds=run.seconds, bytes=run.bytes, objects=run.objects)

    def _note_odd(self, session: Session, run: BackupRun, place: BackupPlace, subject: str, note: Callable[..., None]) -> None:
        counted = run.detail.get("statistics", {})
        before = run.objects - counted.get("new", 0) + counted.get("deleted", 0)  # where all is gone, nothing is there to be a share of
        if before >= MUCH_OF and run.changed * 100 >= before * MUCH:
            percent = round(run.changed * 100 / before)
            note("changed much", "backup", subject, changed=run.changed, objects=run.objects, percent=percent)
        usual = usual_growth(session, place.id, run.source, run.id)
        if usual is not None and run.added_bytes > max(usual * ODD, ODD_BYTES):
            note("grew oddly", "repository", place.name, bytes=run.added_bytes, usual=usual)

    def _note_late(self) -> None:
        now = self.clock()
        with self.records.transaction() as session:
            for schedule in list_schedules(session):
                if not schedule.enabled or schedule.kind not in (*TAKING, "copy"):
                    continue
                last = last_completed(session, schedule.id) or schedule.created_at
                due = following(schedule, last)
                allowed = interval(schedule, last) * (LATE - 1) + timedelta(minutes=10)
                seen = journal.history(session, schedule.organization, "backup", schedule.name)
                told = any(entry.verb == "late" and entry.at >= due for entry in seen)
                if now > due + allowed and not told:
                    journal.write(session, schedule.organization, now, "tollhouse", "late", "backup", schedule.name, due_at=due.isoformat())


def is_directory(address: str) -> bool:
    """Whether an address is a directory that is there."""
    try:
        return Path(address).is_dir()
    except (OSError, ValueError):  # such as a name that is too long
        return False
