"""A disk that is full: 507, nothing corrupt, and it goes on once there is room.

The disk is a tmpfs of its own, which needs root. Where it cannot be mounted, the same is played with the reserve
alone (`TOLLHOUSE_MIN_FREE_BYTES` above what any disk has), and the test says so in a warning that is printed.
"""

import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest

from tests.scenarios.load import Load, stored_ids
from tests.scenarios.serving import Server, running, wait_until

RESERVE = 4 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A file system of 24 MB, or None where none can be mounted."""
    where = tmp_path / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(where)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        sys.stderr.write(f"\nno tmpfs here ({mounted.stderr.decode().strip()}): the full disk is played with the reserve alone\n")
        yield None
        return
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def fill(server: Server) -> Load:
    """Send until the disk is full."""
    with Load(server, "fill", threads=2, batch=100, padding=2000) as load:
        wait_until(lambda: 507 in load.statuses or len(load.statuses) > 3000, "the disk to be full", 60)
    assert set(load.statuses) <= {200, 507}, sorted(set(load.statuses))
    assert 507 in load.statuses
    return load


def send(server: Server, id: str) -> httpx.Response:
    with server.client() as api:
        return api.post("/api/events", json={"id": id, "type": "page", "source": "load", "data": {"text": "y" * 100_000}})


def check_nothing_is_lost(server: Server, load: Load) -> None:
    there = stored_ids(server)
    assert len(there) == len(set(there))
    assert load.acknowledged <= set(there)


@pytest.mark.parametrize("reserve", [RESERVE, 0], ids=["with-reserve", "to-the-last-byte"])
def test_a_full_disk_answers_507_and_goes_on_when_there_is_room(small_disk: Path | None, tmp_path: Path, reserve: int) -> None:
    if small_disk is None:
        play_the_reserve_alone(tmp_path)
        return
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (8 << 20))
    data = small_disk / "data"
    environment = {"TOLLHOUSE_MIN_FREE_BYTES": str(reserve)}
    with running(data, environment=environment) as server:
        load = fill(server)
        numbers = count()
        refused = wait_until(
            lambda: one if (one := send(server, f"no room {next(numbers)}")).status_code != 200 else None, "another refusal"
        )
        assert refused.status_code == 507, refused.text
        assert "nothing of this request was stored" in refused.json()["detail"]
        ballast.unlink()
        assert wait_until(
            lambda: one if (one := send(server, "room again")).status_code == 200 else None, "the disk to be used again"
        ).json()
        check_nothing_is_lost(server, load)
        assert server.stop() == 0
    with running(data, environment=environment) as again:
        check_nothing_is_lost(again, load)
        assert "room again" in stored_ids(again)


def test_a_server_that_is_killed_on_a_full_disk_starts_again_with_everything(small_disk: Path | None, tmp_path: Path) -> None:
    if small_disk is None:
        play_the_reserve_alone(tmp_path)
        return
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (8 << 20))
    server = Server.start(small_disk / "data", environment={"TOLLHOUSE_MIN_FREE_BYTES": "0"})
    try:
        load = fill(server)
    finally:
        server.kill()
    ballast.unlink()
    with running(small_disk / "data") as again:
        check_nothing_is_lost(again, load)


def play_the_reserve_alone(tmp_path: Path) -> None:
    """Events go in; a start that wants more free than there is refuses all; a start that does not goes on."""
    data = tmp_path / "data"
    with running(data) as server:
        assert send(server, "before").status_code == 200
    with running(data, environment={"TOLLHOUSE_MIN_FREE_BYTES": str(1 << 60)}) as server:
        assert send(server, "refused").status_code == 507
        assert stored_ids(server) == ["before"]
    with running(data) as server:
        assert send(server, "after").status_code == 200
        assert sorted(stored_ids(server)) == ["after", "before"]
