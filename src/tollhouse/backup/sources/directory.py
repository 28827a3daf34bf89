"""A directory of files. What a key cannot say (links, permissions, empty folders) is not kept, and is said so."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tollhouse.backup.snapshot import Entry
from tollhouse.backup.sources.hashing import copied, sha256_of
from tollhouse.backup.sources.source import Found, Source, Target, Written
from tollhouse.kit.errors import NotFound, StorageFull, Unavailable, Unprocessable


class DirectorySource(Source):
    """The files below a directory; keys are relative paths with `/`."""

    kind = "objects"

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise NotFound(f"There is no directory {path}.")
        self._root = path.absolute()
        self.address = str(self._root)
        self._problems: list[dict[str, str]] = []

    def listing(self) -> list[Found]:
        found: list[Found] = []
        self._problems = []
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
                        else:
                            self._problems.append({"key": _shown(key), "reason": "not a regular file with a name in UTF-8"})
            except OSError as error:
                self._problems.append({"key": _shown(prefix), "reason": error.strerror or "cannot be listed"})
        found.sort(key=lambda one: one.key)
        return found

    @contextmanager
    def content(self, found: Found) -> Iterator[IO[bytes]]:
        try:
            with (self._root / found.key).open("rb", buffering=0) as file:
                yield file
        except FileNotFoundError:
            raise NotFound("it has gone since it was listed") from None
        except OSError as error:
            raise Unavailable(error.strerror or "cannot be read") from None

    def problems(self) -> list[dict[str, str]]:
        return self._problems


class DirectoryTarget(Target):
    """A directory, made if missing."""

    writers = 4

    def __init__(self, path: Path) -> None:
        self._root = path.absolute()
        self.address = str(self._root)
        self._plain = {self._root}  # folders that were looked at and are no links

    def present(self, key: str) -> Written | None:
        path = self._path(key)
        if not path.exists():
            return None
        if not path.is_file():
            raise Unprocessable(f"{path} is in the way: it is no file.")
        with path.open("rb") as file:
            return Written(*sha256_of(file))

    def write(self, entry: Entry, content: IO[bytes]) -> None:
        path = self._path(entry.key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".restore-", delete=False) as part:
                try:
                    copied(content, part)
                    part.flush()
                    os.utime(part.name, ns=(entry.modified * 1000, entry.modified * 1000))
                    Path(part.name).chmod(0o644)
                    Path(part.name).replace(path)
                except BaseException:
                    Path(part.name).unlink(missing_ok=True)
                    raise
        except OSError as error:
            if error.errno == 28:
                raise StorageFull(f"The disk of {self._root} is full; {entry.key} was not restored.") from None
            raise Unavailable(f"{path} cannot be written: {error.strerror}.") from None

    def finish(self) -> list[str]:
        os.sync()  # once for all: file by file it takes three times as long as writing them
        return []

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if not key or "\0" in key or any(part in ("", ".", "..") for part in parts):
            raise Unprocessable(f"The key {key[:120]!r} cannot be a file below {self._root}; restore it to a bucket.")
        path = self._root.joinpath(*parts)
        for folder in path.parents:  # a link on the way would lead out of the target
            if folder in self._plain:
                break
            if folder.is_symlink():
                raise Unprocessable(f"{folder} is a link; nothing is restored through it.")
            if folder.is_dir():
                self._plain.add(folder)
        if path.is_symlink():
            raise Unprocessable(f"{path} is a link; nothing is restored through it.")
        return path


def _speakable(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(key: str) -> str:
    return key.encode(errors="backslashreplace").decode()
