"""Directories in which jobs are done. A worker that is killed cannot remove its own, so the next one to start does.

A directory is locked for as long as its owner, or a process that it forked, lives: whoever can take the lock knows that
nobody is left. A process number would not do, since numbers are given again, and mean nothing outside of a container.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tollhouse_client.options import log

if sys.platform != "win32":
    import fcntl

_PREFIX = "tollhouse-job-"


@contextlib.contextmanager
def directory(parent: Path | None) -> Iterator[Path]:
    """A new directory for one job, removed afterwards; raises OSError where none can be made."""
    while True:
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True) as name:
            place = Path(name)
            with _locked(place, wait=True):
                if place.exists():  # it may have been taken for one that was left, in the moment before it was locked
                    yield place
                    return


def clear(parent: Path | None) -> None:
    """Remove what workers have left that are gone."""
    home = Path(tempfile.gettempdir()) if parent is None else parent
    for left in home.glob(f"{_PREFIX}*"):
        with _locked(left, wait=False) as ours:
            if ours:
                shutil.rmtree(left, ignore_errors=True)
                log.info("Removed %s, which was left by a worker that was killed.", left)


@contextlib.contextmanager
def _locked(directory: Path, wait: bool) -> Iterator[bool]:
    """Hold the lock of a directory of ours. False where that cannot be: somebody else holds it, or locks are unknown there."""
    if sys.platform == "win32":
        yield False
        return
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        yield os.fstat(descriptor).st_uid == os.geteuid() and _lock(descriptor, wait)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
