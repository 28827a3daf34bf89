"""A repository from its making to what comes back out of it."""

import io
import json
import os
import random
import subprocess
import sys
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from tests.backup.parts import (
    HOUR,
    NOON,
    PASSPHRASE,
    Failing,
    Watched,
    bucket,
    by_hand,
    contents,
    digest,
    faults,
    folder,
    held,
    made,
    noise,
    restored,
    take,
)
from tollhouse import backup
from tollhouse.backup import Order, Selection
from tollhouse.backup.chunker import AVERAGE, LEAST, MOST, pieces
from tollhouse.backup.sources.bucket import BucketSource, BucketTarget
from tollhouse.backup.sources.directory import DirectorySource, DirectoryTarget
from tollhouse.kit.errors import BadInput, Conflict, Damaged, NotFound, Unauthenticated, Unavailable
from tollhouse.store.objects import Objects

FILES = {"a.txt": b"alpha", "b/c.txt": b"gamma" * 1000, "b/d.bin": noise(3000), "empty": b"", "ü/日本.txt": "名前".encode()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return folder(tmp_path / "home", FILES)


@pytest.fixture(params=["plain", "encrypted"])
def repository(request: pytest.FixtureRequest, quick_keys: None) -> backup.Repository:
    return made(Objects(MemoryStore()), PASSPHRASE if request.param == "encrypted" else None)


# Opening


def test_it_opens_with_its_passphrase_and_with_its_recovery_key() -> None:
    objects = Objects(MemoryStore())
    made_now, recovery = backup.init(objects, PASSPHRASE, NOON)
    assert recovery is not None
    assert len(recovery.replace("-", "")) == 52
    for secret in (PASSPHRASE, recovery, f" {PASSPHRASE}\n"):
        assert backup.open_repository(objects, secret).id == made_now.id


@pytest.mark.parametrize("secret", [None, "", "correct horse batterz", "ABCD-EFGH", PASSPHRASE.upper()])
def test_no_other_secret_opens_it(secret: str | None, quick_keys: None) -> None:
    objects = Objects(MemoryStore())
    made(objects, PASSPHRASE)
    with pytest.raises(Unauthenticated):
        backup.open_repository(objects, secret)


def test_a_passphrase_of_seven_characters_is_too_short() -> None:
    with pytest.raises(BadInput, match="8 characters"):
        backup.init(Objects(MemoryStore()), "seven77", NOON)


def test_nothing_is_made_where_something_is() -> None:
    objects = Objects(MemoryStore())
    objects.put("somebody's.txt", b"x")
    with pytest.raises(Conflict, match="empty"):
        backup.init(objects, None, NOON)
    assert [info.key for info in objects.list()] == ["somebody's.txt"]


def test_a_repository_is_not_made_twice() -> None:
    objects = Objects(MemoryStore())
    first = made(objects)
    with pytest.raises(Conflict):
        backup.init(objects, None, NOON)
    assert backup.open_repository(objects, None).id == first.id


def test_where_no_repository_is_one_is_told_so() -> None:
    with pytest.raises(NotFound, match="tollhouse backup init"):
        backup.open_repository(Objects(MemoryStore()), None)


def test_the_recovery_key_opens_it_when_the_passphrase_file_is_gone_and_the_other_way_round() -> None:
    objects = Objects(MemoryStore())
    _, recovery = backup.init(objects, PASSPHRASE, NOON)
    kept = objects.get("keys/passphrase.json")
    objects.put("keys/passphrase.json", kept[:-5])
    backup.open_repository(objects, recovery)
    with pytest.raises(Damaged, match=r"keys/passphrase\.json"):
        backup.open_repository(objects, PASSPHRASE)
    objects.put("keys/passphrase.json", kept)
    objects.delete("keys/recovery.json")
    backup.open_repository(objects, PASSPHRASE)


def test_an_encrypted_repository_says_nothing_of_what_is_in_it(home: Path, quick_keys: None) -> None:
    objects = Objects(MemoryStore())
    take(made(objects, PASSPHRASE), home)
    everything = b"".join(objects.get(info.key) for info in objects.list() if info.key not in ("RESTORE.md", "restore.py"))
    names = b"".join(info.key.encode() for info in objects.list())
    for word in (b"alpha", b"gamma", b"a.txt", digest(b"alpha").encode(), bytes.fromhex(digest(b"alpha")), str(home).encode()):
        assert word not in everything
        assert word not in names


# Taking


def test_what_was_taken_comes_back(repository: backup.Repository, home: Path, tmp_path: Path) -> None:
    snapshot = take(repository, home, kind="full")
    assert snapshot.objects == len(FILES)
    assert snapshot.bytes == sum(map(len, FILES.values()))
    done = restored(repository, snapshot, tmp_path / "back")
    assert held(tmp_path / "back") == FILES
    assert sorted(done.actions["create"]) == sorted(FILES)
    assert (tmp_path / "back/a.txt").stat().st_mtime_ns // 1000 == (home / "a.txt").stat().st_mtime_ns // 1000
    assert faults(repository) == []


def test_a_bucket_comes_back_with_content_types_and_metadata(repository: backup.Repository) -> None:
    objects, source = bucket({})
    objects.put("page.html", b"<p>", "text/html", metadata={"owner": "carol"})
    objects.put("plain", b"x")
    snapshot = take(repository, source)
    there = Objects(MemoryStore())
    backup.restore(repository, snapshot, BucketTarget(there, "memory://"))
    content_type, metadata = there.attributes("page.html")
    assert (content_type, metadata) == ("text/html", {"owner": "carol"})
    assert there.get("page.html") == b"<p>"


def test_metadata_alone_is_taken_without_reading_and_restored_onto_what_is_there(repository: backup.Repository) -> None:
    objects = Watched(MemoryStore())
    objects.put("page.html", b"<p>", "text/html", metadata={"owner": "carol"})
    source = BucketSource(objects, "memory://")
    snapshot = take(repository, source, kind="metadata")
    assert ("get", "page.html") not in objects.log
    assert snapshot.statistics["read_bytes"] == 0
    objects.put("page.html", b"<p>new", "application/octet-stream")
    target = BucketTarget(objects, "memory://")
    with pytest.raises(BadInput, match="metadata alone"):
        backup.restore(repository, snapshot, target)
    done = backup.restore(repository, snapshot, target, "metadata")
    assert done.errors == []
    assert objects.attributes("page.html") == ("text/html", {"owner": "carol"})
    assert objects.get("page.html") == b"<p>new"


def test_metadata_of_what_did_not_change_is_not_counted_as_changed(repository: backup.Repository, home: Path) -> None:
    take(repository, home)
    snapshot = take(repository, home, NOON + HOUR, "metadata")
    assert (snapshot.statistics["changed"], snapshot.statistics["unchanged"]) == (0, len(FILES))


def test_metadata_of_an_object_that_is_not_there_is_an_error_of_that_object(
    repository: backup.Repository, home: Path, tmp_path: Path
) -> None:
    snapshot = take(repository, home)
    done = backup.restore(repository, snapshot, BucketTarget(Objects(MemoryStore()), "memory://"), "metadata")
    assert len(done.errors) == len(FILES)
    folder(tmp_path / "there", FILES)
    done = backup.restore(repository, snapshot, DirectoryTarget(tmp_path / "there"), "metadata")
    assert {error["reason"] for error in done.errors} == {"the target has no place for metadata"}


def test_data_alone_leaves_out_types_and_metadata(repository: backup.Repository) -> None:
    objects, source = bucket({})
    objects.put("page.html", b"<p>", "text/html", metadata={"owner": "carol"})
    there = Objects(MemoryStore())
    backup.restore(repository, take(repository, source), BucketTarget(there, "memory://"), "data")
    assert there.get("page.html") == b"<p>"
    assert there.attributes("page.html") == ("application/octet-stream", {})


def test_an_unchanged_run_reads_nothing_and_adds_only_a_snapshot(home: Path) -> None:
    store = Watched(MemoryStore())
    repository = made(store)
    take(repository, home)
    before = {info.key for info in store.list()}
    refusing = Failing(home, dict.fromkeys(FILES, Unavailable("nobody may read this")))
    snapshot = backup.take(repository, [refusing], NOON + HOUR, Order("incremental"))
    assert snapshot.statistics == {"added_bytes": 0, "new": 0, "changed": 0, "unchanged": len(FILES), "read_bytes": 0, "deleted": 0}
    assert {info.key for info in store.list()} - before == {snapshot.file}


def test_a_full_run_reads_everything_and_stores_nothing_twice(home: Path) -> None:
    repository = made(Objects(MemoryStore()))
    take(repository, home)
    snapshot = take(repository, home, NOON + HOUR, "full")
    assert snapshot.statistics["read_bytes"] == sum(map(len, FILES.values()))
    assert snapshot.statistics["added_bytes"] == 0


def test_one_change_in_five_thousand_files_stores_one_list_and_one_blob(tmp_path: Path) -> None:
    files = {f"{at // 100:02}/{at}.txt": b"%d" % at for at in range(5000)}
    repository = made(Objects(MemoryStore()))
    source = folder(tmp_path / "many", files)
    take(repository, source)
    known = set(repository.index())
    (source / "20/2013.txt").write_bytes(b"changed")
    snapshot = take(repository, source, NOON + HOUR)
    added = [repository.index()[id].kind for id in repository.index().keys() - known]
    assert sorted(added) == ["data", "list"]
    assert (snapshot.statistics["changed"], snapshot.statistics["unchanged"]) == (1, 4999)
    assert contents(repository, snapshot) == files | {"20/2013.txt": b"changed"}


def test_an_insertion_into_thirty_megabytes_stores_a_few_chunks(tmp_path: Path) -> None:
    large = noise(30 << 20)
    repository = made(Objects(MemoryStore()), pack_bytes=1 << 20)
    source = folder(tmp_path / "large", {"film": large})
    take(repository, source)
    changed = large[: 10 << 20] + b"one more scene" + large[10 << 20 :]
    (source / "film").write_bytes(changed)
    snapshot = take(repository, source, NOON + HOUR)
    assert snapshot.statistics["added_bytes"] < 2 * MOST
    assert contents(repository, snapshot) == {"film": changed}


def test_the_chunker_cuts_where_it_always_did() -> None:
    cut = [len(piece) for piece in pieces(io.BytesIO(noise(40 << 20, 7)), 40 << 20)]
    assert sum(cut) == 40 << 20
    assert all(LEAST <= size <= MOST for size in cut[:-1])
    assert 0.5 * AVERAGE < sum(cut) / len(cut) < 2 * AVERAGE
    assert digest(json.dumps(cut).encode()) == "df6466faa8d3bd42f3f377ebf94d30bbfc323ec6004604c596b68491421aab6b"


def test_a_file_cut_in_other_reads_is_cut_at_the_same_places() -> None:
    class Dribbling(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 700_001))

    content = noise(40 << 20, 7)
    assert [len(one) for one in pieces(Dribbling(content), 40 << 20)] == [len(one) for one in pieces(io.BytesIO(content), 40 << 20)]


