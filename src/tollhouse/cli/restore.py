"""`tollhouse restore`: Tollhouse itself, brought back by a command where no server runs."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tollhouse import backup
from tollhouse.backup.sources.directory import DirectoryTarget
from tollhouse.backup.sources.kinds import TOLLHOUSE
from tollhouse.backup.sources.tollhouse import bring_back
from tollhouse.cli.output import AsJson, console, show
from tollhouse.kit.errors import Damaged, Unprocessable
from tollhouse.settings import load
from tollhouse.store.lock import DirectoryLock
from tollhouse.store.objects import Objects, S3Access


def restore(
    repository: Annotated[str, typer.Option("--repository", help="Directory or s3://bucket/prefix of the repository.")],
    data: Annotated[Path | None, typer.Option("--data", help="Directory of the embedded stores; has to hold nothing of Tollhouse.")] = None,
    snapshot: Annotated[str, typer.Option(help="A snapshot's id, or latest.")] = "latest",
    as_json: AsJson = False,
) -> None:
    """Bring Tollhouse itself back, on a machine where it is not running."""
    settings = load(os.environ, {"data": data})
    place = settings.data.absolute()
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    opened = backup.open_repository(Objects.at(repository, S3Access(**settings.s3)), settings.backup_passphrase or None)
    chosen = backup.choose(opened, snapshot, source=TOLLHOUSE)
    if [one.kind for one in chosen.collections] != ["tollhouse"]:
        raise Unprocessable(f"The snapshot {chosen.id} is not one of Tollhouse itself; use `tollhouse backup restore full`.")
    lock = DirectoryLock(place)
    try:
        staged = Path(tempfile.mkdtemp(prefix="restore-", dir=place))
        try:
            done = backup.restore(opened, chosen, DirectoryTarget(staged))
            if done.errors:
                raise Damaged(f"{len(done.errors)} files could not be restored: {done.errors[0]['key']}: {done.errors[0]['reason']}")
            back = bring_back(staged, place, settings.duckdb_memory)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    finally:
        lock.release()
    answer = {"snapshot": chosen.id, "time": back.time, "events": back.events, "objects": back.objects, "data": str(place)}
    show(answer, as_json, ("snapshot", "as of", "events", "objects"), [(chosen.id, back.time[:19], back.events, back.objects)])
    if not as_json:
        console().print(f"Tollhouse is back in {place}; start it with `tollhouse up --data {place}`.", soft_wrap=True)
