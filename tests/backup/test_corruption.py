"""Each byte of a small repository flipped in turn, each file deleted, cut off or grown; and golden repositories that stay readable."""

import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from tests.backup.golden import make
from tests.backup.parts import HOUR, NOON, PASSPHRASE, Files, bucket, contents, faults, held, made, noise, restored, take
from tollhouse import backup
from tollhouse.backup import Repository
from tollhouse.backup.sources.bucket import BucketTarget
from tollhouse.kit.errors import Damaged, TollhouseError
from tollhouse.store.objects import Objects

FIRST = {"a": b"alpha alpha alpha", "b": noise(60, 1), "c/d": noise(90, 2), "c/e": b"x" * 300}
SECOND = FIRST | {"b": noise(40, 3), "f": b"new"}
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(params=["plain", "encrypted"])
def objects(request: pytest.FixtureRequest, quick_keys: None) -> Objects:
    """Two snapshots in packs of a blob or two, and a pack that is doomed."""
    store = Objects(MemoryStore())
    repository = made(store, PASSPHRASE if request.param == "encrypted" else None, pack_bytes=150)
    shared, source = bucket(FIRST)
    shared.put("gone", noise(30, 9))
    lost = take(repository, source, NOON - HOUR)
    shared.delete("gone")
    take(repository, source)
    store.delete(lost.file)
    for key, content in SECOND.items():
        shared.put(key, content)
    take(repository, source, NOON + HOUR)
    backup.prune(repository, backup.Keep(hourly=9), NOON + HOUR)
    assert repository.doomed()
    return store


def opened(objects: Objects) -> Repository:
    return backup.open_repository(objects, PASSPHRASE)


def changed(objects: Objects, change: Callable[[bytes], Iterator[bytes]], folder: str = "") -> Iterator[str]:
    """Change each file in each of some ways, and put it right again."""
    for info in list(objects.list(folder)):
        content = objects.get(info.key)
        for other in change(content):
            objects.put(info.key, other)
            yield info.key
        objects.put(info.key, content)


def flips(content: bytes) -> Iterator[bytes]:
    for at in range(len(content)):
        yield content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :]


