"""What became of a job, as the function that does it says it.

| the function | the job |
|---|---|
| returns None, a file, a list of files, or a `Result` | is completed |
| returns `Skip("why")` | is skipped |
| raises `Permanent("why")` | has failed |
| raises anything else | is tried again while it has attempts left, then has failed |
| raises `Lost`, which `job.progress` does | is somebody else's, or cancelled: nothing is sent |
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tollhouse_client.attachment import Attachment, is_pair

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


class Permanent(Exception):
    """The job cannot be done, however often it is tried; the text is what its customer reads."""


class Lost(Exception):
    """This worker does not hold the job any more: it was cancelled, or the worker was silent for too long."""


Outcome = Result | Skip | Failure


def outcome_of(returned: object) -> Result | Skip:
    """What the function returned; raises TypeError where that says nothing."""
    if isinstance(returned, Result | Skip):
        return returned
    if returned is None:
        return Result()
    if isinstance(returned, str | os.PathLike) or is_pair(returned):
        return Result([returned])  # type: ignore[list-item]  # is_pair has looked
    if isinstance(returned, list | tuple):
        return Result([file for one in returned for file in outcome_of(one).files])  # type: ignore[union-attr]
    raise TypeError(f"the job's function returned {type(returned).__name__}; return a path, (name, bytes), a list of them, or Result(…)")


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
