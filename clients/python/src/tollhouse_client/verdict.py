"""What the server's answer to a batch of events means for them.

| answer | verdict |
|---|---|
| 2xx with a JSON object | Taken, apart from those in `rejected` |
| 400, 422 whose `errors` have an `index` | Faulty: those events are rejected, the others are sent again |
| 400, 422 without; 413 | Indigestible: sent again in two halves, down to the single event that is to blame |
| 401, 403, and anything else that no Tollhouse says of events | Away: kept, for the address or the key may be put right |
| 408, 425, 429, 5xx (507 too), no answer | Away: kept, and sent again |
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tollhouse_client.encoding import decode
from tollhouse_client.pace import retry_after


@dataclass(frozen=True)
class Taken:
    """The server has stored them; `rejected` maps a place in the batch to what was wrong with the event there."""

    inserted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Faulty:
    """None was stored, because of those in `rejected`."""

    rejected: dict[int, str]


@dataclass(frozen=True)
class Indigestible:
    """None was stored, and it is not said which one is to blame."""

    reason: str


@dataclass(frozen=True)
class Away:
    """Nothing can be stored now; `kind` tells apart what is logged. `asked` is the wait the server wants, in seconds."""

    kind: str
    reason: str
    asked: float | None = None


Verdict = Taken | Faulty | Indigestible | Away


def verdict_on(post: Callable[[], httpx.Response], size: int) -> Verdict:
    """Send a batch of that size and judge the answer. Raises nothing: what a transport raises means that nobody is there."""
    try:
        answer = post()
    except Exception as error:  # a transport of the app's own may raise anything
        return Away("no answer", f"Tollhouse does not answer: {type(error).__name__}: {error}")
    status, said = answer.status_code, _object(answer)
    if answer.is_success and said is not None:
        return _taken(said, size)
    reason = str((said or {}).get("detail") or (said or {}).get("title") or answer.reason_phrase)
    if status in (400, 413, 422):
        faults = _by_place((said or {}).get("errors"), size)
        return Faulty(faults) if faults and status != 413 else Indigestible(reason)
    if status in (401, 403):
        return Away("key", f"Tollhouse does not accept the API key, the events are kept: {status} {reason}")
    if status in (408, 425, 429) or status >= 500:
        return Away("busy", f"Tollhouse cannot take events now: {status} {reason}", retry_after(answer.headers.get("retry-after")))
    return Away("address", f"This does not answer like a Tollhouse; check the address: {status} {reason}")


def _taken(said: dict[str, Any], size: int) -> Taken:
    rejected = _by_place(said.get("rejected"), size)
    conflicts = said.get("conflicts")
    duplicates = _count(said.get("duplicates"))
    inserted = said.get("inserted")
    stored = _count(inserted) if isinstance(inserted, int) else size - len(rejected) - duplicates
    return Taken(stored, duplicates, len(conflicts) if isinstance(conflicts, list) else 0, rejected)


def _object(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        said = decode(answer.content)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _by_place(faults: Any, size: int) -> dict[int, str]:
    """The faults that name a place in the batch, each event's first one."""
    found: dict[int, str] = {}
    for fault in faults if isinstance(faults, list) else []:
        place = fault.get("index") if isinstance(fault, dict) else None
        if isinstance(place, int) and 0 <= place < size:
            found.setdefault(place, str(fault.get("detail", "")))
    return found


def _count(number: Any) -> int:
    return number if isinstance(number, int) and number > 0 else 0
