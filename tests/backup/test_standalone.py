"""Restoring with the repository's own restore.py alone, where Tollhouse cannot be imported; and with zstd and jq alone."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.backup.parts import HOUR, NOON, PASSPHRASE, by_hand, folder, held, noise, take
from tollhouse import backup
from tollhouse.backup import Order, Repository
from tollhouse.backup.sources.directory import DirectorySource
from tollhouse.store.objects import Objects

FILES = {"a.txt": b"alpha", "b/c.txt": b"gamma" * 1000, "b/d.bin": noise(3000), "empty": b"", "large": noise(9 << 20, 1)}
NEW = FILES | {"a.txt": b"changed"}
ALONE = """
import sys, runpy
names = set(sys.stdlib_module_names) | {'cryptography', 'zstandard', 'cffi', '_cffi_backend', 'pycparser', 'typing_extensions'}
class Fence:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] not in names:
            raise ModuleNotFoundError('this machine has no ' + name)
sys.meta_path.insert(0, Fence())
sys.argv = sys.argv[1:]
try:
    import tollhouse
except ModuleNotFoundError:
    runpy.run_path(sys.argv[0], run_name='__main__')
"""


@dataclass
class Kept:
    """A repository with two snapshots, where it lies, and what opens it."""

    repository: Repository
    home: Path
    passphrase: str | None
    recovery: str | None


@pytest.fixture(scope="module", params=["plain", "encrypted"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    home = tmp_path_factory.mktemp("standalone")
    passphrase = PASSPHRASE if request.param == "encrypted" else None
    repository, recovery = backup.init(Objects.at(str(home / "repository")), passphrase, NOON)
    take(repository, folder(home / "source", FILES))
    take(repository, folder(home / "source", NEW), NOON + HOUR)
    return Kept(repository, home / "repository", passphrase, recovery)


@pytest.fixture
def copy(kept: Kept, tmp_path: Path) -> Path:
    return shutil.copytree(kept.home, tmp_path / "copy")


def alone(repository: Path, *arguments: str, secret: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the repository's restore.py."""
    environment = {"PATH": os.environ["PATH"]} | ({"TOLLHOUSE_BACKUP_PASSPHRASE": secret} if secret else {})
    command = [sys.executable, "-I", "-c", ALONE, str(repository / "restore.py"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment, stdin=subprocess.DEVNULL)


def test_it_restores_with_the_passphrase_and_with_the_recovery_key(kept: Kept, copy: Path, tmp_path: Path) -> None:
    for at, secret in enumerate((kept.passphrase, kept.recovery)):
        ran = alone(copy, "restore", "latest", str(tmp_path / f"back{at}"), secret=secret)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert held(tmp_path / f"back{at}") == NEW
    first = kept.repository.snapshots()[0].id
    alone(copy, "restore", first[:12], str(tmp_path / "first"), "--prefix", "a", secret=kept.passphrase)
    assert held(tmp_path / "first") == {"a.txt": b"alpha"}


def test_it_lists_and_verifies(kept: Kept, copy: Path) -> None:
    listed = alone(copy, "list", secret=kept.passphrase).stdout
    assert [line.split()[0] for line in listed.splitlines()] == [one.id for one in kept.repository.snapshots()]
    assert "undamaged" in alone(copy, "verify", secret=kept.passphrase).stdout


def test_it_restores_where_the_index_is_gone_or_damaged(kept: Kept, copy: Path, tmp_path: Path) -> None:
    one, two = sorted((copy / "index").iterdir())
    one.unlink()
    two.write_bytes(two.read_bytes()[:-9])
    assert alone(copy, "verify", secret=kept.passphrase).returncode == 1
    alone(copy, "restore", "latest", str(tmp_path / "back"), secret=kept.passphrase)
    assert held(tmp_path / "back") == NEW


def test_it_restores_the_rest_where_a_pack_is_damaged_and_says_what_is_lost(kept: Kept, copy: Path, tmp_path: Path) -> None:
    place = next(place for place in kept.repository.index().values() if place.size == 3000)
    path = copy / "packs" / place.pack[:2] / f"{place.pack}.pack"
    content = bytearray(path.read_bytes())
    content[place.offset + 30] ^= 1
    path.write_bytes(content)
    assert alone(copy, "verify", secret=kept.passphrase).returncode == 1
    ran = alone(copy, "restore", "latest", str(tmp_path / "back"), secret=kept.passphrase)
    assert ran.returncode == 1
    assert "b/d.bin" in ran.stderr
    assert held(tmp_path / "back") == {key: content for key, content in NEW.items() if key != "b/d.bin"}


def test_it_replaces_nothing_follows_no_link_and_never_leaves_the_target(kept: Kept, copy: Path, tmp_path: Path) -> None:
    outside, target = folder(tmp_path / "outside", {}), folder(tmp_path / "target", {"a.txt": b"mine"})
    (target / "b").symlink_to(outside)
    (target / "empty").symlink_to(outside / "made")
    assert alone(copy, "restore", "latest", str(target), secret=kept.passphrase).returncode == 1
    assert held(outside) == {}
    assert (target / "a.txt").read_bytes() == b"mine"
    by_hand(backup.open_repository(Objects.at(str(copy)), kept.passphrase), {"../out": b"evil", "good": b"good", "nul\0": b"evil"})
    assert alone(copy, "restore", "0" * 16, str(tmp_path / "hostile"), secret=kept.passphrase).returncode == 1
    assert held(tmp_path / "hostile") == {"good": b"good"}
    assert not (tmp_path / "out").exists()


def test_several_sources_are_restored_side_by_side(tmp_path: Path) -> None:
    repository, _ = backup.init(Objects.at(str(tmp_path / "repository")), None, NOON)
    sources = [DirectorySource(folder(tmp_path / name, {"same": name.encode()})) for name in ("one", "two")]
    backup.take(repository, sources, NOON, Order("full"))
    alone(tmp_path / "repository", "restore", "latest", str(tmp_path / "back"))
    assert sorted(held(tmp_path / "back").values()) == [b"one", b"two"]


@pytest.mark.parametrize("secret", ["wrong passphrase", "ABCD-EFGH"])
def test_another_secret_is_refused_in_a_sentence(kept: Kept, copy: Path, secret: str) -> None:
    ran = alone(copy, "list", secret=secret)
    if kept.passphrase:
        assert ran.returncode == 1
        assert ran.stderr == "restore.py: That is neither the passphrase nor the recovery key of this repository.\n"


@pytest.mark.parametrize("file", ["config.json", "keys/passphrase.json"])
def test_a_damaged_file_is_a_sentence_and_no_stack_trace(kept: Kept, copy: Path, file: str) -> None:
    if (copy / file).exists():
        (copy / file).write_bytes(b"{")
        ran = alone(copy, "list", secret=kept.passphrase)
        assert ran.returncode == 1
        assert "Traceback" not in ran.stderr
        if file != "config.json":
            assert alone(copy, "list", secret=kept.recovery).returncode == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"{}", b'{"version": 1}', None], ids=str)
