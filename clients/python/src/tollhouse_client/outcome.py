"""What became of a job, as the function that does it says it.

| the function | the job |
|---|---|
| returns None, a file, a list of files, or a `Result` | is completed |
| returns `Skip("why")` | is skipped |
| raises `Permanent("why")` | has failed |
| raises anything else | is tried again while it has attempts left, then has failed |
| raises `Lost`, which `job.progress` does | is somebody else's, or cancelled: nothing is sent |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from tollhouse_client.attachment import Attachment, is_file

MOST_TEXT = 2000


@dataclass(frozen=True)
class Result:
    """What came out: `files`, `data` (a JSON object), and the seconds it is billed for if not those that were measured."""

    files: Sequence[Attachment] = ()
    data: Mapping[str, Any] | None = None
    compute_seconds: float | Decimal | None = None


@dataclass(frozen=True)
class Skip:
    """There was nothing to do, and why."""

    reason: str


@dataclass(frozen=True)
class Failure:
    """It could not be done, and whether another attempt may help."""

    reason: str
    retry: bool = True
    release: bool = False
    """The worker is being stopped: the job is free again at once, and the attempt does not count."""


class Permanent(Exception):
    """The job cannot be done, however often it is tried; the text is what its customer reads."""


class Lost(Exception):
    """This worker does not hold the job any more: it was cancelled, or the worker was silent for too long."""


Outcome = Result | Skip | Failure


def outcome_of(returned: object) -> Result | Skip:
    """What the function returned; raises TypeError where that says nothing."""
    if isinstance(returned, Skip):
        return returned
    if isinstance(returned, Result):
        return replace(returned, files=_listed(returned.files))
    return Result(_listed(returned))


def _listed(files: object) -> list[Attachment]:
    """A file, a list of files or nothing, as a list of files."""
    if files is None:
        return []
    listed: list[Attachment] = []
    for file in files if isinstance(files, list | tuple) and not is_file(files) else [files]:
        if not is_file(file):
            what = type(file).__name__
            raise TypeError(f"the job's function returned {what}; return a path, (name, bytes), a list of them, or Result(…)")
        listed.append(file)
    return listed


def failure_of(error: BaseException) -> Failure:
    """What an exception says about the job: its type and text, and nothing of what was in memory."""
    try:
        text = str(error)
    except Exception:  # the app's own error class may be broken, too
        text = ""
    if not isinstance(error, Permanent):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return Failure(plain(text or "The worker gave no reason.", MOST_TEXT), not isinstance(error, Permanent))


def plain(text: str, most: int) -> str:
    """At most so many characters that JSON and a database can hold."""
    return text.replace("\0", "").encode(errors="replace").decode()[:most]
