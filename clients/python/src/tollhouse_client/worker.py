"""A worker: claims jobs of the kinds it has functions for, and does them until it is told to stop.

    worker = Worker()

    @worker.job("animate")
    def animate(job):
        return make_film(job.files[0].path(), job.scratch / "film.webp")

    worker.run()

One thread a slot waits for a job and does it. Whatever happens to the network or to the server, a job's fence number sees
to it that it ends once; a function may yet begin more than once, so what it does besides its result should bear that.
"""

import contextlib
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from tollhouse_client import options, scratch
from tollhouse_client.attempt import Attempt
from tollhouse_client.errors import TollhouseError
from tollhouse_client.job import Job
from tollhouse_client.options import log
from tollhouse_client.pace import Pace
from tollhouse_client.wire import Transport, Wire
from tollhouse_client.work import Claimed, WorkCalls

Function = TypeVar("Function", bound=Callable[[Job], object])
_STOP, _ENDED = "stop", "ended"


class Worker:
    """Does jobs, `concurrency` at a time.

    `url` and `api_key` default to TOLLHOUSE_URL and TOLLHOUSE_API_KEY; the key needs the scope for work. `lease` is how many
    seconds a job is held without a sign of life, the server's own if left out; `wait` how many seconds a claim waits for a
    job; `grace` how many seconds a stopped worker gives the jobs that it has. `scratch_dir` is where jobs' directories are
    made, the system's temporary directory if left out; what killed workers have left there is removed. Raises ValueError for
    an option that cannot be used.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        name: str | None = None,
        concurrency: int = 1,
        lease: float | None = None,
        grace: float = 25.0,
        wait: float = 5.0,
        scratch_dir: str | os.PathLike[str] | None = None,
        timeout: float = 10.0,
        retry_seconds: float = 0.5,
        transport: Transport | None = None,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency: {concurrency} is too small; a worker does one job at a time or more")
        if not 0 <= wait <= 30:
            raise ValueError(f"wait: {wait} is out of range; a claim waits up to 30 seconds")
        if lease is not None and not 1 <= lease <= 3600:
            raise ValueError(f"lease: {lease} is out of range; hold jobs for 1 to 3600 seconds")
        address = options.text(url, "TOLLHOUSE_URL", "http://127.0.0.1:3000")
        self._wire = Wire(address, options.text(api_key, "TOLLHOUSE_API_KEY", ""), timeout, transport)
        self._work = WorkCalls(self._wire)
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"
        self._concurrency, self._lease, self._grace, self._wait = concurrency, lease, grace, wait
        self._scratch_dir = Path(scratch_dir) if scratch_dir is not None else None
        self._retry_seconds = retry_seconds
        self._functions: dict[str, Callable[[Job], object]] = {}
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()  # a signal handler may write to it at any moment
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._attempts: set[Attempt] = set()
        self._idle: set[int] = set()
        self._refused: TollhouseError | None = None

    def job(self, kind: str) -> Callable[[Function], Function]:
        """Decorates the function that does the jobs of that kind; raises ValueError where there is one already."""

        def register(function: Function) -> Function:
            if kind in self._functions:
                raise ValueError(f"kind: {kind!r} has a function already; name each kind once")
            self._functions[kind] = function
            return function

        return register

    def run(self, until_idle: bool = False) -> None:
        """Do jobs until SIGTERM, SIGINT or `stop`, or until there is none left to take.

        Then it takes no more, finishes those it has within `grace` seconds, and gives the others back; a second signal gives
        them back at once. Raises TollhouseError where the server will not have this worker at all, as with a wrong key.
        """
        if not self._functions:
            raise ValueError('The worker has no function; decorate one with @worker.job("kind").')
        self._stopping.clear()
        self._idle.clear()
        scratch.clear(self._scratch_dir)
        slots = [
            threading.Thread(target=self._slot, args=(at, until_idle), name=f"tollhouse-worker-{at}", daemon=True)
            for at in range(self._concurrency)
        ]
        with self._signals():
            for slot in slots:
                slot.start()
            self._attend(len(slots))
        self._told = queue.SimpleQueue()
        self._wire.close()
        if self._refused is not None:
            refused, self._refused = self._refused, None
            raise refused

    def stop(self) -> None:
        """Have `run` come to its end; from any thread."""
        self._told.put(_STOP)

    def _attend(self, working: int) -> None:
        """Wait for the slots to end, and end them when told to."""
        until: float | None = None
        while working:
            try:
                said = self._told.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if said == _ENDED:
                working -= 1
            elif until is None:
                self._stopping.set()
                until = time.monotonic() + self._grace
                log.info("The worker %s takes no more jobs.", self.name)
            else:
                until = time.monotonic()
        self._stopping.set()
        with self._lock:
            left = list(self._attempts)
        for attempt in left:
            attempt.give_back()

    def _slot(self, number: int, until_idle: bool) -> None:
        pace = Pace(self._retry_seconds)
        try:
            while not self._stopping.is_set():
                claimed = self._claim(pace, 0.0 if until_idle else self._wait)
                if claimed is not None:
                    self._do(number, claimed)
                elif until_idle and pace.failures == 0:
                    if self._all_idle(number):
                        break
                    self._stopping.wait(0.05)
        finally:
            self._told.put(_ENDED)

    def _all_idle(self, number: int) -> bool:
        with self._lock:
            self._idle.add(number)
            return len(self._idle) == self._concurrency

    def _claim(self, pace: Pace, wait: float) -> Claimed | None:
        """A job; None when there is none, or when nobody answers, after a pause."""
        try:
            claimed = self._work.claim(self.name, sorted(self._functions), wait, self._lease)
        except TollhouseError as error:
            if error.status in (400, 401, 403, 422):
                self._refused = error
                self._told.put(_STOP)
                self._stopping.wait()
                return None
            log.warning("The worker %s gets no jobs now, and tries on: %s", self.name, error)
            pace.failed()
            self._stopping.wait(pace.seconds_left)
            return None
        pace.succeeded()
        return claimed

    def _do(self, number: int, claimed: Claimed) -> None:
        attempt = Attempt(self._wire, claimed, self._functions[claimed.kind], self._scratch_dir)
        with self._lock:
            self._idle.discard(number)
            self._attempts.add(attempt)
        try:
            if self._stopping.is_set():  # the claim was under way when we were stopped
                attempt.give_back()
            else:
                attempt.carry_out()
        finally:
            with self._lock:
                self._attempts.discard(attempt)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop the worker, if this is the thread that gets them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def told(_number: int, _frame: FrameType | None) -> None:
            self._told.put(_STOP)

        before: dict[int, Any] = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