def test_a_configuration_that_cannot_be_read_is_named(kept: Kept, copy: Path, content: bytes | None) -> None:
    (copy / "config.json").unlink() if content is None else (copy / "config.json").write_bytes(content)
    ran = alone(copy, "list", secret=kept.passphrase)
    assert ran.returncode == 1
    assert ran.stderr.startswith("restore.py: config.json is missing or damaged")
    assert ran.stderr.count("\n") == 1


def test_the_latest_is_the_newest_with_contents(kept: Kept, copy: Path, tmp_path: Path) -> None:
    own = backup.open_repository(Objects.at(str(copy)), kept.passphrase)
    bare = take(own, folder(tmp_path / "source", NEW), NOON + 2 * HOUR, "metadata")
    ran = alone(copy, "restore", "latest", str(tmp_path / "back"), secret=kept.passphrase)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert held(tmp_path / "back") == NEW
    ran = alone(copy, "restore", bare.id, str(tmp_path / "bare"), secret=kept.passphrase)
    assert (ran.returncode, ran.stderr) == (
        1,
        f"restore.py: The snapshot {bare.id} is of metadata alone: it holds no contents to restore.\n",
    )


def test_where_there_is_metadata_alone_that_is_said(tmp_path: Path) -> None:
    repository, _ = backup.init(Objects.at(str(tmp_path / "repository")), None, NOON)
    taken = take(repository, folder(tmp_path / "source", FILES), NOON, "metadata")
    ran = alone(tmp_path / "repository", "restore", "latest", str(tmp_path / "back"))
    assert (ran.returncode, taken.id in ran.stderr, "metadata alone" in ran.stderr) == (1, True, True)
    assert held(tmp_path / "back") == {}


@pytest.mark.skipif(not (shutil.which("zstd") and shutil.which("jq")), reason="needs the command lines of zstd and jq")
def test_a_plain_repository_is_read_with_zstd_and_jq_as_its_own_document_says(kept: Kept, copy: Path) -> None:
    if kept.passphrase:
        return

    def shell(command: str) -> str:
        return subprocess.run(command, check=True, shell=True, capture_output=True, text=True, timeout=20, cwd=copy).stdout

    snapshot = json.loads(shell("zstd -dc $(ls snapshots/*.snapshot | tail -1) | jq -c ."))
    places = shell("zstd -dc index/*.index | jq -r 'to_entries[] | .key as $pack | .value[] | [.[0], $pack, .[2], .[3]] | @tsv'")
    index = {id: place for id, *place in (line.split("\t") for line in places.splitlines())}

    def blob(id: str) -> str:
        pack, offset, length = index[id]
        return shell(f"tail -c +{int(offset) + 1} packs/{pack[:2]}/{pack}.pack | head -c {length} | zstd -dc")

    lines = "".join(blob(id) for id in snapshot["collections"][0]["lists"])
    entries = [json.loads(line) for line in lines.splitlines()]
    assert [entry[0] for entry in entries] == sorted(NEW)
    texts = {key: "".join(map(blob, chunks)) for key, _, _, _, chunks, *_ in entries if key in ("a.txt", "b/c.txt", "empty")}
    assert texts == {"a.txt": "changed", "b/c.txt": "gamma" * 1000, "empty": ""}
    for pack in (copy / "packs").rglob("*.pack"):
        subprocess.run(["zstd", "-dc", str(pack)], check=True, stdout=subprocess.DEVNULL)
