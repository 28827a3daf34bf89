"""Keeps the addresses of files out of the log: whoever reads one there can open the file for as long as it is signed for.

httpx logs the address of every request at the level INFO, which an app's own log may well show.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_discreet: ContextVar[bool] = ContextVar("discreet", default=False)


def begin() -> None:
    """Have httpx's log leave out what is asked for while discretion is `kept`; called again, it changes nothing."""
    logging.getLogger("httpx").addFilter(_loggable)


@contextmanager
def kept() -> Iterator[None]:
    """Leave this thread's requests out of httpx's log until the block ends."""
    before = _discreet.set(True)
    try:
        yield
    finally:
        _discreet.reset(before)


def _loggable(_record: logging.LogRecord) -> bool:
    return not _discreet.get()
