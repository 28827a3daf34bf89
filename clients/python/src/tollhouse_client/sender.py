"""Takes events from the app's threads and brings them to the server in the background.

Two threads, so that a server that stalls does not keep events from the disk: the *sender* posts one batch at a time and
replays the spool, the *spiller* moves events from memory to the spool when memory is half full or the server is away.
Both start with the first event. The app's threads only ever append to a queue.

An event is in exactly one of: `_queue`, `_spilling` (on its way to disk), `_held` (being sent), the spool; `_held` is a
copy of `_segment` while that is being replayed. What fails to be sent goes to the spool, or stays held without one.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from tollhouse_client.pace import Pace
from tollhouse_client.spool import Segment, Spool
from tollhouse_client.stats import Stats, Throttle
from tollhouse_client.verdict import Away, Faulty, Indigestible, Taken, Verdict, verdict_on
from tollhouse_client.waiting import Waiting

FULL_SPOOL_PAUSE = 5.0
log = logging.getLogger("tollhouse_client")


@dataclass(frozen=True)
class Limits:
    """Events a batch, seconds until a smaller batch is sent, events in memory, seconds of the first pause after a failure."""

    batch_size: int = 500
    batch_seconds: float = 1.0
    max_waiting: int = 10_000
    retry_seconds: float = 0.5

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("batch_seconds", 0), ("max_waiting", 1), ("retry_seconds", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name}: {getattr(self, name)} is too small; give at least {least}")


class Sender:
    """`post` sends a JSON array of events. Nothing here raises into the app."""

    def __init__(self, post: Callable[[bytes], httpx.Response], spool: Spool | None, limits: Limits) -> None:
        self._post = post
        self._spool = spool
        self._limits = limits
        self._batch = min(limits.batch_size, max(1, limits.max_waiting // 2))
        self._spill_at = max(1, limits.max_waiting // 2)
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._throttle = Throttle()
        self._counts: Counter[str] = Counter()
        self._queue = Waiting()
        self._spilling: list[bytes] = []
        self._held: deque[Sequence[bytes]] = deque()
        self._held_from = 0
        self._segment: Segment | None = None
        self._pace = Pace(self._limits.retry_seconds)
        self._failed_attempts = 0
        self._flushing = 0
        self._stopped = False
        self._handed_over = False
        self._spool_empty = self._spool is None
        self._spills = 0
        self._replay_next = True
        self._spill_after = 0.0
        self._sending_thread: threading.Thread | None = None
        self._spilling_thread: threading.Thread | None = None

    def after_fork(self) -> None:
        """In a forked child: begin with nothing; what the parent had waiting is the parent's to send."""
        self._begin()
        if self._spool is not None:
            self._spool.after_fork()

    def put(self, event: bytes) -> None:
        """Take one event, or count it as dropped when memory is full."""
        with self._changed:
            room = not self._stopped and self._in_memory() < self._limits.max_waiting and self._queue.has_room(event)
            if room:
                self._queue.put(event)
                size = len(self._queue)
                if size in (1, self._batch) or size >= self._spill_at:
                    self._changed.notify_all()
                self._start_threads()
        if not room:
            why = "the client is closed" if self._stopped else "memory is full"
            self.drop("room", f"An event is dropped: {why}.")

    def drop(self, kind: str, sentence: str, count: int = 1) -> None:
        """Count events as dropped, and say why."""
        with self._changed:
            self._counts["dropped"] += count
        self._throttle.warn(kind, sentence, count)

    def replay(self) -> None:
        """Start to send what earlier processes left in the spool."""
        with self._changed:
            self._start_threads()

    def stats(self) -> Stats:
        """The counts."""
        spooled = self._spool.stored if self._spool is not None else 0
        with self._changed:
            return Stats(**self._counts, waiting=self._in_memory(), spooled_bytes=spooled)

    def flush(self, timeout: float, patient: bool = True) -> bool:
        """Wait until all events so far, those in the spool too, are settled; False if they are not within `timeout` seconds.

        Without patience, only until those in memory are settled or an attempt to send them has failed.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            until, failures = self._queue.entered, self._failed_attempts
            self._flushing += 1
            self._pace.hurry()
            self._changed.notify_all()
            try:
                while not self._settled(until, patient):
                    seconds = deadline - time.monotonic()
                    if seconds <= 0 or self._stopped or (not patient and self._failed_attempts > failures):
                        return False
                    self._start_threads()
                    self._changed.wait(seconds)
                return True
            finally:
                self._flushing -= 1

    def close(self, timeout: float) -> None:
        """Send what is in memory, for at most `timeout` seconds; what is left then goes to the spool."""
        deadline = time.monotonic() + timeout
        self.flush(timeout, patient=False)
        with self._changed:
            if self._stopped:
                return
            self._stopped = True
            self._changed.notify_all()
        for thread in (self._spilling_thread, self._sending_thread):
            if thread is not None and thread is not threading.current_thread():
                thread.join(max(0.1, deadline - time.monotonic()))
        with self._changed:
            self._handed_over = True  # a request that is answered from now on comes too late
            held = [event for piece in self._held for event in piece] if self._segment is None else []
            left = [*held, *self._spilling, *self._queue.take_all()]
            self._held.clear()
            self._spilling = []
        kept = self._spool.append(left) if self._spool is not None and left else 0
        if kept < len(left):
            self.drop("end", "Events are dropped: the app ended while Tollhouse was away, and there is no room on disk.", len(left) - kept)
        if self._spool is not None:
            self._spool.close()

    def _in_memory(self) -> int:
        held = sum(map(len, self._held)) if self._segment is None else 0
        return len(self._queue) + len(self._spilling) + held

    def _settled(self, until: int, spool_too: bool) -> bool:
        sending = bool(self._held) and self._segment is None and self._held_from < until
        spooled = spool_too and not (self._spool_empty and self._segment is None)
        return self._queue.left >= until and not self._spilling and not sending and not spooled

    def _start_threads(self) -> None:
        if self._stopped:
            return
        if self._sending_thread is None:
            self._sending_thread = self._started(self._send, "tollhouse-sender")
        if self._spilling_thread is None and self._spool is not None and (self._pace.failures or len(self._queue) >= self._spill_at):
            self._spilling_thread = self._started(self._spill, "tollhouse-spiller")

    def _started(self, loop: Callable[[], None], name: str) -> threading.Thread | None:
        thread = threading.Thread(target=loop, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is ending: `close` will see to the events
            self._throttle.warn(name, f"The thread {name} cannot start: {error}.")
            return None
        return thread

    # The sender.

    def _send(self) -> None:
        while not self._stopped:
            try:
                self._wait_out_pause()
                if self._held or self._load():
                    self._attempt()
            except Exception:  # the thread has to live on; what it held is still held
                log.exception("The sender met an error of its own; it tries again.")
                with self._changed:
                    self._fail(None)

    def _wait_out_pause(self) -> None:
        with self._changed:
            while not self._stopped and (seconds := self._pace.seconds_left) > 0:
                self._changed.wait(seconds)

    def _load(self) -> bool:
        """Wait for something to send, and hold it: a batch from memory and a segment from the spool in turn."""
        with self._changed:
            while not (self._stopped or self._due() or not self._spool_empty):
                self._changed.wait(max(0.0, self._limits.batch_seconds - self._queue.age) if self._queue else None)
            if self._stopped:
                return False
            if self._due() and (self._spool_empty or not self._replay_next):
                self._held_from = self._queue.left
                self._held.append(self._queue.take(self._batch))
                self._replay_next = True
                return True
            self._replay_next = False
        return self._claim()

    def _due(self) -> bool:
        if not self._queue:
            return False
        return len(self._queue) >= self._batch or self._flushing > 0 or self._queue.age >= self._limits.batch_seconds

    def _claim(self) -> bool:
        if self._spool is None:
            return False
        spills = self._spills
        segment = self._spool.claim()
        if segment is not None and segment.torn:
            self.drop("torn", f"The last event of the spool segment {segment.path.name} is dropped: a crash cut it off.")
        with self._changed:
            if segment is None:
                self._spool_empty = self._spills == spills
            elif not self._stopped:
                self._segment = segment
                self._held.extend(segment.events[at : at + self._batch] for at in range(0, len(segment.events), self._batch))
            self._changed.notify_all()
        self._let_go()
        return bool(self._held)

    def _attempt(self) -> None:
        """Post one batch, and do with it what the answer says."""
        with self._changed:
            if self._stopped or not self._held:
                return
            piece = self._held[0]
        verdict = verdict_on(lambda: self._post(b"[" + b",".join(piece) + b"]"), len(piece))
        with self._changed:
            if self._handed_over:
                return
            rejected = self._apply(verdict, piece)
        self._report(verdict, rejected, piece)
        if isinstance(verdict, Away):
            self._set_aside()
        self._let_go()
        with self._changed:
            self._changed.notify_all()

    def _apply(self, verdict: Verdict, piece: Sequence[bytes]) -> dict[int, str]:
        """Count what is settled, and hold on to what is not. Returns what is rejected, by place."""
        if isinstance(verdict, Away):
            self._fail(verdict.asked)
            return {}
        self._held.popleft()
        self._pace.succeeded()
        rejected: dict[int, str] = {}
        if isinstance(verdict, Indigestible):
            if len(piece) > 1:
                middle = len(piece) // 2
                self._held.extendleft((piece[middle:], piece[:middle]))
            else:
                rejected = {0: verdict.reason}
        else:
            rejected = verdict.rejected
        if isinstance(verdict, Taken):
            self._counts.update(accepted=verdict.inserted + verdict.duplicates)
            self._counts.update(duplicates=verdict.duplicates, conflicts=verdict.conflicts)
        if isinstance(verdict, Faulty) and len(rejected) < len(piece):
            self._held.appendleft([event for place, event in enumerate(piece) if place not in rejected])
        self._counts["rejected"] += len(rejected)
        return rejected

    def _fail(self, asked: float | None) -> None:
        self._pace.failed(asked)
        self._failed_attempts += 1
        self._replay_next = True
        self._start_threads()
        self._changed.notify_all()

    def _report(self, verdict: Verdict, rejected: dict[int, str], piece: Sequence[bytes]) -> None:
        for place, reason in rejected.items():
            log.warning("Tollhouse rejects an event: %s: %s", reason, piece[place][:500].decode(errors="replace"))
        if isinstance(verdict, Away):
            self._throttle.warn(verdict.kind, verdict.reason, 0)
        if isinstance(verdict, Taken) and verdict.conflicts:
            sentence = "Tollhouse has stored an event with other content under the same id, which stays."
            self._throttle.warn("conflict", sentence, verdict.conflicts)

    def _set_aside(self) -> None:
        """Put what could not be sent on disk, if it is not there already."""
        if self._spool is None or self._segment is not None:
            return
        events = [event for piece in tuple(self._held) for event in piece]
        kept = self._spool.append(events)
        with self._changed:
            if not self._handed_over and kept:
                self._held = deque([events[kept:]] if kept < len(events) else [])
                self._note_spill()

    def _let_go(self) -> None:
        """Delete the segment whose events are all settled."""
        with self._changed:
            segment = self._segment if not self._held and not self._handed_over else None
        if segment is not None and self._spool is not None:
            self._spool.settled(segment)
            with self._changed:
                self._segment = None

    # The spiller.

    def _spill(self) -> None:
        while self._spool is not None:
            with self._changed:
                while not self._stopped and (seconds := self._until_spill()) != 0:
                    self._changed.wait(seconds)
                if self._stopped:
                    return
                events = self._spilling = self._queue.take_all()
            kept = self._spool.append(events)
            with self._changed:
                if self._handed_over:
                    return
                self._spilling = []
                if kept < len(events):
                    self._queue.put_back(events[kept:])
                    self._spill_after = time.monotonic() + FULL_SPOOL_PAUSE
                self._note_spill()
                self._changed.notify_all()

    def _until_spill(self) -> float | None:
        """Seconds until memory has to be emptied onto disk; None if that is not in sight."""
        pause = max(0.0, self._spill_after - time.monotonic())
        if len(self._queue) >= self._spill_at:
            return pause
        older_held = bool(self._held) and self._segment is None  # goes to disk first, so that the order is kept
        if not self._pace.failures or not self._queue or older_held:
            return None
        return max(pause, 0.0 if len(self._queue) >= self._batch else self._limits.batch_seconds - self._queue.age)

    def _note_spill(self) -> None:
        self._spills += 1
        self._spool_empty = False
