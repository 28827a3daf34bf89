"""A snapshot: what one or several sources held at one time, complete in itself.

The objects of a source are lines in *lists*, blobs like any other; a list ends where a key's hash says so, and so a part of a
source that did not change gives the very same lists again.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec

from tollhouse.kit.errors import Damaged

BackupKind = Literal["full", "incremental", "metadata"]
LIST_BITS = 2048
LIST_ENTRIES = 8192


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One object: `modified` in microseconds since 1970; no chunks and no sha256 where only metadata was taken."""

    key: str
    size: int
    modified: int
    sha256: str = ""
    chunks: tuple[str, ...] = ()
    etag: str | None = None
    content_type: str | None = None
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    version: str | None = None


class Collection(msgspec.Struct, frozen=True):
    """One source in a snapshot; `errors` says what of it could not be read, and as a note what is left out or was restless."""

    address: str
    kind: str
    lists: list[str]
    objects: int
    bytes: int
    configuration: dict[str, Any] = {}
    errors: list[dict[str, str]] = []

    @property
    def unread(self) -> list[dict[str, str]]:
        """What should have been kept and could not be read."""
        return [error for error in self.errors if "severity" not in error]

    @property
    def lost(self) -> bool:
        """Whether the source could not be read at all."""
        return not self.objects and any(not error["key"] for error in self.unread)


class Snapshot(msgspec.Struct, frozen=True):
    """`time` is when it was begun, RFC 3339; `file` is where it lies, and not part of it."""

    id: str
    time: str
    kind: BackupKind
    collections: list[Collection]
    version: int = 1
    parent: str | None = None
    host: str = ""
    actor: str = ""
    statistics: dict[str, int] = {}
    file: str = ""

    @property
    def moment(self) -> datetime:
        """When it was begun."""
        return datetime.fromisoformat(self.time)

    @property
    def complete(self) -> bool:
        """Whether everything could be read that is ever kept."""
        return not any(collection.unread for collection in self.collections)

    @property
    def whole(self) -> bool:
        """Whether every source could be read, if not everything in it."""
        return not any(collection.lost for collection in self.collections)

    @property
    def objects(self) -> int:
        """Over all collections."""
        return sum(collection.objects for collection in self.collections)

    @property
    def bytes(self) -> int:
        """Over all collections, unpacked."""
        return sum(collection.bytes for collection in self.collections)


_snapshot = msgspec.json.Decoder(Snapshot)
_entries = msgspec.json.Decoder(Entry)
_encode = msgspec.json.Encoder(order="sorted").encode


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """As it is stored."""
    fields = {name: getattr(snapshot, name) for name in snapshot.__struct_fields__ if name != "file"}
    return _encode(fields) + b"\n"


def decode_snapshot(content: bytes, file: str) -> Snapshot:
    """Read back; raises Damaged."""
    try:
        read = _snapshot.decode(content)
    except msgspec.MsgspecError as error:
        raise Damaged(f"The snapshot {file} cannot be read: {error}.") from None
    if read.version != 1:
        raise Damaged(f"The snapshot {file} has version {read.version}, which this Tollhouse does not know.")
    return msgspec.structs.replace(read, file=file)


@dataclass
class ListWriter:
    """Puts entries, which come sorted by key, into lists; `store` keeps one and returns its id."""

    store: Callable[[bytes], str]
    ids: list[str] = field(default_factory=list)
    objects: int = 0
    size: int = 0
    _lines: list[bytes] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """One more object."""
        self._lines.append(_encode(entry))
        self.objects += 1
        self.size += entry.size
        if len(self._lines) >= LIST_ENTRIES or ends_list(entry.key):
            self._cut()

    def finish(self) -> list[str]:
        """The ids of all lists."""
        if self._lines:
            self._cut()
        return self.ids

    def _cut(self) -> None:
        self.ids.append(self.store(b"\n".join(self._lines) + b"\n"))
        self._lines.clear()


def ends_list(key: str) -> bool:
    """Whether a list ends behind this key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little") % LIST_BITS == 0


def entries_of(lists: Iterable[str], blob: Callable[[str], bytes]) -> Iterator[Entry]:
    """The objects in lists, sorted by key; raises Damaged."""
    for id in lists:
        for line in blob(id).splitlines():
            try:
                yield _entries.decode(line)
            except msgspec.MsgspecError as error:
                raise Damaged(f"The list {id[:12]}… cannot be read: {error}.") from None