@pytest.mark.parametrize("size", [0, 1, 8 << 20, (8 << 20) + 1, 20 << 20])
def test_whatever_the_size_was_said_to_be_the_pieces_are_the_content(size: int) -> None:
    content = noise(size, size)
    for said in (0, size, 9 << 20):
        assert b"".join(pieces(io.BytesIO(content), said)) == content


def test_what_cannot_be_read_is_named_and_does_not_stop_the_rest(repository: backup.Repository, home: Path) -> None:
    source = Failing(
        home,
        {
            "a.txt": (home / "a.txt").unlink,
            "b/c.txt": Unavailable("the disk says no"),
            "b/d.bin": OSError(5, "Input/output error"),
        },
    )
    (home / "link").symlink_to("/etc/passwd")
    snapshot = backup.take(repository, [source], NOON, Order("full"))
    told = {error["key"]: error["reason"] for error in snapshot.collections[0].errors}
    assert told.keys() == {"a.txt", "b/c.txt", "b/d.bin", "link"}
    assert "gone" in told["a.txt"]
    assert told["b/c.txt"] == "the disk says no"
    assert not snapshot.complete
    assert contents(repository, snapshot) == {key: FILES[key] for key in ("empty", "ü/日本.txt")}


def test_a_source_that_cannot_be_listed_is_an_error_of_that_source_alone(repository: backup.Repository, home: Path) -> None:
    lost = BucketSource(Watched(MemoryStore()), "memory://lost")
    objects = lost._objects
    assert isinstance(objects, Watched)
    objects.fault = (0, "fail")
    snapshot = backup.take(repository, [lost, DirectorySource(home)], NOON, Order("full"))
    assert [len(one.errors) for one in snapshot.collections] == [1, 0]
    assert contents(repository, snapshot, str(home)) == FILES


