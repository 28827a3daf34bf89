"""One question to the server and its answer: what every call of the client is made of."""

import time
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from tollhouse_client.encoding import decode, encode
from tollhouse_client.errors import TollhouseError, Unreachable
from tollhouse_client.pace import Pace
from tollhouse_client.wire import Form, Wire

Answer = dict[str, Any]
T = TypeVar("T")


class Asking:
    """Asks one server. Answers are JSON objects with fractions as `Decimal`; anything else is a `TollhouseError`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        *,
        form: Form | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """The answer; empty where the server has nothing to say (204)."""
        try:
            content = None if body is None else encode(body)
            answer = self._wire.send(method, path, texts(params or {}), content, form=form, headers=headers, timeout=timeout)
            said = object_in(answer)
        except (ValueError, TypeError) as error:
            raise TollhouseError(0, "That cannot be sent.", str(error)) from error
        except httpx.HTTPError as error:
            raise Unreachable(self._wire.url, error) from error
        if answer.status_code == 204:
            return {}
        if answer.is_success and said is not None:
            return said
        raise refusal(answer, f"{self._wire.url}{path}")


def refusal(answer: httpx.Response, address: str) -> TollhouseError:
    """The error that an answer stands for."""
    said = object_in(answer)
    if said is None or "title" not in said:
        detail = f"{address} answered {answer.text[:200]!r}; check the address."
        return TollhouseError(answer.status_code, answer.reason_phrase or "No Tollhouse.", detail)
    return TollhouseError(answer.status_code, str(said["title"]), str(said.get("detail", "")), said.get("errors") or ())


def persist(call: Callable[[], T], attempts: int, first: float = 0.5, sleep: Callable[[float], object] = time.sleep) -> T:
    """Call until it answers: again after a failure that passes by itself, with longer and longer pauses."""
    pace = Pace(first)
    while True:
        try:
            return call()
        except TollhouseError as error:
            attempts -= 1
            if not error.passes or attempts < 1:
                raise
            pace.failed()
            sleep(max(0.0, pace.seconds_left))


def given(values: Mapping[str, Any]) -> Answer:
    """What was not left out."""
    return {name: value for name, value in values.items() if value is not None}


def texts(params: Mapping[str, Any]) -> Answer:
    """Query parameters as texts; a list repeats its name."""
    return {
        name: [_one(item) for item in value] if isinstance(value, (list, tuple)) else _one(value) for name, value in given(params).items()
    }


def part(name: str) -> str:
    """A name as one part of a path."""
    return quote(str(name), safe="")


def object_in(answer: httpx.Response) -> Answer | None:
    """The JSON object that an answer holds, if it does."""
    try:
        said = decode(answer.content)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _one(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
