"""Any sequence of changes, backups, prunes and restores against a model; and backups beside backups, beside prunes."""

import random
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from obstore.store import MemoryStore

from tests.backup.parts import HOUR, NOON, Files, Watched, bucket, contents, faults, folder, made, noise, take
from tollhouse import backup
from tollhouse.backup import Keep, Order, Repository
from tollhouse.backup import run as running
from tollhouse.backup.sources.bucket import BucketSource, BucketTarget
from tollhouse.kit.errors import Conflict, Damaged
from tollhouse.store.objects import Objects

KEYS = st.sampled_from(["a", "b", "c/d", "c/e", "f/g/h"])
CONTENTS = st.one_of(st.binary(max_size=20), st.integers(0, 5).map(lambda seed: noise(500, seed)))
COUNT = st.integers(0, 3)


class Backups(RuleBasedStateMachine):
    """A bucket that changes, and a repository of it."""

    def __init__(self) -> None:
        super().__init__()
        self.objects, self.source = bucket({})
        self.store = Objects(MemoryStore())
        made(self.store, pack_bytes=600)
        self.now = NOON
        self.files: Files = {}
        self.snapshots: dict[str, Files | None] = {}

    @property
    def repository(self) -> Repository:
        return backup.open_repository(self.store, None)

    @rule(key=KEYS, content=CONTENTS)
    def put(self, key: str, content: bytes) -> None:
        self.objects.put(key, content)
        self.files[key] = content

    @precondition(lambda self: self.files)
    @rule(chance=st.randoms(use_true_random=False))
    def delete(self, chance: random.Random) -> None:
        key = chance.choice(sorted(self.files))
        self.objects.delete(key)
        del self.files[key]

    @rule(hours=st.sampled_from([1, 5, 11, 13, 23, 25, 24 * 8]))
    def wait(self, hours: int) -> None:
        self.now += hours * HOUR

    @rule(kind=st.sampled_from(["full", "incremental", "incremental", "metadata"]))
    def back_up(self, kind: backup.BackupKind) -> None:
        self.now += timedelta(seconds=1)
        snapshot = take(self.repository, self.source, self.now, kind, readers=1)
        self.snapshots[snapshot.id] = None if kind == "metadata" else dict(self.files)

    @rule(keep=st.builds(Keep, COUNT, COUNT, COUNT, COUNT, COUNT), most=st.sampled_from([1, 3, 1000]))
    def prune(self, keep: Keep, most: int) -> None:
        done = backup.prune(self.repository, keep, self.now, most)
        for id in done.forgotten:
            del self.snapshots[id]

    @precondition(lambda self: any(self.snapshots.values()))
    @rule(chance=st.randoms(use_true_random=False))
    def restore(self, chance: random.Random) -> None:
        id = chance.choice(sorted(id for id, files in self.snapshots.items() if files))
        there = Objects(MemoryStore())
        repository = self.repository
        backup.restore(repository, repository.snapshot(id), BucketTarget(there, "memory://"))
        assert {info.key: there.get(info.key) for info in there.list()} == self.snapshots[id]

    @rule()
    def lose_what_is_not_committed(self) -> None:
        """A backup that died before its commit leaves packs, and perhaps an index."""
        repository = self.repository
        packer = repository.packer()
        packer.add("data", noise(700, len(self.snapshots)))
        packs = packer.finish()
        if len(self.snapshots) % 2:
            repository.add_index(packs)

    @invariant()
    def everything_is_there(self) -> None:
        repository = self.repository
        assert faults(repository) == []
        assert {one.id for one in repository.snapshots()} == set(self.snapshots)
        for one in repository.snapshots():
            files = self.snapshots[one.id]
            if files is not None:
                assert contents(repository, one) == files


