# ruff: noqa: S106 - passphrases of tests
"""Every verb of `tollhouse backup` on the real command line, started in an empty directory."""

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.backup.parts import PASSPHRASE, folder, held, noise
from tests.contract.test_objects import KEYS, moto
from tests.scenarios.command_line import CommandLine, Told
from tollhouse.store.objects import Objects, S3Access

__all__ = ["moto"]

FILES = {"a.txt": b"alpha", "b/c.txt": b"gamma" * 1000, "b/d.bin": noise(3000)}


Say = Callable[..., Told]


@pytest.fixture
def say(tmp_path: Path, command_line: CommandLine) -> Say:
    """Run `tollhouse backup …` in an empty directory."""
    here = tmp_path / "here"
    here.mkdir()

    def run(*words: str, secret: str = PASSPHRASE, **more: str) -> Told:
        return command_line.run("backup", *words, folder=here, environment={"TOLLHOUSE_BACKUP_PASSPHRASE": secret} | more)

    return run


def ok(told: Told) -> Any:
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout) if told.stdout.startswith("{") else told.stdout


def refused(told: Told, code: int, *words: str) -> None:
    assert told.returncode == code, (told.returncode, told.stderr)
    assert told.stderr.startswith(("tollhouse: ", "Usage: ")), told.stderr
    assert "Traceback" not in told.stderr
    for word in words:
        assert word in told.stderr


def test_a_repository_lives_its_life_on_the_command_line(say: Say, tmp_path: Path) -> None:
    source = folder(tmp_path / "here/source", FILES)
    made = ok(say("init", "repo", "--json"))
    assert made["encrypted"]
    at = ("--repository", "repo")
    first = ok(say("full", *at, "--source", "source", "--json"))
    assert (first["objects"], first["complete"], first["kind"]) == (3, True, "full")
    (source / "a.txt").write_bytes(b"changed")
    second = ok(say("incremental", *at, "--source", "source", "--json"))
    assert second["parent"] == first["id"]
    assert second["statistics"]["changed"] == 1
    assert ok(say("metadata", *at, "--source", "source", "--json"))["kind"] == "metadata"
    assert ok(say("list", *at, "--json", secret=made["recovery_key"]))["total"] == 3
    shown = ok(say("show", *at, "--snapshot", second["id"], "--prefix", "b/", "--json"))
    assert [one["key"] for one in shown["objects_shown"]] == ["b/c.txt", "b/d.bin"]
    assert ok(say("diff", *at, first["id"], second["id"], "--json"))["changes"] == [
        {"change": "changed", "source": str(source), "key": "a.txt"}
    ]
    assert ok(say("verify", *at, "--read-data", "--json"))["faults"] == []
    ok(say("verify", *at, "--sample", "5%"))
    said = ok(say("restore", "full", *at, "--snapshot", first["id"], "--to", "back", "--dry-run", "--json"))
    assert sorted(said["actions"]["create"]) == sorted(FILES)
    assert not (tmp_path / "here/back/a.txt").exists()
    ok(say("restore", "full", *at, "--as-of", first["time"], "--to", "back"))
    assert held(tmp_path / "here/back") == FILES
    refused(say("restore", "data", *at, "--snapshot", second["id"], "--to", "back"), 5, "a.txt", "--overwrite")
    ok(say("restore", "data", *at, "--snapshot", second["id"], "--to", "back", "--overwrite"))
    assert held(tmp_path / "here/back") == FILES | {"a.txt": b"changed"}
    refused(say("restore", "metadata", *at, "--to", "back"), 5, "no place for metadata")
    assert ok(say("export", *at, "--snapshot", second["id"], "--to", "all.tar.gz", "--json"))["objects"] == 3
    refused(say("export", *at, "--to", "all.tar.gz"), 2, "exists")
    refused(say("export", *at, "--to", "all.zip"), 2, ".tar")
    refused(say("export", *at, "--to", "nowhere/all.tar"), 2, "no directory")
    assert ok(say("drill", *at, "--snapshot", second["id"], "--json"))["passed"]
    ok(say("init", "second", secret="another passphrase"))
    copied = ok(say("copy", *at, "--to", "second", "--json", TOLLHOUSE_BACKUP_COPY_PASSPHRASE="another passphrase"))
    assert copied["total"] == 3
    pruned = ok(say("prune", *at, "--keep-yearly", "1", "--json"))
    assert pruned["forgotten"] == [first["id"]]
    assert "snapshot" in ok(say("list", *at))


