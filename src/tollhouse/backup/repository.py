"""A repository: where snapshots are kept, in a directory or a bucket. docs/backup-format.md has the format.

Every file is written once, under a name that its content gives; so two backups at once cannot harm each other, and whatever
was left by one that died is merely unused.
"""

import hashlib
import json
import random
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any

import msgspec

from tollhouse.backup import keys
from tollhouse.backup.codec import Codec, EncryptedCodec, Kind, PlainCodec
from tollhouse.backup.pack import PACK_BYTES, Packer, Place, Rows, places, rows_of
from tollhouse.backup.snapshot import Snapshot, decode_snapshot, encode_snapshot
from tollhouse.kit.errors import BadInput, Conflict, Damaged, NotFound, Unauthenticated, Unavailable
from tollhouse.store.objects import Objects

VERSION = 1
DOCUMENTS = ("RESTORE.md", "restore.py")
CACHED_PACKS = 3
TRIES = 5
GRACE = timedelta(hours=24)
STAMP = "%Y%m%dT%H%M%S.%fZ"
Index = dict[str, Place]
_index = msgspec.json.Decoder(dict[str, Rows])


@dataclass(frozen=True)
class Doomed:
    """Packs that may be deleted after the grace period; `name` is the file that says so."""

    name: str
    since: datetime
    packs: tuple[str, ...]