TestBackups = Backups.TestCase
TestBackups.settings = settings(max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.soak
class TestManyBackups(Backups.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(max_examples=1500, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck))


# At the same time

SHARED = {f"shared/{at}": noise(300, at) for at in range(8)}


def test_two_backups_at_once_do_not_harm_each_other() -> None:
    store = Objects(MemoryStore())
    made(store, pack_bytes=700)
    for round in range(12):
        files = [SHARED | {"own": noise(200, round * 2 + who), f"r{round}": b"%d" % round} for who in range(2)]
        barrier = threading.Barrier(2)
        ids: list[str] = ["", ""]

        def run(
            who: int, files: list[Files] = files, barrier: threading.Barrier = barrier, ids: list[str] = ids, round: int = round
        ) -> None:
            watched = Watched(store)
            watched.before = lambda number, verb, key: barrier.wait(5) if number in (3, 8) else None  # type: ignore[assignment]
            repository = backup.open_repository(watched, None)
            ids[who] = take(repository, bucket(files[who])[1], NOON + round * HOUR, "full").id

        threads = [threading.Thread(target=run, args=(who,)) for who in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        repository = backup.open_repository(store, None)
        for id, expected in zip(ids, files, strict=True):
            assert contents(repository, repository.snapshot(id)) == expected
    assert faults(repository) == []
    for days in range(4):
        backup.prune(repository, Keep(hourly=3), NOON + (13 + 25 * days) * HOUR)
    assert faults(repository) == []
    assert contents(repository, repository.snapshot("latest"))["r11"] == b"11"


def test_two_processes_at_once_do_not_harm_each_other(tmp_path: Path) -> None:
    base = str(tmp_path / "repository")
    repository = made(Objects.at(base), pack_bytes=700)
    sources = [folder(tmp_path / name, SHARED | {name: name.encode()}) for name in ("alice", "bob")]
    command = [sys.executable, "-m", "tollhouse", "backup", "full", "--repository", base, "--source"]
    processes = [subprocess.Popen([*command, str(source)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for source in sources]
    assert [process.wait(60) for process in processes] == [0, 0]
    for process in processes:
        assert process.stderr is not None
        process.stderr.close()
    assert faults(repository) == []
    found = {one.collections[0].address: contents(repository, one) for one in repository.snapshots()}
    assert found == {str(source): SHARED | {source.name: source.name.encode()} for source in sources}


Prune = Callable[[Objects, "Clock"], None]


class Clock:
    """The time of both; a test moves it."""

    def __init__(self) -> None:
        self.now = NOON + 30 * HOUR

    def moved(self, hours: float) -> None:
        self.now += timedelta(hours=hours)

    def monotonic(self) -> float:
        return self.now.timestamp()


def delete_what_is_due(store: Objects, clock: Clock) -> None:
    backup.prune(backup.open_repository(store, None), Keep(yearly=1), clock.now)


def delete_after(hours: float) -> Prune:
    """Doom, and come again that much later, while the backup still runs."""

    def prune(store: Objects, clock: Clock) -> None:
        delete_what_is_due(store, clock)
        clock.moved(hours)
        delete_what_is_due(store, clock)

    return prune


PRUNES = {"what is due": delete_what_is_due, "11 hours": delete_after(11), "13 hours": delete_after(13), "25 hours": delete_after(25)}


@pytest.mark.parametrize("kind", ["full", "incremental"])
@pytest.mark.parametrize("doomed", [True, False], ids=["doomed before", "doomed meanwhile"])
@pytest.mark.parametrize("prune", PRUNES)
def test_a_prune_at_any_point_of_a_backup_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, prune: str, doomed: bool, kind: backup.BackupKind
) -> None:
    files = SHARED | {"new": noise(800, 99)}
    outcomes = set()
    number, operations = 0, 1
    while number < operations:
        clock = Clock()
        monkeypatch.setattr(running, "time", clock)
        base = Objects(MemoryStore())
        repository = made(base, pack_bytes=700)
        shared, source = bucket(SHARED)
        take(repository, source, NOON - HOUR)  # what it stored is due, forgotten only now, or its parent
        if doomed:
            take(repository, bucket({"other": b"1"})[1], NOON)
            backup.prune(repository, Keep(yearly=1), NOON)
        for key, content in files.items():
            shared.put(key, content)
        store = Watched(base)
        backing_up = backup.open_repository(store, None)
        store.log.clear()

        def step(
            at: int, verb: str, key: str, store: Watched = store, clock: Clock = clock, base: Objects = base, number: int = number
        ) -> None:
            if at == number and not (prune == "25 hours" and verb == "put" and key.startswith("snapshots/")):
                PRUNES[prune](base, clock)  # but for a commit that hangs for longer than half of the grace period

        store.before = step
        try:
            snapshot = backup.take(backing_up, [source], clock.now, Order(kind, readers=1, transfers=1))
            outcomes.add("taken")
        except (Conflict, Damaged):  # Damaged where the very file that was being written is gone a day later
            outcomes.add("refused")
            snapshot = backup.take(backing_up, [source], clock.now, Order(kind, readers=1))
        operations = max(operations, len(store.log)) if number == 0 else operations
        for later in (0, 13, 26, 52):
            backup.prune(backup.open_repository(base, None), Keep(yearly=1), clock.now + later * HOUR)
            left = backup.open_repository(base, None)
            assert contents(left, left.snapshot(snapshot.id)) == files
            assert faults(left) == []
        number += 1
    assert operations > 10
    assert "taken" in outcomes


def test_an_hourly_backup_goes_on_when_a_prune_ran_beside_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a backup stored while a prune looked is doomed until the next; the backups in between store it anew and do not fail."""
    base = Objects(MemoryStore())
    made(base, pack_bytes=700)
    store = Watched(base)
    objects, source = bucket(SHARED)
    store.before = lambda at, verb, key: (
        backup.prune(backup.open_repository(base, None), Keep(yearly=1), NOON) if key.startswith("index/") and verb == "put" else None
    )  # type: ignore[assignment]
    take(backup.open_repository(store, None), source, NOON)
    assert backup.open_repository(base, None).doomed()
    for hour in range(1, 24):
        objects.put("hour", b"%d" % hour)
        repository = backup.open_repository(base, None)
        assert contents(repository, take(repository, source, NOON + hour * HOUR)) == SHARED | {"hour": b"%d" % hour}
    for hours in (24, 49, 75):
        backup.prune(backup.open_repository(base, None), Keep(yearly=1), NOON + hours * HOUR)
    repository = backup.open_repository(base, None)
    assert faults(repository) == []
    assert contents(repository, repository.snapshot("latest"))["hour"] == b"23"
    assert isinstance(source, BucketSource)
