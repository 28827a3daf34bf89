"""Directories of jobs, and what a worker that was killed leaves of them: real processes, which get no chance to clean up."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios.serving import Server, running, surroundings
from tollhouse_client import Client, Worker, scratch

STUCK = """
import sys, time
from tollhouse_client import Worker
worker = Worker(*sys.argv[1:3], scratch_dir=sys.argv[3])

@worker.job("stuck")
def stuck(job):
    (job.scratch / "half.webp").write_bytes(job.files[0].read())
    print("READY", flush=True)
    time.sleep(60)

worker.run()
"""


@pytest.fixture
def tollhouse(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path / "data") as server:
        yield server


@contextmanager
def stuck(server: Server, scratch_dir: Path) -> Iterator["subprocess.Popen[str]"]:
    """A worker that has begun a job and does not end it."""
    command = [sys.executable, "-c", STUCK, server.url, server.secret, str(scratch_dir)]
    with Client(server.url, server.secret, spool_dir=None) as app:
        app.create_job("carol", "stuck", [("a.txt", b"abc")])
    with subprocess.Popen(command, env=surroundings(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "READY\n"
            yield process
        finally:
            process.kill()


def test_worker_removes_what_killed_workers_have_left_and_nothing_else(tollhouse: Server, tmp_path: Path) -> None:
    home = tmp_path / "scratch"
    home.mkdir()
    (home / "tollhouse-notes").mkdir()
    (home / "tollhouse-job-elsewhere").symlink_to(tmp_path / "data")
    kept = set(home.iterdir())
    with stuck(tollhouse, home) as killed, stuck(tollhouse, home):
        assert len(list(home.rglob("half.webp"))) == 2
        killed.kill()
        killed.wait()
        worker = Worker(tollhouse.url, tollhouse.secret, scratch_dir=home)
        worker.job("other")(lambda job: None)
        worker.run(until_idle=True)
        assert len(list(home.rglob("half.webp"))) == 1, "the one that is at work keeps its own"
    worker.run(until_idle=True)
    assert set(home.iterdir()) == kept
    assert list((tmp_path / "data").iterdir())


def test_directory_is_its_owners_while_in_use_and_is_gone_afterwards(tmp_path: Path) -> None:
    with scratch.directory(tmp_path) as home:
        (home / "page.png").touch()
        scratch.clear(tmp_path)
        assert (home / "page.png").exists()
    assert list(tmp_path.iterdir()) == []


def test_directory_that_is_taken_for_a_left_one_before_it_is_locked_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = scratch._lock
    taken: list[Path] = []

    def late(descriptor: int, wait: bool) -> bool:
        if wait and not taken:
            taken.extend(tmp_path.iterdir())
            scratch.clear(tmp_path)
        return plain(descriptor, wait)

    monkeypatch.setattr(scratch, "_lock", late)
    with scratch.directory(tmp_path) as home:
        assert home.is_dir()
        assert home not in taken
    assert len(taken) == 1


def test_where_there_is_no_place_for_a_directory_is_said(tmp_path: Path) -> None:
    scratch.clear(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError), scratch.directory(tmp_path / "nowhere"):
        pass
