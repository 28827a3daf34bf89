"""A bell that wakes whoever waits for a job: rung by a thread, heard in any event loop of this process.

Only a hint: who has waited a while looks for itself, because a job may have come to be in another process, or its time
may just have come.
"""

import asyncio
import threading
from contextlib import suppress


class Bell:
    """Wait for it with `heard`; after `close` nobody waits any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listening: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self.closed = False

    def ring(self) -> None:
        """Wake everybody."""
        with self._lock:
            listening = list(self._listening)
        for loop, event in listening:
            with suppress(RuntimeError):  # its loop has ended meanwhile
                loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        """The server is stopping."""
        self.closed = True
        self.ring()

    async def heard(self, seconds: float) -> None:
        """Return when it rings, or after that time."""
        place = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._listening.add(place)
        try:
            if not self.closed:
                await asyncio.wait_for(place[1].wait(), seconds)
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._listening.discard(place)
