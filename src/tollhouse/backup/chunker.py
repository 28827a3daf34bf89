"""Cutting large files where their content says so: an insertion then changes one chunk and not all behind it.

FastCDC with normalized chunking (Xia et al., USENIX ATC 2016), by `pyfastcdc`; tests/backup holds where it cuts, because a
version that cut elsewhere would store every large file anew.
"""

from collections.abc import Iterator
from typing import IO

from pyfastcdc import FastCDC

LEAST, AVERAGE, MOST = 256 << 10, 1 << 20, 4 << 20
WHOLE = 8 << 20
_WINDOW, _READ = 12 << 20, 1 << 20


def pieces(content: IO[bytes], size: int) -> Iterator[bytes]:
    """A file of up to 8 MB whole, a larger one in chunks; in memory of about 20 MB."""
    if size <= WHOLE:
        # No more room is asked for than is needed: eight megabytes each time take longer than a small file.
        whole = content.read(size + 1)
        if len(whole) != size:
            whole += content.read(WHOLE + 1 - len(whole))  # it has another size than when it was listed
        if len(whole) > WHOLE:
            yield from _cut(content, whole)
        elif whole:
            yield whole
        return
    yield from _cut(content, b"")


def _cut(content: IO[bytes], begun: bytes) -> Iterator[bytes]:
    cutter = FastCDC(avg_size=AVERAGE, min_size=LEAST, max_size=MOST)
    window = memoryview(bytearray(_WINDOW))
    held = len(begun)
    window[:held] = begun
    while True:
        while held < _WINDOW and (more := content.read(min(_WINDOW - held, _READ))):
            window[held : held + len(more)] = more
            held += len(more)
        used, ended = 0, held < _WINDOW
        for chunk in cutter.cut_buf(window[:held]):
            # The last chunk of a window may end only because the window does: it is cut again with what follows.
            if not ended and chunk.offset + chunk.length == held:
                break
            used = chunk.offset + chunk.length
            yield bytes(window[chunk.offset : used])
        if ended:
            return
        window[: held - used] = window[used:held]
        held -= used