def test_two_sources_are_one_snapshot(repository: backup.Repository, home: Path, tmp_path: Path) -> None:
    other = folder(tmp_path / "other", {"a.txt": b"another alpha"})
    snapshot = backup.take(repository, [DirectorySource(home), DirectorySource(other)], NOON, Order("full"))
    assert contents(repository, snapshot, str(home)) == FILES
    assert contents(repository, snapshot, str(other)) == {"a.txt": b"another alpha"}
    with pytest.raises(BadInput, match="name one"):
        restored(repository, snapshot, tmp_path / "back")


def test_a_time_finds_the_latest_snapshot_up_to_it(repository: backup.Repository, home: Path) -> None:
    ids = [take(repository, home, NOON + hours * HOUR).id for hours in (0, 2, 4)]
    found = [repository.snapshot("latest", NOON + timedelta(hours=hours)).id for hours in (0, 1.9, 2, 3, 99)]
    assert found == [ids[0], ids[0], ids[1], ids[1], ids[2]]
    with pytest.raises(NotFound, match="up to"):
        repository.snapshot("latest", NOON - HOUR)
    assert repository.snapshot(ids[1][:12]).id == ids[1]
    with pytest.raises(BadInput, match="3 snapshots"):
        repository.snapshot("")


# Restoring


