"""Taking a snapshot: full, incremental, or of metadata alone.

A full one reads everything; what is stored already is not stored again. An incremental one believes that an object whose size,
time and entity tag are the parent's is the parent's, and takes over its entry; the snapshot is as complete as a full one. An object
that cannot be read is named in the snapshot and does not stop the rest.
"""

import hashlib
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import msgspec

from tollhouse.backup.chunker import pieces
from tollhouse.backup.pack import Packer, Rows
from tollhouse.backup.progress import Report, silent
from tollhouse.backup.repository import Repository, pack_key
from tollhouse.backup.snapshot import BackupKind, Collection, Entry, ListWriter, Snapshot, entries_of
from tollhouse.backup.sources import Found, Source
from tollhouse.kit.errors import Conflict, Damaged, NotFound, TollhouseError, Unavailable

AHEAD = 64
AHEAD_BYTES = 48 << 20


@dataclass(frozen=True)
class Order:
    """What to take: kind, who asked, and how many objects are read and packs sent at a time."""

    kind: BackupKind
    actor: str = ""
    readers: int = 3
    transfers: int = 5
    report: Report = silent


@dataclass
class _Tally:
    """What a run has done so far."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    read_bytes: int = 0
    errors: list[dict[str, str]] = field(default_factory=list)


def take(repository: Repository, sources: Sequence[Source], now: datetime, order: Order) -> Snapshot:
    """Take a snapshot of all sources together; raises what reading a source as a whole, or storing, raises.

    Where no source can be read at all there is no snapshot, and Unavailable is raised: the last good one stays the latest.
    Raises Conflict where a prune has deleted meanwhile what the snapshot wanted to use again: nothing is lost, take another.
    """
    began = time.monotonic()
    avoid = packs_to_avoid(repository)
    parent = _parent(repository, sources)
    packer = repository.packer(avoid, order.transfers)
    try:
        taken = [_collection(repository, packer, source, parent, order, avoid) for source in sources]
        if all(collection.lost for collection, _ in taken):
            said = "; ".join(f"{one.address}: {one.unread[0]['reason']}" for one, _ in taken)
            raise Unavailable(f"Nothing could be read, and no snapshot was taken: {said}")
        packs = packer.finish()
    except BaseException:
        packer.abandon()
        raise
    took = timedelta(seconds=time.monotonic() - began)
    secure(repository, packs, packer.stored_sizes, [collection for collection, _ in taken], now + took)
    deleted = _deleted(parent, taken)
    statistics = {
        "added_bytes": packer.added_bytes,
        "new": sum(tally.new for _, tally in taken),
        "changed": sum(tally.changed for _, tally in taken),
        "unchanged": sum(tally.unchanged for _, tally in taken),
        "read_bytes": sum(tally.read_bytes for _, tally in taken),
        "deleted": deleted,
    }
    snapshot = Snapshot(
        id=secrets.token_hex(8),
        time=now.isoformat(),
        kind=order.kind,
        collections=[collection for collection, _ in taken],
        parent=parent.id if parent else None,
        host=socket.gethostname(),
        actor=order.actor,
        statistics=statistics,
    )
    name = repository.commit(snapshot)
    return repository.snapshot_file(name)


def _parent(repository: Repository, sources: Sequence[Source]) -> Snapshot | None:
    """The newest snapshot of the same sources that has contents."""
    wanted = sorted(source.address for source in sources)
    for snapshot in reversed(repository.snapshots(readable=True)):
        if snapshot.kind != "metadata" and sorted(one.address for one in snapshot.collections) == wanted:
            return snapshot
    return None


def _collection(
    repository: Repository, packer: Packer, source: Source, parent: Snapshot | None, order: Order, avoid: set[str]
) -> tuple[Collection, _Tally]:
    tally = _Tally()
    known = next((one for one in parent.collections if one.address == source.address), None) if parent else None
    before = _Before(_readable_entries(repository, known.lists, avoid) if known else iter(()))
    lists = ListWriter(lambda content: packer.add("list", content))
    with source.opened() as opened:
        try:
            listing = opened.listing()
        except TollhouseError as error:
            return Collection(source.address, source.kind, [], 0, 0, {}, [{"key": "", "reason": error.detail}]), tally
        for entry in _entries(opened, listing, before, packer, order, tally):
            lists.add(entry)
        configuration = opened.configuration()
        tally.errors += opened.problems()
    return Collection(source.address, source.kind, lists.finish(), lists.objects, lists.size, configuration, tally.errors), tally


def _readable_entries(repository: Repository, lists: Sequence[str], avoid: set[str]) -> Iterator[Entry]:
    """The parent's entries; those that cannot be used again are left out, or stand there without their contents."""
    for id in lists:
        try:
            entries = list(entries_of([id], repository.blob))
        except Damaged:
            continue
        index = repository.index()
        for entry in entries:
            usable = all(chunk in index and index[chunk].pack not in avoid for chunk in entry.chunks)
            yield entry if usable else msgspec.structs.replace(entry, chunks=())


