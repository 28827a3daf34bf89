"""Events on disk while the server is away: files of one event a line, oldest first.

Invariants:
- A segment is `<nanoseconds since 1970>-<process>.ndjson`; sorted by name, segments are in the order of writing.
- Who writes or replays a segment holds its `flock`, so two processes never replay one. The lock ends with its process.
- A segment is deleted only when the server has answered for every event in it. A crash before that sends some again,
  under the same ids, so they count once.
- Only the last line of a segment can be torn, by a crash; it is left out, counted and logged.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tollhouse_client.encoding import decode
from tollhouse_client.stats import Throttle

if sys.platform != "win32":
    import fcntl

SEGMENT_BYTES = 1 << 20
log = logging.getLogger("tollhouse_client")


@dataclass
class Segment:
    """A segment that this process has locked, for writing or for replay; `torn` says that its last line was cut off."""

    path: Path
    descriptor: int
    size: int
    events: Sequence[bytes] = ()
    torn: bool = False

    def release(self) -> None:
        """Unlock it and leave it to whoever comes next."""
        with contextlib.suppress(OSError):
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)  # closing alone would not do while a forked child has it open
            os.close(self.descriptor)

    def remove(self) -> None:
        """Delete it."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        self.release()


class Spool:
    """A directory of segments with at most `bound` bytes in all. Safe to use from several threads and processes."""

    def __init__(self, directory: Path, bound: int) -> None:
        self._directory = directory
        self._bound = bound
        self._throttle = Throttle()
        self._lock = threading.Lock()
        self._writing: Segment | None = None
        self._claimed: Segment | None = None
        self._total = 0

    @property
    def stored(self) -> int:
        """The bytes of all segments, those of other processes included."""
        return sum(_size(path) for path in self._paths())

    def append(self, events: Sequence[bytes]) -> int:
        """Write events behind the others; returns how many, from the front, found room and a working disk."""
        done = 0
        with self._lock:
            try:
                while done < len(events):
                    segment = self._writing or self._open()
                    count, size = self._fitting(segment, events, done)
                    if count:
                        _write(segment, b"".join(event + b"\n" for event in islice(events, done, done + count)))
                        self._total += size
                        done += count
                    elif segment.size >= SEGMENT_BYTES:
                        self._seal()
                    else:
                        self._throttle.warn(
                            "full", f"The spool {self._directory} is full ({self._bound} bytes); newer events wait in memory."
                        )
                        break
            except OSError as error:
                self._throttle.warn("disk", f"The spool {self._directory} cannot be written: {error.strerror}.")
        return done

    def claim(self) -> Segment | None:
        """Lock and read the oldest segment that no process has; this process's own current one comes last."""
        with self._lock:
            claimed = self._claim_sealed()
            if claimed is None and self._writing is not None:
                self._seal()
                claimed = self._claim_sealed()
            self._claimed = claimed
            return claimed

    def settled(self, segment: Segment) -> None:
        """The server has answered for all of it."""
        with self._lock:
            segment.remove()
            self._claimed = None
            self._total = self.stored

    def close(self) -> None:
        """Bring what was written to disk, and let go of everything."""
        with self._lock:
            self._seal()
            if self._claimed is not None:
                self._claimed.release()
                self._claimed = None

    def after_fork(self) -> None:
        """In a forked child: close what the parent has open, without touching its locks."""
        self._lock = threading.Lock()
        for segment in (self._writing, self._claimed):
            if segment is not None:
                with contextlib.suppress(OSError):
                    os.close(segment.descriptor)
        self._writing = self._claimed = None

    def _paths(self) -> list[Path]:
        return sorted(self._directory.glob("*.ndjson"))

    def _open(self) -> Segment:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            path = self._directory / f"{time.time_ns():020d}-{os.getpid()}.ndjson"
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
            if _lock(descriptor):
                break
            os.close(descriptor)  # another process took the empty file for a forgotten one
        self._total = self.stored
        self._writing = Segment(path, descriptor, 0)
        return self._writing

    def _seal(self) -> None:
        segment, self._writing = self._writing, None
        if segment is None:
            return
        if segment.size == 0:
            segment.remove()
            return
        try:
            os.fsync(segment.descriptor)
            _sync_directory(self._directory)
        except OSError as error:
            self._throttle.warn("disk", f"The spool {self._directory} cannot be written: {error.strerror}.")
        finally:
            segment.release()

    def _fitting(self, segment: Segment, events: Sequence[bytes], start: int) -> tuple[int, int]:
        """How many events go into the segment next, and their bytes."""
        count = size = 0
        for event in islice(events, start, None):
            longer = size + len(event) + 1
            if self._total + longer > self._bound or segment.size + size >= SEGMENT_BYTES:
                break
            count, size = count + 1, longer
        return count, size

    def _claim_sealed(self) -> Segment | None:
        for path in self._paths():
            if self._writing is not None and path == self._writing.path:
                continue
            try:
                descriptor = os.open(path, os.O_RDWR)
            except OSError:
                continue  # another process has replayed it, or it is not ours to read
            if not _lock(descriptor):
                os.close(descriptor)
                continue
            try:
                segment = _read(path, descriptor)
            except OSError as error:
                os.close(descriptor)
                self._throttle.warn("unreadable", f"The spool segment {path} cannot be read: {error.strerror}.")
                continue
            if segment.events or segment.torn:
                return segment
            segment.remove()
        return None


def _lock(descriptor: int) -> bool:
    """Lock the file; False if another has, or has deleted it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(descriptor).st_nlink > 0


def _read(path: Path, descriptor: int) -> Segment:
    with open(descriptor, "rb", closefd=False) as file:  # a descriptor has no path
        content = file.read()
    *lines, last = content.split(b"\n")
    events, torn = [line for line in lines if line], bool(last)
    with contextlib.suppress(ValueError, RecursionError):
        if torn and isinstance(decode(last), dict):
            events, torn = [*events, last], False
    return Segment(path, descriptor, len(content), events, torn)


def _write(segment: Segment, content: bytes) -> None:
    """All of it or, when the disk is full, nothing."""
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[os.write(segment.descriptor, rest) :]
    except OSError:
        os.ftruncate(segment.descriptor, segment.size)
        raise
    segment.size += len(content)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
