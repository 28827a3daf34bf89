"""A real server under load: `tollhouse up` in a process of its own, on a free port of the loopback address."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec

from benchmarks.load import Orders, Seen
from benchmarks.workload import TYPES
from tollhouse.store.lock import read_holder


class Server:
    """A running server over a data directory; `started` is how many seconds it took to answer."""

    def __init__(self, data: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TOLLHOUSE_")}
        command = [sys.executable, "-m", "tollhouse", "up", "--port", "0", "--data", str(data)]
        began = time.perf_counter()
        with (data.parent / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        holder = self._wait_for_holder(data, began + 120)
        self.url, self._token = str(holder["url"]), str(holder["token"])
        self._wait_for_answer(began + 120)
        self.started = time.perf_counter() - began
        self._key = ""

    def _wait_for_holder(self, data: Path, until: float) -> dict[str, Any]:
        while time.perf_counter() < until and self._process.poll() is None:
            holder = read_holder(data)
            if "url" in holder and holder["pid"] == self._process.pid:
                return holder
            time.sleep(0.01)
        raise RuntimeError(f"The server did not start; {data.parent / 'server.log'} says why.")

    def _wait_for_answer(self, until: float) -> None:
        while True:
            try:
                httpx.get(f"{self.url}/api/health").raise_for_status()
                return
            except httpx.TransportError:
                if time.perf_counter() > until:
                    raise
                time.sleep(0.01)

    def prepare(self) -> None:
        """Make a key as an app has one, and a meter for each type of event, so that ingest has numbers to lift out."""
        with httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self._token}"}) as operator:
            key = operator.post("/api/keys", json={"kind": "secret", "name": "bench"}).raise_for_status()
            self._key = str(key.json()["secret"])
            for type in TYPES:
                meter = {"slug": type.replace(".", "_"), "event_type": type, "value_property": "$.quantity"}
                answer = operator.post("/api/meters", json=meter)
                if answer.status_code != httpx.codes.CONFLICT:  # it is there already
                    answer.raise_for_status()

    def aggregate(self) -> None:
        """Bring the rollups up to date."""
        with httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self._token}"}, timeout=300) as operator:
            operator.post("/api/usage/aggregate").raise_for_status()

    def load(self, run: int, connections: int, batch: int, events: int, most_seconds: float, live: bool = False) -> Seen:
        """Send events from a process of its own; returns what that one saw."""
        orders = Orders(self._key, run, connections, batch, events, most_seconds, live)
        command = [sys.executable, "-m", "benchmarks.load", self.url]
        ended = subprocess.run(command, input=msgspec.json.encode(orders), stdout=subprocess.PIPE, check=True, timeout=most_seconds + 120)
        seen = msgspec.json.decode(ended.stdout, type=Seen)
        if seen.failed:
            raise RuntimeError(f"{seen.failed} requests failed, the last one with: {seen.failure}")
        return seen

    def megabytes(self, counter: str) -> float:
        """The kernel's count of the server's resident memory: `VmRSS` now, `VmHWM` at most since it started."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(f"{counter}:"))
        return int(line.split()[1]) * 1024 / 1e6

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def stop(self) -> float:
        """Drain and end; returns how many seconds that took."""
        began = time.perf_counter()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return time.perf_counter() - began
