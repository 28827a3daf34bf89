"""What only the embedded engine can get wrong: its memory of keys, and coming back after a restart."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.test_event_store import batch
from tollhouse.store.events import CONFLICT, DUPLICATE, INSERTED, DuckDBEvents
from tollhouse.store.events import duckdb as engine
from tollhouse.store.events.hash_index import HashIndex


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
    monkeypatch.setattr(engine, "_key_hashes", lambda batch: np.full(len(batch), 7, np.uint64))
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


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**64 - 1), min_size=1), max_size=30), st.integers(1, 40))
def test_the_index_knows_exactly_what_was_added(groups: list[list[int]], limit: int) -> None:
    import tollhouse.store.events.hash_index as module

    before, module._SET_LIMIT = module._SET_LIMIT, limit
    try:
        index, known = HashIndex(), set()
        for group in groups:
            asked = np.array(group, np.uint64)
            assert index.contains(asked).tolist() == [number in known for number in group]
            index.add(np.unique(asked))
            known |= set(group)
            assert index.contains(asked).all()
    finally:
        module._SET_LIMIT = before
