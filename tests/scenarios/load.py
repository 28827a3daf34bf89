"""A load of events that remembers what was acknowledged."""

import json
import threading
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from tests.scenarios.serving import Server, client, wait_until


@dataclass
class Load:
    """Some threads that send batches until `stop`; `acknowledged` holds the ids of every event whose request got a 200."""

    server: Server
    name: str
    threads: int = 3
    batch: int = 40
    padding: int = 100
    acknowledged: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    statuses: list[int] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _workers: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._workers = [threading.Thread(target=self._send, args=(at,), daemon=True) for at in range(self.threads)]
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more, and return when every answer is here."""
        self._stop.set()
        for worker in self._workers:
            worker.join(60)

    def wait_for(self, events: int) -> None:
        """Return when so many events have been acknowledged."""
        wait_until(lambda: len(self.acknowledged) >= events, f"{events} acknowledged events")

    def _send(self, worker: int) -> None:
        number = 0
        with client(self.server.url, self.server.operator) as api:
            while not self._stop.is_set():
                events = [self._event(f"{self.name}-{worker}-{number}-{at}") for at in range(self.batch)]
                ids = {event["id"] for event in events}
                self.sent |= ids
                number += 1
                try:
                    answer = api.post("/api/events", content=json.dumps(events))
                except httpx.TransportError:
                    return  # the server is gone
                self.statuses.append(answer.status_code)
                if answer.status_code == 200:
                    assert answer.json()["inserted"] == len(events)
                    self.acknowledged |= ids

    def _event(self, id: str) -> dict[str, Any]:
        return {"id": id, "type": "page", "source": "load", "subject": f"reader-{len(id)}", "data": {"text": "x" * self.padding}}


def stored_ids(server: Server) -> list[str]:
    """The id of every stored event, read page by page."""
    found: list[str] = []
    cursor: str | None = None
    with server.client() as api:
        while True:
            answer = api.get("/api/events", params={"limit": 1000} | ({"cursor": cursor} if cursor else {}))
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += [event["id"] for event in page["events"]]
            if (cursor := page["next_cursor"]) is None:
                return found
