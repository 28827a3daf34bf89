"""`tollhouse backup`: everything about a repository, without a running server.

The passphrase comes from TOLLHOUSE_BACKUP_PASSPHRASE, or the file that TOLLHOUSE_BACKUP_PASSPHRASE_FILE names; for the second
repository of a copy from TOLLHOUSE_BACKUP_COPY_PASSPHRASE, if it has another.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from tollhouse import backup
from tollhouse.backup import BackupKind, Keep, Order, Part, Repository, Selection, Snapshot
from tollhouse.cli.memory import in_one_arena
from tollhouse.cli.output import AsJson, console, show
from tollhouse.kit import times
from tollhouse.kit.errors import BadInput, Conflict, Damaged, Unprocessable
from tollhouse.settings import load
from tollhouse.store.objects import Objects, S3Access

app = typer.Typer(name="backup", help="Back up directories, buckets and databases; restore, verify, drill.", no_args_is_help=True)
restoring = typer.Typer(name="restore", help="Bring objects back from a snapshot.", no_args_is_help=True)
app.add_typer(restoring)
At = Annotated[str, typer.Option("--repository", help="Directory or s3://bucket/prefix of the repository.")]
Sources = Annotated[list[str], typer.Option("--source", help="What to back up: a directory, s3://bucket/prefix or a database; repeatable.")]
Which = Annotated[str, typer.Option("--snapshot", help="A snapshot's id, or the beginning of it, or latest.")]
Transfers = Annotated[int, typer.Option(help="Packs that are sent at a time.", min=1, max=64)]


@app.callback()
def prepare() -> None:
    """Back up directories, buckets and databases; restore, verify, drill."""
    in_one_arena()


@app.command()
def init(
    repository: Annotated[str, typer.Argument(help="An empty directory or s3://bucket/prefix.")],
    plain: Annotated[bool, typer.Option("--plain", help="Without encryption: readable with zstd and jq.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a repository, and show its recovery key this once."""
    passphrase = None if plain else load(os.environ).backup_passphrase
    if passphrase == "":
        raise BadInput(
            "Set TOLLHOUSE_BACKUP_PASSPHRASE to the passphrase of the new repository, or say --plain for one without encryption."
        )
    made, recovery = backup.init(_objects(repository), passphrase, datetime.now(UTC))
    answer = {"id": made.id, "address": repository, "encrypted": made.encrypted, "recovery_key": recovery}
    if as_json:
        show(answer, True)
        return
    out = console()
    out.print(f"Made the repository {made.id} at {repository}, {'encrypted' if made.encrypted else 'not encrypted'}.", soft_wrap=True)
    if recovery:
        out.print(
            "Its recovery key opens it like the passphrase. Keep it on paper, elsewhere; it is shown now and never again:", soft_wrap=True
        )
        out.print(f"  {recovery}", soft_wrap=True)


@app.command()
def full(source: Sources, repository: At, transfers: Transfers = 5, as_json: AsJson = False) -> None:
    """Take a snapshot, reading everything."""
    _take("full", source, repository, transfers, as_json)


@app.command()
def incremental(source: Sources, repository: At, transfers: Transfers = 5, as_json: AsJson = False) -> None:
    """Take a snapshot, reading only what has another size, time or entity tag than in the last one."""
    _take("incremental", source, repository, transfers, as_json)


@app.command()
def metadata(source: Sources, repository: At, transfers: Transfers = 5, as_json: AsJson = False) -> None:
    """Take a snapshot of names, sizes, types, metadata and configuration, without contents."""
    _take("metadata", source, repository, transfers, as_json)


def _take(kind: BackupKind, addresses: list[str], repository: str, transfers: int, as_json: bool) -> None:
    settings = load(os.environ)
    if "tollhouse" in addresses:
        _take_of_tollhouse(kind, addresses, repository, as_json)
        return
    opened = _opened(repository)
    sources = [backup.source_at(address, S3Access(**settings.s3)) for address in addresses]
    began = datetime.now(UTC)
    with _bar(f"{kind} backup", as_json) as report:
        order = Order(kind, actor="command line", transfers=transfers, report=report)
        snapshot = backup.take(opened, sources, began, order)
    shown = _shown(snapshot) | {"seconds": round((datetime.now(UTC) - began).total_seconds(), 2)}
    _print_snapshots([shown], shown, as_json)
    _print_errors(snapshot, as_json)
    if not snapshot.complete:
        raise Conflict("The snapshot was taken, but not everything could be read; the lines above say what.")