class Repository:
    """An opened repository. Not for several threads at once, but for what a `Packer` does and for reading blobs."""

    def __init__(self, objects: Objects, codec: Codec, config: dict[str, Any]) -> None:
        self.objects, self.codec, self.config = objects, codec, config
        self._index: Index | None = None
        self._least: dict[str, int] = {}  # how long each pack of the index has to be
        self._looked_into_packs = False
        self._reading = threading.RLock()
        self._packs: OrderedDict[str, memoryview] = OrderedDict()

    @property
    def id(self) -> str:
        """The repository's own id."""
        id: str = self.config["id"]
        return id

    @property
    def encrypted(self) -> bool:
        """Whether it needs a passphrase."""
        return bool(self.config["encryption"] != "none")

    @property
    def grace(self) -> timedelta:
        """How long a pack is doomed before it is deleted; twice the time that the slowest backup may take."""
        return timedelta(seconds=self.config["grace_seconds"])

    # Index

    def index(self, again: bool = False, avoid: Collection[str] = ()) -> Index:
        """Where every blob lies. Of several copies it is the one in the pack whose name is first, which each process finds alike,
        and one in a pack that is broken or to be avoided only where there is no other. What a damaged file said is looked up in
        the packs."""
        if self._index is None or again:
            self._index, whole, several = self._read_index(frozenset(avoid))
            if several and (broken := self.broken_packs()):
                self._index, whole, _ = self._read_index(broken.union(avoid))
            self._looked_into_packs = False
            if not whole:
                self._look_into_packs()
        return self._index

    def _read_index(self, avoid: frozenset[str] | set[str]) -> tuple[Index, bool, bool]:
        """The index, whether every file of it could be read, and whether a blob has several copies."""
        for _ in range(TRIES):
            found: Index = {}
            self._least = {}
            whole, several = True, False
            try:
                for name in self.names("index/"):
                    try:
                        several |= self._merge(found, self.index_file(name), avoid)
                    except Damaged:
                        whole = False
                return found, whole, several
            except NotFound:  # a prune has written it anew meanwhile: what it held is in another file by now
                continue
        raise Unavailable("The index changed each time that it was read; try again when no prune is running.")

    def _merge(self, index: Index, more: Index, avoid: Collection[str]) -> bool:
        """Put places into an index; returns whether another one was there for any."""
        several = False
        for id, place in more.items():
            self._least[place.pack] = max(self._least.get(place.pack, 0), place.offset + place.stored)
            there = index.get(id)
            if there is None or (place.pack in avoid, place.pack) < (there.pack in avoid, there.pack):
                index[id] = place
            several |= there is not None and there.pack != place.pack
        return several

    def _look_into_packs(self) -> None:
        """Make the index whole again out of the footers of the packs that it does not name."""
        index = self.index()
        self._looked_into_packs = True
        named = {place.pack for place in index.values()}
        for pack in sorted(self.pack_sizes().keys() - named):
            try:
                self._merge(index, places(pack, rows_of(self.codec, self.objects.view(pack_key(pack)))), ())
            except (Damaged, NotFound):
                continue  # verify names it

    def place(self, id: str) -> Place:
        """Where a blob lies; raises Damaged where no index and no pack has it."""
        place = self.index().get(id)
        if place is None and not self._looked_into_packs:
            self._look_into_packs()
            place = self.index().get(id)
        if place is None:
            raise Damaged(f"The blob {id[:12]}… is in no index.")
        return place

    def index_file(self, name: str) -> Index:
        """The blobs that one file of the index knows."""
        try:
            packs = _index.decode(self.codec.unseal("index", "", self.checked(name)))
        except msgspec.MsgspecError:
            raise Damaged(f"The file {name} cannot be read.") from None
        found: Index = {}
        for pack, rows in packs.items():
            found.update(places(pack, rows))
        return found

    def add_index(self, packs: dict[str, Rows]) -> None:
        """Make stored packs known."""
        if packs:
            self.write_json("index", "index", "index", packs)
            if self._index is not None:
                for pack, rows in packs.items():
                    self._index.update(places(pack, rows))

    # Blobs

    def packer(self, avoid: Collection[str] = (), transfers: int = 5) -> Packer:
        """A way to store blobs, which uses none of those in the packs to avoid."""
        index, avoided = self.index(again=True, avoid=avoid), frozenset(avoid)

        def known(id: str) -> bool:
            place = index.get(id)
            return place is not None and place.pack not in avoided

        at_once = transfers if self.objects.signs else min(transfers, 2)  # a disk takes no more in at a time, and memory is kept
        return Packer(self.codec, known, self.put_pack, at_once, int(self.config.get("pack_bytes", PACK_BYTES)))

    def put_pack(self, name: str, content: bytes | bytearray) -> None:
        """Store a pack under its name; it is on the disk before an index names it."""
        self.objects.put(pack_key(name), content)

    def blob(self, id: str) -> bytes:
        """A blob's content, checked; raises Damaged where it is missing or not what its id says."""
        with self._reading:
            place = self.place(id)
            record = self._record(place)
        return self.codec.blob(place.kind, id, record)

    def pack_sizes(self) -> dict[str, int]:
        """The packs that are there, and how many bytes each has."""
        return {info.key.rsplit("/", 1)[1].removesuffix(".pack"): info.size for info in self.objects.list("packs")}

    def broken_packs(self) -> set[str]:
        """Packs of the index that are missing, or too short for what it says: what they held is to be stored anew."""
        self.index()
        present = self.pack_sizes()
        return {pack for pack, size in self._least.items() if present.get(pack, -1) < size}

    def _record(self, place: Place) -> memoryview:
        if place.pack not in self._packs:
            try:
                self._packs[place.pack] = self.objects.view(pack_key(place.pack))
            except NotFound:
                raise Damaged(f"The pack {place.pack[:12]}… is missing.") from None
            while len(self._packs) > CACHED_PACKS:
                self._packs.popitem(last=False)
        self._packs.move_to_end(place.pack)
        return self._packs[place.pack][place.offset : place.offset + place.stored]

    # Snapshots

    def snapshots(self, readable: bool = False) -> list[Snapshot]:
        """All of them, oldest first; raises Damaged where one is, or with `readable` leaves it out."""
        found = []
        for name in self.names("snapshots/"):
            try:
                found.append(self.snapshot_file(name))
            except NotFound:  # a prune has forgotten it meanwhile
                continue
            except Damaged:
                if not readable:
                    raise
        return found

    def snapshot_file(self, name: str) -> Snapshot:
        """The snapshot in one file."""
        return decode_snapshot(self.codec.unseal("snapshot", "", self.checked(name)), name)

    def snapshot(self, wanted: str, as_of: datetime | None = None, suits: Callable[[Snapshot], bool] = lambda _: True) -> Snapshot:
        """The snapshot with that id (or a beginning of it), or the latest, up to a time, that suits; raises NotFound.

        One that is damaged stands in the way only of whoever may mean it: the latest is not what the latest readable one is.
        """
        until_name = f"snapshots/{as_of.astimezone(UTC).strftime(STAMP)}~" if as_of else "snapshots/~"
        every = [one for one in self.snapshots(readable=True) if (as_of is None or one.moment <= as_of) and suits(one)]
        matching = every[-1:] if wanted == "latest" else [one for one in every if one.id.startswith(wanted)]
        if not matching or wanted == "latest":
            after = matching[0].file if matching else ""
            for name in self.names("snapshots/"):
                if after < name < until_name:
                    self.snapshot_file(name)  # says what is wrong with it
        if not matching:
            until = f" up to {as_of.isoformat()}" if as_of else ""
            raise NotFound(f"There is no snapshot {wanted[:40]!r}{until} in this repository.")
        if len({one.id for one in matching}) > 1:  # one that was copied again, because it could not be read, is there twice
            raise BadInput(f"{wanted!r} is the beginning of {len(matching)} snapshots; write more of it.")
        return matching[0]

    def commit(self, snapshot: Snapshot) -> str:
        """Write a snapshot: from now on it exists. Returns the file's name."""
        stored = self.codec.seal("snapshot", "", encode_snapshot(snapshot))
        name = f"snapshots/{snapshot.moment.astimezone(UTC).strftime(STAMP)}-{_digest(stored)[:32]}.snapshot"
        self._write(name, stored)
        return name

    # What may be deleted

    def doomed(self) -> list[Doomed]:
        """Packs that are to be deleted, by the file that says so. One that cannot be read dooms nothing: nobody can act on it."""
        found = []
        for name in self.names("doomed/"):
            try:
                said = self.read_json("xdoomed", name)
            except (NotFound, Damaged):
                continue
            found.append(Doomed(name, datetime.fromisoformat(said["since"]), tuple(said["packs"])))
        return found

    def doom(self, packs: Iterable[str], now: datetime) -> None:
        """Say that packs may be deleted after the grace period."""
        said = {"since": now.isoformat(), "packs": sorted(packs)}
        stored = self.codec.seal("xdoomed", "", canonical(said))
        self._write(f"doomed/{now.astimezone(UTC).strftime(STAMP)}-{_digest(stored)[:32]}.doomed", stored)

    # Files

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder, in order."""
        return sorted(info.key for info in self.objects.list(folder.rstrip("/")))

    def checked(self, name: str) -> bytes:
        """A file whose name holds its digest; raises Damaged where it is another."""
        content = self.objects.get(name)
        digest = name.rsplit("/", 1)[1].rsplit(".", 1)[0].rsplit("-", 1)[-1]
        if not _digest(content).startswith(digest) or len(digest) < 32:
            raise Damaged(f"The file {name} is damaged: its content is not what its name says.")
        return content

    def read_json(self, kind: Kind, name: str) -> Any:
        """A checked file's JSON."""
        return json.loads(self.codec.unseal(kind, "", self.checked(name)))

    def write_json(self, kind: Kind, folder: str, suffix: str, content: Any) -> str:
        """Write JSON under its digest; returns the name."""
        stored = self.codec.seal(kind, "", canonical(content))
        name = f"{folder}/{_digest(stored)}.{suffix}"
        self._write(name, stored)
        return name

    def _write(self, name: str, content: bytes) -> None:
        """Store a file and read it again, because what follows relies on it; raises Damaged where the store did not keep it."""
        self.objects.put(name, content)
        if not _holds(self.objects, name, content):
            self.objects.delete(name)
            raise Damaged(f"The store did not keep {name} as it was written; check the store and try again.")


