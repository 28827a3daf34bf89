"""Real servers for tests: `tollhouse up` as its own process, and an opened Tollhouse served from a thread of this one.

A server listens on a free port of the loopback address and is ended by its own pid.
"""

import os
import re
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from tollhouse.app import Tollhouse
from tollhouse.store.lock import read_holder

COMMAND = (sys.executable, "-m", "tollhouse")
START = 30.0
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading certificates that no test server has takes longer than most tests
_KEY = re.compile(r"\b([sp]k_\S+)")


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """Poll until `condition()` is true and return its value; fails with `what` when the time is up."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still waiting after {seconds} s: {what}"
        time.sleep(0.01)
    return value


def surroundings(extra: Mapping[str, str] | None = None, home: Path | None = None) -> dict[str, str]:
    """An environment without anybody's own settings of Tollhouse in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TOLLHOUSE_", "BILLING_", "MINIO_", "USAGE_"))}
    kept |= {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "TERM": "dumb"}
    if home is not None:
        kept |= {"HOME": str(home), "XDG_STATE_HOME": str(home / "state")}
    return kept | dict(extra or {})


def client(url: str, key: str | None = None, **headers: str) -> httpx.Client:
    """An HTTP client for one server and one key; close it."""
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    if key:
        shown["authorization"] = f"Bearer {key}"
    return httpx.Client(base_url=url, headers=shown, timeout=60.0, trust_env=False, verify=PLAIN)


@dataclass
class Server:
    """One `tollhouse up`. `greeting` is what it has printed so far; `secret` and `publishable` are empty after the first start."""

    process: "subprocess.Popen[str]"
    data: Path
    url: str = ""
    operator: str = ""
    lines: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    readers: list[threading.Thread] = field(default_factory=list)

    @classmethod
    def start(cls, data: Path, *options: str, environment: Mapping[str, str] | None = None, port: int = 0) -> Self:
        """Start a server and return when it has greeted."""
        data.parent.mkdir(parents=True, exist_ok=True)
        command = [*COMMAND, "up", "--port", str(port), "--data", str(data), *options]
        process = subprocess.Popen(  # our own command
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=data.parent,
            env=surroundings(environment, data.parent),
        )
        server = cls(process, data)
        for stream, into in ((process.stdout, server.lines), (process.stderr, server.log)):
            assert stream is not None
            reader = threading.Thread(target=lambda stream=stream, into=into: into.extend(iter(stream.readline, "")), daemon=True)
            reader.start()
            server.readers.append(reader)
        try:
            wait_until(lambda: server.greeted() or process.poll() is not None, "the greeting", START)
            assert process.poll() is None, f"it ended with {process.poll()}: {''.join(server.log)}"
        except BaseException:
            server.kill()
            raise
        holder = read_holder(data)
        server.url, server.operator = holder["url"], holder["token"]
        return server

    def greeted(self) -> bool:
        """Whether it has said everything that it says at its start."""
        return any("Stop it with Ctrl-C" in line for line in self.lines)

    @property
    def greeting(self) -> str:
        """What it printed."""
        return "".join(self.lines)

    @property
    def secret(self) -> str:
        """The secret key of the greeting, or nothing."""
        return next((key for key in _KEY.findall(self.greeting) if key.startswith("sk_")), "")

    @property
    def publishable(self) -> str:
        """The publishable key of the greeting, or nothing."""
        return next((key for key in _KEY.findall(self.greeting) if key.startswith("pk_")), "")

    def client(self, key: str | None = None, **headers: str) -> httpx.Client:
        """A client with that key, or with the operator's token."""
        return client(self.url, self.operator if key is None else key, **headers)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self._end()

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(seconds)
        finally:
            self.process.kill()
            self._end()
        return self.process.returncode

    def _end(self) -> None:
        self.process.wait(10)
        for reader in self.readers:
            reader.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def running(data: Path, *options: str, environment: Mapping[str, str] | None = None, port: int = 0) -> Iterator[Server]:
    """A server for as long as the block."""
    server = Server.start(data, *options, environment=environment, port=port)
    try:
        yield server
    finally:
        server.stop()


@dataclass
class House:
    """An opened Tollhouse in this process, and where it is served."""

    tollhouse: Tollhouse
    url: str

    @property
    def operator(self) -> str:
        """The token of the operator of this start."""
        return self.tollhouse.parts.guard.operator_token


@dataclass
class Tenant:
    """One organization: its keys, and a client that uses its secret one."""

    id: str
    secret: str
    publishable: str
    api: httpx.Client

    def send(self, *events: dict[str, Any]) -> dict[str, Any]:
        """Send events and return the receipt."""
        response = self.api.post("/api/events", json=list(events))
        assert response.status_code == 200, response.text
        receipt: dict[str, Any] = response.json()
        return receipt

    def key(self, *scopes: str, **more: Any) -> dict[str, Any]:
        """A new key with those scopes, or of another kind: `{"id", "secret", …}`."""
        response = self.api.post("/api/keys", json=({"scopes": list(scopes)} if scopes else {}) | more)
        assert response.status_code == 201, response.text
        made: dict[str, Any] = response.json()
        return made


@contextmanager
def founded(url: str, operator: str, name: str, time_zone: str = "UTC") -> Iterator[Tenant]:
    """A new organization on a server."""
    with client(url, operator) as at_the_server:
        response = at_the_server.post("/api/organizations", json={"name": name, "time_zone": time_zone})
        assert response.status_code == 201, response.text
        made = response.json()
    with client(url, made["secret_key"]) as api:
        yield Tenant(made["id"], made["secret_key"], made["publishable_key"], api)
