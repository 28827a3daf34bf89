"""Taking snapshots elsewhere: to a second repository with keys of its own, or out into a tar file."""

import io
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from tollhouse.backup.progress import Report
from tollhouse.backup.repository import Repository
from tollhouse.backup.restore import Selection, checked_pieces, selected
from tollhouse.backup.run import packs_to_avoid, secure
from tollhouse.backup.snapshot import Collection, Entry, ListWriter, Snapshot, entries_of
from tollhouse.kit.errors import Conflict


def copy(
    source: Repository, target: Repository, snapshots: Sequence[Snapshot], report: Report, now: datetime | None = None
) -> list[Snapshot]:
    """Bring snapshots to another repository, which stores only what it has not; those that are there already are left out.

    `now` is the clock's time if it is not given. Raises Conflict as `take` does.
    """
    if source.id == target.id:
        raise Conflict("That is the same repository; a copy needs another one.")
    began, started = now or datetime.now(UTC), time.monotonic()
    there = {one.id for one in target.snapshots(readable=True)}
    copied = []
    wanted = [one for one in snapshots if one.id not in there]
    for at, snapshot in enumerate(wanted):
        packer = target.packer(packs_to_avoid(target))
        try:
            collections = [_collection(source, one, packer.add) for one in snapshot.collections]
            packs = packer.finish()
        except BaseException:
            packer.abandon()
            raise
        secure(target, packs, packer.stored_sizes, collections, began + timedelta(seconds=time.monotonic() - started))
        name = target.commit(msgspec.structs.replace(snapshot, collections=collections))
        copied.append(target.snapshot_file(name))
        report(at + 1, len(wanted), packer.added_bytes)
    return copied


def _collection(source: Repository, collection: Collection, add: Callable[..., str]) -> Collection:
    """The same objects under the other repository's ids, which are made with its own key."""
    ids: dict[str, str] = {}
    lists = ListWriter(lambda content: add("list", content))
    for entry in entries_of(collection.lists, source.blob):
        for id in entry.chunks:
            if id not in ids:
                ids[id] = add("data", source.blob(id))
        lists.add(_renamed(entry, ids))
    return msgspec.structs.replace(collection, lists=lists.finish())


def _renamed(entry: Entry, ids: dict[str, str]) -> Entry:
    return msgspec.structs.replace(entry, chunks=tuple(ids[id] for id in entry.chunks))


def export_tar(repository: Repository, snapshot: Snapshot, path: Path, chosen: Selection, report: Report) -> int:
    """Write a snapshot's objects into a tar file (gzip where it ends in .gz); returns how many."""
    entries = list(selected(repository, snapshot, chosen))
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w", format=tarfile.PAX_FORMAT) as archive:
        for at, entry in enumerate(entries):
            member = tarfile.TarInfo(entry.key)
            member.size, member.mtime, member.mode = entry.size, entry.modified // 1_000_000, 0o644
            archive.addfile(member, _Pieces(checked_pieces(repository, entry)))
            report(at + 1, len(entries), entry.size)
    return len(entries)


class _Pieces(io.RawIOBase):
    """Pieces of content as a file that can be read once."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._left) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._left += piece
        taken = self._left if size < 0 else self._left[:size]
        self._left = self._left[len(taken) :]
        return taken
