"""A directory of files. What a key cannot say (links, permissions, empty folders) is not kept, and is said so."""

import errno
import hashlib
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import xxhash

from tollhouse.backup.snapshot import Entry
from tollhouse.backup.sources.hashing import PIECE, sha256_of
from tollhouse.backup.sources.kinds import OBJECTS
from tollhouse.backup.sources.source import Found, Source, Target, Written
from tollhouse.kit.errors import Conflict, NotFound, StorageFull, Unavailable, Unprocessable

AT_HAND = 256 << 10
TRIES = 3  # as often as a run reads what is changing
# An empty part of a path, or one that is no name of its own.
_NO_NAME = re.compile(r"(^|/)\.{0,2}(/|\Z)")


class DirectorySource(Source):
    """The files below a directory; keys are relative paths with `/`."""

    kind = OBJECTS
    at_hand = AT_HAND

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise NotFound(f"There is no directory {path}.")
        self._root = path.absolute()
        self.address = str(self._root)
        self._problems: list[dict[str, str]] = []
        self._changes: dict[str, int] = {}  # while it was read, by key

    def listing(self) -> list[Found]:
        found: list[Found] = []
        self._problems, self._changes = [], {}
        folders = [(str(self._root), "")]
        while folders:
            folder, prefix = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        key = prefix + entry.name
                        if entry.is_dir(follow_symlinks=False):
                            folders.append((entry.path, key + "/"))
                        elif entry.is_file(follow_symlinks=False) and _speakable(key):
                            status = entry.stat(follow_symlinks=False)
                            found.append(
                                Found(key, status.st_size, status.st_mtime_ns // 1000, f"{status.st_ino:x}-{status.st_mtime_ns:x}")
                            )
                        elif not _speakable(key):
                            self._problems.append({"key": _shown(key), "reason": "its name is not in UTF-8"})
                        else:
                            reason = "a link" if entry.is_symlink() else "neither a file nor a folder"
                            self._problems.append({"key": key, "reason": reason, "severity": "note"})
            except OSError as error:
                self._problems.append({"key": _shown(prefix), "reason": error.strerror or "cannot be listed"})
        found.sort(key=lambda one: one.key)
        return found

    @contextmanager
    def content(self, found: Found) -> Iterator[IO[bytes]]:
        try:
            with open(f"{self.address}/{found.key}", "rb", buffering=0) as file:
                before = os.fstat(file.fileno())
                yield file
                after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                self._note_change(found.key)
        except FileNotFoundError:
            raise NotFound("it has gone since it was listed") from None
        except OSError as error:
            raise Unavailable(error.strerror or "cannot be read") from None

    def _note_change(self, key: str) -> None:
        """Have a file read again that was written to meanwhile; one that is written to each time is kept as it was read, and named."""
        self._changes[key] = self._changes.get(key, 0) + 1
        if self._changes[key] < TRIES:
            raise Conflict("it was changed while it was read")
        reason = "it was changed each time that it was read, so its parts may be of different times"
        self._problems.append({"key": key, "reason": reason, "severity": "note"})

    def problems(self) -> list[dict[str, str]]:
        return self._problems


class DirectoryTarget(Target):
    """A directory, made if missing."""

    writers = 4
    at_hand = AT_HAND
    streams = True

    def __init__(self, path: Path) -> None:
        self._root = path.absolute()
        self.address = str(self._root)
        self._plain = {self.address}  # folders that were looked at and are no links
        self._own = f".restore-{secrets.token_hex(6)}"  # what a file is called until it is whole

    def present(self, key: str) -> Written | None:
        path = self._path(key)
        if path.rpartition("/")[0] in self._plain and not os.access(path, os.F_OK, follow_symlinks=False):
            return None
        try:
            # Neither waiting for a pipe nor following a link.
            opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unprocessable(self._obstacle(path, error)) from None
        try:
            status = os.fstat(opened)
            if not stat.S_ISREG(status.st_mode):
                raise Unprocessable(f"{path} is in the way: it is no file.")
            if status.st_size > self.at_hand:
                with open(opened, "rb", buffering=0, closefd=False) as file:
                    return Written(*sha256_of(file))
            content = os.read(opened, status.st_size + 1)  # what is asked for is made room for, and that takes time
            return Written(len(content), hashlib.sha256(content).hexdigest())
        finally:
            os.close(opened)

    def write(self, entry: Entry, content: IO[bytes]) -> bool:
        path = self._path(entry.key)
        part = f"{path.rpartition('/')[0]}/{self._own}-{threading.get_ident():x}"
        try:
            file = _make(part)
            try:
                try:
                    compared = _fill(file, content)
                    os.utime(file, ns=(entry.modified * 1000, entry.modified * 1000))
                finally:
                    os.close(file)
                os.replace(part, path)
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise StorageFull(f"The disk of {self._root} is full; {entry.key} was not restored.") from None
            raise Unavailable(f"{path} cannot be written: {error.strerror}.") from None
        return compared

    def finish(self) -> list[str]:
        os.sync()  # once for all: file by file it takes three times as long as writing them
        return []

    def _path(self, key: str) -> str:
        """Where a key's file is; raises Unprocessable where that would be outside, or in a folder behind a link."""
        if "\0" in key or _NO_NAME.search(key):
            raise Unprocessable(f"The key {key[:120]!r} cannot be a file below {self._root}; restore it to a bucket.")
        path = f"{self.address}/{key}"
        folder = path.rpartition("/")[0]
        if folder not in self._plain:
            self._look_at(Path(folder))
        return path

    def _obstacle(self, path: str, error: OSError) -> str:
        """Why what is there cannot be looked at."""
        match error.errno:
            case errno.ELOOP:
                return f"{path} is a link; nothing is restored through it."
            case errno.ENOTDIR:
                return f"{path}: a file is in the way of its folder."
            case _:
                return f"{path} cannot be read: {error.strerror}."

    def _look_at(self, folder: Path) -> None:
        """A link on the way would lead out of the target."""
        for one in (folder, *folder.parents):
            if str(one) in self._plain:
                break
            if one.is_symlink():
                raise Unprocessable(f"{one} is a link; nothing is restored through it.")
            if one.is_dir():
                self._plain.add(str(one))


def _make(path: str) -> int:
    """Open a new file, whose folders are made if they are missing."""
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o666)


def _fill(file: int, content: IO[bytes]) -> bool:
    """Write an open file, and read it again; returns whether that is the same, by a checksum that no accident outwits."""
    given, size = xxhash.xxh3_128(), 0
    while piece := content.read(PIECE):
        given.update(piece)
        size += len(piece)
        left = memoryview(piece)
        while left:  # less than all is taken where a disk is about to be full
            left = left[os.write(file, left) :]
    kept = xxhash.xxh3_128()
    for at in range(0, size + 1, PIECE):
        kept.update(os.pread(file, min(PIECE, size + 1 - at), at))
    return kept.digest() == given.digest()


def _speakable(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(key: str) -> str:
    return key.encode(errors="backslashreplace").decode()
