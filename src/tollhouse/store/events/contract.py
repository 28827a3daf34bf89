"""What an event store can do: a few primitives, and the handful of expressions in which engines differ.

A report is SQL text written once by its domain. It binds every value as `$name` and asks `Expressions` for
what the engines spell differently. Nothing that a user wrote ever becomes part of the text.

Two things make derived data exact without marking anything while events arrive:

- Every event has a `seq`, and `Reader.settled()` gives an S such that all events with `seq <= S` are visible
  and none will ever be added below it. What is derived up to S stays true for what it covers.
- `append` says per event whether it was inserted, was there already, or was there with other content.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from itertools import chain
from operator import attrgetter
from typing import Any

Params = Mapping[str, Any]
Row = tuple[Any, ...]

INSERTED, DUPLICATE, CONFLICT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events as columns of one length.

    `time` and `received_at` are microseconds since 1970. `value` is the number found at the JSON path `path` when
    the event arrived, kept beside the payload so that the common meter never parses JSON. `data` is the payload as
    the engines query it; `original` is the payload as it was sent, where the two differ.
    """

    organization: list[str] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    id: list[str] = field(default_factory=list)
    type: list[str] = field(default_factory=list)
    subject: list[str | None] = field(default_factory=list)
    time: list[int] = field(default_factory=list)
    received_at: list[int] = field(default_factory=list)
    timed: list[bool] = field(default_factory=list)
    job: list[str | None] = field(default_factory=list)
    path: list[str | None] = field(default_factory=list)
    value: list[str | None] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    original: list[str | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.id)

    @classmethod
    def joined(cls, batches: Sequence["EventBatch"]) -> "EventBatch":
        """The rows of all of them, in order."""
        return cls(*[list(chain.from_iterable(map(attrgetter(column.name), batches))) for column in fields(cls)])

    def same_event(self, at: int, stored: Row) -> bool:
        """Whether row `at` says the same as a stored (type, subject, time, data); an untimed retry says nothing of time."""
        type_, subject, time, data = stored
        return (
            self.type[at] == type_
            and self.subject[at] == subject
            and (self.time[at] == time or not self.timed[at])
            and self.data[at] == data
        )


class Expressions(ABC):
    """SQL fragments that the engines spell differently. Arguments and results are SQL text, never user text."""

    @abstractmethod
    def json_text(self, document: str, path: str) -> str:
        """The scalar at the bound JSON `path` in `document` as text, or NULL."""

    @abstractmethod
    def json_document(self, text: str) -> str:
        """A text column that holds JSON, as something `json_text` reads."""

    @abstractmethod
    def number(self, text: str) -> str:
        """`text` as DECIMAL(38, 12) where it matches `money.VALUE_PATTERN` and is below 10^18, else NULL."""

    @abstractmethod
    def json_list(self, texts: Sequence[str]) -> str:
        """A JSON array of those text expressions, as text."""

    @abstractmethod
    def floor_to(self, instant: str, size: int) -> str:
        """The multiple of `size` at or below the integer `instant`."""

    @abstractmethod
    def month_start(self, instant: str) -> str:
        """The first microsecond of the UTC month that holds `instant`."""

    @abstractmethod
    def sortable(self, instant: str) -> str:
        """The instant as text that sorts as the instants do, byte by byte."""

    @abstractmethod
    def at_highest(self, value: str, mark: str) -> str:
        """Aggregate: the `value` of the row whose text `mark` is highest, byte by byte."""

    @abstractmethod
    def percentiles(self, value: str, fractions: Sequence[float]) -> str:
        """Aggregate: the list of those percentiles of all values, as doubles; `statistics.percentiles` asks for them of many events."""

    @abstractmethod
    def sampled(self, share: float) -> str:
        """Condition: whether the key of a row of `events` falls into a share, 0 to 1, that is the same at every time."""

    @abstractmethod
    def iso_time(self, instant: str) -> str:
        """The instant as RFC 3339 text in UTC with microseconds."""


class Reader(ABC):
    """One consistent state of the store."""

    @abstractmethod
    def rows(self, sql: str, params: Params) -> list[Row]:
        """Run a query and return all its rows. Decimals come as `Decimal`; a parameter it does not name is ignored."""

    @abstractmethod
    def settled(self) -> int:
        """The S of the module's docstring."""


class Writer(Reader):
    """A transaction that may change derived tables and delete events."""

    @abstractmethod
    def run(self, sql: str, params: Params) -> None:
        """Run one statement."""

    @abstractmethod
    def stage(self, table: str, sql: str, params: Params) -> None:
        """Keep the query's rows as a temporary table of this transaction, in place of one of that name."""

    @abstractmethod
    def delete_events(self, condition: str, params: Params) -> int:
        """Delete the events for which the SQL condition holds, and what is remembered of their ids; returns how many."""


class EventStore(ABC):
    """One event table and what is derived from it."""

    expressions: Expressions
    appends_at_once: int = 1
    """How many appends at the same time store more than one after the other."""

    @abstractmethod
    def append(self, batch: EventBatch) -> list[int]:
        """Store those of the batch that are new, durably and in one transaction, and say of each row what became of it.

        Returns INSERTED, DUPLICATE (same source and id, same content) or CONFLICT (same source and id, other
        content; the stored event stays) per row, in order. Raises StorageFull or Unavailable with nothing stored.
        """

    @abstractmethod
    def reading(self) -> AbstractContextManager[Reader]:
        """A consistent state to read from."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Writer]:
        """A transaction; one at a time, besides `append`, which never waits for it."""

    @abstractmethod
    def csv(self, sql: str, params: Params) -> Iterator[bytes]:
        """The query's rows as RFC 4180 CSV with a header, in chunks, in constant memory."""

    @abstractmethod
    def close(self) -> None:
        """Finish what is being written and let the store go."""
