"""`tollhouse up`, `web`, `worker` and `migrate`: the server and its parts."""

import gc
import os
import signal
import socket
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
import uvicorn

from tollhouse import schedule
from tollhouse.app import FirstKeys, Tollhouse, opened, records_address
from tollhouse.cli.log import log_to_stderr
from tollhouse.cli.output import console
from tollhouse.kit.errors import Unavailable
from tollhouse.settings import Settings, load
from tollhouse.store.records import Records

Data = Annotated[Path | None, typer.Option("--data", help="Directory of the embedded stores.")]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.")]
Port = Annotated[int | None, typer.Option("--port", help="Port to listen on; 0 picks a free one.")]


def up(
    host: Host = None,
    port: Port = None,
    data: Data = None,
    dev: Annotated[bool, typer.Option("--dev", help="Ask for no key; only this machine can connect.")] = False,
) -> None:
    """Serve everything in one process, until Ctrl-C."""
    _serve(load(os.environ, {"host": host, "port": port, "data": data, "dev": dev or None}), with_tasks=True)


def web(host: Host = None, port: Port = None, data: Data = None) -> None:
    """Serve the web side alone; needs PostgreSQL for records and events, and `tollhouse worker` beside it."""
    settings = load(os.environ, {"host": host, "port": port, "data": data})
    _need_shared_stores(settings)
    _serve(settings, with_tasks=False)


def worker(data: Data = None) -> None:
    """Run what runs by itself, without a web side; needs PostgreSQL for records and events."""
    settings = load(os.environ, {"data": data})
    _need_shared_stores(settings)
    stop = threading.Event()
    _on_signal(stop)
    log_to_stderr()
    with opened(settings) as tollhouse, schedule.running(tollhouse):
        console().print("Tollhouse runs its scheduled tasks. Stop it with Ctrl-C.")
        stop.wait()


def migrate(data: Data = None) -> None:
    """Bring the records to this version's schema, and end."""
    settings = load(os.environ, {"data": data})
    settings.data.mkdir(parents=True, exist_ok=True)
    records = Records(records_address(settings))
    records.migrate()
    records.close()
    console().print("The records are at this version's schema.")


def _need_shared_stores(settings: Settings) -> None:
    if not (settings.records_url and settings.events_url):
        raise Unavailable(
            "Several processes need stores that they can share: set TOLLHOUSE_RECORDS_URL and TOLLHOUSE_EVENTS_URL to "
            "PostgreSQL, and give each process its own --data; or run `tollhouse up`, which needs neither."
        )


def _on_signal(stop: threading.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())


def _serve(settings: Settings, with_tasks: bool) -> None:
    # uvicorn raises the signal again once it has drained; it shall end the block below and not the process.
    _on_signal(threading.Event())
    log_to_stderr()
    suit_interpreter()
    with ExitStack() as stack:
        listening = stack.enter_context(_listening(settings))
        tollhouse = stack.enter_context(opened(settings))
        if with_tasks:
            stack.enter_context(schedule.running(tollhouse))
        host, port = listening.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        local = url.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")  # noqa: S104  # where to connect, not to bind
        tollhouse.serve_at(local)
        server = _Server(tollhouse, settings, url)
        server.run(sockets=[listening])


def suit_interpreter() -> None:
    """Set the interpreter up for a server."""
    # The thread that writes events gives up the interpreter lock at each step into the store, and would wait 5 ms for it
    # each time while requests are being read. Measured: twice the events a second with a tenth of that, a tenth more with this.
    sys.setswitchinterval(0.0002)
    # A batch's thousands of short-lived texts are no garbage to search for.
    gc.set_threshold(50_000, 20, 20)


def _listening(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        raise Unavailable(
            f"Tollhouse cannot listen on {settings.host}:{settings.port}: {error.strerror}; choose another with --host and --port."
        ) from None


class _Server(uvicorn.Server):
    """uvicorn, which says where it is once it is there."""

    def __init__(self, tollhouse: Tollhouse, settings: Settings, url: str) -> None:
        config = uvicorn.Config(
            tollhouse.application,
            log_config=None,
            lifespan="off",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=30,
        )
        super().__init__(config)
        self._tollhouse, self._settings, self._url = tollhouse, settings, url

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; workers that wait for a job are sent away first, or the drain would wait for them."""
        self._tollhouse.parts.bell.close()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and greet."""
        await super().startup(sockets=sockets)
        _greet(self._settings, self._url, self._tollhouse.first_keys)


def _greet(settings: Settings, url: str, keys: FirstKeys | None) -> None:
    out: Any = console()
    out.print(f"Tollhouse serves at [bold]{url}[/bold], data in {settings.data}", soft_wrap=True)
    if settings.dev:
        out.print("Development: requests from this machine need no key, and no other machine can connect.", soft_wrap=True)
    if keys is not None:
        out.print(f"Made the organization {keys.organization!r}. Its keys are shown now and never again:", soft_wrap=True)
        out.print(f"  secret key       {keys.secret}   (for your servers)", soft_wrap=True)
        out.print(f"  publishable key  {keys.publishable}   (for browsers: may only send events)", soft_wrap=True)
        out.print("Open this link within a day to choose your address and password for the pages:", soft_wrap=True)
        out.print(f"  {url}/welcome?token={keys.sign_in}", soft_wrap=True)
    out.print("Stop it with Ctrl-C.")
