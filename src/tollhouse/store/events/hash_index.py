"""Which event keys are stored: what tells the 64-bit hashes of all of them apart, in memory.

They lie in tables with open addressing (Knuth, The Art of Computer Programming, volume 3, section 6.4, algorithm L):
the lower half of a hash, its mark, stands in the first free cell from the one that its upper half names, so that a
look-up reads one or two places of memory. A table is at most two thirds full, and the next one has as many cells as
all before it: nothing is ever moved, and six to twelve bytes an event are in use. "Not here" is certain; "here" has to
be verified on the full key, because two keys can share a cell's neighbourhood and a mark.

Hashes are multiplied by a secret number first (multiply-shift, Dietzfelbinger and others 1997): nobody can choose ids
that all want the same cell.
"""

import secrets

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Marks = NDArray[np.uint32]
Places = NDArray[np.intp]
_FIRST_CELLS = 1 << 20
_SLICE = 1 << 20  # hashes to fill in at a time, which bounds the memory that it takes
_HALF = np.uint64(32)
_SECRET = np.uint64(secrets.randbits(64) | 1)  # odd, so that different hashes stay different


class HashIndex:
    """A growing set of 64-bit hashes."""

    def __init__(self, hashes: Hashes | None = None) -> None:
        stored = np.zeros(0, np.uint64) if hashes is None else hashes * _SECRET
        stored.sort()
        self._tables = [_Table(max(_FIRST_CELLS, 3 * len(stored) // 2 + 1))]
        self._tables[0].fill(stored)

    def __len__(self) -> int:
        return sum(table.count for table in self._tables)

    def contains(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Per hash, whether it may be stored."""
        wanted = hashes * _SECRET
        found = np.zeros(len(hashes), np.bool_)
        for table in self._tables:
            found |= table.contains(wanted)
        return found

    def add(self, hashes: Hashes) -> None:
        """Remember hashes that have been committed."""
        if not self._tables[-1].has_room_for(len(hashes)):
            cells = sum(len(table.cells) for table in self._tables)
            self._tables.append(_Table(max(cells, 2 * len(hashes))))
        self._tables[-1].add(hashes * _SECRET)


class _Table:
    """Cells, of which at least a third is free: a search ends at the first free one, which holds 0."""

    def __init__(self, cells: int) -> None:
        self.cells: Marks = np.zeros(cells, np.uint32)
        self.count = 0

    def has_room_for(self, more: int) -> bool:
        return 3 * (self.count + more) <= 2 * len(self.cells)

    def contains(self, hashes: Hashes) -> NDArray[np.bool_]:
        at, marks = self._home(hashes), _marks(hashes)
        held = self.cells[at]
        found: NDArray[np.bool_] = held == marks
        left = np.flatnonzero((held != 0) & ~found)
        while len(left):
            at[left] = step = self._next(at[left])
            held = self.cells[step]
            hit = held == marks[left]
            found[left[hit]] = True
            left = left[(held != 0) & ~hit]
        return found

    def add(self, hashes: Hashes) -> None:
        self.count += len(hashes)
        at, marks = self._home(hashes), _marks(hashes)
        while len(marks):
            free = self.cells[at] == 0
            self.cells[at[free]] = marks[free]
            outdone = self.cells[at] != marks  # of several that want one cell, one has it
            marks, at = marks[outdone], self._next(at[outdone])

    def fill(self, hashes: Hashes) -> None:
        """Add sorted hashes to the empty table: each stands at its own cell or right behind the one before it."""
        free = 0
        for part in np.split(hashes, range(_SLICE, len(hashes), _SLICE)):
            number = np.arange(len(part))
            lead = self._home(part) - number
            lead[:1] = np.maximum(lead[:1], free)
            at = np.maximum.accumulate(lead) + number
            inside = int(np.searchsorted(at, len(self.cells)))
            self.cells[at[:inside]] = _marks(part[:inside])
            self.count += inside
            self.add(part[inside:])  # these go round the end
            free = len(self.cells) if inside < len(part) else int(at.max(initial=0)) + 1

    def _home(self, hashes: Hashes) -> Places:
        return ((hashes >> _HALF) * np.uint64(len(self.cells)) >> _HALF).astype(np.intp)

    def _next(self, at: Places) -> Places:
        following = at + 1
        following[following == len(self.cells)] = 0
        return following


def _marks(hashes: Hashes) -> Marks:
    marks = hashes.astype(np.uint32)
    marks[marks == 0] = 1  # 0 is a free cell; to mix the two up costs no more than a verification
    return marks
