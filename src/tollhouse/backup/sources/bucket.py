"""A bucket, or a prefix in one: contents with content type, user metadata, tags and version, and the bucket's settings."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import groupby
from typing import IO, Any, Literal

from tollhouse.backup.snapshot import Entry
from tollhouse.backup.sources import bucket_settings
from tollhouse.backup.sources.hashing import sha256_of
from tollhouse.backup.sources.kinds import OBJECTS
from tollhouse.backup.sources.source import Described, Found, Source, Target, Written
from tollhouse.kit.errors import NotFound, StorageFull, TollhouseError, Unavailable
from tollhouse.store.bucket_api import BucketApi, bucket_and_prefix, tags_in
from tollhouse.store.objects import ObjectInfo, Objects, S3Access, UnspeakableKey, speakable

IN_MEMORY = 8 << 20


def api_of(address: str, s3: S3Access) -> BucketApi | None:
    """What a bucket's server is asked with beside its objects; None for one in memory."""
    return BucketApi(bucket_and_prefix(address)[0], s3) if address.startswith("s3://") else None


class BucketSource(Source):
    """The objects below an address. Without an `api` there are neither tags nor settings: in memory, or in a directory."""

    kind = OBJECTS

    def __init__(self, objects: Objects, address: str, api: BucketApi | None = None) -> None:
        self._objects, self.address, self._api = objects, address, api
        self._prefix = bucket_and_prefix(address)[1]
        self._tagged = False
        self._refused: list[str] = []
        self._problems: list[dict[str, str]] = []

    def opened(self) -> AbstractContextManager[Source]:
        return self._open()

    @contextmanager
    def _open(self) -> Iterator[Source]:
        if self._api is None:
            yield self
            return
        with self._api as api:
            # A server that does not know the tags of a bucket would answer the question for an object's with its content.
            self._tagged, self._refused = bucket_settings.knows_tags(api), []
            yield self

    def listing(self) -> list[Found]:
        self._problems = []
        found: list[Found] = []
        for info in self._listed():
            if speakable(info.key):
                found.append(Found(info.key, info.size, info.modified, info.etag, info.version))
            elif info.size:  # else it marks a folder, and holds nothing
                self._problems.append(
                    {"key": info.key, "reason": "its key has an empty part, a dot for one, or a sign that cannot be read"}
                )
        found.sort(key=lambda one: one.key)
        return self._without_twins(found)

    def _listed(self) -> list[ObjectInfo]:
        try:
            return list(self._objects.list())
        except UnspeakableKey:
            if self._api is None:
                raise
            return list(self._api.objects(self._prefix))

    def _without_twins(self, found: list[Found]) -> list[Found]:
        """Of `a`, `a/` and `/a`, which obstore all calls `a`, the one that it reads; the others are named, or hold nothing."""
        once: list[Found] = []
        for key, same in groupby(found, key=lambda one: one.key):
            twins = list(same)
            if len(twins) > 1:
                read = self._head(key)
                others = [one for one in twins if read is None or (one.etag, one.size) != (read.etag, read.size)]
                reason = "there is another object whose key differs by a slash at an end, which cannot be read"
                self._problems += [{"key": key, "reason": reason} for one in others if one.size]
                twins = [one for one in twins if one not in others][:1]
            once += twins
        return once

    def _head(self, key: str) -> ObjectInfo | None:
        try:
            return self._objects.head(key)
        except NotFound:
            return None

    def problems(self) -> list[dict[str, str]]:
        return self._problems

    @contextmanager
    def content(self, found: Found) -> Iterator[IO[bytes]]:
        pieces = self._objects.exactly(ObjectInfo(found.key, found.size, found.etag, found.modified, found.version))
        if found.size <= IN_MEMORY:
            yield io.BytesIO(b"".join(pieces))
            return
        with tempfile.TemporaryFile(prefix="tollhouse-") as file:
            for piece in pieces:
                file.write(piece)
            file.seek(0)
            yield file

    def describe(self, found: Found) -> Described:
        info, content_type, metadata = self._objects.describe(found.key)
        now = Found(found.key, info.size, found.modified, found.etag, info.version)
        if (info.etag or "").strip('"') != (found.etag or "").strip('"'):
            now = Found(found.key, info.size, info.modified, info.etag, info.version)
        return Described(content_type, metadata, self._tags(found.key), now)

    def configuration(self) -> dict[str, Any]:
        if self._api is None:
            return {}
        settings = bucket_settings.read(self._api)
        if self._refused:
            settings["unreadable"]["tags of objects"] = f"{self._refused[0]}, {len(self._refused)} objects"
        elif not self._tagged:
            settings["unknown"].append("tags of objects")
        return settings

    def _tags(self, key: str) -> dict[str, str]:
        """An object's tags, as far as they are told."""
        if self._api is None or not self._tagged:
            return {}
        answer = self._api.tags(self._prefix + key)
        if answer.good and (tags := tags_in(answer.content)) is not None:
            return tags
        if answer.status == 404:
            if answer.code in bucket_settings.NO_TAGS:
                return {}
            raise NotFound(f"There is no object {key[:200]!r}.")
        if answer.passing:
            raise Unavailable(f"The object store does not tell the tags: {answer.said}.")
        self._refused.append(answer.said)
        return {}


class BucketTarget(Target):
    """Somewhere below an address."""

    writers = 4

    def __init__(self, objects: Objects, address: str, api: BucketApi | None = None) -> None:
        self._objects, self.address, self._api = objects, address, api
        self._refuses_tags = False
        self._untagged: list[str] = []

    def settings(self) -> AbstractContextManager[BucketApi] | None:
        return self._api

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

    def write(self, entry: Entry, content: IO[bytes]) -> bool:
        if entry.tags and not self._refuses_tags:
            try:
                self._put(entry, content, entry.tags)
                return False
            except StorageFull:
                raise
            except TollhouseError:  # perhaps for the tags, which not every server takes: the content counts more
                content.seek(0)
        self._put(entry, content, {})
        if entry.tags:
            self._refuses_tags = True
            self._untagged.append(entry.key)
        return False

    def _put(self, entry: Entry, content: IO[bytes], tags: dict[str, str]) -> None:
        # In one request with the content: a server that knows no tags would take a request for them alone as a new content.
        content_type = entry.content_type or "application/octet-stream"
        self._objects.put(entry.key, content, content_type, metadata=entry.metadata, tags=tags)

    def describe(self, entry: Entry) -> Literal["done", "unable"]:
        if not self._objects.keeps_attributes:
            return "unable"
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            for piece in self._objects.stream(entry.key):
                file.write(piece)
            file.seek(0)
            self.write(entry, file)
        return "done"

    def finish(self) -> list[str]:
        count = len(self._untagged)
        return [f"the server refuses the tags of {count} objects, such as {self._untagged[0]}; all else of them is there"] if count else []
