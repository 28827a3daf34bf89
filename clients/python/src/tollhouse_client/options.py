"""What the client is told by arguments, by the environment, and by default, in this order.

| argument | environment | default |
|---|---|---|
| url | TOLLHOUSE_URL | http://127.0.0.1:3000 |
| api_key | TOLLHOUSE_API_KEY | none |
| batch_size | TOLLHOUSE_BATCH_SIZE, USAGE_BATCH_SIZE | 500 events |
| batch_seconds | USAGE_BATCH_TIMEOUT | 1.0 seconds |
"""

import enum
import hashlib
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Number = TypeVar("Number", int, float)
log = logging.getLogger("tollhouse_client")


class Default(enum.Enum):
    """Stands for a directory that nobody has named; None would switch the spool off."""

    DIRECTORY = "a directory of the server's own"


def text(given: str | None, name: str, default: str) -> str:
    """The argument, else the environment variable, else the default."""
    return given if given is not None else os.environ.get(name) or default


def number(given: Number | None, names: tuple[str, ...], default: Number, read: Callable[[str], Number]) -> Number:
    """The same for a number; raises ValueError that names the variable."""
    if given is not None:
        return given
    for name in names:
        if said := os.environ.get(name):
            try:
                return read(said)
            except ValueError:
                raise ValueError(f"{name}: {said!r} is no number; write one like {default}") from None
    return default


def directory(given: "str | os.PathLike[str] | Default | None", url: str, source: str) -> Path | None:
    """Where events are kept while the server is away: one directory for each server and source."""
    if given is None or sys.platform == "win32":  # there is no flock, and without it two processes would replay the same
        return None
    if not isinstance(given, Default):
        return Path(given).absolute()
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        home = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    except RuntimeError:
        log.warning("There is no home directory; give spool_dir, or events are lost if the app ends while Tollhouse is away.")
        return None
    host = re.sub(r"[^a-zA-Z0-9.]+", "-", url.partition("://")[2])[:60].strip("-.")
    return home / "tollhouse" / "spool" / f"{host}-{hashlib.sha256(f'{url} {source}'.encode()).hexdigest()[:8]}"
