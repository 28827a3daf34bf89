"""Packs: many blobs in one file of 16 to 32 MB, because one object a blob costs a bucket four times the time.

A packer takes blobs from several threads, stores each content once, and brings full packs to the repository in the background.
Small blobs are sealed many at a time, in a thread of their own: one by one, threads would wait for each other more than they work.
Lists lie in packs of their own: whoever compares with them, or restores one object, need not fetch the data of others.
Nothing is in the index before its pack is stored.
"""

import hashlib
import json
import os
import struct
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec

from tollhouse.backup.codec import Codec, Kind
from tollhouse.kit.errors import Damaged

PACK_BYTES = 16 << 20
SALT_BYTES = 16
_SMALL_BYTES, _TOGETHER_BYTES, _TOGETHER = 64 << 10, 1 << 20, 128
_SKIPPABLE = 0x184D2A50
_MAGIC = b"THBP"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a blob lies: `stored` bytes from `offset` in a pack; `size` is what it unpacks to."""

    pack: str
    kind: Kind
    offset: int
    stored: int
    size: int


@dataclass
class _Open:
    """The pack that is being filled."""

    content: bytearray = field(default_factory=bytearray)
    blobs: list[tuple[str, Kind, int, int, int]] = field(default_factory=list)


Rows = list[tuple[str, Kind, int, int, int]]


_rows = msgspec.json.Decoder(Rows)


class Packer:
    """Takes blobs; `known` says which are stored already, `put` stores a pack under its name."""

    def __init__(
        self,
        codec: Codec,
        known: Callable[[str], bool],
        put: Callable[[str, bytearray], None],
        transfers: int = 5,
        pack_bytes: int = PACK_BYTES,
    ) -> None:
        self._codec, self._known, self._put, self._pack_bytes = codec, known, put, pack_bytes
        self._lock = threading.Lock()
        self._open: defaultdict[Kind, _Open] = defaultdict(_Open)
        self._taken: set[bytes] = set()
        self._pool = ThreadPoolExecutor(transfers, "tollhouse-pack")
        self._room = threading.BoundedSemaphore(transfers)
        self._stored: list[Future[tuple[str, Rows]]] = []
        self._small: defaultdict[Kind, list[tuple[str, bytes]]] = defaultdict(list)
        self._small_bytes: Counter[Kind] = Counter()
        self._sealer = ThreadPoolExecutor(1, "tollhouse-seal")
        self._sealing: deque[Future[None]] = deque()
        self.stored_sizes: dict[str, int] = {}

    def add(self, kind: Kind, content: bytes) -> str:
        """Store content unless it is stored; returns its id."""
        id = self._codec.id(content)
        short = bytes.fromhex(id)[:16]
        with self._lock:
            if short in self._taken:
                return id
            if self._known(id):
                return id
            self._taken.add(short)
        if len(content) > _SMALL_BYTES:
            self._keep(kind, [(id, content)], [self._codec.seal(kind, id, content)])
        else:
            self._add_small(kind, id, content)
        return id

    def _add_small(self, kind: Kind, id: str, content: bytes) -> None:
        with self._lock:
            waiting = self._small[kind]
            waiting.append((id, content))
            self._small_bytes[kind] += len(content)
            if len(waiting) < _TOGETHER and self._small_bytes[kind] < _TOGETHER_BYTES:
                return
            self._seal_waiting(kind)
            before = self._sealing.popleft() if len(self._sealing) > 2 else None
        if before is not None:
            before.result()  # memory, and what storing raised

    def _seal_waiting(self, kind: Kind) -> None:
        blobs = self._small.pop(kind)
        del self._small_bytes[kind]
        self._sealing.append(self._sealer.submit(lambda: self._keep(kind, blobs, self._codec.seal_all(kind, blobs))))

    def _keep(self, kind: Kind, blobs: Sequence[tuple[str, bytes]], records: Sequence[bytes]) -> None:
        """Put records into the open pack, and send each pack that is full."""
        for (id, content), record in zip(blobs, records, strict=True):
            with self._lock:
                pack = self._open[kind]
                pack.blobs.append((id, kind, len(pack.content), len(record), len(content)))
                pack.content += record
                full = self._open.pop(kind) if len(pack.content) >= self._pack_bytes else None
            if full is not None:
                self._send(full)

    def finish(self) -> dict[str, Rows]:
        """Store what is left and wait for all packs; returns pack name to rows. Raises what storing raised."""
        with self._lock:
            for kind in list(self._small):
                self._seal_waiting(kind)
        for sealed in self._sealing:
            sealed.result()
        self._sealer.shutdown(wait=True)
        with self._lock:
            last = list(self._open.values())
            self._open.clear()
        for pack in last:
            self._send(pack)
        self._pool.shutdown(wait=True)
        return dict(future.result() for future in self._stored)

    @property
    def added_bytes(self) -> int:
        """What all packs take that were stored."""
        return sum(self.stored_sizes.values())

    def abandon(self) -> None:
        """Stop: what has been stored is not in an index and so does not exist."""
        self._sealer.shutdown(wait=True, cancel_futures=True)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _send(self, pack: _Open) -> None:
        for future in self._stored:
            if future.done() and (error := future.exception()) is not None:
                raise error
        self._room.acquire()  # memory: no more packs wait than are on their way
        future = self._pool.submit(self._store, pack)
        future.add_done_callback(lambda _: self._room.release())
        self._stored.append(future)

    def _store(self, pack: _Open) -> tuple[str, Rows]:
        rows, content = pack.blobs, pack.content
        content += _salt() + footer(self._codec, rows)
        name = hashlib.sha256(content).hexdigest()
        self._put(name, content)
        with self._lock:
            self.stored_sizes[name] = len(content)
        return name, rows


def _salt() -> bytes:
    """No two packs have one name: what is stored again while a pack of the same blobs is about to be deleted is another pack."""
    return struct.pack("<II", _SKIPPABLE, SALT_BYTES) + os.urandom(SALT_BYTES)


def footer(codec: Codec, rows: Rows) -> bytes:
    """What stands behind the records: which blobs these are."""
    record = codec.seal("footer", "", json.dumps(rows, separators=(",", ":")).encode())
    held = record + struct.pack("<I", len(record)) + _MAGIC
    return struct.pack("<II", _SKIPPABLE, len(held)) + held


def rows_of(codec: Codec, pack: bytes | memoryview) -> Rows:
    """The blobs of a whole pack, out of its own footer; raises Damaged."""
    if len(pack) < 16 or pack[-4:] != _MAGIC:
        raise Damaged("A pack does not end as one of ours does.")
    (length,) = struct.unpack("<I", pack[-8:-4])
    start = len(pack) - 8 - length
    if start < 8 or struct.unpack("<II", pack[start - 8 : start]) != (_SKIPPABLE, length + 8):
        raise Damaged("A pack's footer is damaged.")
    try:
        return _rows.decode(codec.unseal("footer", "", pack[start : start + length]))
    except msgspec.MsgspecError:
        raise Damaged("A pack's footer cannot be read.") from None


def places(pack: str, rows: Rows) -> dict[str, Place]:
    """The rows of a pack by blob id."""
    return {id: Place(pack, kind, offset, stored, size) for id, kind, offset, stored, size in rows}
