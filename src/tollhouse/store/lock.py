"""One server for one data directory: an advisory lock on a file that says who holds it.

DuckDB belongs to one process, and two servers would give two answers. The kernel drops the lock when its
holder dies, however it dies, so there is never a stale one to clean up.
"""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from tollhouse.kit.errors import AlreadyRunning

NAME = "tollhouse.lock"


class DirectoryLock:
    """Holds `<directory>/tollhouse.lock` until `release`; raises AlreadyRunning if another process does."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not self._acquire():
            os.close(self._file)
            holder = read_holder(directory)
            who = f"process {holder['pid']}" if "pid" in holder else "another process"
            where = f" at {holder['url']}" if "url" in holder else ""
            raise AlreadyRunning(
                f"The data directory {directory} is in use by {who}{where}; "
                "stop that one first, or give this one another directory with --data."
            )
        self.describe({"pid": os.getpid()})

    def _acquire(self) -> bool:
        """Take the lock; a reader of who holds it has it for an instant too, so one refusal is not the answer."""
        for _ in range(25):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.02)
            else:
                return True
        return False

    def describe(self, holder: dict[str, Any]) -> None:
        """Write into the lock file who holds it, for a second process to read."""
        text = json.dumps(holder).encode()
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text, 0)

    def release(self) -> None:
        """Let the directory go."""
        os.ftruncate(self._file, 0)
        os.close(self._file)


def read_holder(directory: Path) -> dict[str, Any]:
    """What the holder wrote of itself, or nothing where nobody holds the directory."""
    try:
        with (directory / NAME).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return dict(json.loads(file.read() or b"{}"))
            return {}
    except (FileNotFoundError, ValueError):
        return {}
