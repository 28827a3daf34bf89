"""What the commands share: which repository and snapshot, and how both are shown."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from tollhouse import backup
from tollhouse.backup import Repository, Snapshot
from tollhouse.cli.output import plain, show
from tollhouse.kit.errors import BadInput
from tollhouse.settings import load
from tollhouse.store.objects import Objects, S3Access

At = Annotated[str, typer.Option("--repository", help="Directory or s3://bucket/prefix of the repository.")]
Which = Annotated[str, typer.Option("--snapshot", help="A snapshot's id, or the beginning of it, or latest.")]


def objects_at(address: str) -> Objects:
    """A repository's store."""
    return Objects.at(address, S3Access(**load(os.environ).s3))


def open_at(address: str) -> Repository:
    """A repository, opened; raises BadInput where there is none."""
    if "://" not in address and not Path(address).is_dir():
        raise BadInput(f"There is no directory {address}; make a repository with `tollhouse backup init {address}`.")
    return backup.open_repository(objects_at(address), load(os.environ).backup_passphrase or None)


def described(snapshot: Snapshot, whole: bool = False) -> dict[str, Any]:
    """A snapshot as `--json` shows it."""
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


def print_snapshots(shown: list[dict[str, Any]], answer: Any, as_json: bool) -> None:
    """A line a snapshot, or the answer as JSON."""
    rows = [
        (
            one["id"],
            one["time"][:19],
            one["kind"],
            one["objects"],
            one["bytes"],
            one["statistics"].get("added_bytes"),
            ", ".join(plain(source["address"]) for source in one["sources"]),
        )
        for one in shown
    ]
    show(answer, as_json, ("snapshot", "time (UTC)", "kind", "objects", "bytes", "bytes added", "of"), rows)


@contextmanager
def bar(label: str, as_json: bool) -> Iterator[backup.Report]:
    """A progress bar on a terminal: objects, bytes, rate and time left."""
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
