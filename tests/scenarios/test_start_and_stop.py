"""Starting and stopping: keys are shown once, one server holds a data directory, and SIGTERM loses nothing."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.scenarios.load import Load, stored_ids
from tests.scenarios.serving import COMMAND, Server, client, running, surroundings
from tollhouse.store.lock import DirectoryLock, read_holder


def test_the_first_start_shows_the_keys_and_no_other_start_does(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data) as first:
        secret, publishable = first.secret, first.publishable
        assert secret.startswith("sk_")
        assert publishable.startswith("pk_")
        assert first.greeting.count("sk_") == 1
        with first.client(secret) as api:
            assert api.get("/api/me").status_code == 200
    with running(data) as second:
        assert "sk_" not in second.greeting
        assert "pk_" not in second.greeting
        assert second.operator != first.operator
        with second.client(secret) as api:
            assert api.get("/api/me").status_code == 200
        with second.client(first.operator) as api:
            assert api.get("/api/me").status_code == 401
        assert secret not in "".join(second.log)


def test_what_lies_in_the_data_directory_is_for_its_owner_alone(server: Server) -> None:
    assert server.data.stat().st_mode & 0o077 == 0
    assert (server.data / "tollhouse.lock").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("command", ["up", "up --dev"])
def test_a_second_server_on_one_data_directory_is_refused_with_one_sentence(server: Server, command: str) -> None:
    again = [*COMMAND, *command.split(), "--port", "0", "--data", str(server.data)]
    ended = subprocess.run(again, capture_output=True, text=True, env=surroundings(), cwd=server.data.parent, timeout=60, check=False)
    assert ended.returncode == 7
    assert ended.stdout == ""
    (sentence,) = ended.stderr.splitlines()
    assert str(server.process.pid) in sentence
    assert server.url in sentence
    with server.client() as api:
        assert api.get("/api/health").status_code == 200


def test_a_port_that_is_taken_is_refused_with_one_sentence(server: Server, tmp_path: Path) -> None:
    port = server.url.rsplit(":", 1)[1]
    again = [*COMMAND, "up", "--port", port, "--data", str(tmp_path / "other")]
    ended = subprocess.run(again, capture_output=True, text=True, env=surroundings(), cwd=tmp_path, timeout=60, check=False)
    assert ended.returncode == 7
    (sentence,) = ended.stderr.splitlines()
    assert port in sentence
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_stop_drains_and_ends_with_zero(tmp_path: Path, number: signal.Signals) -> None:
    data = tmp_path / "data"
    server = Server.start(data)
    try:
        with Load(server, "drain") as load:
            load.wait_for(500)
            server.process.send_signal(number)
            assert server.process.wait(30) == 0
            load.stop()
        assert read_holder(data) == {}
        assert (data / "tollhouse.lock").read_bytes() == b""
        assert not (data / "events.duckdb.wal").exists(), "the store was not closed"
    finally:
        server.kill()
    with running(data) as again:
        there = stored_ids(again)
        assert len(there) == len(set(there))
        assert load.acknowledged <= set(there) <= load.sent


def test_a_request_that_is_under_way_is_answered_before_the_end(tmp_path: Path) -> None:
    server = Server.start(tmp_path / "data")
    try:
        body_sent, go_on = threading.Event(), threading.Event()

        def slowly() -> Iterator[bytes]:
            yield b'{"id":"slow","type":"page",'
            body_sent.set()
            assert go_on.wait(20)
            yield b'"source":"load"}'

        with client(server.url, server.operator) as api, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(api.post, "/api/events", content=slowly())
            assert body_sent.wait(20)
            server.process.terminate()
            go_on.set()
            assert waiting.result().status_code == 200
        assert server.process.wait(30) == 0
    finally:
        server.kill()


def test_asking_who_holds_a_directory_never_keeps_a_server_from_starting(tmp_path: Path) -> None:
    """A command that looks for a running server and a server that starts may meet."""
    ask = f"from pathlib import Path; from tollhouse.store.lock import read_holder\nwhile True: print(read_holder(Path({str(tmp_path)!r})))"
    DirectoryLock(tmp_path).release()
    asking = subprocess.Popen([sys.executable, "-c", ask], stdout=subprocess.PIPE)
    assert asking.stdout is not None
    asking.stdout.readline()
    reading = threading.Thread(target=asking.stdout.read, daemon=True)
    reading.start()
    try:
        for _ in range(2000):
            DirectoryLock(tmp_path).release()
    finally:
        asking.kill()
        asking.wait()
        reading.join()
        asking.stdout.close()
