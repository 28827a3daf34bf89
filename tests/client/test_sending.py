import logging
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from tests.client.conftest import MakeClient
from tests.client.server import EventServer, problem
from tollhouse_client import Client
from tollhouse_client.pace import Pace, retry_after


def test_events_are_sent_in_batches(make: MakeClient, server: EventServer) -> None:
    client = make(batch_size=100, batch_seconds=60)
    for _ in range(250):
        client.track("tokens", "alice")
    server.wait(lambda: len(server.events) == 200)
    assert client.flush()
    assert sorted(map(len, server.posts)) == [50, 100, 100]


def test_small_batch_is_sent_when_its_time_is_up(client: Client, server: EventServer) -> None:
    client.track("tokens", "alice")
    server.wait(lambda: len(server.events) == 1)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 507])
@pytest.mark.parametrize("spooled", [True, False])
def test_failed_batch_is_sent_again_with_the_same_content(make: MakeClient, server: EventServer, status: int, spooled: bool) -> None:
    client = make() if spooled else make(spool_dir=None)
    server.fail(problem(status), problem(status))
    id = client.track("tokens", "alice")
    assert client.flush()
    assert server.posts == [[id]] * 3
    assert len(set(server.bodies)) == 1


@pytest.mark.parametrize("spooled", [True, False])
def test_nothing_is_lost_or_counted_twice_whatever_the_server_does(make: MakeClient, server: EventServer, spooled: bool) -> None:
    """The server fails, refuses, vanishes after it has stored a batch, comes back; every event counts once."""
    client = make(batch_size=20, **({} if spooled else {"spool_dir": None}))
    chance = random.Random(7)  # a fixed order of mishaps
    sent = []
    for round in range(12):
        server.fail(*(problem(chance.choice([429, 500, 503, 507, 401, 404])) for _ in range(chance.randrange(3))))
        sent += [client.track("tokens", "alice", {"n": n}) for n in range(chance.randrange(1, 120))]
        if round % 4 == 1:
            server.stall()
            server.wait_for_another_post()
            server.vanish()  # the client never hears what became of this batch
            server.flow()
            sent += [client.track("tokens", "alice", {"n": n}) for n in range(30)]
            server.appear()
        if round % 2:
            assert client.flush()
    assert sorted(server.events) == sorted(sent)
    assert client.stats().accepted == len(sent)
    assert (client.stats().dropped, client.stats().rejected, client.stats().waiting, client.stats().spooled_bytes) == (0, 0, 0, 0)


def test_client_comes_back_after_the_server_did(client: Client, server: EventServer) -> None:
    server.vanish()
    id = client.track("tokens", "alice")
    assert not client.flush(0.2)
    server.appear()
    assert client.flush()
    assert list(server.events) == [id]


def test_retry_after_is_honoured(client: Client, server: EventServer) -> None:
    server.fail((429, {"retry-after": "1"}, {}))
    client.track("tokens", "alice")
    server.wait(lambda: len(server.posts) == 1)
    first = time.monotonic()
    assert client.flush()  # which does not cut short what the server asked for
    assert time.monotonic() - first > 0.9


def test_retry_after_may_be_a_date() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 < (retry_after(then) or 0) <= 60
    assert retry_after("soon") is None
    assert retry_after("7") == 7


def test_pauses_double_up_to_half_a_minute() -> None:
    pace = Pace(1.0)
    pauses = []
    for _ in range(8):
        pace.failed()
        pauses.append(pace.seconds_left)
    ceilings = [1, 2, 4, 8, 16, 30, 30, 30]
    assert all(ceiling * 0.49 < pause <= ceiling for pause, ceiling in zip(pauses, ceilings, strict=True))


def test_batch_that_is_too_large_is_split(make: MakeClient, server: EventServer) -> None:
    server.most_bytes = 2000
    client = make(batch_seconds=60)
    sent = [client.track("tokens", "alice", {"n": n}) for n in range(100)]
    assert client.flush()
    assert list(server.events) == sent
    assert client.stats().rejected == 0


def test_single_event_that_is_too_large_is_rejected_and_the_others_are_not(make: MakeClient, server: EventServer) -> None:
    server.most_bytes = 2000
    client = make(batch_seconds=60)
    sent = [client.track("tokens", "alice", {"x": "x" * (5000 if n == 3 else 1)}) for n in range(8)]
    assert client.flush()
    assert list(server.events) == sent[:3] + sent[4:]
    assert client.stats().rejected == 1


