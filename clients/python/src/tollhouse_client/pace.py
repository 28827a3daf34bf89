"""How long to wait after a failure: twice as long each time, with jitter, and never less than the server asked for.

Jitter as in "Exponential Backoff And Jitter" (AWS Architecture Blog), so that many apps do not come back at once.
"""

import random
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 30.0
LONGEST_ASKED = 600.0


class Pace:
    """`first` is the longest wait in seconds after one failure."""

    def __init__(self, first: float) -> None:
        self._first = first
        self._until = 0.0
        self._asked = False
        self.failures = 0

    @property
    def seconds_left(self) -> float:
        """How long to wait from now on; 0 or less when the next attempt may start."""
        return self._until - time.monotonic()

    def failed(self, asked: float | None = None) -> None:
        """Wait longer; `asked` is what the server wants, in seconds."""
        ceiling = min(LONGEST, self._first * 2 ** min(self.failures, 20))
        wait = ceiling * random.uniform(0.5, 1.0)  # noqa: S311  # not a secret
        self.failures += 1
        self._asked = asked is not None
        self._until = time.monotonic() + max(wait, min(asked or 0.0, LONGEST_ASKED))

    def succeeded(self) -> None:
        """Wait no longer."""
        self.failures, self._until, self._asked = 0, 0.0, False

    def hurry(self) -> None:
        """Somebody waits for the result: try at once, unless the server asked for patience."""
        if not self._asked:
            self._until = 0.0


def retry_after(header: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, in either of its forms (RFC 9110, section 10.2.3)."""
    if header is None:
        return None
    if header.strip().isascii() and header.strip().isdigit():
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp())
