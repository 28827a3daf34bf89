"""The reading calls, one a route. They answer what the route answers, fractions as `Decimal`, and raise `TollhouseError`."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from urllib.parse import quote

import httpx

from tollhouse_client.encoding import decode, encode
from tollhouse_client.errors import TollhouseError
from tollhouse_client.wire import Wire

Answer = dict[str, Any]


class Reader:
    """Reads meters, events, customers and bills, and sets up meters and prices. Each call is one request and waits for it."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def meters(self, limit: int | None = None, offset: int | None = None) -> Answer:
        """`{"meters": […], "total", "limit", "offset"}`, by slug."""
        return self._ask("GET", "/api/meters", {"limit": limit, "offset": offset})

    def create_meter(
        self,
        slug: str,
        event_type: str,
        aggregation: str = "sum",
        value_property: str | None = None,
        group_by: Mapping[str, str] | None = None,
        filters: Mapping[str, str | Sequence[str]] | None = None,
        unit: str = "",
        description: str = "",
    ) -> Answer:
        """The new meter. `value_property` and the values of `group_by` are JSON paths such as `$.tokens`."""
        wanted = {"slug": slug, "event_type": event_type, "aggregation": aggregation, "unit": unit, "description": description}
        more = {"value_property": value_property, "group_by": group_by, "filters": filters}
        return self._ask("POST", "/api/meters", body=wanted | _given(more))

    def query(self, slug: str, **params: Any) -> Answer:
        """How much a meter has counted: `{"meter", "unit", "data": [{"window_start", "subject", "value", …}]}`.

        `subject` and `group_by` (a text or a list), `start` and `end` (RFC 3339 or datetimes), `window` (minute, hour, day,
        month), `time_zone`, `filter={"name": "text"}`.
        """
        filters = params.pop("filter", None) or {}
        named = {f"filter[{name}]": text for name, text in filters.items()}
        return self._ask("GET", f"/api/meters/{_part(slug)}/query", params | named)

    def events(self, **params: Any) -> Answer:
        """`{"events": […], "next_cursor"}`, newest first: `type, subject, source, id, start, end, limit, cursor`."""
        return self._ask("GET", "/api/events", params)

    def summary(self, user_id: str, period: str | None = None) -> Answer:
        """A customer's usage and cost so far, or in a month such as 2024-01."""
        return self._ask("GET", "/api/billing/summary", {"user_id": user_id, "period": period})

    def daily_usage(self, user_id: str, start_date: date | str | None = None, end_date: date | str | None = None) -> Answer:
        """A customer's days, both dates included; the last 30 days when left out."""
        return self._ask("GET", "/api/billing/daily-usage", {"user_id": user_id, "start_date": start_date, "end_date": end_date})

    def job(self, job_id: str) -> Answer:
        """What a job used (bytes, seconds) and cost."""
        return self._ask("GET", f"/api/billing/job/{_part(job_id)}")

    def all_users(self, limit: int | None = None, offset: int | None = None) -> Answer:
        """`{"total_users", "users": […]}`, dearest first. Needs a key with the admin scope."""
        return self._ask("GET", "/api/billing/all-users", {"limit": limit, "offset": offset})

    def bill(self, user_id: str, period: str | None = None) -> Answer:
        """A customer's bill of a month such as 2024-01, line by line; of the running month when left out."""
        return self._ask("GET", "/api/billing/bill", {"user_id": user_id, "period": period})

    def reset(self, user_id: str) -> Answer:
        """Start a customer's lifetime totals again from now. Needs a key with the admin scope."""
        return self._ask("POST", f"/api/billing/users/{_part(user_id)}/reset")

    def customers(self, limit: int | None = None, offset: int | None = None) -> Answer:
        """`{"customers": [{"id", "first_seen"}], "total", "limit", "offset"}`. Needs a key with the admin scope."""
        return self._ask("GET", "/api/customers", {"limit": limit, "offset": offset})

    def prices(self, limit: int | None = None, offset: int | None = None) -> Answer:
        """`{"prices": […], "total", "limit", "offset"}`, oldest first."""
        return self._ask("GET", "/api/prices", {"limit": limit, "offset": offset})

    def create_price(self, meter: str, model: str = "per_unit", **terms: Any) -> Answer:
        """The new price on a meter. Models: per_unit, flat, package, graduated, volume.

        Terms: `amount` in the organization's currency for each `per` units, or `tiers` of `up_to`, `amount` and `flat`;
        `customer` if it is not for everybody; `starts`, a month such as 2024-01. Give amounts as `Decimal`, not as float.
        """
        return self._ask("POST", "/api/prices", body={"meter": meter, "model": model} | _given(terms))

    def _ask(self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Answer:
        try:
            content = None if body is None else encode(body)
            answer = self._wire.send(method, path, _texts(params or {}), content)
            said = _object(answer)
        except (ValueError, TypeError) as error:
            raise TollhouseError(0, "That cannot be sent.", str(error)) from error
        except httpx.HTTPError as error:
            raise TollhouseError(0, "Tollhouse does not answer.", f"{self._wire.url}: {type(error).__name__}: {error}") from error
        if answer.is_success and said is not None:
            return said
        if said is None or "title" not in said:
            detail = f"{self._wire.url}{path} answered {answer.text[:200]!r}; check the address."
            raise TollhouseError(answer.status_code, answer.reason_phrase or "No Tollhouse.", detail)
        raise TollhouseError(answer.status_code, str(said["title"]), str(said.get("detail", "")), said.get("errors") or ())


def _object(answer: httpx.Response) -> Answer | None:
    try:
        said = decode(answer.content)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _given(values: Mapping[str, Any]) -> Answer:
    return {name: value for name, value in values.items() if value is not None}


def _texts(params: Mapping[str, Any]) -> Answer:
    """Query parameters as texts; a list repeats its name."""
    return {
        name: [_one(item) for item in value] if isinstance(value, (list, tuple)) else _one(value) for name, value in _given(params).items()
    }


def _one(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _part(name: str) -> str:
    return quote(str(name), safe="")
