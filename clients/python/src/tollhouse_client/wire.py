"""The way to the server: its address, the key, and a pool of connections that is made when it is first needed."""

import ssl
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from tollhouse_client.bridge import Bridge
from tollhouse_client.version import VERSION

Transport = httpx.BaseTransport | httpx.AsyncBaseTransport


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
        self._pool: httpx.Client | None = None

    def send(self, method: str, path: str, params: Mapping[str, Any] | None = None, content: bytes | None = None) -> httpx.Response:
        """One request, and the answer whatever its status."""
        headers = {"content-type": "application/json"} if content is not None else {}
        return self._connections().request(method, self.url + path, params=params, content=content, headers=headers)

    def close(self) -> None:
        """Close the connections; another request would open new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def after_fork(self) -> None:
        """In a forked child: leave the connections to the parent."""
        self._lock = threading.Lock()
        self._pool = None
        if isinstance(self._transport, Bridge):
            self._transport.after_fork()

    def _connections(self) -> httpx.Client:
        with self._lock:
            if self._pool is None:
                # Reading the certificates takes a moment; without TLS, a context that trusts nobody does.
                verify = True if self.url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                self._pool = httpx.Client(headers=self._headers, timeout=self._timeout, transport=self._transport, verify=verify)
            return self._pool
