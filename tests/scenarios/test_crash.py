"""kill -9 under load: what was acknowledged is there once, and nothing is there twice."""

import random
from pathlib import Path

import pytest

from tests.scenarios.load import Load, stored_ids
from tests.scenarios.serving import Server


def play(tmp_path: Path, rounds: int) -> None:
    """Each round starts the server on what the last kill left, checks it, loads it, and kills it at some moment."""
    chance = random.Random(20240229)  # moments, not secrets
    data = tmp_path / "data"
    acknowledged: set[str] = set()
    sent: set[str] = set()
    for number in range(rounds):
        server = Server.start(data)
        try:
            _check(server, acknowledged, sent)
            with Load(server, f"round-{number}") as load:
                load.wait_for(chance.randrange(1, 3000))
                server.kill()
                load.stop()
            acknowledged |= load.acknowledged
            sent |= load.sent
        finally:
            server.kill()
    server = Server.start(data)
    try:
        _check(server, acknowledged, sent)
        _check_retry(server, acknowledged)
        assert server.stop() == 0
    finally:
        server.kill()


def _check(server: Server, acknowledged: set[str], sent: set[str]) -> None:
    there = stored_ids(server)
    assert len(there) == len(set(there)), "an event is there twice"
    assert acknowledged - set(there) == set(), "an acknowledged event is lost"
    assert set(there) <= sent


def _check_retry(server: Server, acknowledged: set[str]) -> None:
    """A client that sends again what it is not sure of changes nothing."""
    again = sorted(acknowledged)[:500]
    events = [{"id": id, "type": "page", "source": "load"} for id in again]
    with server.client() as api:
        receipt = api.post("/api/events", json=events).json()
    assert (receipt["inserted"], receipt["duplicates"]) == (0, len(again))


def test_every_acknowledged_event_survives_a_kill(tmp_path: Path) -> None:
    play(tmp_path, rounds=6)


@pytest.mark.soak
def test_every_acknowledged_event_survives_fifty_kills(tmp_path: Path) -> None:
    play(tmp_path, rounds=50)
