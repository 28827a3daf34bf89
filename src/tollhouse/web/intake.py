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
_LARGEST_ON_S3 = 5 << 30  # what one PUT may carry


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
        """Copies of files that were uploaded directly, judged and stored like those of a form; raises NotFound or Unprocessable.

        A copy has a key of its own, which no address was ever made for: what is sent to the upload's address from now on
        changes nothing. It also has the type that its content shows, and not the one that it was sent with.
        """
        if len(set(keys)) != len(keys):
            raise Unprocessable("uploads: a key is named twice.")
        if len(keys) > self.terms.limits.job_files:
            raise Unprocessable(f"uploads: there are {len(keys)}; at most {self.terms.limits.job_files} are accepted.")
        with self.records.reading() as session:
            places = [jobs.upload(session, organization, key, customer, now) for key in keys]
        _check_together([place.size for place in places], self.terms.limits)
        stored: list[StoredFile] = []
        try:
            for place in places:
                with self._sent(place, now) as copy:
                    stored += self.store(organization, customer, [(place.name, copy)], now, self.terms.limits)
        except TollhouseError:
            self.discard(stored)
            raise
        return stored

    @contextmanager
    def _sent(self, place: Upload, now: datetime) -> Iterator[IO[bytes]]:
        """What has been sent to that place, as it is now: it may be exchanged there at any moment."""
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy:
            try:
                size = self._fetch(place.key, copy, place.size)
            except NotFound:
                with self.records.reading() as session:  # it has gone where another request was quicker
                    jobs.upload(session, place.organization, place.key, place.customer, now)
                raise Unprocessable(f"uploads: {place.name} has not been uploaded yet; send it to its address first.") from None
            if size != place.size:
                has = f"{size} bytes and not" if size < place.size else "more than"
                raise Unprocessable(f"uploads: {place.name} has {has} the {place.size} that were announced; upload it again.")
            yield copy

    def _fetch(self, key: str, to: IO[bytes], most: int) -> int:
        """Write an object to a file, which can be read back and forth; stops soon after `most` bytes, and returns how many came."""
        for chunk in self.objects.stream(key):
            to.write(chunk)
            if to.tell() > most:
                break
        return to.tell()

    def thumbnail(self, organization: str, files: Sequence[StoredFile], now: datetime) -> StoredFile | None:
        """A picture of the first of the files that has one to show, stored; None where none has, or none can be stored now."""
        for file in files:
            if file.size > self.terms.limits.file_bytes or not file.content_type.startswith(("image/", "application/")):
                continue
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as copy:
                self._fetch(file.key, copy, file.size)
                picture = jobs.draw(copy, file.content_type)
            if picture is not None:
                return self.store(organization, None, [("thumbnail.webp", io.BytesIO(picture))], now, FileLimits())[0]
        return None

    def discard(self, files: Sequence[StoredFile]) -> None:
        """Remove files that became part of nothing; what cannot be removed now is swept later."""
        with suppress(TollhouseError):
            self._remove([file.key for file in files])

    def empty(self, keys: Sequence[str]) -> None:
        """Remove what was sent to places that are used. What cannot be removed now, or is sent there late, is swept later."""
        with suppress(TollhouseError):
            for key in keys:
                self.objects.delete(key)

    def sweep(self, now: datetime) -> int:
        """Remove what nobody used in time, or was sent to a place after it was used; returns how many uploads have ended."""
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

    @property
    def upload_seconds(self) -> int:
        """For how long an upload's address is good: not longer than the upload is known, or nobody would sweep what comes."""
        return int(min(self.terms.link, self.terms.upload).total_seconds())

    @property
    def largest_direct(self) -> int:
        """The most bytes that a file may have which is sent directly."""
        return min(self.terms.limits.file_bytes, _LARGEST_ON_S3) if self.objects.signs else self.terms.limits.file_bytes

    def upload_address(self, key: str, size: int, base: str, now: datetime) -> str:
        """Where this one upload can be sent with PUT."""
        seconds = self.upload_seconds
        if self.objects.signs:
            return self.objects.presign(key, "PUT", min(seconds, _LONGEST_ON_S3))
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
