"""The client at the end of a process and across a fork, in real processes."""

import subprocess
import sys
from pathlib import Path

from tests.client.conftest import MakeClient
from tests.client.server import EventServer
from tests.client.test_spool import lines

BEGIN = """
import os, sys
from tollhouse_client import Client
client = Client(sys.argv[1], "sk_test", spool_dir=sys.argv[2], batch_seconds=60, retry_seconds=0.01)
"""


def run(program: str, server: EventServer, spool: Path) -> str:
    """Run a program that begins with a client; returns what it printed, and fails if it wrote anything to standard error."""
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", BEGIN + program, server.url, str(spool)]
    done = subprocess.run(command, check=True, timeout=20, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.stdout


def test_events_are_sent_when_the_process_ends(server: EventServer, spool: Path) -> None:
    run('client.track("tokens", "alice", id="a")', server, spool)
    assert list(server.events) == ["a"]
    assert not spool.exists()


def test_events_are_sent_when_the_process_ends_with_an_error(server: EventServer, spool: Path) -> None:
    run('client.track("tokens", "alice", id="a"); sys.stderr = open(os.devnull, "w"); sys.exit(0)', server, spool)
    assert list(server.events) == ["a"]


def test_spool_outlives_the_process_and_the_next_one_sends_it(server: EventServer, spool: Path) -> None:
    server.vanish()
    run('[client.track("tokens", "alice", id=f"{n}") for n in range(1000)]', server, spool)
    assert lines(spool) == [f"{n}" for n in range(1000)]
    server.appear()
    run("assert client.flush()", server, spool)
    assert list(server.events) == [f"{n}" for n in range(1000)]
    assert list(spool.iterdir()) == []


def test_two_processes_replay_a_spool_together(server: EventServer, spool: Path) -> None:
    server.vanish()
    for start in range(0, 400, 100):
        run(f'[client.track("tokens", "alice", id=f"{{n}}") for n in range({start}, {start + 100})]', server, spool)
    server.appear()
    command = [sys.executable, "-c", BEGIN + "assert client.flush()", server.url, str(spool)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(20) for process in processes] == [0, 0]
    assert len(server.events) == 400
    assert server.duplicates == 0


def test_forked_child_starts_empty_and_sends_its_own(server: EventServer, spool: Path) -> None:
    program = """
client.track("tokens", "alice", id="parent")
child = os.fork()
if child == 0:
    assert client.stats().waiting == 0
    client.track("tokens", "alice", id="child")
    assert client.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert client.stats().waiting == 1
"""
    run(program, server, spool)
    assert server.posts == [["child"], ["parent"]]


def test_forked_child_sends_what_it_tracked_when_it_ends(server: EventServer, spool: Path) -> None:
    program = """
client.track("tokens", "alice", id="parent")
client.flush()
if os.fork() == 0:
    client.track("tokens", "alice", id="child")
    sys.exit(0)
os.wait()
"""
    run(program, server, spool)
    assert server.posts == [["parent"], ["child"]]


def test_child_of_multiprocessing_sends_what_it_tracked_when_it_ends(server: EventServer, spool: Path) -> None:
    program = """
import multiprocessing
client.track("tokens", "alice", id="parent")
child = multiprocessing.get_context("fork").Process(target=client.track, args=("tokens", "alice"), kwargs={"id": "child"})
child.start()
child.join()
assert child.exitcode == 0
"""
    run(program, server, spool)
    assert server.posts == [["child"], ["parent"]]


def test_fork_while_the_spool_is_written_leaves_the_parents_lock_alone(server: EventServer, spool: Path) -> None:
    program = """
from pathlib import Path
from tollhouse_client.spool import Spool
from tollhouse_client import fork
mine = Spool(Path(sys.argv[2]), 1 << 20)
fork.tell(mine)
mine.append([b'{"id":"a","type":"x"}'])
if os.fork() == 0:
    assert mine.claim() is None
    os._exit(0)
assert os.wait()[1] == 0
assert Spool(Path(sys.argv[2]), 1 << 20).claim() is None
assert mine.append([b'{"id":"b","type":"x"}']) == 1
mine.close()
"""
    run(program, server, spool)
    assert lines(spool) == ["a", "b"]


def test_fork_in_the_middle_of_a_stalled_request(make: MakeClient, server: EventServer, spool: Path) -> None:
    program = """
client.track("tokens", "alice", id="parent")
assert not client.flush(0.1)
if os.fork() == 0:
    client.track("tokens", "alice", id="child")
    client.close(0.1)
    os._exit(0)
assert os.wait()[1] == 0
client.close(0.1)
"""
    server.stall()
    run(program, server, spool)
    assert sorted(lines(spool)) == ["child", "parent"]
    server.flow()
    assert make().flush()
    assert sorted(server.events) == ["child", "parent"]
    assert list(spool.iterdir()) == []