def test_what_is_wrong_is_one_sentence_and_an_exit_code_of_its_own(say: Say, tmp_path: Path) -> None:
    folder(tmp_path / "here/source", FILES)
    refused(say("list", "--repository", "nowhere"), 2, "There is no directory nowhere")
    refused(say("list", "--repository", "source"), 4, "tollhouse backup init")
    refused(say("init", "source"), 5, "empty")
    refused(say("init", "repo", secret=""), 2, "TOLLHOUSE_BACKUP_PASSPHRASE")
    refused(say("init", "repo", secret="short"), 2, "8 characters")
    ok(say("init", "repo"))
    at = ("--repository", "repo")
    refused(say("list", *at, secret="wrong passphrase"), 3, "Neither")
    refused(say("list", *at, secret=""), 3, "encrypted")
    refused(say("verify", *at, "--sample", "much"), 2, "5%")
    refused(say("verify", *at, "--sample", "0%"), 2, "5%")
    refused(say("prune", *at), 2, "Say what to keep")
    refused(say("prune", *at, "--keep-within", "soon"), 2, "12h")
    refused(say("full", *at, "--source", "ftp://x"), 2, "no address")
    refused(say("full", *at, "--source", "missing"), 4, "There is no directory")
    refused(say("restore", "full", *at, "--to", "back"), 4, "no snapshot")
    refused(say("drill", *at, "--scenario", "flood"), 2, "bucket")
    refused(say("full", *at), 2, "--source")


def test_a_snapshot_is_exported_to_a_bucket_as_it_is(say: Say, tmp_path: Path, moto: str) -> None:
    folder(tmp_path / "here/source", FILES)
    at, access = ("--repository", "repo"), S3Access(moto, *KEYS, use_ssl=False)
    ok(say("init", "repo"))
    ok(say("full", *at, "--source", "source"))
    reached = {"MINIO_ENDPOINT": moto, "MINIO_ACCESS_KEY": KEYS[0], "MINIO_SECRET_KEY": KEYS[1], "MINIO_USE_SSL": "false"}
    place = f"s3://bucket/{uuid.uuid4().hex}"
    assert ok(say("export", *at, "--to", place, "--prefix", "b/", "--json", **reached))["objects"] == 2
    there = Objects.at(place, access)
    assert {info.key: there.get(info.key) for info in there.list()} == {key: FILES[key] for key in FILES if key.startswith("b/")}
    there.put("b/c.txt", b"another")
    refused(say("export", *at, "--to", place, **reached), 5, "something else is there")
    assert there.get("b/c.txt") == b"another"


def test_a_damaged_repository_ends_with_nine_and_an_unreadable_file_with_five(say: Say, tmp_path: Path) -> None:
    source = folder(tmp_path / "here/source", FILES)
    ok(say("init", "repo", "--plain"))
    (source / "link").symlink_to("/etc/passwd")
    assert "note: link: a link" in ok(say("full", "--repository", "repo", "--source", "source"))
    (source / os.fsdecode(b"l\xe9")).write_bytes(b"x")
    refused(say("full", "--repository", "repo", "--source", "source"), 5, "not everything could be read")
    for pack in (tmp_path / "here/repo/packs").rglob("*.pack"):
        pack.write_bytes(pack.read_bytes()[:-1])
    refused(say("verify", "--repository", "repo", "--read-data"), 9, "damaged")
    for snapshot in (tmp_path / "here/repo/snapshots").iterdir():
        snapshot.write_bytes(b"")
    refused(say("list", "--repository", "repo"), 9, "damaged")


@pytest.mark.parametrize("rule", ["hourly", "daily", "weekly", "monthly", "yearly"])
def test_a_prune_that_keeps_fewer_than_none_is_refused_and_deletes_nothing(say: Say, tmp_path: Path, rule: str) -> None:
    folder(tmp_path / "here/source", FILES)
    ok(say("init", "repo"))
    for _ in range(2):
        ok(say("full", "--repository", "repo", "--source", "source"))
    refused(say("prune", "--repository", "repo", f"--keep-{rule}", "-1"), 2, f"keep {rule}: -1", "0 (no such rule)")
    assert ok(say("list", "--repository", "repo", "--json"))["total"] == 2
    assert ok(say("prune", "--repository", "repo", f"--keep-{rule}", "0", "--keep-within", "1d", "--json"))["forgotten"] == []


@pytest.mark.parametrize("time", ["9999999999999y", "9" * 5000 + "h", "1001y"], ids=["years", "digits", "a year more"])
def test_a_prune_that_keeps_longer_than_the_calendar_is_refused(say: Say, time: str) -> None:
    ok(say("init", "repo"))
    refused(say("prune", "--repository", "repo", "--keep-within", time), 2, "keep within: ", "365000 days")


def test_names_are_printed_without_what_a_terminal_would_obey(say: Say, tmp_path: Path) -> None:
    source = folder(tmp_path / "here/odd\x1b[31msource", {"a\x1b[2J\rb": b"one", "[red]c": b"two", "d\u202ee": b"three"})
    ok(say("init", "repo"))
    ok(say("full", "--repository", "repo", "--source", str(source)))
    shown = say("show", "--repository", "repo").stdout
    (source / "d\u202ee").unlink()
    ok(say("full", "--repository", "repo", "--source", str(source)))
    first = ok(say("list", "--repository", "repo", "--json"))["snapshots"][0]["id"]
    listed, differ = (say(*words, "--repository", "repo").stdout for words in (("list",), ("diff", first)))
    assert "a\\x1b[2J\\rb" in shown
    assert "[red]c" in shown
    assert "d\\u202ee" in shown
    assert "\\x1b[31msource" in "".join(listed.split())
    assert "d\\u202ee" in differ
    assert not [letter for letter in shown + listed + differ if letter not in " \n" and not letter.isprintable()]
