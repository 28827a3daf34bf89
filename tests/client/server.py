"""A small server that takes events as Tollhouse does, keeps one of each id, and can be told to misbehave."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Answer = tuple[int, dict[str, str], Any]


class EventServer:
    """`events` are those stored, by id; `posts` the ids of every request that arrived, stored or not."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.events: dict[str, dict[str, Any]] = {}
        self.posts: list[list[str]] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.duplicates = 0
        self.most_bytes = 1 << 30
        self.rejects: Callable[[dict[str, Any]], bool] = lambda _event: False
        self._answers: list[Answer] = []
        self._always: Answer | None = None
        self._flowing = threading.Event()
        self._flowing.set()
        self._http: ThreadingHTTPServer | None = None
        self._connections: set[socket.socket] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def appear(self) -> Self:
        """Listen, on the same port as before."""
        http = ThreadingHTTPServer(("127.0.0.1", self._port), _handler_of(self))
        http.daemon_threads = True
        self._http, self._port = http, http.server_address[1]
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def vanish(self) -> None:
        """Close the port and every connection."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None
        with self.changed:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # the client was faster
                    continue

    def fail(self, *answers: Answer) -> None:
        """Answer the next requests like this, before anything is stored."""
        with self.changed:
            self._answers += answers

    def always(self, answer: Answer | None) -> None:
        """Answer every request like this, until called with None."""
        with self.changed:
            self._always = answer

    def stall(self) -> None:
        """Take requests and do not answer."""
        self._flowing.clear()

    def flow(self) -> None:
        """Answer again."""
        self._flowing.set()

    def wait(self, condition: Callable[[], bool], timeout: float = 8.0) -> None:
        """Until the condition holds; it is looked at after every request."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout), f"{len(self.events)} events in {len(self.posts)} posts"

    def wait_for_another_post(self) -> None:
        """Until one more request has arrived."""
        posts = len(self.posts)
        self.wait(lambda: len(self.posts) > posts)

    def take(self, body: bytes, headers: dict[str, str]) -> Answer:
        """One request."""
        try:
            events = json.loads(body, parse_float=Decimal)
        except ValueError:
            events = None
        with self.changed:
            self.bodies.append(body)
            self.headers.append(headers)
            self.posts.append([event["id"] for event in events or ()])
            self.changed.notify_all()
        self._flowing.wait(20)
        with self.changed:
            answer = self._answer(body, events)
            self.changed.notify_all()
            return answer

    def _answer(self, body: bytes, events: list[dict[str, Any]] | None) -> Answer:
        if self._answers or self._always:
            return self._answers.pop(0) if self._answers else self._always or problem(500)
        if len(body) > self.most_bytes:
            return problem(413)
        if events is None:
            return problem(400)
        rejected = [{"index": at, "detail": "no good"} for at, event in enumerate(events) if self.rejects(event)]
        if len(rejected) == len(events):
            return problem(400, errors=rejected)
        good = [event for event in events if not self.rejects(event)]
        new = [event for id, event in {event["id"]: event for event in reversed(good)}.items() if id not in self.events][::-1]
        self.events.update({event["id"]: event for event in new})
        self.duplicates += len(good) - len(new)
        return 200, {}, {"inserted": len(new), "duplicates": len(good) - len(new), "rejected": rejected}


def problem(status: int, headers: dict[str, str] | None = None, **more: Any) -> Answer:
    """An error as Tollhouse answers it."""
    return status, headers or {}, {"type": "about:blank", "title": "Sorry.", "status": status, "detail": f"said {status}", **more}


@contextmanager
def serving() -> Iterator[EventServer]:
    """A server for one test."""
    server = EventServer().appear()
    try:
        yield server
    finally:
        server.flow()
        server.vanish()


def _handler_of(server: EventServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with server.changed:
                server._connections.add(self.connection)

        def finish(self) -> None:
            with server.changed:
                server._connections.discard(self.connection)
            super().finish()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, headers, said = server.take(body, {name.lower(): text for name, text in self.headers.items()})
            content = b"" if status == 204 else json.dumps(said).encode()
            try:
                self.send_response(status)
                for name, text in {**headers, "content-length": str(len(content))}.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the client has gone
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
