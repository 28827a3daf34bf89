import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.conftest import MakeClient
from tests.client.server import EventServer, problem
from tollhouse_client import spool as spool_module
from tollhouse_client.spool import Spool


def lines(directory: Path) -> list[str]:
    """The ids on disk, in order."""
    segments = sorted(directory.glob("*.ndjson"))
    return [json.loads(line)["id"] for segment in segments for line in segment.read_text().splitlines()]


def test_what_waits_on_disk_is_sent_in_order_by_the_next_client(make: MakeClient, server: EventServer, spool: Path) -> None:
    server.vanish()
    ids = []
    for _ in range(3):
        with make(batch_size=10) as client:
            ids += [client.track("tokens", "alice") for _ in range(25)]
    assert lines(spool) == ids
    server.appear()
    assert make(batch_size=10).flush()
    assert list(server.events) == ids
    assert list(spool.iterdir()) == []


def test_next_client_replays_without_being_used(make: MakeClient, server: EventServer) -> None:
    server.vanish()
    with make() as client:
        id = client.track("tokens", "alice")
    server.appear()
    make()
    server.wait(lambda: id in server.events)


def test_events_beyond_half_of_memory_go_to_disk_and_arrive(make: MakeClient, server: EventServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 50_000)
    client = make(max_waiting=2000, batch_seconds=60)
    server.stall()
    ids = [client.track("tokens", "alice") for _ in range(400)]
    for _ in range(20):
        ids += [client.track("tokens", "alice") for _ in range(500)]
        assert client.stats().waiting <= 2000
    server.flow()
    assert client.flush()
    stats = client.stats()
    assert len(server.events) + stats.dropped == len(ids)
    assert stats.accepted == len(server.events)
    assert stats.spooled_bytes == 0


def test_spool_is_bounded_and_the_newest_are_dropped_and_counted(make: MakeClient, server: EventServer, spool: Path) -> None:
    server.vanish()
    client = make(max_waiting=50, spool_bytes=10_000)
    ids = [client.track("tokens", "alice") for _ in range(1000)]
    client.close()
    kept = lines(spool)
    assert len(set(kept)) == len(kept)
    assert set(kept) <= set(ids)
    assert client.stats().spooled_bytes <= 10_000
    assert client.stats().dropped == 1000 - len(kept) > 0


def test_spool_accepts_up_to_its_bound(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100)
    assert spool.append([b"x" * 9] * 15) == 10
    assert spool.append([b"x"]) == 0
    segment = spool.claim()
    assert segment is not None
    assert len(segment.events) == 10
    spool.settled(segment)
    assert spool.append([b"x" * 9]) == 1
    spool.close()


def test_two_processes_never_replay_one_segment(tmp_path: Path) -> None:
    writer, other = Spool(tmp_path, 1 << 20), Spool(tmp_path, 1 << 20)
    assert writer.append([b"{}"]) == 1
    assert other.claim() is None  # still being written
    mine = writer.claim()
    assert mine is not None
    assert other.claim() is None  # being replayed
    writer.close()
    left = other.claim()
    assert left is not None
    assert left.events == [b"{}"]
    other.close()


def test_line_that_a_crash_cut_off_is_left_out_and_counted(make: MakeClient, server: EventServer, spool: Path) -> None:
    spool.mkdir()
    whole = b'{"specversion":"1.0","id":"a","type":"tokens"}\n'
    (spool / "1-1.ndjson").write_bytes(whole + b'{"specversion":"1.0","id":"b","ty')
    client = make()
    assert client.flush()
    assert list(server.events) == ["a"]
    assert client.stats().dropped == 1
    assert list(spool.iterdir()) == []


def test_damaged_line_does_not_hold_up_the_others(make: MakeClient, server: EventServer, spool: Path) -> None:
    spool.mkdir()
    whole = [b'{"specversion":"1.0","id":"%d","type":"tokens"}\n' % n for n in range(5)]
    (spool / "1-1.ndjson").write_bytes(b"".join([*whole[:2], b"\xff\x00rubbish\n", *whole[2:]]))
    client = make()
    assert client.flush()
    assert sorted(server.events) == ["0", "1", "2", "3", "4"]
    assert client.stats().rejected == 1


def test_directory_that_cannot_be_written_leaves_events_in_memory(make: MakeClient, server: EventServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    client = make(spool_dir=tmp_path / "file" / "spool")
    server.fail(*[problem(503)] * 3)
    id = client.track("tokens", "alice")
    assert client.flush()
    assert list(server.events) == [id]


def test_full_disk_leaves_a_whole_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, 1 << 20)
    assert spool.append([b'"first"']) == 1
    real: Callable[[int, bytes], int] = os.write

    def half(descriptor: int, content: bytes) -> int:
        monkeypatch.setattr(os, "write", full)
        return real(descriptor, content[:3])

    def full(_descriptor: int, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    assert spool.append([b'"second"']) == 0
    monkeypatch.setattr(os, "write", real)
    assert spool.append([b'"third"']) == 1
    spool.close()
    (segment,) = tmp_path.iterdir()
    assert segment.read_bytes() == b'"first"\n"third"\n'


def test_segment_of_a_process_that_was_killed_is_replayed(make: MakeClient, server: EventServer, spool: Path) -> None:
    program = """if True:
        import sys, time, os, signal
        from pathlib import Path
        from tollhouse_client.spool import Spool
        Spool(Path(sys.argv[1]), 1 << 20).append([b'{"specversion":"1.0","id":"a","type":"tokens"}'])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", program, str(spool)], check=False, timeout=20)
    assert done.returncode == -9
    assert make().flush()
    assert list(server.events) == ["a"]
