"""Keeping a repository sound: verify, prune, copy, export and drill."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from tollhouse import backup
from tollhouse.backup import Keep, Repository, Selection, Snapshot
from tollhouse.backup.retention import LONGEST, span
from tollhouse.backup.sources.kinds import is_bucket
from tollhouse.cli.backup.parts import At, Which, bar, described, objects_at, open_at, print_snapshots
from tollhouse.cli.output import AsJson, console, plain, show
from tollhouse.kit.errors import Conflict, Damaged, Unprocessable
from tollhouse.settings import load
from tollhouse.store.objects import S3Access


def verify(
    repository: At,
    read_data: Annotated[bool, typer.Option("--read-data", help="Read every byte, not only the structure.")] = False,
    sample: Annotated[str, typer.Option(help="Read a share of the data, such as 5%.")] = "",
    as_json: AsJson = False,
) -> None:
    """Check a repository; ends with 9 where anything is wrong."""
    percent = 100.0 if read_data else _percent(sample)
    with bar("verify", as_json) as report:
        found = backup.verify(open_at(repository), percent, report=report)
    answer = {name: getattr(found, name) for name in ("snapshots", "objects", "packs", "packs_read", "unused_packs", "faults")}
    show(
        answer,
        as_json,
        ("snapshots", "objects", "packs", "packs read", "unused packs", "faults"),
        [(*list(answer.values())[:5], len(found.faults))],
    )
    if found.faults:
        raise Damaged(f"{len(found.faults)} things are wrong: {' '.join(found.faults[:10])}")


def prune(
    repository: At,
    keep_hourly: int = 0,
    keep_daily: int = 0,
    keep_weekly: int = 0,
    keep_monthly: int = 0,
    keep_yearly: int = 0,
    keep_within: Annotated[str, typer.Option(help="Keep everything younger, such as 12h, 30d or 1y.")] = "",
    max_deletions: Annotated[int, typer.Option(help="At most so many files in one run.", min=1)] = 1000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete snapshots that no rule keeps; their data goes a grace period later, when prune is run again."""
    keep = Keep(keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly, _span(keep_within))
    if keep.everything:
        raise Unprocessable("Say what to keep, such as --keep-daily 30; without any rule everything would be kept.")
    done = backup.prune(open_at(repository), keep, datetime.now(UTC), max_deletions, dry_run)
    names = ("forgotten", "doomed", "deleted", "retained", "freed_bytes", "left_for_later", "kept")
    answer = {name: getattr(done, name) for name in names} | {"dry_run": dry_run}
    row = (
        len(done.forgotten),
        len(done.kept),
        len(done.doomed),
        len(done.deleted),
        done.freed_bytes,
        len(done.retained),
        done.left_for_later,
    )
    show(
        answer,
        as_json,
        ("snapshots forgotten", "kept", "packs doomed", "packs deleted", "bytes freed", "retained", "left for later"),
        [row],
    )


def copy(
    repository: At,
    to: Annotated[str, typer.Option("--to", help="The second repository, with keys of its own.")],
    snapshot: Annotated[str, typer.Option(help="One snapshot; all that are not there yet if left out.")] = "",
    as_json: AsJson = False,
) -> None:
    """Bring snapshots to a second repository."""
    source = open_at(repository)
    second = backup.open_repository(
        objects_at(to), os.environ.get("TOLLHOUSE_BACKUP_COPY_PASSPHRASE") or load(os.environ).backup_passphrase
    )
    wanted = [source.snapshot(snapshot)] if snapshot else source.snapshots()
    with bar("copy", as_json) as report:
        copied = [described(one) for one in backup.copy(source, second, wanted, report)]
    print_snapshots(copied, {"copied": copied, "total": len(copied)}, as_json)


