"""Which snapshots are kept, against a slow reading of what the rules say; and a store that lets nothing go."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from tests.backup.parts import HOUR, NOON, bucket, contents, faults, made, noise, take
from tollhouse import backup
from tollhouse.backup import Keep, Snapshot, kept
from tollhouse.backup.retention import LARGEST_COUNT, LONGEST, span
from tollhouse.backup.snapshot import Collection
from tollhouse.kit.errors import Unavailable, Unprocessable
from tollhouse.store.objects import Objects

COUNTS = st.integers(0, 4)
KEEPS = st.builds(Keep, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.integers(0, 900).map(lambda hours: hours * HOUR))
PERIODS: dict[str, Callable[[datetime], str]] = {
    "hourly": lambda at: at.strftime("%Y-%m-%d %H"),
    "daily": lambda at: at.strftime("%Y-%m-%d"),
    "weekly": lambda at: at.strftime("%G-%V"),
    "monthly": lambda at: at.strftime("%Y-%m"),
    "yearly": lambda at: at.strftime("%Y"),
}


def one(number: int, hours_ago: float, source: str = "a", kind: str = "full") -> Snapshot:
    at = NOON - timedelta(hours=hours_ago)
    return Snapshot(f"{number:016}", at.isoformat(), kind, [Collection(source, "objects", [], 0, 0)])  # type: ignore[arg-type]


AGES = st.lists(st.one_of(st.integers(0, 60), st.integers(0, 30_000), st.floats(0, 100)), min_size=1, max_size=30)


def snapshots_of(ages: list[float]) -> list[Snapshot]:
    return [one(number, ages[number]) for number in range(len(ages))]


def slowly(snapshots: list[Snapshot], keep: Keep, now: datetime) -> set[str]:
    """Snapshots of one source, by the letter: the newest of each of the last N periods that have one."""
    by_age = sorted(snapshots, key=lambda snapshot: (snapshot.moment, snapshot.id))
    found = {by_age[-1].id}
    for name, period in PERIODS.items():
        newest = {period(snapshot.moment): snapshot.id for snapshot in by_age}
        last = sorted(newest, reverse=True)[: getattr(keep, name)]
        found |= {newest[each] for each in last}
    if keep.within:
        found |= {snapshot.id for snapshot in by_age if snapshot.moment >= now - keep.within}
    return {snapshot.id for snapshot in by_age} if keep == Keep() else found


@given(AGES, KEEPS)
def test_the_rules_keep_what_they_say(ages: list[float], keep: Keep) -> None:
    assert set(kept(snapshots_of(ages), keep, NOON)) == slowly(snapshots_of(ages), keep, NOON)


@given(AGES, KEEPS)
def test_the_newest_is_always_kept(ages: list[float], keep: Keep) -> None:
    newest = max(snapshots_of(ages), key=lambda snapshot: (snapshot.moment, snapshot.id))
    assert "newest" in kept(snapshots_of(ages), keep, NOON)[newest.id]


@given(AGES, KEEPS, KEEPS)
def test_more_to_keep_never_keeps_less(ages: list[float], keep: Keep, more: Keep) -> None:
    if keep.everything:
        return
    names = (*PERIODS, "within")
    both = Keep(**{name: max(getattr(keep, name), getattr(more, name)) for name in names})
    assert set(kept(snapshots_of(ages), keep, NOON)) <= set(kept(snapshots_of(ages), both, NOON))


@given(AGES, KEEPS)
def test_a_second_run_forgets_nothing_more(ages: list[float], keep: Keep) -> None:
    first = kept(snapshots_of(ages), keep, NOON)
    left = [snapshot for snapshot in snapshots_of(ages) if snapshot.id in first]
    assert set(kept(left, keep, NOON)) == set(first)


def test_each_source_keeps_its_own_and_metadata_takes_nobodys_place() -> None:
    every = [one(0, 5), one(1, 1), one(2, 9, "b"), one(3, 8, "b"), one(4, 0, kind="metadata"), one(5, 2, kind="metadata")]
    assert set(kept(every, Keep(yearly=1), NOON)) == {f"{number:016}" for number in (1, 3, 4)}


@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_no_run_deletes_more_than_it_may_and_several_delete_it_all(most: int) -> None:
    objects = Objects(MemoryStore())
    repository = made(objects, pack_bytes=500)
    for number in range(6):
        take(repository, bucket({"a": noise(400, number)})[1], NOON + number * HOUR, "full")
    now, left = NOON + 6 * HOUR, 1
    while left:
        done = backup.prune(repository, Keep(yearly=1), now, most)
        assert len(done.forgotten) + len(done.deleted) <= most
        assert len(repository.snapshots()) >= 1
        now += 25 * HOUR
        left = done.left_for_later + len(done.doomed) + len(repository.doomed())
    assert len(repository.pack_sizes()) == 2
    assert contents(repository, repository.snapshot("latest")) == {"a": noise(400, 5)}
    assert faults(repository) == []


def test_a_dry_run_says_what_would_go_and_deletes_nothing() -> None:
    objects = Objects(MemoryStore())
    repository = made(objects)
    for number in range(3):
        take(repository, bucket({"a": noise(4000, number)})[1], NOON + number * HOUR, "full")
    before = {info.key for info in objects.list()}
    said = backup.prune(repository, Keep(yearly=1), NOON + 3 * HOUR, dry_run=True)
    assert {info.key for info in objects.list()} == before
    done = backup.prune(repository, Keep(yearly=1), NOON + 3 * HOUR)
    assert (said.forgotten, said.doomed, said.kept) == (done.forgotten, done.doomed, done.kept)
    said = backup.prune(repository, Keep(yearly=1), NOON + 30 * HOUR, dry_run=True)
    done = backup.prune(repository, Keep(yearly=1), NOON + 30 * HOUR)
    assert done.deleted
    assert (said.deleted, said.freed_bytes) == (done.deleted, done.freed_bytes)


class Locked(Objects):
    """A store that refuses to delete some of what it has, as one with object lock or without that permission does."""

    def __init__(self, store: MemoryStore, folders: tuple[str, ...]) -> None:
        super().__init__(store)
        self.folders = folders

    def delete(self, key: str) -> None:
        if key.startswith(self.folders):
            raise Unavailable("AccessDenied: object lock")
        super().delete(key)


@pytest.mark.parametrize(
    "folders", [("snapshots/",), ("packs/",), ("index/",), ("doomed/",), ("snapshots/", "packs/", "index/", "doomed/")]
)
def test_what_the_store_does_not_let_go_is_retained_and_no_error(folders: tuple[str, ...]) -> None:
    objects = Locked(MemoryStore(), folders)
    repository = made(objects, pack_bytes=500)
    files = [{"a": noise(400, number), "same": b"same"} for number in range(3)]
    ids = [take(repository, bucket(one)[1], NOON + number * HOUR, "full").id for number, one in enumerate(files)]
    retained = []
    for hours in (3, 30, 60, 90):
        done = backup.prune(repository, Keep(yearly=1), NOON + hours * HOUR)
        retained += done.retained
        for id, expected in zip(ids, files, strict=True):
            if id in done.kept or "snapshots/" in folders:
                assert contents(repository, repository.snapshot(id)) == expected
    assert {key.split("/")[0] + "/" for key in retained} <= set(folders)
    assert retained
    assert faults(repository) == []
    objects.folders = ()
    for hours in (120, 150):
        backup.prune(repository, Keep(yearly=1), NOON + hours * HOUR)
    assert len(repository.snapshots()) == 1
    assert faults(repository) == []
    assert contents(repository, repository.snapshot(ids[-1])) == files[-1]


@pytest.mark.parametrize("count", [-1, -(10**30), LARGEST_COUNT + 1, 10**30])
@pytest.mark.parametrize("name", PERIODS)
def test_a_count_that_is_none_is_refused_and_says_what_would_be_one(name: str, count: int) -> None:
    with pytest.raises(Unprocessable, match=rf"keep {name}: {count} .* 0 \(no such rule\) to {LARGEST_COUNT}\."):
        Keep(**{name: count})  # type: ignore[arg-type]  # each of these is a count


def test_the_largest_that_can_be_kept_is_kept() -> None:
    every = snapshots_of([0, 40_000, 400_000])
    assert len(kept(every, Keep(within=LONGEST), NOON)) == len(kept(every, Keep(yearly=LARGEST_COUNT), NOON)) == 3


def test_a_time_longer_than_the_calendar_is_refused_and_says_the_longest() -> None:
    for count in (LONGEST.days + 1, 10**13, 10**5000, -1):
        with pytest.raises(Unprocessable, match=f"keep within: .* 0 to {LONGEST.days} days"):
            span(count, timedelta(days=1))
    with pytest.raises(Unprocessable, match="keep within"):
        Keep(within=LONGEST + HOUR)
