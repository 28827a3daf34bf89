"""Tollhouse itself: its records, events and objects at one moment, while it serves.

Writers wait while the records are copied and the events' moment is taken, some tens of milliseconds; the events are then written
out of that moment while new ones come in. Objects are never changed once they are written, so those that the records name are
there. `bring_back` makes a data directory of what was restored.
"""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from tollhouse.backup.sources.bucket import BucketSource
from tollhouse.backup.sources.directory import DirectorySource
from tollhouse.backup.sources.kinds import TOLLHOUSE
from tollhouse.backup.sources.source import Described, Found, Source
from tollhouse.kit.errors import Conflict, Damaged, Unprocessable
from tollhouse.store.events import DuckDBEvents, EventStore
from tollhouse.store.objects import Objects
from tollhouse.store.records import Records

_OBJECTS = "objects/"


@dataclass
class TollhouseSource(Source):
    """`scratch` is where the events are written out first: it needs room for them, compressed."""

    records: Records
    events: EventStore
    objects: Objects
    scratch: Path
    kind: str = TOLLHOUSE
    address: str = TOLLHOUSE
    _files: DirectorySource | None = None
    _listing: list[Found] = field(default_factory=list)

    @contextmanager
    def opened(self) -> Iterator[Source]:
        if not isinstance(self.events, DuckDBEvents) or self.records.engine.dialect.name != "sqlite":
            raise Unprocessable(
                "Tollhouse keeps its records or events in PostgreSQL; back up the database by its own address. "
                "Records and events that share one are of one moment."
            )
        with tempfile.TemporaryDirectory(prefix="backup-", dir=self.scratch) as folder:
            place = Path(folder)
            with self.records.transaction(), self.events.paused() as frozen:
                (place / "records").mkdir()
                _copy_sqlite(Path(str(self.records.engine.url.database)), place / "records" / "records.db")
                kept = BucketSource(self.objects, TOLLHOUSE).listing()
                moment = datetime.now(UTC)
            try:
                frozen.write(place / "events")
            finally:
                frozen.close()
            about = {"time": moment.isoformat(), "format": 1}
            (place / "tollhouse.json").write_text(json.dumps(about))
            self._files = DirectorySource(place)
            shown = [Found(_OBJECTS + one.key, one.size, one.modified, one.etag) for one in kept]
            self._listing = sorted([*self._files.listing(), *shown], key=lambda one: one.key)
            yield self

    def listing(self) -> list[Found]:
        return self._listing

    @contextmanager
    def content(self, found: Found) -> Iterator[IO[bytes]]:
        if found.key.startswith(_OBJECTS):
            inner = Found(found.key.removeprefix(_OBJECTS), found.size, found.modified, found.etag)
            with BucketSource(self.objects, TOLLHOUSE).content(inner) as content:
                yield content
        elif self._files is not None:
            with self._files.content(found) as content:
                yield content

    def describe(self, found: Found) -> Described:
        if found.key.startswith(_OBJECTS) and self.objects.keeps_attributes:
            content_type, metadata = self.objects.attributes(found.key.removeprefix(_OBJECTS))
            return Described(content_type, metadata)
        return Described()


def _copy_sqlite(path: Path, to: Path) -> None:
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


@dataclass(frozen=True)
class BroughtBack:
    """What a restored data directory holds."""

    events: int
    objects: int
    time: str


def bring_back(staged: Path, data: Path, memory: str) -> BroughtBack:
    """Make a data directory out of a restored snapshot; raises Conflict where something is in the way, and Damaged."""
    for name in ("records.db", "events.duckdb", "objects"):
        if (data / name).exists():
            raise Conflict(f"There is a {name} in {data} already; restore to an empty directory.")
    records = staged / "records" / "records.db"
    if not records.is_file() or not (staged / "tollhouse.json").is_file():
        raise Damaged("This snapshot is not one of Tollhouse itself.")
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with closing(sqlite3.connect(records)) as connection:
        ((answer,),) = connection.execute("PRAGMA integrity_check").fetchall()
    if answer != "ok":
        raise Damaged(f"The restored records are damaged: {answer}.")
    store = DuckDBEvents(data / "events.duckdb", memory)
    try:
        events = store.fill(staged / "events")
    finally:
        store.close()
    if (staged / "objects").is_dir():
        shutil.move(staged / "objects", data / "objects")
    shutil.move(records, data / "records.db")  # last: a directory without records is no Tollhouse yet
    about: dict[str, Any] = json.loads((staged / "tollhouse.json").read_text())
    count = sum(1 for path in (data / "objects").rglob("*") if path.is_file()) if (data / "objects").is_dir() else 0
    return BroughtBack(events, count, str(about["time"]))
