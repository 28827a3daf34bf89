"""What became of the events so far."""

import contextlib
import logging
import threading
import time
from dataclasses import dataclass

log = logging.getLogger("tollhouse_client")


@dataclass(frozen=True)
class Stats:
    """Counts since this process made its client.

    `accepted` events were stored by the server, of which it knew `duplicates` already, and `conflicts` of these had other
    content under the same id (what was stored first stays). `rejected` ones it will never take. `dropped` ones were lost
    here: they could not be written as JSON, or memory and disk were full. `waiting` ones are in memory, and
    `spooled_bytes` are on disk.
    """

    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    dropped: int = 0
    waiting: int = 0
    spooled_bytes: int = 0


class Throttle:
    """Says a thing at most once a minute, with how often it happened since the last time."""

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds
        self._lock = threading.RLock()
        self._said: dict[str, tuple[float, int]] = {}

    def warn(self, kind: str, sentence: str, count: int = 1) -> None:
        """Log the sentence as a warning, unless one of its kind was logged in the last minute."""
        now = time.monotonic()
        with self._lock:
            last, since = self._said.get(kind, (now - self._seconds, 0))
            if now - last < self._seconds:
                self._said[kind] = (last, since + count)
                return
            self._said[kind] = (now, 0)
        with contextlib.suppress(Exception):  # a handler of the app's may raise; what it misses is in the counts
            log.warning("%s", sentence if since + count < 2 else f"{sentence} ({since + count} events since the last time)")
