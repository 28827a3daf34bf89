"""What a repository in a directory says it has is on the disk, and not only in the memory of the operating system."""

import errno
import os
from pathlib import Path

import pytest
from obstore.store import LocalStore

from tests.backup.parts import NOON, PASSPHRASE, Watched, folder, made, noise, take
from tollhouse import backup
from tollhouse.kit.errors import Unavailable
from tollhouse.store.objects import Objects

FOLDERS = ("packs", "index", "snapshots")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Everything that is brought to the disk, as it happens, and what a test adds."""
    kept: list[tuple[str, str]] = []
    really = os.fsync

    def noted(opened: int) -> None:
        kept.append(("sync", str(Path(f"/proc/self/fd/{opened}").readlink())))
        really(opened)

    monkeypatch.setattr(os, "fsync", noted)
    return kept


def watched(place: Path, events: list[tuple[str, str]]) -> Watched:
    """A store in a directory, whose writes are events, too."""
    place.mkdir()
    store = Watched(LocalStore(place))
    store.before = lambda _number, verb, key: events.append((verb, str(place / key)))
    return store


def test_packs_are_on_the_disk_before_the_index_and_the_index_before_the_snapshot(tmp_path: Path, events: list[tuple[str, str]]) -> None:
    place = tmp_path / "repository"
    repository = made(watched(place, events))
    events.clear()
    take(repository, folder(tmp_path / "files", {f"{at}.bin": noise(3000, at) for at in range(6)}))
    written = {name: [path for verb, path in events if verb == "put" and Path(path).is_relative_to(place / name)] for name in FOLDERS}
    assert [len(written[name]) for name in FOLDERS[1:]] == [1, 1]
    assert len(written["packs"]) > 2
    for earlier, later in (("packs", "index"), ("index", "snapshots")):
        begun = events.index(("put", written[later][0]))
        for path in written[earlier]:
            put = events.index(("put", path))
            for way in (path, *(str(parent) for parent in Path(path).parents if parent.is_relative_to(place))):
                assert ("sync", way) in events[put:begun], way
    snapshot = events.index(("put", written["snapshots"][0]))
    assert {("sync", written["snapshots"][0]), ("sync", str(place / "snapshots")), ("sync", str(place))} <= set(events[snapshot:])


def test_a_new_repository_is_on_the_disk_when_it_has_been_made(tmp_path: Path, events: list[tuple[str, str]]) -> None:
    place = tmp_path / "repository"
    backup.init(watched(place, events), PASSPHRASE, NOON)
    assert {str(path) for path in place.rglob("*") if path.is_file()} <= {path for verb, path in events if verb == "sync"}


def test_a_disk_that_cannot_keep_a_pack_stops_the_backup_before_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = made(Objects.at(str(tmp_path / "repository")))

    def broken(opened: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(Unavailable, match=r"could not be brought to the disk: Input/output error\."):
        take(repository, folder(tmp_path / "files", {"a": b"words"}))
    assert repository.snapshots() == []


def test_a_drive_that_cannot_sync_folders_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(opened: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", unable)
    assert take(made(Objects.at(str(tmp_path / "repository"))), folder(tmp_path / "files", {"a": b"words"})).complete