def init(
    objects: Objects, passphrase: str | None, now: datetime, pack_bytes: int = PACK_BYTES, grace: timedelta = GRACE
) -> tuple[Repository, str | None]:
    """Make a repository, encrypted if there is a passphrase; returns it and the recovery key. Raises Conflict where one is."""
    begun = {*DOCUMENTS, *(key_file(name) for name in keys.NAMES)}  # by an init that died before it wrote config.json
    if any(info.key not in begun for info in objects.list("")):
        raise Conflict("There is something at this address already; make the repository in an empty folder or prefix.")
    made = keys.make(passphrase) if passphrase is not None else None
    codec = EncryptedCodec(made.master) if made else PlainCodec()
    documents = {name: resources.files("tollhouse.backup.standalone").joinpath(name).read_bytes() for name in DOCUMENTS}
    config = {
        "version": VERSION,
        "id": secrets.token_hex(16),
        "created": now.isoformat(),
        "encryption": "aes-256-gcm" if made else "none",
        "pack_bytes": pack_bytes,
        "grace_seconds": int(grace.total_seconds()),
        "documents": {name: _digest(content) for name, content in documents.items()},
    }
    files = dict(documents)
    for name, wrapped in (made.files if made else {}).items():
        files[key_file(name)] = canonical(wrapped | {"checksum": _digest(canonical(wrapped))})
    config["checksum"] = codec.checksum(canonical(config))
    files["config.json"] = canonical(config)  # last: it is what makes a folder a repository
    for name, content in files.items():
        objects.put(name, content, "application/json" if name.endswith(".json") else "text/plain")
        if not _holds(objects, name, content):
            raise Damaged(f"The store did not keep {name} as it was written; check the store, empty the place and try again.")
    return Repository(objects, codec, config), made.recovery if made else None


