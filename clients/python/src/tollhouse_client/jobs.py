"""The calls about jobs, one a route: hand work in, watch it, fetch what came of it. Files are streamed both ways."""

import mimetypes
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tollhouse_client import fetching
from tollhouse_client.asking import Answer, Asking, given, part, persist
from tollhouse_client.attachment import Attachment, opened
from tollhouse_client.encoding import encode
from tollhouse_client.wire import Form

TRIES = 4
UPLOAD_SECONDS = 120.0
_TYPES = {".cbz": "application/zip", ".webp": "image/webp", ".flac": "audio/flac"}


class JobCalls(Asking):
    """Hands in jobs and reads them. A call that names a `user_id` finds only that customer's jobs."""

    def jobs(self, user_id: str | None = None, status: str | None = None, limit: int | None = None, offset: int | None = None) -> Answer:
        """`{"user_id", "jobs": […], "total", "limit", "offset"}`, newest first; everybody's needs a key with the admin scope.

        `status`: pending, processing, completed, failed, cancelled, skipped; all of them when left out.
        """
        return self._ask("GET", "/api/jobs", {"user_id": user_id, "status": status, "limit": limit, "offset": offset})

    def job(self, job_id: str, user_id: str | None = None) -> Answer:
        """`{"id", "user_id", "kind", "status", "progress" (0 to 100), "error", "data", "files", …}`."""
        return self._ask("GET", f"/api/jobs/{part(job_id)}", {"user_id": user_id})

    def create_job(
        self,
        user_id: str,
        kind: str,
        files: Sequence[Attachment] = (),
        data: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        *,
        uploads: Sequence[str] = (),
    ) -> Answer:
        """The new job. `files` are paths, or pairs of a name and bytes or an open binary file; `uploads` are keys from `upload`.

        It is sent again when no answer comes, and makes one job however often it arrives: `idempotency_key` is what tells
        that, and is made for each call if it is left out. Raises TollhouseError, and OSError for a file that cannot be read.
        """
        if files and uploads:
            raise ValueError("files, uploads: a job is made of the one or of the other; upload all files, or none")
        headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}
        whose = {"user_id": user_id}
        if not files:
            body = {"kind": kind, "data": data or {}, "uploads": list(uploads)}
            return persist(lambda: self._ask("POST", "/api/jobs", whose, body, headers=headers), TRIES)
        fields = {"kind": kind, "data": encode(data or {}).decode()}

        def send() -> Answer:
            with opened(files) as open_files:
                form = Form(fields, open_files)
                return self._ask("POST", "/api/jobs", whose, form=form, headers=headers, timeout=UPLOAD_SECONDS)

        return persist(send, TRIES)

    def upload(self, user_id: str, path: str | os.PathLike[str], content_type: str | None = None) -> str:
        """Send one file straight to the object store; returns the key that makes it part of a job (`create_job(uploads=…)`).

        The media type is guessed from the name if it is left out.
        """
        file = Path(path)
        announced = {
            "filename": file.name,
            "contentType": content_type or _content_type(file.name),
            "fileSizeBytes": file.stat().st_size,
        }
        place = persist(lambda: self._ask("POST", "/api/presign", {"user_id": user_id}, announced), TRIES)
        persist(lambda: fetching.send(self._wire, place["url"], place["headers"], file), TRIES)
        return str(place["key"])

    def download(self, job_id: str, to: str | os.PathLike[str], user_id: str | None = None, *, file: str | None = None) -> Path:
        """Write a result to the path `to`, or under its own name if that is a directory; returns where it is.

        The first result file, or the file whose id is `file`. Raises TollhouseError: 409 while the job is not completed.
        """

        def take() -> Path:
            offered = self._ask("GET", f"/api/jobs/{part(job_id)}/download", {"user_id": user_id, "file": file})
            path = Path(to)
            if path.is_dir():
                path /= Path(offered["name"]).name
            fetching.fetch(self._wire, offered["download_url"], path, offered["size"])
            return path

        return persist(take, TRIES)

    def thumbnail(self, job_id: str, user_id: str | None = None) -> Answer:
        """`{"job_id", "thumbnail_url", "expires_in", "content_type"}`: a small picture of the result, or an icon."""
        return self._ask("GET", f"/api/jobs/{part(job_id)}/thumbnail", {"user_id": user_id})

    def cancel_job(self, job_id: str, user_id: str | None = None) -> Answer:
        """Stop a job that has not ended; its worker is told when it next gives a sign of life."""
        return self._ask("POST", f"/api/jobs/{part(job_id)}/cancel", {"user_id": user_id})

    def retry_job(self, job_id: str, user_id: str | None = None) -> Answer:
        """Run a failed or cancelled job again, with all its attempts."""
        return self._ask("POST", f"/api/jobs/{part(job_id)}/retry", {"user_id": user_id})

    def customer_token(self, user_id: str, expires_in: int = 3600, origin: str | None = None, kind: str | None = None) -> Answer:
        """`{"token", "url", "expires_in", "expires_at"}`: an address that shows one customer's own pages for so many seconds.

        `origin` is the page that may frame it; `kind` is that of the jobs which the customer makes there.
        """
        wanted = {"user_id": user_id, "expires_in": expires_in, "origin": origin, "kind": kind}
        return self._ask("POST", "/api/customer-tokens", body=given(wanted))


def _content_type(name: str) -> str:
    return _TYPES.get(Path(name).suffix.lower()) or mimetypes.guess_type(name)[0] or "application/octet-stream"
