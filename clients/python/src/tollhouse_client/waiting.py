"""Events in memory, first in, first out, bounded in number and in bytes. Not locked: `Sender` does that."""

import time
from collections import deque
from collections.abc import Sequence

MOST_BYTES = 64 << 20
BATCH_BYTES = 4 << 20


class Waiting:
    """`entered` and `left` count events since the beginning, so an event's number says whether it is still here."""

    def __init__(self) -> None:
        self._events: deque[bytes] = deque()
        self._bytes = 0
        self._since = 0.0
        self.entered = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def left(self) -> int:
        """How many events have been taken out again."""
        return self.entered - len(self._events)

    @property
    def age(self) -> float:
        """For how many seconds there has been anything to take."""
        return time.monotonic() - self._since

    def has_room(self, event: bytes) -> bool:
        """Whether the bytes of one more event are within the bound."""
        return self._bytes + len(event) <= MOST_BYTES

    def put(self, event: bytes) -> None:
        """Add one at the end."""
        if not self._events:
            self._since = time.monotonic()
        self._events.append(event)
        self._bytes += len(event)
        self.entered += 1

    def put_back(self, events: Sequence[bytes]) -> None:
        """Return what was taken last to the front."""
        self._events.extendleft(reversed(events))
        self._bytes += sum(map(len, events))

    def take(self, most: int) -> list[bytes]:
        """Up to `most` events from the front, and no more than a request should carry."""
        taken: list[bytes] = []
        size = 0
        while self._events and len(taken) < most and (not taken or size + len(self._events[0]) <= BATCH_BYTES):
            event = self._events.popleft()
            size += len(event)
            taken.append(event)
        self._bytes -= size
        self._since = time.monotonic()
        return taken

    def take_all(self) -> list[bytes]:
        """All events."""
        taken = list(self._events)
        self._events.clear()
        self._bytes = 0
        return taken
