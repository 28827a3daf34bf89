"""What the backup tests are made of: folders with known contents, small repositories, and a store that misbehaves on demand."""

import hashlib
import io
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Literal

import pytest
from obstore.store import LocalStore, MemoryStore

from tollhouse import backup
from tollhouse.backup import BackupKind, Collection, Entry, Order, Repository, Selection, Snapshot, Source
from tollhouse.backup import keys as key_files
from tollhouse.backup.run import secure
from tollhouse.backup.snapshot import ListWriter
from tollhouse.backup.sources import Found
from tollhouse.backup.sources.bucket import BucketSource
from tollhouse.backup.sources.directory import DirectorySource, DirectoryTarget
from tollhouse.kit.errors import Unavailable
from tollhouse.store.objects import ObjectInfo, Objects

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PASSPHRASE = "correct horse battery"  # noqa: S105 - of tests
Files = dict[str, bytes]
Mode = Literal["fail", "lose", "cut", "late"]


@pytest.fixture
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys stretched a thousand times less: for tests that open a repository hundreds of times."""
    monkeypatch.setattr(key_files, "N", 1 << 4)


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, the same ones each time."""
    return random.Random(seed).randbytes(size)


def folder(path: Path, files: Files) -> Path:
    """A directory that holds just these files."""
    wanted = {path / key for key in files}
    for old in [one for one in path.rglob("*") if one.is_file()] if path.exists() else []:
        if old not in wanted:
            old.unlink()
    path.mkdir(parents=True, exist_ok=True)
    for key, content in files.items():
        place = path / key
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists() or place.read_bytes() != content:
            place.write_bytes(content)
    return path


def held(path: Path) -> Files:
    """What files a directory holds."""
    return {str(one.relative_to(path)): one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file()}


def made(objects: Objects, passphrase: str | None = None, pack_bytes: int = 4096, grace: timedelta = 24 * HOUR) -> Repository:
    """A new repository."""
    return backup.init(objects, passphrase, NOON, pack_bytes, grace)[0]


def take(
    repository: Repository, source: Path | Source, at: datetime = NOON, kind: BackupKind = "incremental", readers: int = 3
) -> Snapshot:
    """A snapshot of a directory or another source."""
    sources = [DirectorySource(source) if isinstance(source, Path) else source]
    return backup.take(repository, sources, at, Order(kind, readers=readers))


def contents(repository: Repository, snapshot: Snapshot, source: str | None = None) -> Files:
    """What a snapshot holds, every byte checked."""
    from tollhouse.backup.restore import checked_pieces

    return {
        entry.key: b"".join(checked_pieces(repository, entry)) for entry in backup.selected(repository, snapshot, Selection(source=source))
    }


def restored(repository: Repository, snapshot: Snapshot, to: Path) -> backup.Restored:
    """Restore all of it to a directory."""
    return backup.restore(repository, snapshot, DirectoryTarget(to))


def faults(repository: Repository) -> list[str]:
    """What reading everything finds wrong."""
    return backup.verify(repository, 100).faults


def bucket(files: Files) -> tuple[Objects, BucketSource]:
    """A bucket in memory, and itself as a source."""
    objects = Objects(MemoryStore())
    for key, content in files.items():
        objects.put(key, content)
    return objects, BucketSource(objects, "memory://")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def by_hand(repository: Repository, files: dict[str, bytes]) -> Snapshot:
    """A snapshot with keys that no source would give."""
    packer = repository.packer()
    lists = ListWriter(lambda content: packer.add("list", content))
    for key, content in sorted(files.items()):
        lists.add(Entry(key, len(content), 0, digest(content), (packer.add("data", content),)))
    collection = Collection("by hand", "objects", lists.finish(), lists.objects, lists.size)
    secure(repository, packer.finish(), packer.stored_sizes, [collection], NOON)
    return repository.snapshot_file(repository.commit(Snapshot("0" * 16, NOON.isoformat(), "full", [collection])))


class Watched(Objects):
    """A store that writes down what it is asked for, and can be made to misbehave or to wait.

    `before` is called with the number, the verb and the key of each operation. `fault` is (number, mode): `fail` raises,
    `lose` reports success and does nothing, `cut` stores the first half, `late` lets others go first.
    """

    def __init__(self, store: LocalStore | MemoryStore | Objects) -> None:
        super().__init__(store._backend if isinstance(store, Objects) else store)
        self.log: list[tuple[str, str]] = []
        self.fault: tuple[int, Mode] | None = None
        self.before: Callable[[int, str, str], None] = lambda number, verb, key: None
        self._lock = threading.Lock()

    def put(
        self,
        key: str,
        content: bytes | bytearray | IO[bytes],
        content_type: str = "application/octet-stream",
        disposition: str = "",
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        mode = self._asked("put", key)
        if mode == "lose":
            return
        if mode == "cut":
            content = content if isinstance(content, bytes | bytearray) else content.read()
            content = content[: len(content) // 2]
        super().put(key, content, content_type, disposition, metadata, tags)

    def view(self, key: str) -> memoryview:
        mode = self._asked("get", key)
        content = super().view(key)
        return content[: len(content) // 2] if mode in ("cut", "lose") else content

    def stream(self, key: str, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        yield from io.BytesIO(self.get(key))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self._asked("list", prefix)
        yield from super().list(prefix)

    def head(self, key: str) -> ObjectInfo:
        self._asked("head", key)
        return super().head(key)

    def delete(self, key: str) -> None:
        if self._asked("delete", key) not in ("lose", "cut"):
            super().delete(key)

    def _asked(self, verb: str, key: str) -> Mode | None:
        with self._lock:
            number = len(self.log)
            self.log.append((verb, key))
        self.before(number, verb, key)
        if self.fault is None or self.fault[0] != number:
            return None
        mode = self.fault[1]
        if mode == "fail":
            raise Unavailable("The object store does not answer: made so by a test.")
        if mode == "late":
            threading.Event().wait(0.003)
        return mode


class Failing(DirectorySource):
    """A directory of which some files cannot be read."""

    def __init__(self, path: Path, refuses: Mapping[str, Exception | Callable[[], None]]) -> None:
        super().__init__(path)
        self._refuses = refuses

    @contextmanager
    def content(self, found: Found) -> Iterator[IO[bytes]]:
        why = self._refuses.get(found.key)
        if isinstance(why, Exception):
            raise why
        if why:
            why()
        with super().content(found) as content:
            yield content
