"""Ingest: many requests, one commit.

Requests hand in their events and wait. A thread takes all that is waiting, stores it in one transaction, and
then wakes those whose events are now on disk. The faster the requests come, the larger the commits; nobody waits
for a timer. What waits is bounded: past the bound a request is refused with Busy, and nothing of it is kept.
There are as many such threads as the store gains by.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from tollhouse import access
from tollhouse.kit.errors import Busy, Unavailable
from tollhouse.store.events import CONFLICT, DUPLICATE, INSERTED, EventBatch, EventStore
from tollhouse.store.records import Records

log = structlog.get_logger()
_NOBODY: frozenset[str | None] = frozenset((None,))  # of an event without a subject
_MOST_KNOWN = 200_000  # customers to remember; a few tens of megabytes


@dataclass(frozen=True)
class Receipt:
    """What became of one request's events: rows in order, each INSERTED, DUPLICATE or CONFLICT."""

    outcomes: list[int]

    @property
    def inserted(self) -> int:
        """Events that were new."""
        return self.outcomes.count(INSERTED)

    @property
    def duplicates(self) -> int:
        """Events that were stored before, with the same or with other content."""
        return self.outcomes.count(DUPLICATE) + self.outcomes.count(CONFLICT)

    @property
    def conflicts(self) -> list[int]:
        """The rows whose id is stored with other content."""
        return [at for at, outcome in enumerate(self.outcomes) if outcome == CONFLICT]


@dataclass
class _Waiting:
    batch: EventBatch
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Receipt]"


@dataclass
class Counters:
    """What the ingest has done since it started."""

    commits: int = 0
    events: int = 0
    refused: int = 0


@dataclass
class Ingest:
    """What writes events in this process, and nothing else does. `waiting_events` bounds what may wait, `commit_events` one commit."""

    store: EventStore
    records: Records
    waiting_events: int = 200_000
    commit_events: int = 20_000
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    counters: Counters = field(default_factory=Counters)
    _queue: "queue.SimpleQueue[_Waiting | None]" = field(default_factory=queue.SimpleQueue)
    _pending: int = 0
    _taking: threading.Lock = field(default_factory=threading.Lock)
    _shared: threading.Lock = field(default_factory=threading.Lock)
    _open: bool = False
    _known: dict[str, set[str | None]] = field(default_factory=dict)  # customers that the records have, by organization

    def start(self) -> None:
        """Begin to take events."""
        self._open = True
        writers = range(self.store.appends_at_once)
        self._threads = [threading.Thread(target=self._work, name="tollhouse-ingest", daemon=True) for _ in writers]
        for thread in self._threads:
            thread.start()

    async def submit(self, batch: EventBatch) -> Receipt:
        """Store a batch; returns after the commit. Raises Busy, StorageFull or Unavailable with nothing stored."""
        if not self._open:
            raise Unavailable("Tollhouse is stopping; send the events again to the next one.")
        if self._pending and self._pending + len(batch) > self.waiting_events:
            self.counters.refused += len(batch)
            raise Busy(f"{self._pending} events are waiting to be stored; send these again in a second.")
        if not len(batch):
            return Receipt([])
        loop = asyncio.get_running_loop()
        waiting = _Waiting(batch, loop, loop.create_future())
        self._pending += len(batch)
        self._queue.put(waiting)
        try:
            # A client that hangs up cancels its own waiting here, not the commit, which another thread makes.
            return await waiting.answer
        finally:
            self._pending -= len(batch)

    def store_now(self, batch: EventBatch) -> Receipt:
        """The same for a thread without an event loop."""
        return asyncio.run(self.submit(batch))

    def stop(self) -> None:
        """Take nothing more, store what is waiting, and return when it is on disk."""
        if self._open:
            self._open = False
            self._queue.put(None)
            for thread in self._threads:
                thread.join()
            self._queue.get()

    def _work(self) -> None:
        while taken := self._take():
            self._settle(taken)

    def _take(self) -> list[_Waiting]:
        """What is waiting, up to one commit's worth; nothing at the end."""
        taken: list[_Waiting] = []
        rows = 0
        with self._taking:
            while rows < self.commit_events:
                try:
                    more = self._queue.get(block=not taken)
                except queue.Empty:
                    break
                if more is None:
                    self._queue.put(None)  # for the other threads
                    break
                taken.append(more)
                rows += len(more.batch)
        return taken

    def _settle(self, taken: list[_Waiting]) -> None:
        """Store what was taken in one commit and answer each request."""
        together = EventBatch.joined([waiting.batch for waiting in taken]) if len(taken) > 1 else taken[0].batch
        try:
            with self._shared:
                self._remember_customers(taken)
            outcomes = self.store.append(together)
        except Exception as error:  # whatever it was, each waiting request has to hear of it
            log.error("events not stored", events=len(together), error=str(error), exc_info=not hasattr(error, "status"))
            _wake(taken, [error] * len(taken))
            return
        with self._shared:
            self.counters.commits += 1
            self.counters.events += len(together)
        answers: list[Receipt | Exception] = []
        at = 0
        for waiting in taken:
            answers.append(Receipt(outcomes[at : at + len(waiting.batch)]))
            at += len(waiting.batch)
        _wake(taken, answers)

    def _remember_customers(self, taken: list[_Waiting]) -> None:
        """Make customers of new subjects, before the commit: a customer without events harms nobody."""
        new: dict[str, set[str]] = {}
        for waiting in taken:
            organization = waiting.batch.organization[0]  # a request speaks for one
            known = self._known.get(organization, _NOBODY)
            if not known.issuperset(waiting.batch.subject):
                new.setdefault(organization, set()).update(set(filter(None, waiting.batch.subject)).difference(known))
        if not new:
            return
        with self.records.transaction() as session:
            access.remember(session, self.clock(), sorted((owner, subject) for owner, subjects in new.items() for subject in subjects))
        if sum(map(len, self._known.values())) > _MOST_KNOWN:
            self._known.clear()
        for organization, subjects in new.items():
            self._known.setdefault(organization, set(_NOBODY)).update(subjects)


def _wake(taken: list[_Waiting], answers: "list[Receipt | Exception] | list[Exception]") -> None:
    """Hand each request its answer, with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Receipt], Receipt | Exception]]] = {}
    for waiting, answer in zip(taken, answers, strict=True):
        by_loop.setdefault(waiting.loop, []).append((waiting.answer, answer))
    for loop, pairs in by_loop.items():
        loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: "list[tuple[asyncio.Future[Receipt], Receipt | Exception]]") -> None:
    for future, answer in pairs:
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
