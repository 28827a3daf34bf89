"""Every error that Tollhouse raises on purpose, in one tree.

    TollhouseError
      BadInput                 400  what was sent cannot be used
        TooLarge               413
        Unprocessable          422
          DetailGone           422
      Unauthenticated          401
      Forbidden                403
        LinkExpired            403
      NotFound                 404
      Conflict                 409
      Busy                     429
      Unavailable              503
        AlreadyRunning         503
        SchemaTooNew           503
      StorageFull              507
      Damaged                  500  a backup repository

`status` is the HTTP status, `exit_code` what the command line ends with. The class docstring is the
title a person reads; the message given when raising is the one sentence that says what was wrong,
where, and what would be right.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One of several things wrong with one input: the `field` (or `index` in a list) and a sentence."""

    detail: str
    field: str | None = None
    index: int | None = None

    def as_dict(self) -> dict[str, str | int]:
        """The fault as a member of a problem document's `errors` (RFC 9457, section 3)."""
        named = {"index": self.index, "field": self.field, "detail": self.detail}
        return {key: value for key, value in named.items() if value is not None}


class TollhouseError(Exception):
    """Tollhouse could not do that."""

    status = 500
    exit_code = 1

    def __init__(self, detail: str = "", faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail or self.title())
        self.detail = detail or self.title()
        self.faults = tuple(faults)

    @classmethod
    def title(cls) -> str:
        """The first line of the class's docstring."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]


class BadInput(TollhouseError):
    """What was sent cannot be used."""

    status = 400
    exit_code = 2


class TooLarge(BadInput):
    """What was sent is larger than allowed."""

    status = 413


class Unprocessable(BadInput):
    """What was sent is readable but not valid."""

    status = 422


class DetailGone(Unprocessable):
    """The detail asked for is no longer kept."""


class Unauthenticated(TollhouseError):
    """A valid API key is needed."""

    status = 401
    exit_code = 3


class Forbidden(TollhouseError):
    """The key that was used may not do this."""

    status = 403
    exit_code = 3


class LinkExpired(Forbidden):
    """This link has expired."""


class NotFound(TollhouseError):
    """There is nothing by that name here."""

    status = 404
    exit_code = 4


class Conflict(TollhouseError):
    """That cannot be done in the present state."""

    status = 409
    exit_code = 5


class Busy(TollhouseError):
    """More is waiting than can be taken; try again shortly."""

    status = 429
    exit_code = 6
    retry_after = 1


class Unavailable(TollhouseError):
    """Tollhouse cannot serve right now."""

    status = 503
    exit_code = 7


class AlreadyRunning(Unavailable):
    """Another Tollhouse uses this data directory."""


class SchemaTooNew(Unavailable):
    """The stored data was written by a newer Tollhouse."""


class StorageFull(TollhouseError):
    """The disk is full; nothing of this request was stored."""

    status = 507
    exit_code = 8


class Damaged(TollhouseError):
    """A backup repository is damaged."""

    exit_code = 9
