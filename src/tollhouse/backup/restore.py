"""Bringing objects back: planned first, then written, then read again and compared.

Nothing that is there is replaced unless that was asked for. Every byte is checked against its id before it is written, and
against the snapshot after.
"""

import hashlib
import io
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any, Literal, cast

from tollhouse.backup.choosing import named
from tollhouse.backup.configuration import SettingAction, find_bucket, put_back
from tollhouse.backup.progress import Report, silent
from tollhouse.backup.repository import Repository
from tollhouse.backup.snapshot import Collection, Entry, Snapshot, entries_of
from tollhouse.backup.sources import Target
from tollhouse.backup.sources.hashing import PIECE
from tollhouse.kit.errors import BadInput, Damaged, NotFound, TollhouseError

Part = Literal["full", "metadata", "data"]
Action = Literal["create", "overwrite", "identical", "keep"]
IN_MEMORY = 8 << 20
AT_A_TIME = 256
SORTED_AT_ONCE = 50_000
LOOKED_BACK = 50


@dataclass(frozen=True)
class Selection:
    """Which objects: all, one key, or those that begin with a prefix; of which source, if the snapshot has several."""

    key: str | None = None
    prefix: str | None = None
    source: str | None = None


@dataclass
class Restored:
    """What was done, or with a dry run would be: keys by action, bytes written, what could not be, and the bucket's settings by action."""

    actions: dict[Action, list[str]] = field(default_factory=lambda: {"create": [], "overwrite": [], "identical": [], "keep": []})
    bytes: int = 0
    errors: list[dict[str, str]] = field(default_factory=list)
    settings: dict[str, SettingAction] = field(default_factory=dict)

    def add(self, other: "Restored") -> None:
        """What was done of one object more."""
        for action, keys in other.actions.items():
            self.actions[action] += keys
        self.bytes += other.bytes
        self.errors += other.errors

    @property
    def written(self) -> int:
        """Objects that were, or would be, written."""
        return len(self.actions["create"]) + len(self.actions["overwrite"])


def restore(
    repository: Repository,
    snapshot: Snapshot,
    target: Target,
    part: Part = "full",
    chosen: Selection = Selection(),
    overwrite: bool = False,
    dry_run: bool = False,
    report: Report = silent,
    configuration: bool = False,
) -> Restored:
    """Restore from one snapshot; raises NotFound where it has nothing of what was chosen, or a bucket to restore to is missing.

    What is damaged is named in `errors`, and the rest restored. With `configuration`, a bucket that is missing is made, and its settings
    are put back; without, it is said which differ.
    """
    done = Restored()
    damaged: list[str] = []
    collections = collections_of(snapshot, chosen.source)
    total, without_content = _looked_through(repository, snapshot, target, chosen, damaged)
    done.errors += [{"key": "", "reason": f"objects are unknown: {fault}"} for fault in damaged]
    if not total and damaged:
        raise Damaged(damaged[0])
    if not total and not configuration:
        raise NotFound(f"The snapshot {snapshot.id} holds nothing of what was chosen.{_elsewhere(repository, chosen, part)}")
    if part != "metadata" and without_content:
        raise BadInput("This snapshot has metadata alone; restore `metadata`, or choose another snapshot.")
    there = find_bucket(target, collections, configuration, dry_run)

    def noted(entry: Entry, done: Restored) -> Restored:
        try:
            _one(repository, entry, target, part, overwrite, dry_run, done)
        except (TollhouseError, OSError) as error:
            done.errors.append({"key": entry.key, "reason": getattr(error, "detail", None) or str(error)})
        return done

    def alone(entry: Entry) -> Restored:
        return noted(entry, Restored())

    at = 0
    staged: list[Entry] = []
    with ThreadPoolExecutor(target.writers, "tollhouse-restore") as pool:
        for entries in _by_pack(repository, (one for one in selected(repository, snapshot, chosen, []) if target.takes(one.key))):
            for first in range(0, len(entries), AT_A_TIME):
                some = entries[first : first + AT_A_TIME]
                if max(entry.size for entry in some) <= target.at_hand:
                    for entry in some:
                        noted(entry, done)
                else:
                    for own in pool.map(alone, some):
                        done.add(own)
                at += len(some)
                report(at, total, done.bytes)
            staged += entries if target.staged else []
    if not dry_run:
        done.errors += [{"key": "", "reason": reason} for reason in target.finish()]
        _compare_staged(staged, target, done)
    if configuration or chosen == Selection(source=chosen.source):
        done.settings, refused = put_back(target, collections, configuration, overwrite, dry_run, not there)
        done.errors += refused
    return done


def _looked_through(repository: Repository, snapshot: Snapshot, target: Target, chosen: Selection, damaged: list[str]) -> tuple[int, bool]:
    """How many objects there are to restore, and whether any has metadata alone; lists that cannot be read are named in `damaged`."""
    total, without_content = 0, False
    for entry in selected(repository, snapshot, chosen, damaged):
        if target.takes(entry.key):
            total += 1
            without_content |= not entry.chunks and entry.size > 0
    return total, without_content


