"""Which event keys are stored: the 64-bit hashes of all of them, sorted, in memory.

Eight bytes an event. Many new hashes at once are a sorted run, few gather in a set until it is full and becomes one.
Runs of similar size are merged, so that a look-up is one binary search in each of a handful of arrays. Most look-ups are
spared that: a bit for each beginning of a hash says what cannot be here (a Bloom filter with one function). "Not here" is
certain; "here" has to be verified on the full key, because two keys can share a hash.
"""

import threading

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
_SET_LIMIT = 1 << 16
_MANY = 1 << 10
_MERGE_RATIO = 4
_FILTER_BITS = 26  # eight megabytes; of ten million hashes every seventh look-up passes in vain, of a hundred million most
_AT_ONCE = 1 << 18


class HashIndex:
    """A growing set of 64-bit hashes. It takes the array that it begins with, and sorts it in a thread of its own."""

    def __init__(self, hashes: Hashes | None = None) -> None:
        self._recent: set[int] = set()
        self._runs: list[Hashes] = []
        self._filter = np.zeros(1 << (_FILTER_BITS - 3), np.uint8)
        self._sorting: threading.Thread | None = None
        if hashes is not None and len(hashes):
            self._runs.append(hashes if hashes.flags.owndata else hashes.copy())
            # Ten million take most of a second, in which the rest of the server starts.
            self._sorting = threading.Thread(target=self._sort_first, name="tollhouse-hashes")
            self._sorting.start()

    def __len__(self) -> int:
        return len(self._recent) + sum(len(run) for run in self._runs)

    def contains(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Per hash, whether it may be stored."""
        self._finish_sorting()
        found = np.zeros(len(hashes), np.bool_)
        if self._recent:
            found[:] = [one in self._recent for one in hashes.tolist()]
        byte, bit = _place(hashes)
        candidates = np.flatnonzero(self._filter[byte] & bit)
        if not len(candidates):
            return found
        candidates = candidates[np.argsort(hashes[candidates])]  # neighbours in the runs are then neighbours in time: the cache likes it
        wanted = hashes[candidates]
        hit = np.zeros(len(wanted), np.bool_)
        for run in self._runs:
            at = np.searchsorted(run, wanted)
            at[at == len(run)] = 0
            hit |= run[at] == wanted
        found[candidates] |= hit
        return found

    def add(self, hashes: Hashes) -> None:
        """Remember hashes that have been committed."""
        self._finish_sorting()
        if len(hashes) < _MANY:
            self._recent.update(hashes.tolist())
            if len(self._recent) < _SET_LIMIT:
                return
            hashes = np.fromiter(self._recent, np.uint64, len(self._recent))
            self._recent.clear()
        self._note(hashes)
        run = np.sort(hashes)
        while self._runs and len(self._runs[-1]) <= len(run) * _MERGE_RATIO:
            run = _merged(self._runs.pop(), run)
        self._runs.append(run)

    def _note(self, hashes: Hashes) -> None:
        byte, bit = _place(hashes)
        np.bitwise_or.at(self._filter, byte, bit)

    def _sort_first(self) -> None:
        (run,) = self._runs
        run.sort()
        for start in range(0, len(run), _AT_ONCE):  # each needs memory for its places
            self._note(run[start : start + _AT_ONCE])

    def _finish_sorting(self) -> None:
        if self._sorting is not None:
            self._sorting.join()
            self._sorting = None


def _place(hashes: Hashes) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Where in the filter each hash's bit is: the byte, and the bit in it."""
    beginning = hashes >> np.uint64(64 - _FILTER_BITS)
    return beginning >> np.uint64(3), np.left_shift(np.uint8(1), (beginning & np.uint64(7)).astype(np.uint8))


def _merged(run: Hashes, another: Hashes) -> Hashes:
    """Both as one, in the first one's place: a copy of ten million would be felt in memory."""
    kept = len(run)
    run.resize(kept + len(another), refcheck=False)
    run[kept:] = another
    run.sort(kind="stable")  # of two sorted halves that is a merge, which copies the shorter one
    return run
