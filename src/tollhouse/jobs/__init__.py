"""Jobs: work that customers hand in, the workers that do it, and the files on both ends.

A `Job` moves between its statuses by conditional updates; a worker claims one for as long as its lease lasts. Files are
judged by their content, lie in the object store, and belong to a job or are swept away. What a job used is reported as
events, once.
"""

from typing import IO

from tollhouse.jobs.content import FileLimits, Inspected, inspect, plain_type, safe_name, sniff
from tollhouse.jobs.courier import Courier
from tollhouse.jobs.file import JobFile, StoredFile, attach, file, files_of
from tollhouse.jobs.job import STATUSES, Job, NewJob, count_by_status, create, find, list_jobs, made_before
from tollhouse.jobs.lifecycle import (
    Claim,
    Outcome,
    Terms,
    advance,
    cancel,
    claim,
    complete,
    ended_by,
    fail,
    give_back,
    held,
    release_overdue,
    retry,
    waiting,
)
from tollhouse.jobs.throughput import Throughput, throughput
from tollhouse.jobs.upload import Upload, abandoned, forget, is_open, reserve, take, upload, use
from tollhouse.jobs.usage import UsageReport, confirm, unsent


def draw(file: IO[bytes], content_type: str) -> bytes | None:
    """A small picture of a file, as `thumbnail.draw` says."""
    from tollhouse.jobs import thumbnail  # noqa: PLC0415  # Pillow and PDFium are six megabytes of an idle server

    return thumbnail.draw(file, content_type)


__all__ = [
    "STATUSES",
    "Claim",
    "Courier",
    "FileLimits",
    "Inspected",
    "Job",
    "JobFile",
    "NewJob",
    "Outcome",
    "StoredFile",
    "Terms",
    "Throughput",
    "Upload",
    "UsageReport",
    "abandoned",
    "advance",
    "attach",
    "cancel",
    "claim",
    "complete",
    "confirm",
    "count_by_status",
    "create",
    "draw",
    "ended_by",
    "fail",
    "file",
    "files_of",
    "find",
    "forget",
    "give_back",
    "held",
    "inspect",
    "is_open",
    "list_jobs",
    "made_before",
    "plain_type",
    "release_overdue",
    "reserve",
    "retry",
    "safe_name",
    "sniff",
    "take",
    "throughput",
    "unsent",
    "upload",
    "use",
    "waiting",
]
