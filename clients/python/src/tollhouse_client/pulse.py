"""A claimed job's signs of life: a heartbeat at a third of the lease, and progress, a few times a second at most.

The function that works never waits for the network: it leaves its progress here, and a thread sends the latest. Whether
the job is still ours is the server's to say (409), or the clock's, when nothing has reached the server for a whole lease.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime

from tollhouse_client.errors import TollhouseError
from tollhouse_client.options import log
from tollhouse_client.outcome import Lost, plain

MOST_MESSAGE = 500
BETWEEN = 0.25
Send = Callable[[int | None, str | None, float], str]
News = tuple[int | None, str | None]


class Pulse:
    """`send` takes a percentage, a message and a time-out, and returns until when the lease lasts, on the server's clock."""

    def __init__(self, job: str, send: Send, lease: float, lease_until: str) -> None:
        self._job, self._send = job, send
        self._began = time.monotonic()
        self._first_until, self._first_lease = datetime.fromisoformat(lease_until), lease
        self._changed = threading.Condition()
        self._news: News | None = None
        self._sending = False
        self._ended = False
        self._lost = ""
        self._shown = float("-inf")
        self._until = self._began + lease
        self._due = self._began + lease / 3
        self._failures, self._not_before = 0, 0.0
        threading.Thread(target=self._run, name=f"tollhouse-pulse-{job}", daemon=True).start()

    @property
    def lost(self) -> str:
        """Why the job is not ours any more; empty while it is."""
        return self._lost

    def tell(self, percent: int, message: str | None) -> None:
        """Leave word how far the job has come; raises Lost."""
        with self._changed:
            if self._lost:
                raise Lost(self._lost)
            if time.monotonic() > self._until:
                raise Lost(f"Nothing has reached Tollhouse for the whole lease of the job {self._job}; another worker may have it.")
            kept = self._news[1] if self._news is not None else None
            self._news = (percent, kept if message is None else plain(message, MOST_MESSAGE))
            self._changed.notify_all()

    def lose(self, why: str) -> None:
        """The job has been given away."""
        with self._changed:
            self._lost = self._lost or why
            self._changed.notify_all()

    def flush(self, seconds: float) -> None:
        """Wait until the latest progress has been sent, if it can be."""
        with self._changed:
            self._shown = float("-inf")
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._lost or (self._news is None and not self._sending), seconds)

    def end(self) -> None:
        """Send no more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            with self._changed:
                news, self._news, self._sending = self._news, None, True
            self._beat(news)
            with self._changed:
                self._sending = False
                self._changed.notify_all()

    def _wait(self) -> bool:
        """Until something is to be sent; False when it is over."""
        with self._changed:
            while not (self._ended or self._lost):
                at = min(self._due, self._shown + BETWEEN) if self._news is not None else self._due
                left = max(at, self._not_before) - time.monotonic()
                if left <= 0:
                    return True
                self._changed.wait(left)
            return False

    def _beat(self, news: News | None) -> None:
        percent, message = news or (None, None)
        began = time.monotonic()
        try:
            until = self._send(percent, message, min(10.0, max(1.0, self._first_lease / 3)))
        except TollhouseError as error:
            self._failed(error, news)
            return
        with self._changed:
            self._failures, self._not_before = 0, 0.0
            # The server's clock may differ from ours, so the new end is reckoned from the first one.
            longer = (datetime.fromisoformat(until) - self._first_until).total_seconds()
            self._until = self._began + self._first_lease + longer
            self._due = began + max(0.05, (self._until - began) / 3)
            if news is not None:
                self._shown = began

    def _failed(self, error: TollhouseError, news: News | None) -> None:
        with self._changed:
            if error.status in (404, 409):
                self._lost = self._lost or (error.detail or str(error))
                self._changed.notify_all()
                return
            self._news = self._news or news
            self._not_before = time.monotonic() + min(self._first_lease / 6, 0.25 * 2 ** min(self._failures, 10))
            self._failures += 1
            if not self._ended:
                log.warning("The job %s gives no sign of life, and tries on: %s", self._job, error)