@pytest.mark.parametrize("bad", [{2}, {0, 1, 2, 3, 4}])
def test_rejected_events_are_counted_and_each_is_logged_once(
    make: MakeClient, server: EventServer, bad: set[int], caplog: pytest.LogCaptureFixture
) -> None:
    server.rejects = lambda event: event["data"]["n"] in bad
    client = make(batch_seconds=60)
    for n in range(5):
        client.track("tokens", "alice", {"n": n})
    assert client.flush()
    assert (client.stats().rejected, client.stats().accepted) == (len(bad), 5 - len(bad))
    assert sum("no good" in record.getMessage() for record in caplog.records) == len(bad)


def test_others_of_a_batch_that_a_few_events_spoil_are_sent_again(make: MakeClient, server: EventServer) -> None:
    server.fail(problem(400, errors=[{"index": 1, "detail": "no good"}]))
    client = make(batch_seconds=60)
    sent = [client.track("tokens", "alice") for _ in range(3)]
    assert client.flush()
    assert list(server.events) == [sent[0], sent[2]]
    assert client.stats().rejected == 1


@pytest.mark.parametrize("status", [401, 403])
def test_events_are_kept_until_the_key_is_right(
    make: MakeClient, server: EventServer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    server.always(problem(status))
    client = make()
    id = client.track("tokens", "alice")
    server.wait(lambda: len(server.posts) >= 4)
    assert sum("does not accept the API key" in record.getMessage() for record in caplog.records) == 1
    client.close()
    server.always(None)
    assert make(api_key="sk_right").flush()
    assert list(server.events) == [id]
    assert client.stats().rejected == 0


@pytest.mark.parametrize("answer", [(200, {}, "a login page"), (204, {}, None), (302, {"location": "/"}, {}), (404, {}, {})])
def test_answer_that_is_not_tollhouses_is_no_receipt(client: Client, server: EventServer, answer: Any) -> None:
    server.fail(answer)
    id = client.track("tokens", "alice")
    assert client.flush()
    assert server.posts == [[id], [id]]


def test_event_stored_with_other_content_is_counted(client: Client, server: EventServer, caplog: pytest.LogCaptureFixture) -> None:
    server.fail((200, {}, {"inserted": 0, "duplicates": 1, "rejected": [], "conflicts": [{"index": 0}]}))
    client.track("tokens", "alice")
    assert client.flush()
    assert client.stats().conflicts == 1
    assert any("other content under the same id" in record.getMessage() for record in caplog.records)


def test_transport_that_raises_anything_does_not_end_the_sender(make: MakeClient) -> None:
    calls = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        if len(calls) < 3:
            raise ZeroDivisionError
        return httpx.Response(200, json={"inserted": 1, "duplicates": 0, "rejected": []})

    client = make(transport=httpx.MockTransport(answer))
    client.track("tokens", "alice")
    assert client.flush()
    assert len(calls) == 3


def test_flush_gives_up_in_time(client: Client, server: EventServer) -> None:
    server.stall()
    client.track("tokens", "alice")
    started = time.monotonic()
    assert not client.flush(0.1)
    assert time.monotonic() - started < 8


def test_flush_does_not_wait_for_what_is_tracked_after_it(make: MakeClient, server: EventServer) -> None:
    client = make(batch_size=10)
    tracked, done = threading.Event(), threading.Event()

    def work() -> None:
        while not done.wait(0.0005):
            client.track("tokens", "bob")
            tracked.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert tracked.wait(5)
        id = client.track("tokens", "alice")
        assert client.flush(5)
        assert id in server.events
    finally:
        done.set()
        thread.join()


def test_close_puts_what_a_stalling_server_did_not_confirm_on_disk(make: MakeClient, server: EventServer) -> None:
    client = make()
    server.stall()
    ids = [client.track("tokens", "alice")]
    server.wait(lambda: len(server.posts) == 1)
    ids.append(client.track("tokens", "alice"))
    client.close(0.1)
    assert client.stats().spooled_bytes > 0
    server.flow()
    assert make().flush()
    assert sorted(server.events) == sorted(ids)


def test_client_that_tracks_nothing_starts_no_thread_and_logs_nothing(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    before = threading.active_count()
    with caplog.at_level(logging.DEBUG, "tollhouse_client"):
        assert client.flush()
        client.close()
    assert threading.active_count() <= before
    assert not caplog.records
