"""Bringing objects back."""

import os
from typing import Annotated, Any

import typer

from tollhouse import backup
from tollhouse.backup import Part, Selection
from tollhouse.cli.backup.parts import At, Which, bar, open_at
from tollhouse.cli.output import AsJson, console, plain, show
from tollhouse.kit import times
from tollhouse.kit.errors import Conflict
from tollhouse.settings import load
from tollhouse.store.objects import S3Access

Key = Annotated[str | None, typer.Option("--key", help="One object.")]
Prefix = Annotated[str | None, typer.Option("--prefix", help="Objects whose keys begin so.")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="The latest snapshot up to this time.")]
To = Annotated[str, typer.Option("--to", help="Directory or s3://bucket/prefix to restore to; keys stay as they were.")]
From = Annotated[str | None, typer.Option("--source", help="Which source, where the repository or the snapshot has several.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Say exactly what would change.")]
Over = Annotated[bool, typer.Option("--overwrite", help="Replace what is there and differs.")]
Settings = Annotated[
    bool, typer.Option("--configuration", help="Put the bucket's settings back as well, and make the bucket if there is none.")
]


def restore_full(
    repository: At, to: To, snapshot: Which = "latest", key: Key = None, prefix: Prefix = None, as_of: AsOf = None, source: From = None,
    dry_run: Dry = False, overwrite: Over = False, configuration: Settings = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Contents and metadata."""
    _restore("full", repository, to, snapshot, Selection(key, prefix, source), as_of, dry_run, overwrite, as_json, configuration)


def restore_metadata(
    repository: At, to: To, snapshot: Which = "latest", key: Key = None, prefix: Prefix = None, as_of: AsOf = None, source: From = None,
    dry_run: Dry = False, configuration: Settings = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Content types and metadata of objects that are there."""
    _restore("metadata", repository, to, snapshot, Selection(key, prefix, source), as_of, dry_run, True, as_json, configuration)


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
    opened = open_at(repository)
    moment = times.moment(times.parse_time(as_of, "--as-of")) if as_of else None
    taken = backup.choose(opened, snapshot, moment, chosen.source, metadata=part == "metadata")
    target = backup.target_at(to, S3Access(**load(os.environ).s3))
    with bar("restore", as_json) as report:
        done = backup.restore(opened, taken, target, part, chosen, overwrite, dry_run, report, configuration)
    answer: dict[str, Any] = {"snapshot": taken.id, "dry_run": dry_run, "bytes": done.bytes, "actions": done.actions, "errors": done.errors}
    answer["settings"] = done.settings
    acted = [(action, key) for action, keys in done.actions.items() if action != "identical" for key in keys[:1000]]
    rows = [("would " * dry_run + action, plain(key)) for action, key in acted]
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