def _elsewhere(repository: Repository, chosen: Selection, part: Part) -> str:
    """A hint at the newest of the last snapshots that has what was chosen."""
    if chosen.key is None and chosen.prefix is None:
        return ""
    for snapshot in reversed(repository.snapshots(readable=True)[-LOOKED_BACK:]):
        if (chosen.source is None and len(snapshot.collections) != 1) or (snapshot.kind == "metadata" != part):
            continue
        try:
            if next(selected(repository, snapshot, chosen, []), None) is not None:
                return f" The one of {snapshot.time[:19]} has it: --snapshot {snapshot.id}."
        except BadInput:  # it is of other sources
            continue
    return ""


def _by_pack(repository: Repository, entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    """The entries, ordered so that each pack is fetched once; many at a time, and no more than memory has room for."""
    index = repository.index()

    def place(entry: Entry) -> tuple[str, int]:
        found = index.get(entry.chunks[0]) if entry.chunks else None
        return (found.pack, found.offset) if found else ("", 0)

    while some := list(islice(entries, SORTED_AT_ONCE)):
        some.sort(key=place)
        yield some


def _compare_staged(entries: list[Entry], target: Target, done: Restored) -> None:
    """What a target put there only at its end."""
    written = {*done.actions["create"], *done.actions["overwrite"]} - {error["key"] for error in done.errors}
    for entry in entries:
        if entry.key in written:
            try:
                _compare(entry, target)
            except (TollhouseError, OSError) as error:
                done.errors.append({"key": entry.key, "reason": getattr(error, "detail", None) or str(error)})


def _compare(entry: Entry, target: Target) -> None:
    written = target.present(entry.key)
    if written is None or (written.size, written.sha256) != (entry.size, entry.sha256):
        raise Damaged("what was written reads back differently; check the target")


def selected(repository: Repository, snapshot: Snapshot, chosen: Selection, damaged: list[str] | None = None) -> Iterator[Entry]:
    """The entries that were chosen. A damaged list raises Damaged, or is named in `damaged` and left out."""
    for id in (id for collection in collections_of(snapshot, chosen.source) for id in collection.lists):
        try:
            entries = list(entries_of([id], repository.blob))
        except Damaged as error:
            if damaged is None:
                raise
            damaged.append(error.detail)
            continue
        for entry in entries:
            if chosen.key is not None and entry.key != chosen.key:
                continue
            if chosen.prefix is not None and not entry.key.startswith(chosen.prefix):
                continue
            yield entry


def collections_of(snapshot: Snapshot, source: str | None) -> list[Collection]:
    """The one that was named, or the only one; raises BadInput where it has to be named."""
    if source is None and len(snapshot.collections) == 1:
        return snapshot.collections
    found = [one for one in snapshot.collections if source is not None and one.address in named(source)]
    if not found:
        addresses = ", ".join(one.address for one in snapshot.collections)
        missing = "has several sources" if source is None else f"has nothing of {source[:200]}"
        raise BadInput(f"The snapshot {snapshot.id} {missing}; name one with --source: {addresses}.")
    return found


def _one(repository: Repository, entry: Entry, target: Target, part: Part, overwrite: bool, dry_run: bool, done: Restored) -> None:
    present = target.present(entry.key)
    if part == "metadata":
        if present is None:
            raise NotFound("it is not at the target; restore its data first")
        done.actions["overwrite"].append(entry.key)
        if not dry_run and target.describe(entry) == "unable":
            raise BadInput("the target has no place for metadata")
        return
    if present is not None and (present.size, present.sha256) == (entry.size, entry.sha256):
        done.actions["identical"].append(entry.key)
        return
    if present is not None and not overwrite:
        done.actions["keep"].append(entry.key)
        done.errors.append({"key": entry.key, "reason": "something else is there; say --overwrite to replace it"})
        return
    done.actions["create" if present is None else "overwrite"].append(entry.key)
    done.bytes += entry.size
    if dry_run:
        return
    with _content(checked_pieces(repository, entry), entry.size, target.streams) as content:
        compared = target.write(entry if part == "full" else _without_words(entry), content)
    if not target.staged and not compared:
        _compare(entry, target)


def _content(pieces: Iterator[bytes], size: int, streams: bool) -> IO[bytes]:
    """An object's content as a file; one that is large, on the disk before any of it is given, unless the target can do without."""
    if size <= IN_MEMORY:
        return io.BytesIO(b"".join(pieces))
    if streams:
        return cast(IO[bytes], io.BufferedReader(_Joined(pieces), PIECE))
    file = tempfile.TemporaryFile(prefix="tollhouse-")  # noqa: SIM115  # whoever gets it closes it
    try:
        for piece in pieces:
            file.write(piece)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


class _Joined(io.RawIOBase):
    """Pieces, to be read as one file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def checked_pieces(repository: Repository, entry: Entry) -> Iterator[bytes]:
    """An object's content, each part checked, and the whole of it before its last part is given."""
    digest, size, last = hashlib.sha256(), 0, b""
    for id in entry.chunks:
        if last:
            yield last
        last = repository.blob(id)
        digest.update(last)
        size += len(last)
    if (size, digest.hexdigest()) != (entry.size, entry.sha256):
        raise Damaged(f"{entry.key}: its parts do not make up what was backed up.")
    if last:
        yield last


def _without_words(entry: Entry) -> Entry:
    return Entry(entry.key, entry.size, entry.modified, entry.sha256, entry.chunks)
