"""How a command reaches Tollhouse.

With TOLLHOUSE_URL and TOLLHOUSE_API_KEY set, it is that server. Else it is the one that holds the data directory on
this machine; and where none runs, this process opens the directory and serves itself on a free loopback port for as
long as the command takes, so that there is one way in and no twin of it.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tollhouse.kit.errors import Fault, TollhouseError, Unavailable
from tollhouse.settings import load
from tollhouse.store.lock import read_holder


class Refused(TollhouseError):
    """The server refused."""

    def __init__(self, status: int, detail: str, faults: list[Fault]) -> None:
        super().__init__(detail, faults)
        self.status = status
        self.exit_code = {400: 2, 413: 2, 422: 2, 401: 3, 403: 3, 404: 4, 409: 5, 429: 6, 503: 7, 507: 8}.get(status, 1)


class Connection:
    """Calls to one server; a refusal is raised as Refused with the problem document's sentence."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def call(self, method: str, path: str, **options: Any) -> Any:
        """One request; returns the decoded answer, decimals as texts of their digits."""
        response = self.response(method, path, **options)
        return response.json(parse_float=_Digits) if response.content else None

    def response(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; returns the response."""
        try:
            response = self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise Unavailable(f"Tollhouse at {self._client.base_url} does not answer: {error}.") from None
        if response.is_error:
            raise _refused(response)
        return response

    @contextmanager
    def stream(self, path: str, params: dict[str, Any]) -> Iterator[Iterator[bytes]]:
        """The body of a large answer in chunks."""
        with self._client.stream("GET", path, params=params) as response:
            if response.is_error:
                response.read()
                raise _refused(response)
            yield response.iter_bytes(1 << 20)


class _Digits(str):
    """A JSON number as its digits."""


def _refused(response: httpx.Response) -> Refused:
    try:
        problem = response.json()
        faults = [Fault(one["detail"], one.get("field"), one.get("index")) for one in problem.get("errors", [])]
        return Refused(response.status_code, problem["detail"], faults)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Refused(response.status_code, f"The server answered {response.status_code}.", [])


@contextmanager
def connected(organization: str | None = None) -> Iterator[Connection]:
    """A connection as the module says, for the default organization or the one with that id."""
    settings = load(os.environ)
    remote, key = os.environ.get("TOLLHOUSE_URL"), os.environ.get("TOLLHOUSE_API_KEY")
    if remote:
        with _client(remote, key, None) as client:
            yield Connection(client)
        return
    holder = read_holder(settings.data)
    if "token" in holder:
        with _client(holder["url"], holder["token"], organization) as client:
            yield Connection(client)
        return
    from tollhouse.cli.embedded import opened_and_served  # noqa: PLC0415  # takes a second, and most commands find a server

    with opened_and_served(settings) as (url, operator), _client(url, operator, organization) as client:
        yield Connection(client)


def found() -> bool:
    """Whether there is a Tollhouse to connect to, elsewhere or in the data directory; `connected` would make one."""
    settings = load(os.environ)
    return bool(os.environ.get("TOLLHOUSE_URL") or settings.records_url) or (settings.data / "records.db").exists()


def _client(url: str, key: str | None, organization: str | None) -> httpx.Client:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    if organization:
        headers["x-organization"] = organization
    # Reading the certificates takes a moment; without TLS, a context that trusts nobody does.
    verify = True if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.Client(base_url=url, headers=headers, timeout=600.0, trust_env=False, verify=verify)