class _Before:
    """The parent's entries, walked along with a listing in the same order."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._entries = entries
        self._next = next(entries, None)

    def entry(self, key: str) -> Entry | None:
        """The entry of that key; keys have to be asked for in order."""
        while self._next is not None and self._next.key < key:
            self._next = next(self._entries, None)
        return self._next if self._next is not None and self._next.key == key else None


def _entries(source: Source, listing: Sequence[Found], before: _Before, packer: Packer, order: Order, tally: _Tally) -> Iterator[Entry]:
    """Each object's entry, in order; several are read at a time, and no more than memory allows."""
    total, bytes_done = len(listing), 0
    waiting: deque[tuple[Found, Entry | None, Callable[[], Entry]]] = deque()
    ahead = 0

    def finished() -> Iterator[Entry]:
        nonlocal ahead
        found, old, result = waiting.popleft()
        ahead -= min(found.size, AHEAD_BYTES)
        try:
            entry = result()
        except NotFound:
            if found.size:  # else nothing is lost; most often it marked a folder of a bucket, and its key ends with a slash
                tally.errors.append({"key": found.key, "reason": "it has gone since it was listed"})
            return
        except (TollhouseError, OSError) as error:
            if isinstance(error, OSError) or error.status not in (507,):
                tally.errors.append({"key": found.key, "reason": getattr(error, "detail", None) or str(error)})
                return
            raise
        _count(tally, entry, old)
        yield entry

    with ThreadPoolExecutor(order.readers, "tollhouse-read") as pool:
        for at, found in enumerate(listing):
            old = before.entry(found.key)
            read = partial(_read, source, found, packer, order.kind == "metadata")
            if order.kind == "incremental" and old is not None and _same(old, found):
                waiting.append((found, old, partial(_as_it_was, old)))
            else:
                waiting.append((found, old, read if found.size <= source.at_hand else pool.submit(read).result))
            ahead += min(found.size, AHEAD_BYTES)
            while len(waiting) > AHEAD or (ahead > AHEAD_BYTES and len(waiting) > order.readers):
                yield from finished()
            bytes_done += found.size
            if at % 64 == 0:
                order.report(at, total, bytes_done)
        while waiting:
            yield from finished()
    order.report(total, total, bytes_done)


def _same(old: Entry, found: Found) -> bool:
    return old.size == found.size and old.modified == found.modified and old.etag == found.etag and bool(old.chunks or not old.size)


def _as_it_was(old: Entry) -> Entry:
    return old


def _read(source: Source, found: Found, packer: Packer, only_metadata: bool) -> Entry:
    for _ in range(2):
        try:
            return _read_once(source, found, packer, only_metadata)
        except Conflict:  # it was changed between the look at it and its content
            continue
    return _read_once(source, found, packer, only_metadata)


def _read_once(source: Source, found: Found, packer: Packer, only_metadata: bool) -> Entry:
    described = source.describe(found)
    found = described.found or found
    size, digest = found.size, ""
    chunks: tuple[str, ...] = ()
    if not only_metadata:
        with source.content(found) as content:
            size, whole, ids = 0, hashlib.sha256(), []
            for piece in pieces(content, found.size):
                whole.update(piece)
                size += len(piece)
                ids.append(packer.add("data", piece))
        digest, chunks = whole.hexdigest(), tuple(ids)
    return Entry(
        found.key,
        size,
        found.modified,
        digest,
        chunks,
        found.etag,
        described.content_type,
        described.metadata,
        described.tags,
        found.version,
    )


def _count(tally: _Tally, entry: Entry, old: Entry | None) -> None:
    if entry is old:
        tally.unchanged += 1
        return
    tally.read_bytes += entry.size if entry.sha256 else 0
    if old is None:
        tally.new += 1
    elif old.sha256 != entry.sha256 if entry.sha256 else (old.size, old.modified) != (entry.size, entry.modified):
        tally.changed += 1
    else:
        tally.unchanged += 1


def _deleted(parent: Snapshot | None, taken: Sequence[tuple[Collection, _Tally]]) -> int:
    """How many objects of the parent are not there any more."""
    if parent is None:
        return 0
    now_there = sum(collection.objects for collection, _ in taken)
    return max(0, parent.objects - (now_there - sum(tally.new for _, tally in taken)))


def packs_to_avoid(repository: Repository) -> set[str]:
    """Packs that a new snapshot uses nothing of: doomed, missing or cut off."""
    doomed = {pack for one in repository.doomed() for pack in one.packs}
    repository.index(again=True)
    return doomed | repository.broken_packs()


def secure(repository: Repository, packs: dict[str, Rows], sizes: dict[str, int], collections: Sequence[Collection], now: datetime) -> None:
    """Before the commit: the store has to have what it said it stored, the index says so, and what the snapshot names has to be
    there and not about to be deleted.

    A pack that was doomed while we ran, even one of our own, is safe until the grace period is over, and the prune that comes then
    will find our snapshot. Half of the period is left as a margin.
    """
    present = repository.pack_sizes()
    if cut := [pack for pack, size in sizes.items() if present.get(pack, size) != size]:
        for pack in cut:
            repository.objects.delete(pack_key(pack))
        raise Damaged(f"The store did not keep {len(cut)} of {len(sizes)} packs as they were written; check the store and try again.")
    if sizes.keys() - present.keys():
        raise Conflict(
            "Packs of this snapshot are gone: the store lost them, or a prune came after the grace period; take another snapshot."
        )
    repository.add_index(packs)
    late = now - repository.grace / 2
    going = {pack for one in repository.doomed() if one.since <= late for pack in one.packs}
    try:
        needed = needed_packs(repository, collections)
    except Damaged as error:
        raise Conflict(f"What this snapshot names is gone, perhaps because a prune deleted it: {error.detail} Take another.") from None
    if needed & going or needed - repository.pack_sizes().keys():
        raise Conflict("A prune is deleting what this snapshot wanted to use again; nothing is lost, take another snapshot.")


def needed_packs(repository: Repository, collections: Sequence[Collection]) -> set[str]:
    """The packs that hold what collections name; raises Damaged where none does."""
    ids: set[str] = set()
    for collection in collections:
        ids.update(collection.lists)
        for entry in entries_of(collection.lists, repository.blob):
            ids.update(entry.chunks)
    return {repository.place(id).pack for id in ids}
