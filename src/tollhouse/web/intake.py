"""Files on their way from a request into the object store, and links on their way out.

A file is judged first, then a place is reserved, then it is stored: no transaction is open while bytes travel, and
whatever is left lying when a process dies is known by its reservation.
"""

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO
from urllib.parse import quote

import structlog

from tollhouse import access, jobs
from tollhouse.jobs import FileLimits, JobFile, StoredFile, Terms, Upload
from tollhouse.kit import signing
from tollhouse.kit.errors import NotFound, TollhouseError, Unprocessable
from tollhouse.store.objects import Objects
from tollhouse.store.records import Records

log = structlog.get_logger()
_DOWNLOAD, _UPLOAD = "download", "upload"
_IN_MEMORY = 1 << 20
_LONGEST_ON_S3 = 7 * 86_400


@dataclass(frozen=True)
class JobTerms:
    """The job settings: what files are accepted, how workers are held, and how long links and loose uploads live."""

    limits: FileLimits = FileLimits()
    terms: Terms = Terms()
    attempts: int = 3
    link: timedelta = timedelta(hours=1)
    upload: timedelta = timedelta(hours=24)
    kind: str = "default"


@dataclass
class Intake:
    """One object store's door."""

    records: Records
    objects: Objects
    terms: JobTerms

    def __post_init__(self) -> None:
        with self.records.reading() as session:
            self._key = access.signing_key(session)

    def store(
        self, organization: str, customer: str | None, files: Sequence[tuple[str, IO[bytes]]], now: datetime, limits: FileLimits
    ) -> list[StoredFile]:
        """Judge all files, then store them all; raises, with nothing left behind, where one is not accepted."""
        if len(files) > limits.job_files:
            raise Unprocessable(f"files: there are {len(files)}; at most {limits.job_files} are accepted.")
        judged = [jobs.inspect(file, name, limits) for name, file in files]
        _check_together([one.size for one in judged], limits)
        with self.records.transaction() as session:
            places = [
                jobs.reserve(session, organization, customer, one.name, one.content_type, one.size, now, self.terms.upload)
                for one in judged
            ]
        stored = [
            StoredFile(one.name, place.key, one.size, one.content_type, one.sha256) for one, place in zip(judged, places, strict=True)
        ]
        try:
            for one, (_, file) in zip(stored, files, strict=True):
                self.objects.put(one.key, file, one.content_type, disposition(one.name))
        except TollhouseError:
            self.discard(stored)
            raise
        return stored

    def collect(self, organization: str, customer: str | None, keys: Sequence[str], now: datetime) -> list[StoredFile]:
        """Files that were uploaded directly, judged now that they are there; raises NotFound or Unprocessable."""
        if len(set(keys)) != len(keys):
            raise Unprocessable("uploads: a key is named twice.")
        if len(keys) > self.terms.limits.job_files:
            raise Unprocessable(f"uploads: there are {len(keys)}; at most {self.terms.limits.job_files} are accepted.")
        with self.records.reading() as session:
            places = [jobs.upload(session, organization, key, customer, now) for key in keys]
        _check_together([place.size for place in places], self.terms.limits)
        return [self._arrived(place) for place in places]

    def _arrived(self, place: Upload) -> StoredFile:
        try:
            size = self.objects.head(place.key).size
        except NotFound:
            raise Unprocessable(f"uploads: {place.name} has not been uploaded yet; send it to its address first.") from None
        if size != place.size:
            raise Unprocessable(f"uploads: {place.name} has {size} bytes and not the {place.size} that were announced; upload it again.")
        with self._copy(place.key) as copy:
            judged = jobs.inspect(copy, place.name, self.terms.limits)
        return StoredFile(place.name, place.key, judged.size, judged.content_type, judged.sha256)

    @contextmanager
    def _copy(self, key: str) -> Iterator[IO[bytes]]:
        """The object as a file that can be read back and forth."""
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy:
            for chunk in self.objects.stream(key):
                copy.write(chunk)
            yield copy

    def thumbnail(self, organization: str, files: Sequence[StoredFile], now: datetime) -> StoredFile | None:
        """A picture of the first of the files that has one to show, stored; None where none has, or none can be stored now."""
        for file in files:
            if file.size > self.terms.limits.file_bytes or not file.content_type.startswith(("image/", "application/")):
                continue
            with self._copy(file.key) as copy:
                picture = jobs.draw(copy, file.content_type)
            if picture is not None:
                return self.store(organization, None, [("thumbnail.webp", io.BytesIO(picture))], now, FileLimits())[0]
        return None

    def discard(self, files: Sequence[StoredFile]) -> None:
        """Remove files that became part of nothing; what cannot be removed now is swept later."""
        with suppress(TollhouseError):
            self._remove([file.key for file in files])

    def sweep(self, now: datetime) -> int:
        """Remove uploads that nobody used in time; returns how many."""
        with self.records.reading() as session:
            keys = jobs.abandoned(session, now)
        removed = 0
        for key in keys:  # one that cannot be removed now does not keep the others
            try:
                self._remove([key])
                removed += 1
            except TollhouseError as error:
                log.warning("an abandoned upload cannot be removed", key=key, reason=error.detail)
        return removed

    def _remove(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.objects.delete(key)
        with self.records.transaction() as session:
            jobs.forget(session, keys)

    def download_address(self, file: JobFile, base: str, now: datetime, valid: timedelta | None = None) -> str:
        """Where this one file can be fetched, by whoever holds the address, for as long as `terms.link` or `valid` says."""
        seconds = int((valid or self.terms.link).total_seconds())
        if self.objects.signs:
            return self.objects.presign(file.key, "GET", min(seconds, _LONGEST_ON_S3))
        token = signing.sign(self._key, _DOWNLOAD, int(now.timestamp()) + seconds, id=file.id)
        return f"{base}/files/{token}/{quote(file.name)}"

    def picture_address(self, file: JobFile, base: str, now: datetime) -> str:
        """Where a thumbnail can be seen. The same for a while, so that a page that is refreshed does not load it again."""
        seconds = int(self.terms.link.total_seconds())
        token = signing.sign(self._key, _DOWNLOAD, (int(now.timestamp()) // seconds + 2) * seconds, id=file.id)
        return f"{base}/files/{token}/{quote(file.name)}"

    def read_download(self, token: str, now: datetime) -> str:
        """The id of the file that a download address is for; raises Forbidden or LinkExpired."""
        file: str = signing.unsign(self._key, _DOWNLOAD, token, int(now.timestamp()))["id"]
        return file

    def upload_address(self, key: str, size: int, base: str, now: datetime) -> str:
        """Where this one upload can be sent with PUT."""
        seconds = int(self.terms.link.total_seconds())
        if self.objects.signs:
            return self.objects.presign(key, "PUT", seconds)
        token = signing.sign(self._key, _UPLOAD, int(now.timestamp()) + seconds, to=key, size=size)
        return f"{base}/files/{token}"

    def read_upload(self, token: str, now: datetime) -> tuple[str, int]:
        """The key and announced size of the upload that an address is for."""
        said = signing.unsign(self._key, _UPLOAD, token, int(now.timestamp()))
        return said["to"], said["size"]


def _check_together(sizes: Sequence[int], limits: FileLimits) -> None:
    if sum(sizes) > limits.job_bytes:
        raise Unprocessable(f"files: together they have {sum(sizes)} bytes; at most {limits.job_bytes} are accepted.")


def disposition(name: str) -> str:
    """A Content-Disposition header that has a browser save and not show (RFC 6266)."""
    plain = "".join(character if " " <= character <= "~" and character not in '"\\%;' else "_" for character in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
