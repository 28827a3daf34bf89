"""Workers that are killed at any moment and replaced: every job is completed, and none of them twice."""

import hashlib
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.serving import Server, running, surroundings, wait_until
from tollhouse_client import Client

TERMS = {"TOLLHOUSE_JOB_LEASE_SECONDS": "1.5", "TOLLHOUSE_JOB_BACKOFF_SECONDS": "0", "TOLLHOUSE_JOB_ATTEMPTS": "100"}
ROOT = Path(__file__).parents[2]


class Crew:
    """So many worker processes; `lose_one` kills one of them and starts another."""

    def __init__(self, server: Server, scratch: Path, size: int) -> None:
        self._command = [sys.executable, "-m", "tests.client.labour", server.url, server.secret, str(scratch)]
        self._chance = random.Random(20240229)  # which worker, not a secret
        self.killed = 0
        self.workers = [self._start() for _ in range(size)]

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, cwd=ROOT, env=surroundings())

    def lose_one(self) -> None:
        at = self._chance.randrange(len(self.workers))
        self.workers[at].kill()
        self.workers[at].wait()
        self.killed += 1
        self.workers[at] = self._start()

    def stop(self) -> list[int]:
        """Stop them as an operator would; returns their exit codes."""
        for worker in self.workers:
            worker.terminate()
        try:
            return [worker.wait(30) for worker in self.workers]
        finally:
            for worker in self.workers:
                worker.kill()


@contextmanager
def crew_of(server: Server, scratch: Path, size: int) -> Iterator[Crew]:
    crew = Crew(server, scratch, size)
    try:
        yield crew
    finally:
        crew.stop()


def pages(reader: Any, name: str, **params: Any) -> Iterator[dict[str, Any]]:
    """All of a long list."""
    offset = 0
    while found := reader(limit=500, offset=offset, **params)[name]:
        yield from found
        offset += len(found)


def completed(app: Client) -> int:
    """How many jobs are done."""
    total: int = app.jobs(status="completed", limit=1)["total"]
    return total


def some_more(app: Client, enough: int) -> None:
    wait_until(lambda: completed(app) >= enough, f"{enough} jobs to be completed", 60)


def play(tmp_path: Path, jobs: int, workers: int, seconds: float) -> None:
    chance = random.Random(jobs)  # moments, not secrets
    with running(tmp_path / "data", environment=TERMS) as server, Client(server.url, server.secret, spool_dir=None) as app:
        content = {number: f"page {number} ".encode() * 200 for number in range(jobs)}
        made = {app.create_job(f"customer-{n % 7}", "reverse", [(f"{n}.txt", content[n])], {"n": n})["id"]: n for n in range(jobs)}
        began = time.monotonic()
        with crew_of(server, tmp_path, workers) as crew:
            while (done := completed(app)) < jobs:
                assert time.monotonic() - began < seconds, f"{done} jobs of {jobs} are completed"
                some_more(app, min(jobs, done + chance.randint(1, 2 * workers)))
                crew.lose_one()
            took, killed = time.monotonic() - began, crew.killed
        attempts = check(app, made, content, tmp_path)
        sys.stdout.write(f"\n{jobs} jobs, {workers} workers, {killed} killed, {took:.1f} s, attempts: {sorted(attempts.items())}\n")
        assert killed >= 3


def check(app: Client, made: dict[str, int], content: dict[int, bytes], tmp_path: Path) -> Counter[int]:
    """Every job is completed once, has one result, and the right one, and is on the bill once; returns how many attempts they took."""
    found = {job["id"]: job for job in pages(app.jobs, "jobs")}
    assert found.keys() == made.keys()
    assert {job["status"] for job in found.values()} == {"completed"}
    for id, job in found.items():
        assert [file["role"] for file in job["files"]] == ["input", "result"], job
        right = content[made[id]][::-1]
        assert hashlib.sha256(app.download(id, tmp_path / "result").read_bytes()).digest() == hashlib.sha256(right).digest()
    wait_until(lambda: len(outcomes(app)) >= len(made), "all outcomes to be reported", 90)
    assert Counter(outcomes(app)) == Counter({(id, "completed"): 1 for id in made})
    totals = [app.summary(f"customer-{at}") for at in range(7)]
    assert sum(total["jobs_completed"] for total in totals) == len(made)
    assert sum(total["bytes_processed"] for total in totals) == sum(map(len, content.values()))
    return Counter(job["attempt"] for job in found.values())


def outcomes(app: Client) -> list[tuple[str, str]]:
    """Which jobs ended how, one for each event that says so."""
    found, cursor = [], None
    while True:
        answer = app.events(type="job_completion", limit=1000, cursor=cursor)
        found += [(event["data"]["job_id"], event["data"]["status"]) for event in answer["events"]]
        cursor = answer.get("next_cursor")
        if not cursor:
            return found


def test_worker_process_ends_in_order_when_told_to(tmp_path: Path) -> None:
    with running(tmp_path / "data", environment=TERMS) as server, Client(server.url, server.secret, spool_dir=None) as app:
        with crew_of(server, tmp_path, 1) as crew:
            made = app.create_job("carol", "reverse", [("a.txt", b"abc")])
            wait_until(lambda: app.job(made["id"])["status"] == "completed", "the worker to be at work")
            assert crew.stop() == [0]
        assert not list(tmp_path.glob("tollhouse-*")), "a directory of a job is left"


def test_each_of_60_jobs_is_completed_once_though_workers_are_killed(tmp_path: Path) -> None:
    play(tmp_path, jobs=60, workers=3, seconds=60)


@pytest.mark.soak
def test_each_of_1000_jobs_is_completed_once_though_workers_are_killed(tmp_path: Path) -> None:
    play(tmp_path, jobs=1000, workers=8, seconds=300)