def _take_of_tollhouse(kind: BackupKind, addresses: list[str], repository: str, as_json: bool) -> None:
    """Tollhouse itself is backed up by the server that holds it, or by this process where none runs."""
    if len(addresses) > 1:
        raise BadInput("Back up tollhouse by itself: its parts belong to one moment.")
    place = repository if "://" in repository else str(Path(repository).absolute())
    from tollhouse.cli.connection import connected  # noqa: PLC0415  # an HTTP client, which no other backup needs

    with connected() as server:
        run = server.call("POST", "/api/backups", json={"kind": kind, "source": "tollhouse", "repository": place})
    row = (run["snapshot"], run["started_at"][:19], kind, run["objects"], run["bytes"], run["added_bytes"], "tollhouse")
    show(run, as_json, ("snapshot", "time (UTC)", "kind", "objects", "bytes", "bytes added", "of"), [row])


@app.command("list")
def list_snapshots(repository: At, as_json: AsJson = False) -> None:
    """List the snapshots, oldest first."""
    opened = _opened(repository)
    shown = [_shown(one) for one in opened.snapshots(readable=True)]
    _print_snapshots(shown, {"snapshots": shown, "total": len(shown), "limit": len(shown), "offset": 0}, as_json)
    opened.snapshots()  # says what is wrong with one that could not be shown


@app.command("show")
def show_snapshot(
    repository: At,
    snapshot: Which = "latest",
    prefix: Annotated[str | None, typer.Option(help="Only keys that begin so.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many objects.", min=0)] = 100,
    as_json: AsJson = False,
) -> None:
    """Show a snapshot and what is in it."""
    opened = _opened(repository)
    chosen = opened.snapshot(snapshot)
    objects: list[dict[str, Any]] = []
    for collection in chosen.collections:
        for entry in backup.selected(opened, chosen, Selection(prefix=prefix, source=collection.address)):
            if len(objects) < limit:
                modified = times.rfc3339(entry.modified)
                objects.append(
                    {"source": collection.address, "key": entry.key, "size": entry.size, "modified": modified, "sha256": entry.sha256}
                )
    rows = [(one["key"], one["size"], str(one["modified"])[:19], str(one["sha256"])[:12]) for one in objects]
    answer = _shown(chosen, whole=True) | {"objects_shown": objects}
    show(
        answer,
        as_json,
        ("key", "bytes", "modified", "sha256"),
        rows,
        f"{chosen.id}, {chosen.time[:19]}, {chosen.kind}, {chosen.objects} objects",
    )
    for collection in chosen.collections if not as_json else ():
        if settings := backup.settings_shown(collection.configuration):
            escaped = [(name, escape(value)) for name, value in settings]
            show({}, False, ("setting", "value"), escaped, f"The bucket of {collection.address}")


@app.command()
def diff(repository: At, older: str, newer: Annotated[str, typer.Argument()] = "latest", as_json: AsJson = False) -> None:
    """Say what was added, changed and removed between two snapshots."""
    opened = _opened(repository)
    before, after = (
        {(address, one.key): one.sha256 or f"{one.size}-{one.modified}" for address, one in _all(opened, opened.snapshot(name))}
        for name in (older, newer)
    )
    rows = [("added", *key) for key in sorted(after.keys() - before.keys())]
    rows += [("changed", *key) for key in sorted(key for key in after.keys() & before.keys() if after[key] != before[key])]
    rows += [("removed", *key) for key in sorted(before.keys() - after.keys())]
    settings = backup.settings_changed(opened.snapshot(older).collections, opened.snapshot(newer).collections)
    answer = {
        "changes": [{"change": change, "source": source, "key": key} for change, source, key in rows],
        "settings": [{"change": change, "source": source, "setting": name} for change, source, name in settings],
        "total": len(rows),
    }
    rows += [(change, source, f"setting {name}") for change, source, name in settings]
    show(answer, as_json, ("change", "source", "key"), rows)


