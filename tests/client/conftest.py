"""A server, and clients that talk to it and hurry."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.server import EventServer, serving
from tollhouse_client import Client

MakeClient = Callable[..., Client]


@pytest.fixture
def server() -> Iterator[EventServer]:
    with serving() as running:
        yield running


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def make(server: EventServer, spool: Path) -> Iterator[MakeClient]:
    """Makes clients of the server, and closes them."""
    made: list[Client] = []

    def client(**options: Any) -> Client:
        defaults = {"url": server.url, "api_key": "sk_test", "batch_seconds": 0.01, "retry_seconds": 0.01, "spool_dir": spool}
        made.append(Client(**{**defaults, **options}))
        return made[-1]

    yield functools.wraps(Client)(client)
    for one in made:
        one.close(0.5)


@pytest.fixture
def client(make: MakeClient) -> Client:
    return make()
