import json
import logging
import socket
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.client.conftest import MakeClient
from tests.client.server import EventServer
from tollhouse_client import Client


@pytest.fixture
def nowhere() -> str:
    """An address of this machine where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


def test_tracked_event_arrives_as_a_cloud_event(client: Client, server: EventServer) -> None:
    id = client.track("tokens", "alice", {"n": 3})
    assert client.flush()
    arrived = server.events[id]
    assert (arrived["type"], arrived["subject"], arrived["data"], arrived["source"]) == ("tokens", "alice", {"n": 3}, "tollhouse-client")
    assert abs(datetime.fromisoformat(arrived["time"]) - datetime.now(UTC)) < timedelta(seconds=20)
    assert server.headers[0]["authorization"] == "Bearer sk_test"


def test_tracking_with_the_server_away_is_quick_and_loses_nothing(make: MakeClient, nowhere: str) -> None:
    client = make(url=nowhere)
    started = time.perf_counter()
    for n in range(10_000):
        client.track("tokens", "alice", {"n": n})
    assert time.perf_counter() - started < 15
    client.close()
    stats = client.stats()
    assert (stats.dropped, stats.accepted, stats.waiting) == (0, 0, 0)
    assert stats.spooled_bytes > 10_000 * 100


def test_tracking_does_not_wait_for_a_server_that_stalls(make: MakeClient, server: EventServer) -> None:
    client = make(spool_dir=None)
    server.stall()
    client.track("tokens", "alice")
    server.wait(lambda: len(server.posts) == 1)
    longest = 0.0
    for _ in range(2000):
        started = time.perf_counter()
        client.track("tokens", "alice")
        longest = max(longest, time.perf_counter() - started)
    assert longest < 5
    server.flow()
    assert client.flush()
    assert len(server.events) == 2001


def test_memory_is_bounded_and_what_finds_no_room_is_counted(make: MakeClient, server: EventServer) -> None:
    client = make(max_waiting=100, spool_dir=None)
    server.always((503, {}, {}))
    for _ in range(1000):
        client.track("tokens", "alice")
        assert client.stats().waiting <= 100
    assert client.stats().dropped == 900


def test_memory_is_bounded_in_bytes_too(make: MakeClient, server: EventServer) -> None:
    client = make(spool_dir=None)
    server.stall()
    for _ in range(100):
        client.track("blob", "alice", {"x": "x" * (1 << 20)})
    assert client.stats().dropped >= 30
    server.vanish()


@pytest.mark.parametrize(
    "data",
    [
        {"x": float("nan")},
        {"x": Decimal("Infinity")},
        {"x": object()},
        {"x": "\ud800"},
        {("a", "b"): 1},
        {"x": {1, 2}},
        7.5j,
    ],
)
def test_data_that_json_cannot_say_is_counted_and_logged(client: Client, data: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert client.track("tokens", "alice", {"list": [data]})
    assert client.stats().dropped == 1
    assert [record.name for record in caplog.records] == ["tollhouse_client"]


def test_circular_data_and_a_hostile_error_do_not_reach_the_app(client: Client) -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise self

    class Trap(dict[str, Any]):
        def items(self) -> Any:
            raise Hostile

    circle: dict[str, Any] = {}
    circle["circle"] = circle
    client.track("tokens", "alice", circle)
    client.track("tokens", "alice", Trap(a=1))
    assert client.stats().dropped == 2


def test_log_handler_that_raises_does_not_reach_the_app(client: Client) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError(record)

    handler = Broken()
    logging.getLogger("tollhouse_client").addHandler(handler)
    try:
        client.track("tokens", "alice", {"x": object()})
    finally:
        logging.getLogger("tollhouse_client").removeHandler(handler)
    assert client.stats().dropped == 1


def test_many_bad_events_are_logged_once_a_minute(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        client.track("tokens", "alice", {"x": object()})
    assert client.stats().dropped == 50
    assert len(caplog.records) == 1


@pytest.mark.parametrize("text", ["0.1", "123456789012345678.12345678901234567890", "1E+5", "-0.000000000000000000001", "10.00"])
def test_decimals_arrive_digit_for_digit(client: Client, server: EventServer, text: str) -> None:
    client.track("tokens", "alice", {"amount": Decimal(text)})
    assert client.flush()
    assert f'"amount":{text}'.encode() in server.bodies[0]


def test_data_is_sent_as_it_was_when_tracked(client: Client, server: EventServer) -> None:
    data = {"n": 1}
    id = client.track("tokens", "alice", data)
    data["n"] = 2
    assert client.flush()
    assert server.events[id]["data"] == {"n": 1}


def test_time_may_be_given_in_any_zone(client: Client, server: EventServer) -> None:
    id = client.track("tokens", "alice", time=datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))))
    assert client.flush()
    assert server.events[id]["time"] == "2024-01-01T00:00:00.000000Z"


def test_subject_may_be_a_number(client: Client, server: EventServer) -> None:
    id = client.track("tokens", 42)
    assert client.flush()
    assert server.events[id]["subject"] == "42"


def test_job_calls_send_what_the_seed_meters_count_under_stable_ids(client: Client, server: EventServer) -> None:
    client.track_bytes_processed("carol", 1024**3, "job-1")
    client.track_compute_seconds("carol", Decimal("3600.5"), "job-1")
    client.track_job_completion("carol", "job-1", "completed", {"pages": 12})
    assert client.flush()
    sent = {id: (event["type"], event["subject"], event["data"]) for id, event in server.events.items()}
    assert sent == {
        "job-1:bytes_processed": ("bytes_processed", "carol", {"bytes": 1024**3, "job_id": "job-1"}),
        "job-1:compute_seconds": ("compute_seconds", "carol", {"seconds": Decimal("3600.5"), "job_id": "job-1"}),
        "job-1:job_completion": ("job_completion", "carol", {"status": "completed", "metadata": {"pages": 12}, "job_id": "job-1"}),
    }


def test_job_reported_twice_counts_once_and_its_parts_count_each(client: Client, server: EventServer) -> None:
    for part in ("", "", "1", "1", "2"):
        client.track_bytes_processed("carol", 10, "job-1", part=part)
    assert client.flush()
    assert sorted(server.events) == ["job-1:bytes_processed", "job-1:bytes_processed:1", "job-1:bytes_processed:2"]
    assert (client.stats().accepted, client.stats().duplicates) == (5, 2)


def test_many_threads_track_at_once(client: Client, server: EventServer) -> None:
    def work(name: str) -> None:
        for n in range(500):
            client.track("tokens", name, id=f"{name}-{n}")

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush()
    assert len(server.events) == 4000
    assert client.stats().accepted == 4000


def test_closed_client_drops_and_counts(client: Client) -> None:
    client.close()
    assert client.track("tokens", "alice")
    assert client.stats().dropped == 1


def test_options_come_from_the_environment(server: EventServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = {"TOLLHOUSE_URL": server.url, "TOLLHOUSE_API_KEY": "sk_env", "USAGE_BATCH_SIZE": "7", "USAGE_BATCH_TIMEOUT": "0.5"}
    for name, text in {**settings, "XDG_STATE_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, text)
    with Client() as client:
        for _ in range(14):
            client.track("tokens", "alice")
        assert client.flush()
    assert max(map(len, server.posts)) == 7
    assert server.headers[0]["authorization"] == "Bearer sk_env"


@pytest.mark.parametrize("options", [{"url": "127.0.0.1"}, {"url": "ftp://x"}, {"batch_size": 0}, {"api_key": "sk\n"}])
def test_option_that_cannot_be_used_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Client(**options)


def test_number_in_the_environment_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USAGE_BATCH_SIZE", "many")
    with pytest.raises(ValueError, match="USAGE_BATCH_SIZE: 'many' is no number"):
        Client()


def test_spool_is_a_directory_of_the_server_and_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nowhere: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for source in ("one", "two"):
        with Client(nowhere, source=source) as client:
            client.track("tokens", "alice")
    segments = list((tmp_path / "tollhouse" / "spool").glob("127.0.0.1-*/*.ndjson"))
    assert sorted(json.loads(segment.read_text())["source"] for segment in segments) == ["one", "two"]
    assert {segment.stat().st_mode & 0o777 for segment in segments} == {0o600}
