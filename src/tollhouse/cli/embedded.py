"""A Tollhouse inside this process, served on the loopback address for as long as it is wanted."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from tollhouse.app import Tollhouse, opened
from tollhouse.cli.log import log_to_stderr
from tollhouse.settings import Settings


@contextmanager
def opened_and_served(settings: Settings) -> Iterator[tuple[str, str]]:
    """Open a data directory and serve it; yields its address and its operator's token."""
    log_to_stderr()
    with opened(settings) as tollhouse, served(tollhouse) as url:
        yield url, tollhouse.parts.guard.operator_token


@contextmanager
def served(tollhouse: Tollhouse) -> Iterator[str]:
    """Serve an opened Tollhouse from a thread, on a free port of the loopback address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(tollhouse.application, log_config=None, lifespan="off", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="tollhouse-web", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        tollhouse.parts.bell.close()
        server.should_exit = True
        thread.join()
        listening.close()