def test_a_key_and_a_prefix_are_restored_alone(repository: backup.Repository, home: Path, tmp_path: Path) -> None:
    snapshot = take(repository, home)
    backup.restore(repository, snapshot, DirectoryTarget(tmp_path / "one"), chosen=Selection(key="b/c.txt"))
    assert held(tmp_path / "one") == {"b/c.txt": FILES["b/c.txt"]}
    backup.restore(repository, snapshot, DirectoryTarget(tmp_path / "part"), chosen=Selection(prefix="b/"))
    assert held(tmp_path / "part") == {key: FILES[key] for key in ("b/c.txt", "b/d.bin")}
    with pytest.raises(NotFound, match="nothing of what was chosen"):
        backup.restore(repository, snapshot, DirectoryTarget(tmp_path / "none"), chosen=Selection(key="nothing"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_dry_run_says_exactly_what_then_happens(repository: backup.Repository, home: Path, tmp_path: Path, overwrite: bool) -> None:
    snapshot = take(repository, home)
    there = folder(tmp_path / "there", {"a.txt": b"mine", "b/c.txt": FILES["b/c.txt"], "other": b"stays"})
    target = DirectoryTarget(there)
    before = held(there)
    said = backup.restore(repository, snapshot, target, overwrite=overwrite, dry_run=True)
    assert held(there) == before
    done = backup.restore(repository, snapshot, target, overwrite=overwrite)
    assert (said.actions, said.bytes, said.errors) == (done.actions, done.bytes, done.errors)
    assert done.actions["identical"] == ["b/c.txt"]
    assert held(there) == FILES | {"other": b"stays"} | ({} if overwrite else {"a.txt": b"mine"})


def test_nothing_is_replaced_without_being_told(repository: backup.Repository, home: Path, tmp_path: Path) -> None:
    snapshot = take(repository, home)
    there = folder(tmp_path / "there", {"a.txt": b"mine"})
    done = restored(repository, snapshot, there)
    assert done.actions["keep"] == ["a.txt"]
    assert [error["key"] for error in done.errors] == ["a.txt"]
    assert (there / "a.txt").read_bytes() == b"mine"


def test_what_is_identical_is_left_alone(repository: backup.Repository, home: Path) -> None:
    snapshot = take(repository, home)
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in home.rglob("*")}
    done = backup.restore(repository, snapshot, DirectoryTarget(home), overwrite=True)
    assert sorted(done.actions["identical"]) == sorted(FILES)
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in home.rglob("*")} == before


