"""Files that are sent: by a path, or as a name and what is in it. They are read while they are sent, never whole."""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TypeGuard

Attachment = str | os.PathLike[str] | tuple[str, bytes | IO[bytes]]


@contextmanager
def opened(files: Sequence[Attachment]) -> Iterator[list[tuple[str, IO[bytes]]]]:
    """The files as (name, open file), each at its beginning; raises OSError, or TypeError for what is no file."""
    with ExitStack() as stack:
        yield [_open(file, stack) for file in files]


def _open(file: Attachment, stack: ExitStack) -> tuple[str, IO[bytes]]:
    if not is_file(file):
        raise TypeError(f"files: {type(file).__name__} is no file; give a path, or a pair of a name and bytes or an open binary file")
    if isinstance(file, str | os.PathLike):
        path = Path(file)
        return path.name, stack.enter_context(path.open("rb"))
    name, content = file
    if isinstance(content, bytes):
        return name, io.BytesIO(content)
    content.seek(0)
    return name, content


def is_file(file: object) -> TypeGuard[Attachment]:
    """Whether it can be sent: a path, or a name with bytes or an open binary file."""
    if isinstance(file, str | os.PathLike):
        return True
    return (
        isinstance(file, tuple) and len(file) == 2 and isinstance(file[0], str) and (isinstance(file[1], bytes) or hasattr(file[1], "read"))
    )
