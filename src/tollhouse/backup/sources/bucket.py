"""A bucket, or a prefix in one, through `obstore`: contents with content type and user metadata."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Literal

from tollhouse.backup.snapshot import Entry
from tollhouse.backup.sources.hashing import sha256_of
from tollhouse.backup.sources.source import Described, Found, Source, Target, Written
from tollhouse.kit.errors import NotFound
from tollhouse.store.objects import Objects

IN_MEMORY = 8 << 20


class BucketSource(Source):
    """The objects below an address."""

    kind = "objects"

    def __init__(self, objects: Objects, address: str) -> None:
        self._objects, self.address = objects, address

    def listing(self) -> list[Found]:
        found = [Found(info.key, info.size, info.modified, info.etag, info.version) for info in self._objects.list()]
        return sorted(found, key=lambda one: one.key)

    @contextmanager
    def content(self, found: Found) -> Iterator[IO[bytes]]:
        if found.size <= IN_MEMORY:
            yield io.BytesIO(self._objects.get(found.key))
            return
        with tempfile.TemporaryFile(prefix="tollhouse-") as file:
            for piece in self._objects.stream(found.key):
                file.write(piece)
            file.seek(0)
            yield file

    def describe(self, found: Found) -> Described:
        content_type, metadata = self._objects.attributes(found.key)
        return Described(content_type, metadata)


class BucketTarget(Target):
    """Somewhere below an address."""

    writers = 4

    def __init__(self, objects: Objects, address: str) -> None:
        self._objects, self.address = objects, address

    def present(self, key: str) -> Written | None:
        try:
            self._objects.head(key)
        except NotFound:
            return None
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            for piece in self._objects.stream(key):
                file.write(piece)
            file.seek(0)
            return Written(*sha256_of(file))

    def write(self, entry: Entry, content: IO[bytes]) -> None:
        self._objects.put(entry.key, content, entry.content_type or "application/octet-stream", metadata=entry.metadata)

    def describe(self, entry: Entry) -> Literal["done", "unable"]:
        if not self._objects.keeps_attributes:
            return "unable"
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            for piece in self._objects.stream(entry.key):
                file.write(piece)
            file.seek(0)
            self.write(entry, file)
        return "done"
