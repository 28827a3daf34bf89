"""The way to the server: its address, the key, and its connections, which are made when they are first needed."""

import ssl
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

import httpx

from tollhouse_client import discretion
from tollhouse_client.bridge import Bridge
from tollhouse_client.version import VERSION

Transport = httpx.BaseTransport | httpx.AsyncBaseTransport
_CHUNK = 64 << 10


@dataclass(frozen=True)
class Form:
    """A form with files: its fields, and (name, open file) pairs."""

    fields: Mapping[str, str]
    files: Sequence[tuple[str, IO[bytes]]]


class _FileStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A file as the body of a request, chunk by chunk."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._file.read(_CHUNK):
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


class Wire:
    """Sends requests from any thread. Raises ValueError when the address is none, and httpx's errors when sending."""

    def __init__(self, url: str, api_key: str, timeout: float, transport: Transport | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url: {url!r} is not the address of a server; write it like http://127.0.0.1:3000")
        if not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("api_key: it holds characters that no key has; copy it again")
        self.url = parts._replace(scheme=parts.scheme.lower()).geturl().rstrip("/")
        self._headers = {"user-agent": f"tollhouse-client/{VERSION}", "accept": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._timeout = timeout
        self._transport = transport if transport is None or isinstance(transport, httpx.BaseTransport) else Bridge(transport)
        self._lock = threading.Lock()
        self._pools: dict[bool, httpx.Client] = {}
        discretion.begin()

    def send(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        *,
        form: Form | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        """One request, with JSON or a form in it, and the answer whatever its status."""
        shown = {"content-type": "application/json"} if content is not None else {}
        return self._connections().request(
            method,
            self.url + path,
            params=params,
            content=content,
            data=None if form is None else dict(form.fields),
            files=None if form is None else [("files", (name, file)) for name, file in form.files],
            headers=shown | dict(headers or {}),
            timeout=self._timeout if timeout is None else timeout,
        )

    @contextmanager
    def fetch(self, address: str) -> Iterator[httpx.Response]:
        """What is at an address that is its own credential, to be read chunk by chunk; the key is not sent along."""
        pool = self._connections(address)
        request = pool.build_request("GET", address)
        request.headers.pop("authorization", None)
        with discretion.kept():
            answer = pool.send(request, stream=True)
        try:
            yield answer
        finally:
            answer.close()

    def put(self, address: str, headers: Mapping[str, str], file: IO[bytes], size: int) -> httpx.Response:
        """Send a file to such an address."""
        timeout = {"timeout": httpx.Timeout(self._timeout).as_dict()}
        shown = {"host": httpx.URL(address).netloc.decode(), **headers, "content-length": str(size)}
        request = httpx.Request("PUT", address, headers=shown, stream=_FileStream(file), extensions=timeout)
        pool = self._connections(address)
        with discretion.kept():
            return pool.send(request)

    def close(self) -> None:
        """Close the connections; another request would open new ones."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()

    def after_fork(self) -> None:
        """In a forked child: leave the connections to the parent."""
        self._lock = threading.Lock()
        self._pools = {}
        if isinstance(self._transport, Bridge):
            self._transport.after_fork()

    def _connections(self, address: str = "") -> httpx.Client:
        """Reading the certificates takes a moment; without TLS, a context that trusts nobody does."""
        secure = (address or self.url).startswith("https:")
        with self._lock:
            if secure not in self._pools:
                verify = True if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
                self._pools[secure] = httpx.Client(
                    headers=self._headers, timeout=self._timeout, transport=self._transport, verify=verify, limits=limits
                )
            return self._pools[secure]
