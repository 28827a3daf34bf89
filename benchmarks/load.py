"""The load generator, a process of its own: `python -m benchmarks.load URL`, its orders in JSON on standard input.

It has to share two cores with the server, so it does next to nothing: bodies are made before the clock starts, a
request is two `bytes.replace`, and an answer is searched for three things. It ends after `events` or `most_seconds`,
whichever is first, prints what it saw as JSON, and connects to the loopback address only.
"""

import asyncio
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import msgspec
import numpy as np
import uvloop

from benchmarks import workload
from tollhouse.kit import times


class Orders(msgspec.Struct):
    """What to send. `run` keeps the ids of one run apart from another's; `live` events happen now, others fill thirty days."""

    key: str
    run: int
    connections: int
    batch: int
    events: int
    most_seconds: float
    live: bool = False


class Seen(msgspec.Struct):
    """What came of it: events answered with 2xx, the rate over all and over the last tenth, latencies in milliseconds."""

    events: int
    seconds: float
    rate: float
    last_rate: float
    p50: float
    p99: float
    failed: int
    failure: str


class Load:
    """Keeps every connection busy until enough has been sent."""

    def __init__(self, host: str, port: int, orders: Orders) -> None:
        self.host, self.port, self.orders = host, port, orders
        self.bodies = workload.bodies(24 if orders.batch > 1 else 2000, orders.batch)
        self.head = (
            f"POST /api/events HTTP/1.1\r\nhost: {host}:{port}\r\nauthorization: Bearer {orders.key}\r\n"
            f"content-type: application/cloudevents-batch+json\r\ncontent-length: "
        ).encode()
        if orders.batch == 1:
            self.head = self.head.replace(b"cloudevents-batch+json", b"cloudevents+json")
        self.inserted = b'"inserted":%d,' % orders.batch
        self.sent = 0
        self.done: list[float] = []
        self.latency: list[float] = []
        self.failed, self.failure = 0, ""
        self.open = 0
        self.finished = asyncio.Event()
        self.began = time.perf_counter()

    def next_request(self) -> bytes | None:
        """The next request, or None when enough has been sent."""
        enough = self.sent * self.orders.batch >= self.orders.events
        if enough or self.failed > 10 or time.perf_counter() - self.began > self.orders.most_seconds:
            return None
        share = min(1.0, self.sent * self.orders.batch / self.orders.events)
        happened = time.time_ns() // 1000 if self.orders.live else workload.START + int(share * workload.DAYS * times.DAY)
        second = times.rfc3339(happened)[:19].encode()
        body = self.bodies[self.sent % len(self.bodies)]
        body = body.replace(workload.REQUEST, b"%04x%012x" % (self.orders.run, self.sent)).replace(workload.SECOND, second)
        self.sent += 1
        return self.head + b"%d\r\n\r\n" % len(body) + body

    async def run(self) -> Seen:
        """Send it all and sum up."""
        loop = asyncio.get_running_loop()
        self.began = time.perf_counter()
        self.open = self.orders.connections
        for _ in range(self.orders.connections):
            await loop.create_connection(lambda: _Connection(self), self.host, self.port)
        await asyncio.wait_for(self.finished.wait(), self.orders.most_seconds + 60)
        return self._seen()

    def _seen(self) -> Seen:
        events = len(self.done) * self.orders.batch
        taken = (self.done[-1] - self.began) if self.done else float("inf")
        tail = max(2, len(self.done) // 10)
        last = (tail - 1) * self.orders.batch / (self.done[-1] - self.done[-tail]) if len(self.done) > tail else 0.0
        p50, p99 = np.percentile(self.latency or [0.0], (50, 99)) * 1000
        return Seen(events, taken, events / taken, last, float(p50), float(p99), self.failed, self.failure)


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request on its way."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.answer = b""
        self.began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._send()

    def _send(self) -> None:
        request = self.load.next_request()
        if request is None:
            self.transport.close()
            return
        self.began = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.answer += data
        head, found, body = self.answer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            return
        now = time.perf_counter()
        if head.startswith(b"HTTP/1.1 200") and self.load.inserted in body:
            self.load.done.append(now)
            self.load.latency.append(now - self.began)
        else:
            self.load.failed += 1
            self.load.failure = self.answer[:300].decode("latin-1")
        self.answer = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.open -= 1
        if not self.load.open:
            self.load.finished.set()


def main() -> None:
    """Read the orders, send, and print what was seen."""
    orders = msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)
    where = urlsplit(sys.argv[1])
    if where.hostname not in ("127.0.0.1", "::1", "localhost"):
        sys.exit("The load generator only loads this machine.")
    load = Load(where.hostname, where.port or 80, orders)
    seen = uvloop.run(load.run())
    sys.stdout.buffer.write(msgspec.json.encode(seen))


if __name__ == "__main__":
    main()