@app.command()
def verify(
    repository: At,
    read_data: Annotated[bool, typer.Option("--read-data", help="Read every byte, not only the structure.")] = False,
    sample: Annotated[str, typer.Option(help="Read a share of the data, such as 5%.")] = "",
    as_json: AsJson = False,
) -> None:
    """Check a repository; ends with 9 where anything is wrong."""
    percent = 100.0 if read_data else _percent(sample)
    with _bar("verify", as_json) as report:
        found = backup.verify(_opened(repository), percent, report=report)
    answer = {name: getattr(found, name) for name in ("snapshots", "objects", "packs", "packs_read", "unused_packs", "faults")}
    show(
        answer,
        as_json,
        ("snapshots", "objects", "packs", "packs read", "unused packs", "faults"),
        [(*list(answer.values())[:5], len(found.faults))],
    )
    if found.faults:
        raise Damaged(f"{len(found.faults)} things are wrong: {' '.join(found.faults[:10])}")


@app.command()
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
    done = backup.prune(_opened(repository), keep, datetime.now(UTC), max_deletions, dry_run)
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


@app.command()
def copy(
    repository: At,
    to: Annotated[str, typer.Option("--to", help="The second repository, with keys of its own.")],
    snapshot: Annotated[str, typer.Option(help="One snapshot; all that are not there yet if left out.")] = "",
    as_json: AsJson = False,
) -> None:
    """Bring snapshots to a second repository."""
    source = _opened(repository)
    second = backup.open_repository(_objects(to), os.environ.get("TOLLHOUSE_BACKUP_COPY_PASSPHRASE") or load(os.environ).backup_passphrase)
    wanted = [source.snapshot(snapshot)] if snapshot else source.snapshots()
    with _bar("copy", as_json) as report:
        copied = [_shown(one) for one in backup.copy(source, second, wanted, report)]
    _print_snapshots(copied, {"copied": copied, "total": len(copied)}, as_json)


@app.command()
def export(
    repository: At,
    to: Annotated[Path, typer.Option("--to", help="A .tar or .tar.gz file.")],
    snapshot: Which = "latest",
    prefix: Annotated[str | None, typer.Option()] = None,
    as_json: AsJson = False,
) -> None:
    """Write a snapshot's objects into a tar file."""
    if to.exists():
        raise Unprocessable(f"{to} exists; choose another file.")
    opened = _opened(repository)
    with _bar("export", as_json) as report:
        count = backup.export_tar(opened, opened.snapshot(snapshot), to, Selection(prefix=prefix), report)
    show({"objects": count, "path": str(to)}, as_json, ("objects", "file"), [(count, to)])


@app.command()
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
    opened = _opened(repository)
    with _bar("drill", as_json) as report:
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
        console().print(f"{one.source}: {what}", soft_wrap=True)
    if not done.passed:
        raise Damaged(f"The drill failed: {' '.join(done.faults[:5])}")


Key = Annotated[str | None, typer.Option("--key", help="One object.")]
Prefix = Annotated[str | None, typer.Option("--prefix", help="Objects whose keys begin so.")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="The latest snapshot up to this time.")]
To = Annotated[str, typer.Option("--to", help="Directory or s3://bucket/prefix to restore to; keys stay as they were.")]
From = Annotated[str | None, typer.Option("--source", help="Which source, where the snapshot has several.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Say exactly what would change.")]
Over = Annotated[bool, typer.Option("--overwrite", help="Replace what is there and differs.")]
Settings = Annotated[
    bool, typer.Option("--configuration", help="Put the bucket's settings back as well, and make the bucket if there is none.")
]