def open_repository(objects: Objects, passphrase: str | None) -> Repository:
    """Open a repository with its passphrase or its recovery key; raises NotFound, Unauthenticated or Damaged."""
    config = read_config(objects)
    if config["encryption"] == "none":
        codec: Codec = PlainCodec()
    else:
        if not passphrase:
            raise Unauthenticated("This repository is encrypted; set TOLLHOUSE_BACKUP_PASSPHRASE, or TOLLHOUSE_BACKUP_PASSPHRASE_FILE.")
        codec = EncryptedCodec(_master(objects, passphrase))
    if config.get("checksum") != codec.checksum(canonical({name: config[name] for name in config if name != "checksum"})):
        raise Damaged("config.json is damaged: its checksum does not fit.")
    return Repository(objects, codec, config)


def read_config(objects: Objects) -> dict[str, Any]:
    """The configuration, which needs no key."""
    try:
        content = objects.get("config.json")
    except NotFound:
        raise NotFound("There is no backup repository at this address; make one with `tollhouse backup init`.") from None
    try:
        config: dict[str, Any] = json.loads(content)
        if canonical(config) != content or config["version"] != VERSION or config["encryption"] not in ("none", "aes-256-gcm"):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise Damaged("config.json is damaged, or of a version that this Tollhouse does not know.") from None
    return config


def _master(objects: Objects, passphrase: str) -> bytes:
    faults = []
    for name in keys.NAMES:
        try:
            master = keys.unwrap(read_key_file(objects, name), passphrase)
        except Damaged as error:  # the other may open it still
            faults.append(error.detail)
            continue
        if master is not None:
            return master
    if faults:
        raise Damaged(f"The repository was not opened: {' '.join(faults)}")
    raise Unauthenticated("Neither the passphrase nor the recovery key of this repository is the one that was given.")


def read_key_file(objects: Objects, name: str) -> dict[str, Any]:
    """A wrapped key, checked; raises Damaged."""
    try:
        content = objects.get(key_file(name))
        wrapped: dict[str, Any] = json.loads(content)
        if canonical(wrapped) != content or wrapped.pop("checksum") != _digest(canonical(wrapped)):
            raise ValueError
    except NotFound:
        raise Damaged(f"{key_file(name)} is missing.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damaged(f"{key_file(name)} is damaged.") from None
    return wrapped


def canonical(content: Any) -> bytes:
    """JSON with one way to write it."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def key_file(name: str) -> str:
    """Where a wrapped key is."""
    return f"keys/{name}.json"


def pack_key(name: str) -> str:
    """Where a pack is."""
    return f"packs/{name[:2]}/{name}.pack"


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()


def _holds(objects: Objects, name: str, content: bytes) -> bool:
    try:
        return objects.get(name) == content
    except NotFound:
        return False


def least_sizes(index: Index) -> dict[str, int]:
    """How many bytes each pack has to have for what the index says is in it."""
    least: dict[str, int] = {}
    for place in index.values():
        least[place.pack] = max(least.get(place.pack, 0), place.offset + place.stored)
    return least


def check_pack(repository: Repository, name: str) -> Rows:
    """Read a whole pack and open each of its blobs; raises Damaged."""
    content = repository.objects.view(pack_key(name))
    if _digest(content) != name:
        raise Damaged(f"The pack {name[:12]}… is damaged: its content is not what its name says.")
    rows = rows_of(repository.codec, content)
    for id, kind, offset, stored, size in rows:
        if len(repository.codec.blob(kind, id, content[offset : offset + stored])) != size:
            raise Damaged(f"The blob {id[:12]}… in the pack {name[:12]}… has another size than its footer says.")
    return rows


def sample(names: list[str], percent: float, chance: random.Random) -> Iterator[str]:
    """That share of the packs, at least one."""
    count = max(1, round(len(names) * percent / 100)) if names else 0
    return iter(chance.sample(names, count))
