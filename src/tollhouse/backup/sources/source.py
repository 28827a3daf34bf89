"""What a source gives and a target takes: objects with keys, contents and a few words about them."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Literal

from tollhouse.backup.snapshot import Entry

if TYPE_CHECKING:
    from tollhouse.store.bucket_api import BucketApi


@dataclass(frozen=True, slots=True)
class Found:
    """An object in a listing; `modified` in microseconds since 1970."""

    key: str
    size: int
    modified: int
    etag: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class Described:
    """What only a closer look tells."""

    content_type: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    # What was looked at, where that is known better than from the listing: the content that is then asked for is this one's.
    found: Found | None = None


class Source(ABC):
    """Something to back up. It may be read by several threads at once between `opened` and its end."""

    kind: str
    address: str
    # Objects up to this size are read sooner than they are handed to another thread.
    at_hand = 0

    def opened(self) -> AbstractContextManager["Source"]:
        """For as long as one state of it is to be read."""
        return _AsItIs(self)

    @abstractmethod
    def listing(self) -> list[Found]:
        """Every object, sorted by key."""

    @abstractmethod
    def content(self, found: Found) -> AbstractContextManager[IO[bytes]]:
        """An object's content; raises NotFound where it has gone meanwhile."""

    def describe(self, found: Found) -> Described:
        """What a closer look tells."""
        return Described()

    def configuration(self) -> dict[str, Any]:
        """What belongs to the whole: a bucket's settings, a database's schema. Asked for when everything else has been read."""
        return {}

    def problems(self) -> list[dict[str, str]]:
        """What could not even be listed: `[{"key", "reason"}]`."""
        return []


class _AsItIs(AbstractContextManager[Source]):
    def __init__(self, source: Source) -> None:
        self._source = source

    def __enter__(self) -> Source:
        return self._source

    def __exit__(self, *error: object) -> None:
        return None


@dataclass(frozen=True)
class Written:
    """What is at a target under a key."""

    size: int
    sha256: str


class Target(ABC):
    """Somewhere to restore to."""

    address: str
    # How many objects may be written at a time, and up to which size one is written sooner than it is handed to another thread.
    writers = 1
    at_hand = 0
    # Whether content may turn out to be damaged while it is being written: what was written of it by then is removed.
    streams = False
    # Whether what is written is there only after `finish`.
    staged = False

    def settings(self) -> "AbstractContextManager[BucketApi] | None":
        """The bucket, to ask for its settings and to change them; None for what has none."""
        return None

    def takes(self, key: str) -> bool:
        """Whether there is a place for an object; one that is another's copy in other words may have none."""
        return True

    @abstractmethod
    def present(self, key: str) -> Written | None:
        """What is there, by its content; None for nothing."""

    @abstractmethod
    def write(self, entry: Entry, content: IO[bytes]) -> bool:
        """Put an object there, all or nothing, replacing what was there; returns whether it was read again and is the same."""

    def describe(self, entry: Entry) -> Literal["done", "unable"]:
        """Give an object that is there its metadata alone."""
        return "unable"

    def finish(self) -> list[str]:
        """What is to be done once everything is there; returns what could not be."""
        return []
