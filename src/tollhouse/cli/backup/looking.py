"""What is in a repository: snapshots, their objects, and what changed between two."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from tollhouse import backup
from tollhouse.backup import Repository, Selection, Snapshot
from tollhouse.cli.backup.parts import At, Which, described, open_at, print_snapshots
from tollhouse.cli.output import AsJson, plain, show
from tollhouse.kit import times


def list_snapshots(repository: At, as_json: AsJson = False) -> None:
    """List the snapshots, oldest first."""
    opened = open_at(repository)
    shown = [described(one) for one in opened.snapshots(readable=True)]
    print_snapshots(shown, {"snapshots": shown, "total": len(shown), "limit": len(shown), "offset": 0}, as_json)
    opened.snapshots()  # says what is wrong with one that could not be shown


def show_snapshot(
    repository: At,
    snapshot: Which = "latest",
    prefix: Annotated[str | None, typer.Option(help="Only keys that begin so.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many objects.", min=0)] = 100,
    as_json: AsJson = False,
) -> None:
    """Show a snapshot and what is in it."""
    opened = open_at(repository)
    chosen = opened.snapshot(snapshot)
    objects: list[dict[str, Any]] = []
    for collection in chosen.collections:
        for entry in backup.selected(opened, chosen, Selection(prefix=prefix, source=collection.address)):
            if len(objects) < limit:
                modified = times.rfc3339(entry.modified)
                objects.append(
                    {"source": collection.address, "key": entry.key, "size": entry.size, "modified": modified, "sha256": entry.sha256}
                )
    rows = [(plain(one["key"]), one["size"], str(one["modified"])[:19], str(one["sha256"])[:12]) for one in objects]
    answer = described(chosen, whole=True) | {"objects_shown": objects}
    show(
        answer,
        as_json,
        ("key", "bytes", "modified", "sha256"),
        rows,
        f"{chosen.id}, {chosen.time[:19]}, {chosen.kind}, {chosen.objects} objects",
    )
    for collection in chosen.collections if not as_json else ():
        if settings := backup.settings_shown(collection.configuration):
            escaped = [(name, "\n".join(map(plain, value.splitlines()))) for name, value in settings]
            show({}, False, ("setting", "value"), escaped, f"The bucket of {plain(collection.address)}")


def diff(repository: At, older: str, newer: Annotated[str, typer.Argument()] = "latest", as_json: AsJson = False) -> None:
    """Say what was added, changed and removed between two snapshots."""
    opened = open_at(repository)
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
    show(answer, as_json, ("change", "source", "key"), [(change, plain(source), plain(key)) for change, source, key in rows])


def _all(opened: Repository, snapshot: Snapshot) -> Iterator[tuple[str, backup.Entry]]:
    for collection in snapshot.collections:
        for entry in backup.entries_of(collection.lists, opened.blob):
            yield collection.address, entry
