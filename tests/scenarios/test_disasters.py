"""The five disasters of docs/disaster-recovery.md, with its commands, against a real S3 server."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_auth import AWS4Auth

from tests.scenarios.command_line import CommandLine
from tollhouse.store.objects import Objects, S3Access

KEYS = ("accesskey", "secretkey-long")
PHRASE, OFFSITE = "correct horse battery", "another phrase for far away"


@dataclass
class Site:
    """A bucket of pages on an S3 server, and a repository in another bucket."""

    command_line: CommandLine
    endpoint: str
    folder: Path
    root: Path

    @property
    def s3(self) -> S3Access:
        return S3Access(self.endpoint, *KEYS, use_ssl=False)

    @property
    def originals(self) -> Objects:
        return Objects.at("s3://originals", self.s3)

    def run(self, *words: str, passphrase: str = PHRASE, code: int = 0, **more: str) -> Any:
        """A command as it is typed; returns its JSON."""
        environment = {
            "MINIO_ENDPOINT": self.endpoint,
            "MINIO_ACCESS_KEY": KEYS[0],
            "MINIO_SECRET_KEY": KEYS[1],
            "MINIO_USE_SSL": "false",
            "TOLLHOUSE_BACKUP_PASSPHRASE": passphrase,
            "TOLLHOUSE_BACKUP_COPY_PASSPHRASE": OFFSITE,
            **more,
        }
        return self.command_line.answer(*words, folder=self.folder, environment=environment, code=code)

    def pages(self) -> dict[str, bytes]:
        """Everything in the bucket."""
        return {info.key: self.originals.get(info.key) for info in self.originals.list()}


@pytest.fixture
def site(command_line: CommandLine, tmp_path: Path) -> Iterator[Site]:
    root = tmp_path / "s3"
    for bucket in ("originals", "backups", "forensics"):
        (root / bucket).mkdir(parents=True)
    command = [str(Path(sys.executable).with_name("rclone")), "serve", "s3", str(root), "--addr", "127.0.0.1:0"]
    command += ["--auth-key", ",".join(KEYS), "--config", os.devnull, "-v"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            endpoint = next(found.group() for line in process.stderr if (found := re.search(r"127\.0\.0\.1:[1-9]\d*", line)))
            made = Site(command_line, endpoint, tmp_path, root)
            for at in range(60):
                made.originals.put(f"book-{at % 3}/page-{at}.png", os.urandom(2000) + f"page {at}".encode(), "image/png")
            made.run("backup", "init", "s3://backups/shop")
            made.run("backup", "full", "--source", "s3://originals", "--repository", "s3://backups/shop")
            yield made
        finally:
            process.terminate()


R = ("--repository", "s3://backups/shop")


def test_a_lost_object_comes_back_and_nothing_else_is_touched(site: Site) -> None:
    before = site.pages()
    site.originals.delete("book-1/page-7.png")
    site.originals.put("book-1/new.png", b"added since")
    wanted = ("backup", "restore", "full", *R, "--to", "s3://originals", "--key", "book-1/page-7.png")
    planned = site.run(*wanted, "--dry-run")
    assert planned["actions"]["create"] == ["book-1/page-7.png"]
    assert "book-1/page-7.png" not in site.pages()
    site.run(*wanted)
    assert site.pages() == before | {"book-1/new.png": b"added since"}


def test_a_corrupted_bucket_is_kept_for_the_inquiry_and_restored(site: Site) -> None:
    before = site.pages()
    for key in list(before)[:20]:
        site.originals.put(key, b"\0" * 500)
    site.run("backup", "init", "s3://forensics/case")
    kept = site.run("backup", "full", "--source", "s3://originals", "--repository", "s3://forensics/case")
    refused = site.run("backup", "restore", "full", *R, "--to", "s3://originals", code=5)
    assert len(refused["actions"]["keep"]) == 20
    done = site.run("backup", "restore", "full", *R, "--to", "s3://originals", "--overwrite")
    assert (len(done["actions"]["overwrite"]), len(done["actions"]["identical"])) == (20, 40)
    assert site.pages() == before
    evidence = site.run("backup", "restore", "full", "--repository", "s3://forensics/case", "--to", "evidence", "--snapshot", kept["id"])
    assert len(evidence["actions"]["create"]) == 60


def test_a_lost_store_is_rebuilt_on_an_empty_one(site: Site) -> None:
    before = site.pages()
    for key in before:
        site.originals.delete(key)
    assert httpx.delete(f"http://{site.endpoint}/originals", auth=AWS4Auth(*KEYS, "us-east-1", "s3"), trust_env=False).is_success
    wanted = ("backup", "restore", "full", *R, "--to", "s3://originals")
    assert "There is no bucket originals" in site.run(*wanted, code=4)
    site.run(*wanted, "--configuration")
    assert site.pages() == before


def test_a_lost_site_comes_back_from_the_offsite_copy_and_its_recovery_key_alone(site: Site) -> None:
    before = site.pages()
    offsite = site.folder / "offsite"
    recovery = site.run("backup", "init", str(offsite), passphrase=OFFSITE)["recovery_key"]
    site.run("backup", "copy", *R, "--to", str(offsite))
    for bucket in ("originals", "backups"):
        for info in list(Objects.at(f"s3://{bucket}", site.s3).list()):
            Objects.at(f"s3://{bucket}", site.s3).delete(info.key)
    site.run("backup", "verify", "--repository", str(offsite), "--read-data", passphrase=recovery)
    site.run("backup", "restore", "full", "--repository", str(offsite), "--to", "back", passphrase=recovery)
    assert {
        path.relative_to(site.folder / "back").as_posix(): path.read_bytes() for path in (site.folder / "back").rglob("*.png")
    } == before


def test_after_ransomware_the_clean_snapshot_is_found_and_restored(site: Site) -> None:
    before = site.pages()
    clean = site.run("backup", "list", *R)["snapshots"][-1]["id"]
    for key, content in before.items():
        site.originals.put(key, bytes(byte ^ 0x5A for byte in content))
    site.originals.delete("book-2/page-2.png")
    bad = site.run("backup", "incremental", "--source", "s3://originals", *R)
    assert bad["statistics"]["changed"] + bad["statistics"]["deleted"] == 60  # what the alert `backup changed much` counts
    changes = site.run("backup", "diff", *R, clean, bad["id"])
    assert changes["total"] == 60
    site.run("backup", "restore", "full", *R, "--snapshot", clean, "--to", "s3://originals", "--overwrite")
    assert site.pages() == before


def test_a_deletion_of_everything_is_no_deletion_of_backups(site: Site) -> None:
    before = site.pages()
    for key in before:
        site.originals.delete(key)
    site.run("backup", "incremental", "--source", "s3://originals", *R)
    pruned = site.run("backup", "prune", *R, "--keep-within", "30d")
    assert pruned["forgotten"] == []
    snapshots = site.run("backup", "list", *R)["snapshots"]
    assert [one["objects"] for one in snapshots] == [60, 0]
    site.run("backup", "restore", "full", *R, "--snapshot", snapshots[0]["id"], "--to", "s3://originals")
    assert site.pages() == before


def test_the_alert_on_mass_changes_fires(command_line: CommandLine, tmp_path: Path) -> None:
    """The row that it watches is tested with schedules in tests/backup; here its rule is there and looks for it."""
    rules = command_line.answer("alert-rules", "list", folder=tmp_path)
    assert any("changed much" in json.dumps(rule) for rule in next(iter(value for value in rules.values() if isinstance(value, list))))