def test_what_the_disk_keeps_differently_is_named(
    repository: backup.Repository, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, write = take(repository, home), os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, bytes(data).replace(b"alpha", b"alphA")))
    done = restored(repository, snapshot, tmp_path / "there")
    assert done.errors == [{"key": "a.txt", "reason": "what was written reads back differently; check the target"}]
    assert held(tmp_path / "there") == FILES | {"a.txt": b"alphA"}


def test_no_link_in_the_target_is_followed(repository: backup.Repository, home: Path, tmp_path: Path) -> None:
    snapshot = take(repository, home)
    outside, there = folder(tmp_path / "outside", {"a": b"safe"}), tmp_path / "there"
    there.mkdir()
    (there / "b").symlink_to(outside, target_is_directory=True)
    (there / "a.txt").symlink_to(outside / "a")
    (there / "empty").symlink_to(outside / "made")
    done = backup.restore(repository, snapshot, DirectoryTarget(there), overwrite=True)
    assert {error["key"] for error in done.errors} == {"a.txt", "b/c.txt", "b/d.bin", "empty"}
    assert held(outside) == {"a": b"safe"}
    assert (there / "ü/日本.txt").read_bytes() == FILES["ü/日本.txt"]


@pytest.mark.parametrize("key", ["../out", "/etc/out", "a/../../out", "a\0b", "a//b", ".", "", "a/", "..", "\\..\\out"])
def test_a_hostile_key_is_refused_and_the_rest_restored(repository: backup.Repository, tmp_path: Path, key: str) -> None:
    snapshot = by_hand(repository, {key: b"evil", "z-good": b"good"})
    inside = tmp_path / "a" / "b"
    for target in (DirectoryTarget(inside), BucketTarget(Objects(LocalStore(tmp_path / "a", mkdir=True)), "x")):
        done = backup.restore(repository, snapshot, target, overwrite=True)
        if (key, type(target)) != ("\\..\\out", DirectoryTarget):  # a plain name on this system
            assert [error["key"] for error in done.errors] == [key]
    assert {name.split("/")[-1] for name in held(tmp_path)} - {"\\..\\out"} == {"z-good"}


def test_a_target_that_writes_something_else_is_caught(repository: backup.Repository, home: Path) -> None:
    store = Watched(MemoryStore())
    snapshot = take(repository, home)

    def cut(number: int, verb: str, key: str) -> None:
        if (verb, key) == ("put", "b/d.bin"):
            store.fault = (number, "cut")

    store.before = cut
    done = backup.restore(repository, snapshot, BucketTarget(store, "memory://"))
    assert [error["key"] for error in done.errors] == ["b/d.bin"]


# Elsewhere


@pytest.mark.parametrize("name", ["all.tar", "all.tar.gz"])
def test_a_tar_file_holds_it_all(repository: backup.Repository, home: Path, tmp_path: Path, name: str) -> None:
    snapshot = take(repository, home)
    assert backup.export_tar(repository, snapshot, tmp_path / name, Selection(), lambda *_: None) == len(FILES)
    with tarfile.open(tmp_path / name) as archive:
        archive.extractall(tmp_path / "out", filter="data")
    assert held(tmp_path / "out") == FILES