@restoring.command("full")
def restore_full(
    repository: At, to: To, snapshot: Which = "latest", key: Key = None, prefix: Prefix = None, as_of: AsOf = None, source: From = None,
    dry_run: Dry = False, overwrite: Over = False, configuration: Settings = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Contents and metadata."""
    _restore("full", repository, to, snapshot, Selection(key, prefix, source), as_of, dry_run, overwrite, as_json, configuration)


@restoring.command("metadata")
def restore_metadata(
    repository: At, to: To, snapshot: Which = "latest", key: Key = None, prefix: Prefix = None, as_of: AsOf = None, source: From = None,
    dry_run: Dry = False, configuration: Settings = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Content types and metadata of objects that are there."""
    _restore("metadata", repository, to, snapshot, Selection(key, prefix, source), as_of, dry_run, True, as_json, configuration)


@restoring.command("data")
def restore_data(
    repository: At, to: To, snapshot: Which = "latest", key: Key = None, prefix: Prefix = None, as_of: AsOf = None, source: From = None,
    dry_run: Dry = False, overwrite: Over = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Contents alone."""
    _restore("data", repository, to, snapshot, Selection(key, prefix, source), as_of, dry_run, overwrite, as_json)


def _restore(
    part: Part, repository: str, to: str, snapshot: str, chosen: Selection, as_of: str | None,
    dry_run: bool, overwrite: bool, as_json: bool, configuration: bool = False,
) -> None:  # fmt: skip
    opened = _opened(repository)
    moment = times.moment(times.parse_time(as_of, "--as-of")) if as_of else None
    taken = opened.snapshot(snapshot, moment)
    target = backup.target_at(to, S3Access(**load(os.environ).s3))
    with _bar("restore", as_json) as report:
        done = backup.restore(opened, taken, target, part, chosen, overwrite, dry_run, report, configuration)
    answer: dict[str, Any] = {"snapshot": taken.id, "dry_run": dry_run, "bytes": done.bytes, "actions": done.actions, "errors": done.errors}
    answer["settings"] = done.settings
    rows = [("would " * dry_run + action, key) for action, keys in done.actions.items() if action != "identical" for key in keys[:1000]]
    counts = ", ".join(f"{len(keys)} {action}" for action, keys in done.actions.items())
    show(
        answer, as_json, ("action", "key"), rows if dry_run else rows[:20], f"{taken.id} of {taken.time[:19]}: {counts}; {done.bytes} bytes"
    )
    if not as_json:
        _print_settings(done)
    if done.errors:
        said = "; ".join(f"{error['key']}: {error['reason']}" for error in done.errors[:10])
        raise Conflict(f"{len(done.errors)} {'things' if done.settings else 'objects'} were not restored: {said}.")


def _print_settings(done: backup.Restored) -> None:
    out = console()
    if left := [name for name, action in done.settings.items() if action == "left"]:
        out.print(f"Settings of the bucket that differ: {', '.join(left)}. Say --configuration to put them back.", soft_wrap=True)
    elif done.settings:
        out.print("Settings: " + ", ".join(f"{name} {action}" for name, action in done.settings.items()) + ".", soft_wrap=True)


def _all(opened: Repository, snapshot: Snapshot) -> Iterator[tuple[str, backup.Entry]]:
    for collection in snapshot.collections:
        for entry in backup.entries_of(collection.lists, opened.blob):
            yield collection.address, entry


def _objects(address: str) -> Objects:
    return Objects.at(address, S3Access(**load(os.environ).s3))


def _opened(address: str) -> Repository:
    if "://" not in address and not Path(address).is_dir():
        raise BadInput(f"There is no directory {address}; make a repository with `tollhouse backup init {address}`.")
    return backup.open_repository(_objects(address), load(os.environ).backup_passphrase or None)


def _shown(snapshot: Snapshot, whole: bool = False) -> dict[str, Any]:
    sources = [
        {"address": one.address, "kind": one.kind, "objects": one.objects, "bytes": one.bytes, "errors": one.errors}
        | ({"configuration": one.configuration} if whole else {})
        for one in snapshot.collections
    ]
    return {
        "id": snapshot.id,
        "time": snapshot.time,
        "kind": snapshot.kind,
        "parent": snapshot.parent,
        "host": snapshot.host,
        "actor": snapshot.actor,
        "objects": snapshot.objects,
        "bytes": snapshot.bytes,
        "complete": snapshot.complete,
        "statistics": snapshot.statistics,
        "sources": sources,
    }


def _print_snapshots(shown: list[dict[str, Any]], answer: Any, as_json: bool) -> None:
    rows = [
        (
            one["id"],
            one["time"][:19],
            one["kind"],
            one["objects"],
            one["bytes"],
            one["statistics"].get("added_bytes"),
            ", ".join(source["address"] for source in one["sources"]),
        )
        for one in shown
    ]
    show(answer, as_json, ("snapshot", "time (UTC)", "kind", "objects", "bytes", "bytes added", "of"), rows)


def _print_errors(snapshot: Snapshot, as_json: bool) -> None:
    if not as_json:
        for collection in snapshot.collections:
            for error in collection.errors[:20]:
                console().print(f"not read: {error['key'] or collection.address}: {error['reason']}", soft_wrap=True)
            for name, reason in collection.configuration.get("unreadable", {}).items():
                console().print(f"not read: the bucket's {name}: {reason}", soft_wrap=True)


@contextmanager
def _bar(label: str, as_json: bool) -> Iterator[backup.Report]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=as_json or not sys.stderr.isatty()) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total, bytes: progress.update(task, completed=done, total=total, description=f"{label}, {bytes >> 20} MB")


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
    return int(count) * _UNITS[unit]
