"""Making repositories and taking snapshots."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tollhouse import backup
from tollhouse.backup import BackupKind, Order, Snapshot
from tollhouse.cli.backup.parts import At, bar, described, objects_at, open_at, print_snapshots
from tollhouse.cli.output import AsJson, console, plain, show
from tollhouse.kit.errors import BadInput, Conflict
from tollhouse.settings import load
from tollhouse.store.objects import S3Access

Sources = Annotated[list[str], typer.Option("--source", help="What to back up: a directory, s3://bucket/prefix or a database; repeatable.")]
Transfers = Annotated[int, typer.Option(help="Packs that are sent at a time.", min=1, max=64)]


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
    made, recovery = backup.init(objects_at(repository), passphrase, datetime.now(UTC))
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


def full(source: Sources, repository: At, transfers: Transfers = 5, as_json: AsJson = False) -> None:
    """Take a snapshot, reading everything."""
    _take("full", source, repository, transfers, as_json)


def incremental(source: Sources, repository: At, transfers: Transfers = 5, as_json: AsJson = False) -> None:
    """Take a snapshot, reading only what has another size, time or entity tag than in the last one."""
    _take("incremental", source, repository, transfers, as_json)


def metadata(source: Sources, repository: At, transfers: Transfers = 5, as_json: AsJson = False) -> None:
    """Take a snapshot of names, sizes, types, metadata and configuration, without contents."""
    _take("metadata", source, repository, transfers, as_json)


def _take(kind: BackupKind, addresses: list[str], repository: str, transfers: int, as_json: bool) -> None:
    settings = load(os.environ)
    if "tollhouse" in addresses:
        _take_of_tollhouse(kind, addresses, repository, as_json)
        return
    opened = open_at(repository)
    sources = [backup.source_at(address, S3Access(**settings.s3)) for address in addresses]
    began = datetime.now(UTC)
    with bar(f"{kind} backup", as_json) as report:
        order = Order(kind, actor="command line", transfers=transfers, report=report)
        snapshot = backup.take(opened, sources, began, order)
    shown = described(snapshot) | {"seconds": round((datetime.now(UTC) - began).total_seconds(), 2)}
    print_snapshots([shown], shown, as_json)
    _print_errors(snapshot, as_json)
    if not snapshot.complete:
        raise Conflict("The snapshot was taken, but not everything could be read; the lines above say what.")


def _take_of_tollhouse(kind: BackupKind, addresses: list[str], repository: str, as_json: bool) -> None:
    """Tollhouse itself is backed up by the server that holds it, or by this process where none runs."""
    if len(addresses) > 1:
        raise BadInput("Back up tollhouse by itself: its parts belong to one moment.")
    place = repository if "://" in repository else str(Path(repository).absolute())
    from tollhouse.cli.connection import connected, found  # noqa: PLC0415  # an HTTP client, which no other backup needs

    if not found():
        # One would be made, and its empty backup become the latest: a cron job in another directory is all that takes.
        data = load(os.environ).data.absolute()
        raise BadInput(f"There is no Tollhouse in {data}; set TOLLHOUSE_DATA to its data directory, or TOLLHOUSE_URL to where it serves.")
    with connected() as server:
        run = server.call("POST", "/api/backups", json={"kind": kind, "source": "tollhouse", "repository": place})
    row = (run["snapshot"], run["started_at"][:19], kind, run["objects"], run["bytes"], run["added_bytes"], "tollhouse")
    show(run, as_json, ("snapshot", "time (UTC)", "kind", "objects", "bytes", "bytes added", "of"), [row])


def _print_errors(snapshot: Snapshot, as_json: bool) -> None:
    if not as_json:
        for collection in snapshot.collections:
            for error in sorted(collection.errors, key=lambda one: "severity" in one)[:20]:
                what = "note" if "severity" in error else "not read"
                console().print(f"{what}: {plain(error['key']) or collection.address}: {error['reason']}", soft_wrap=True)
            for name, reason in collection.configuration.get("unreadable", {}).items():
                console().print(f"not read: the bucket's {name}: {reason}", soft_wrap=True)