def test_a_copy_with_other_keys_is_the_same_and_stores_nothing_twice(repository: backup.Repository, home: Path, tmp_path: Path) -> None:
    first = take(repository, home)
    (home / "a.txt").write_bytes(b"changed")
    second = take(repository, home, NOON + HOUR)
    other = made(Objects(MemoryStore()), "another passphrase")
    copied = backup.copy(repository, other, repository.snapshots(), lambda *_: None, NOON + HOUR)
    assert [one.id for one in copied] == [first.id, second.id]
    assert contents(other, copied[0]) == FILES
    assert contents(other, copied[1]) == FILES | {"a.txt": b"changed"}
    assert faults(other) == []
    assert not set(other.index()) & set(repository.index())
    assert len(other.index()) == len(repository.index())
    rows = [id for name in other.names("index/") for id in other.index_file(name)]
    assert len(rows) == len(set(rows))
    assert backup.copy(repository, other, repository.snapshots(), lambda *_: None) == []
    with pytest.raises(Conflict, match="same repository"):
        backup.copy(repository, repository, [first], lambda *_: None)


def test_a_drill_passes_and_measures(repository: backup.Repository, home: Path) -> None:
    done = backup.drill(repository, take(repository, home), NOON + HOUR)
    assert done.passed
    assert done.in_time
    assert (done.objects, done.bytes) == (len(FILES), sum(map(len, FILES.values())))
    assert done.rpo_seconds == 3600
    assert 0 < done.rto_seconds < 60


def test_a_damaged_snapshot_is_in_the_way_of_a_drill_only_where_it_may_be_the_newest(repository: backup.Repository, home: Path) -> None:
    taken = [take(repository, home, NOON + at * HOUR) for at in range(3)]
    with pytest.raises(NotFound, match="no snapshot with contents of /nowhere"):
        backup.newest(repository, "/nowhere")
    for number, damaged in enumerate((repository.snapshots()[0].file, repository.snapshots()[2].file)):
        repository.objects.put(damaged, b"nothing of a snapshot")
        if number == 0:
            assert backup.newest(repository, str(home)).id == taken[2].id
    with pytest.raises(Damaged):
        backup.newest(repository, str(home))


def test_a_drill_fails_when_a_pack_is_broken(repository: backup.Repository, home: Path) -> None:
    snapshot = take(repository, home)
    place = next(place for place in repository.index().values() if place.kind == "data" and place.size == 3000)
    path = f"packs/{place.pack[:2]}/{place.pack}.pack"
    content = bytearray(repository.objects.get(path))
    content[place.offset + 30] ^= 1
    repository.objects.put(path, bytes(content))
    done = backup.drill(backup.Repository(repository.objects, repository.codec, repository.config), snapshot, NOON)
    assert not done.passed
    assert any("b/d.bin" in fault for fault in done.faults)


# Memory

PROGRAM = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from tollhouse import backup
from tollhouse.backup import Order
from tollhouse.backup.sources.directory import DirectorySource, DirectoryTarget
from tollhouse.store.objects import Objects
home, count = Path(sys.argv[1]), int(sys.argv[2])
for at in range(count):
    path = home / "files" / f"{at // 1000:03}"
    path.mkdir(parents=True, exist_ok=True) if at % 1000 == 0 else None
    (path / f"{at}.txt").write_bytes(b"%d" % at * 20)
repository, _ = backup.init(Objects.at(str(home / "repository")), None, datetime.now(UTC))
source = DirectorySource(home / "files")
backup.take(repository, [source], datetime.now(UTC), Order("full"))
again = backup.take(repository, [source], datetime.now(UTC), Order("incremental"))
assert again.statistics["unchanged"] == count, again.statistics
assert not backup.verify(repository, 100).faults
done = backup.restore(repository, again, DirectoryTarget(home / "back"))
assert done.written == count and not done.errors
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.parametrize("count", [20_000, pytest.param(200_000, marks=pytest.mark.soak)])
def test_so_many_objects_take_less_than_400_megabytes(tmp_path: Path, count: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(count)], check=False, capture_output=True, text=True, timeout=900
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 400 << 10


def test_random_trees_come_back(repository: backup.Repository, tmp_path: Path) -> None:
    chance = random.Random(4)
    files = {
        f"{chance.choice('abc')}/{chance.choice('de%#? +')}{at}": chance.randbytes(chance.choice([0, 1, 100, 5000])) for at in range(60)
    }
    assert contents(repository, take(repository, folder(tmp_path / "tree", files))) == files