def export(
    repository: At,
    to: Annotated[str, typer.Option("--to", help="A .tar or .tar.gz file that is not there yet, or s3://bucket/prefix.")],
    snapshot: Which = "latest",
    prefix: Annotated[str | None, typer.Option(help="Objects whose keys begin so.")] = None,
    source: Annotated[str | None, typer.Option(help="Which source, where the repository or the snapshot has several.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a snapshot's objects into a tar file, or as they are into a bucket."""
    path = Path(to)
    if not is_bucket(to):
        if not to.endswith((".tar", ".tar.gz", ".tgz")):
            raise Unprocessable(f"{to}: what is written is a tar; give the file a name that ends with .tar or .tar.gz, or name a bucket.")
        if path.exists():
            raise Unprocessable(f"{to} exists; choose another file.")
        if not path.absolute().parent.is_dir():
            raise Unprocessable(f"{to}: there is no directory {path.absolute().parent}; make it first.")
    opened = open_at(repository)
    chosen = backup.choose(opened, snapshot, source=source)
    if is_bucket(to):
        _export_to_bucket(opened, chosen, to, Selection(prefix=prefix, source=source), as_json)
        return
    with bar("export", as_json) as report:
        count = backup.export_tar(opened, chosen, path, Selection(prefix=prefix, source=source), report)
    show({"objects": count, "path": to}, as_json, ("objects", "file"), [(count, to)])


def _export_to_bucket(repository: Repository, snapshot: Snapshot, to: str, chosen: Selection, as_json: bool) -> None:
    target = backup.target_at(to, S3Access(**load(os.environ).s3))
    with bar("export", as_json) as report:
        done = backup.restore(repository, snapshot, target, chosen=chosen, report=report)
    show({"objects": done.written, "path": to, "errors": done.errors}, as_json, ("objects", "bucket"), [(done.written, to)])
    if done.errors:
        said = "; ".join(f"{error['key']}: {error['reason']}" for error in done.errors[:10])
        raise Conflict(f"{len(done.errors)} objects were not exported: {said}.")


def drill(
    repository: At,
    snapshot: Which = "latest",
    source: Annotated[str, typer.Option(help="The newest snapshot of this source; of any if left out.")] = "",
    scenario: Annotated[str, typer.Option(help=f"Which objectives: {', '.join(backup.OBJECTIVES)}; by what it holds if left out.")] = "",
    scratch: Annotated[str, typer.Option(help="Address of a database server to make scratch databases on, if not the source's own.")] = "",
    as_json: AsJson = False,
) -> None:
    """Restore into a scratch place, compare everything, and measure recovery time and point; ends with 9 where it fails."""
    if scenario and scenario not in backup.OBJECTIVES:
        raise Unprocessable(f"--scenario: {scenario!r} is none of {', '.join(backup.OBJECTIVES)}.")
    opened = open_at(repository)
    with bar("drill", as_json) as report:
        taken = opened.snapshot(snapshot) if snapshot != "latest" else backup.newest(opened, source)
        now = datetime.now(UTC)
        done = backup.drill(opened, taken, now, scenario, report=report, server=scratch)
    names = ("snapshot", "scenario", "objects", "bytes", "rto_seconds", "rto_objective", "rpo_seconds", "rpo_objective", "faults")
    answer = {name: getattr(done, name) for name in names} | {"passed": done.passed, "in_time": done.in_time}
    answer |= {"loaded": done.loaded, "databases": [one.told for one in done.databases]} if done.databases else {}
    rows = [
        ("recovery time", f"{done.rto_seconds:.2f} s", f"{done.rto_objective:.0f} s"),
        ("recovery point", f"{done.rpo_seconds:.0f} s", f"{done.rpo_objective:.0f} s"),
    ]
    title = f"{done.objects} objects, {done.bytes} bytes restored and compared: {'all as they were' if done.passed else 'NOT as they were'}"
    show(answer, as_json, ("", "measured", "objective"), rows, title)
    for one in done.databases if not as_json else ():
        what = f"{one.rows} rows in {one.tables} tables loaded" if one.loaded else f"not loaded, only its files were compared: {one.reason}"
        console().print(plain(f"{one.source}: {what}"), soft_wrap=True)
    if not done.passed:
        raise Damaged(f"The drill failed: {' '.join(done.faults[:5])}")


def _percent(text: str) -> float:
    if not text:
        return 0
    try:
        percent = float(text.rstrip("%"))
    except ValueError:
        percent = -1
    if not 0 < percent <= 100:
        raise Unprocessable(f"--sample: {text!r} is no share; write it like 5%.")
    return percent


_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1), "m": timedelta(days=30), "y": timedelta(days=365)}


def _span(text: str) -> timedelta:
    if not text:
        return timedelta(0)
    count, unit = text[:-1], text[-1]
    if unit not in _UNITS or not count.isdecimal():
        raise Unprocessable(f"--keep-within: {text!r} is no time; write it like 12h, 30d or 1y.")
    number = int(count) if len(count) < 1000 else LONGEST.days * 24 + 1  # Python reads no number of so many digits
    return span(number, _UNITS[unit])
