"""A store that fails, delays, cuts off or lies at each of its operations in turn; and a process that is killed after each."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from tests.backup.parts import HOUR, NOON, PASSPHRASE, Files, Mode, Watched, bucket, contents, faults, folder, held, made, noise, take
from tollhouse import backup
from tollhouse.backup import Keep, Order, Repository
from tollhouse.backup.sources.bucket import BucketTarget
from tollhouse.kit.errors import Damaged, TollhouseError
from tollhouse.store.objects import Objects

OLD = {"a": b"alpha", "b/c": noise(600, 1), "b/d": noise(700, 2), "e": noise(5000, 5)}
NEW = OLD | {"a": b"omega", "b/new": noise(900, 3)}
DAY = 24 * HOUR


@dataclass
class Case:
    """A verb to run, on a store that may misbehave, beside snapshots that have to survive it."""

    objects: Objects
    run: Callable[[Objects], object]
    survive: dict[str, Files] = field(default_factory=dict)
    """By snapshot id; what is to be there whatever happens."""
    becomes: Files | None = None
    """What the newest snapshot holds once the verb is through."""


def opened(objects: Objects) -> Repository:
    return backup.open_repository(objects, PASSPHRASE)


def keep_newest(at: int) -> Callable[[Objects], object]:
    return lambda objects: backup.prune(opened(objects), Keep(yearly=1), NOON + at * HOUR)


def backing_up(kind: backup.BackupKind) -> Case:
    objects = Objects(MemoryStore())
    repository = made(objects, PASSPHRASE, pack_bytes=1500)
    old = take(repository, bucket(OLD)[1])
    source = bucket(NEW)[1]
    return Case(objects, lambda store: take(opened(store), source, NOON + DAY, kind, readers=1), {old.id: OLD}, NEW)


def pruning(phase: int) -> Case:
    objects = Objects(MemoryStore())
    repository = made(objects, PASSPHRASE, pack_bytes=1500)
    shared, source = bucket(OLD)
    take(repository, source)
    for key, content in NEW.items():
        shared.put(key, content[::-1])
    newest = take(repository, source, NOON + HOUR)
    if phase == 2:
        keep_newest(2)(objects)
    return Case(objects, keep_newest(2 if phase == 1 else 27), {newest.id: {key: content[::-1] for key, content in NEW.items()}})


def copying() -> Case:
    case = backing_up("full")
    first = opened(case.objects)
    take(first, bucket(NEW)[1], NOON + HOUR)
    target = Objects(MemoryStore())
    made(target, PASSPHRASE, pack_bytes=1500)
    (old,) = backup.copy(first, opened(target), first.snapshots()[:1], lambda *_: None, NOON)
    return Case(
        target, lambda store: backup.copy(first, opened(store), first.snapshots(), lambda *_: None, NOON + HOUR), {old.id: OLD}, NEW
    )


CASES: dict[str, Callable[[], Case]] = {
    "full": lambda: backing_up("full"),
    "incremental": lambda: backing_up("incremental"),
    "prune, first phase": lambda: pruning(1),
    "prune, second phase": lambda: pruning(2),
    "copy": copying,
}


def cloned(objects: Objects) -> Watched:
    twin = Objects(MemoryStore())
    for info in objects.list():
        twin.put(info.key, objects.get(info.key))
    return Watched(twin)


@pytest.mark.parametrize("mode", ["fail", "late", "cut", "lose"])
@pytest.mark.parametrize("verb", CASES)
def test_whichever_operation_goes_wrong_nothing_is_lost_and_a_second_run_completes(verb: str, mode: Mode, quick_keys: None) -> None:
    case = CASES[verb]()
    counted = cloned(case.objects)
    case.run(counted)
    operations = len(counted.log)
    assert operations > 8
    for number in range(operations):
        store = cloned(case.objects)
        store.fault = (number, mode)
        went_wrong = ""
        try:
            case.run(store)
        except TollhouseError as error:
            went_wrong = error.detail
        at = f"{mode} at {store.log[number] if number < len(store.log) else number}: {went_wrong}"
        assert not (went_wrong and mode == "late"), at
        store.fault = None
        survivors(opened(store), case, at)
        left = faults(opened(store))
        if not (mode in ("cut", "lose") and store.log[number][0] == "delete" and all("is missing" in fault for fault in left)):
            assert left == [], at  # a file of the index that was not deleted names packs that were: nobody needs them
        case.run(store)
        survivors(opened(store), case, f"{at}, then again")
        if case.becomes is not None:
            assert contents(opened(store), opened(store).snapshot("latest")) == case.becomes, at
        assert faults(opened(store)) == [], at


def survivors(repository: Repository, case: Case, at: str) -> None:
    for id, files in case.survive.items():
        assert contents(repository, repository.snapshot(id)) == files, at


@pytest.mark.parametrize("mode", ["fail", "late", "cut", "lose"])
def test_an_init_that_went_wrong_is_said_and_can_be_repeated(mode: Mode, quick_keys: None) -> None:
    counted = Watched(MemoryStore())
    made(counted, PASSPHRASE)
    for number in range(len(counted.log)):
        store = Watched(MemoryStore())
        store.fault = (number, mode)
        try:
            made(store, PASSPHRASE)
        except TollhouseError:
            store.fault = None
            if mode == "cut":  # said to be cleared by hand: what is there cannot be told from somebody's own
                for info in list(store.list()):
                    store.delete(info.key)
            if any(info.key == "config.json" for info in store.list()):
                continue  # only the check failed
            made(store, PASSPHRASE)
        store.fault = None
        assert faults(opened(store)) == []


@pytest.mark.parametrize("mode", ["fail", "late", "cut", "lose"])
@pytest.mark.parametrize("where", ["repository", "target"])
def test_a_restore_never_says_that_what_is_wrong_is_right(where: str, mode: Mode, quick_keys: None) -> None:
    case = backing_up("full")
    snapshot = opened(case.objects).snapshot("latest")
    store, target = cloned(case.objects), Watched(MemoryStore())
    backup.restore(opened(store), snapshot, BucketTarget(target, "memory://"))
    operations = len((store if where == "repository" else target).log)
    assert operations > 3
    for number in range(operations):
        store, target = cloned(case.objects), Watched(MemoryStore())
        wrong = store if where == "repository" else target
        wrong.fault = (number, mode)
        told = set()
        try:
            done = backup.restore(opened(store), snapshot, BucketTarget(target, "memory://"))
            told = {error["key"] for error in done.errors}
        except TollhouseError:
            told = set(OLD)
        wrong.fault = None
        there = {info.key: target.get(info.key) for info in target.list()}
        assert {key: content for key, content in OLD.items() if key not in told and "" not in told}.items() <= there.items()
        again = backup.restore(opened(store), snapshot, BucketTarget(target, "memory://"), overwrite=True)
        assert again.errors == []
        assert {info.key: target.get(info.key) for info in target.list()} == OLD


def test_a_pack_that_was_lost_later_is_stored_again_by_the_next_backup(quick_keys: None) -> None:
    for kind in ("full", "incremental"):
        case = backing_up("full")
        for info in list(case.objects.list("packs")):
            case.objects.delete(info.key)
        with pytest.raises(Damaged):
            contents(opened(case.objects), opened(case.objects).snapshot("latest"))
        take(opened(case.objects), bucket(OLD)[1], NOON + HOUR, kind)
        assert contents(opened(case.objects), opened(case.objects).snapshot("latest")) == OLD


def test_an_object_store_that_is_full_stops_the_run(tmp_path: Path) -> None:
    from tollhouse.kit.errors import StorageFull

    class Full(Watched):
        def put(self, key: str, content: object, *more: object, **named: object) -> None:
            if key.startswith("packs/"):
                raise StorageFull()

    objects = Objects(MemoryStore())
    made(objects)
    repository = backup.open_repository(Full(objects), None)
    with pytest.raises(StorageFull):
        backup.take(repository, [bucket(OLD)[1]], NOON, Order("full"))
    assert faults(repository) == []


@pytest.mark.parametrize("verb", ["full", "incremental", "prune"])
def test_a_process_killed_after_any_store_operation_leaves_a_whole_repository(tmp_path: Path, verb: str) -> None:
    source, base = folder(tmp_path / "source", OLD), tmp_path / "base"
    repository = made(Objects.at(str(base)), pack_bytes=1500)
    old = take(repository, source)
    if verb == "prune":
        take(repository, folder(source, {key: content[::-1] for key, content in NEW.items()}), NOON + HOUR)
    folder(source, NEW)
    arguments = ["prune", "--keep-yearly", "1"] if verb == "prune" else [verb, "--source", str(source)]
    program = [sys.executable, "-m", "tests.backup.killed", str(base), str(tmp_path / "runs"), *arguments]
    ran = subprocess.run(program, check=False, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])
    assert ran.returncode == 0, ran.stderr
    runs = sorted((tmp_path / "runs").iterdir())
    assert len(runs) > 10
    for run in runs:
        left = backup.open_repository(Objects.at(str(run)), None)
        assert faults(left) == [], run
        if verb != "prune":
            assert contents(left, left.snapshot(old.id)) == OLD
        snapshot = take(left, source, NOON + DAY)
        assert contents(left, snapshot) == NEW
        backup.restore(left, snapshot, backup.target_at(str(run / "back"), None))  # type: ignore[arg-type]
        assert held(run / "back") == NEW
        shutil.rmtree(run)
