"""What only the embedded engine can get wrong: its memory of keys, and coming back after a restart."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.test_event_store import batch
from tollhouse.store.events import CONFLICT, DUPLICATE, INSERTED, DuckDBEvents, hash_index
from tollhouse.store.events import duckdb as engine
from tollhouse.store.events.hash_index import HashIndex

# Neighbours at both ends of a table too: where many want one cell, and where a search goes round the end.
HASHES = st.one_of(st.integers(2, 2**64 - 1), st.integers(2, 5), st.integers(2**64 - 5, 2**64 - 1), st.just(0))


def test_duplicates_are_known_after_a_restart(tmp_path: Path) -> None:
    store = DuckDBEvents(tmp_path / "events.duckdb")
    store.append(batch("a", "b"))
    store.close()
    store = DuckDBEvents(tmp_path / "events.duckdb")
    assert store.append(batch("b", "c")) == [DUPLICATE, INSERTED]
    with store.reading() as read:
        assert read.settled() == 2
    store.close()


def test_two_keys_with_one_hash_are_two_events(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(engine, "_key_hash", lambda organization, source, id: 7)
    store = DuckDBEvents(tmp_path / "events.duckdb")
    assert store.append(batch("a", "b")) == [INSERTED, INSERTED]
    assert store.append(batch("c", "b", "c")) == [INSERTED, DUPLICATE, DUPLICATE]
    assert store.append(batch("a", data="{}")) == [CONFLICT]
    store.close()


def test_what_is_deleted_gives_its_space_back_in_time(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    store = DuckDBEvents(tmp_path / "events.duckdb")
    with store.writing() as write:
        write.run(
            "INSERT INTO rollup_hour (organization, meter, start, n) SELECT 'org', 'mtr', n % 2, 1 FROM range(600000) AS numbers(n)", {}
        )
    store.close()
    store = DuckDBEvents(tmp_path / "events.duckdb")
    monkeypatch.setattr(engine, "_COMPACT_EVERY", 0.0)
    with store.writing() as write:
        write.run("DELETE FROM rollup_hour WHERE start = 1", {})
    with store.reading() as read:
        ((held,),) = read.rows("SELECT estimated_size FROM duckdb_tables() WHERE table_name = 'rollup_hour'", {})
        assert read.rows("SELECT count(*) FROM rollup_hour", {}) == [(300_000,)]
    assert held < 400_000  # whole row groups go, so a part of what is deleted stays
    store.close()


def mark(number: int) -> int:
    """What a cell holds of a hash."""
    return number % 2**32 or 1


@given(st.lists(st.lists(HASHES, min_size=1), max_size=30), st.lists(HASHES), st.integers(1, 40), st.integers(1, 10))
def test_the_index_never_overlooks_a_hash_and_seldom_takes_one_for_another(
    groups: list[list[int]], loaded: list[int], cells: int, slice: int
) -> None:
    before = hash_index._FIRST_CELLS, hash_index._SLICE, hash_index._SECRET
    hash_index._FIRST_CELLS, hash_index._SLICE, hash_index._SECRET = cells, slice, np.uint64(1)
    try:
        index, known = HashIndex(np.array(loaded, np.uint64)), set(loaded)
        for group in groups:
            asked = np.array(group, np.uint64)
            marks = {mark(number) for number in known}
            for number, found in zip(group, index.contains(asked).tolist(), strict=True):
                assert found == (number in known) or (found and mark(number) in marks)
            index.add(np.unique(asked))
            known |= set(group)
            assert index.contains(asked).all()
        assert index.contains(np.array(sorted(known), np.uint64)).all()
    finally:
        hash_index._FIRST_CELLS, hash_index._SLICE, hash_index._SECRET = before


def test_the_index_tells_neighbours_apart() -> None:
    numbers = np.arange(100_000, dtype=np.uint64)
    index = HashIndex(numbers[::3].copy())
    index.add(numbers[1::3])
    assert index.contains(numbers).tolist() == [number % 3 < 2 for number in range(100_000)]
    assert len(index) == 66_667