def shapes(content: bytes) -> Iterator[bytes]:
    yield b""
    yield content[:1]
    yield content[: len(content) // 2]
    yield content[:-1]
    yield content + b"\0"
    yield content[::-1]
    yield content + content


def noticed(objects: Objects) -> list[str]:
    try:
        return faults(opened(objects))
    except Damaged as error:
        return [error.detail]


def brought_back(objects: Objects, expected: Files, wanted: str) -> int:
    """Restore as much as there is: every byte has to be right. Returns how many objects did not come."""
    target = Objects(MemoryStore())
    with suppress(Damaged):
        repository = opened(objects)
        backup.restore(repository, repository.snapshot(wanted), BucketTarget(target, "memory://"))
    there = {info.key: target.get(info.key) for info in target.list()}
    assert there.items() <= expected.items()
    return len(expected) - len(there)


def test_every_flipped_byte_is_noticed(objects: Objects) -> None:
    assert noticed(objects) == []
    count = 0
    for key in changed(objects, flips):
        count += 1
        assert noticed(objects), key
    assert count == sum(info.size for info in objects.list())
    assert noticed(objects) == []


def test_with_any_byte_flipped_what_is_restored_is_right_and_the_rest_comes_back(objects: Objects) -> None:
    newest = opened(objects).snapshot("latest")
    lists = {opened(objects).place(id).pack for id in newest.collections[0].lists}
    for key in changed(objects, flips, "packs"):
        lost = brought_back(objects, SECOND, newest.id)
        assert lost <= (len(SECOND) if key.rsplit("/")[-1].removesuffix(".pack") in lists else 1), key
    for key in changed(objects, flips, "index"):
        assert brought_back(objects, SECOND, newest.id) == 0, key
    for key in changed(objects, flips, "snapshots"):
        other = FIRST if key == newest.file else SECOND
        wanted = next(one.id for one in opened(objects).snapshots(readable=True))
        assert brought_back(objects, other, wanted) == 0, key
    for key in changed(objects, flips, "doomed"):
        assert brought_back(objects, SECOND, "latest") == 0, key
    for _ in changed(objects, flips, "keys"):
        brought_back(objects, SECOND, "latest")
    assert brought_back(objects, SECOND, "latest") == 0


def test_the_latest_is_not_taken_for_an_older_one_when_it_cannot_be_read(objects: Objects) -> None:
    repository = opened(objects)
    newest, older = repository.snapshot("latest"), repository.snapshots()[0]
    objects.put(newest.file, objects.get(newest.file)[:-1])
    with pytest.raises(Damaged, match="damaged"):
        opened(objects).snapshot("latest")
    assert opened(objects).snapshot("latest", NOON).id == older.id
    assert opened(objects).snapshot(older.id).id == older.id
    with pytest.raises(Damaged):
        opened(objects).snapshots()


def test_a_damaged_snapshot_stops_a_prune_before_it_deletes_anything(objects: Objects) -> None:
    newest = opened(objects).snapshot("latest")
    objects.put(newest.file, objects.get(newest.file)[:-1])
    before = {info.key for info in objects.list()}
    with pytest.raises(Damaged):
        backup.prune(opened(objects), backup.Keep(yearly=1), NOON + 100 * HOUR)
    assert {info.key for info in objects.list()} == before


def test_a_damaged_snapshot_does_not_stop_the_next_backup(objects: Objects) -> None:
    newest = opened(objects).snapshot("latest")
    objects.put(newest.file, b"")
    snapshot = take(opened(objects), bucket(SECOND)[1], NOON + 2 * HOUR)
    assert contents(opened(objects), snapshot) == SECOND
    assert opened(objects).snapshot("latest").id == snapshot.id


def test_a_file_of_another_length_is_noticed_and_restores_nothing_wrong(objects: Objects) -> None:
    for key in changed(objects, shapes):
        assert noticed(objects), key
        brought_back(objects, SECOND, "latest")


def test_a_file_that_is_gone_is_noticed_unless_nothing_can_know_of_it(objects: Objects) -> None:
    used = {opened(objects).place(id).pack for id in opened(objects).index()}
    for info in list(objects.list()):
        content = objects.get(info.key)
        objects.delete(info.key)
        if info.key == "config.json":
            with pytest.raises(TollhouseError):
                opened(objects)
        elif not info.key.startswith(("snapshots/", "doomed/")):
            assert noticed(objects), info.key
        if info.key.startswith("index/"):
            assert brought_back(objects, SECOND, "latest") == 0
        objects.put(info.key, content)
    assert used


def test_two_files_that_changed_places_are_noticed(objects: Objects) -> None:
    for folder in ("packs", "index", "snapshots", "keys"):
        both = [info.key for info in objects.list(folder)][:2]
        if len(both) == 2:
            one, two = map(objects.get, both)
            objects.put(both[0], two)
            objects.put(both[1], one)
            if folder != "keys":  # both are wrapped alike: either opens with either secret
                assert noticed(objects), folder
            brought_back(objects, SECOND, "latest")
            objects.put(both[0], one)
            objects.put(both[1], two)


@pytest.mark.parametrize("name", ["plain", "encrypted"])
def test_a_golden_repository_of_version_1_is_restored(name: str, tmp_path: Path) -> None:
    with tarfile.open(GOLDEN / f"{name}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    for secret in (make.PASSPHRASE, (GOLDEN / "recovery.txt").read_text()):
        repository = backup.open_repository(Objects.at(str(tmp_path / "repository")), secret)
        assert faults(repository) == []
        first, second = repository.snapshots()
        assert contents(repository, first) == make.FIRST
        assert contents(repository, second) == make.SECOND
    restored(repository, second, tmp_path / "back")
    assert held(tmp_path / "back") == make.SECOND
