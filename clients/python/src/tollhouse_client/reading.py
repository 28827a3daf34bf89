"""The reading calls, one a route. They answer what the route answers, fractions as `Decimal`, and raise `TollhouseError`."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from tollhouse_client.asking import Answer, Asking, given, part


class Reader(Asking):
    """Reads meters, events, customers and bills, and sets up meters and prices. Each call is one request and waits for it."""

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
        return self._ask("POST", "/api/meters", body=wanted | given(more))

    def query(self, slug: str, **params: Any) -> Answer:
        """How much a meter has counted: `{"meter", "unit", "data": [{"window_start", "subject", "value", …}]}`.

        `subject` and `group_by` (a text or a list), `start` and `end` (RFC 3339 or datetimes), `window` (minute, hour, day,
        month), `time_zone`, `filter={"name": "text"}`.
        """
        filters = params.pop("filter", None) or {}
        named = {f"filter[{name}]": text for name, text in filters.items()}
        return self._ask("GET", f"/api/meters/{part(slug)}/query", params | named)

    def events(self, **params: Any) -> Answer:
        """`{"events": […], "next_cursor"}`, newest first: `type, subject, source, id, start, end, limit, cursor`."""
        return self._ask("GET", "/api/events", params)

    def summary(self, user_id: str, period: str | None = None) -> Answer:
        """A customer's usage and cost so far, or in a month such as 2024-01."""
        return self._ask("GET", "/api/billing/summary", {"user_id": user_id, "period": period})

    def daily_usage(self, user_id: str, start_date: date | str | None = None, end_date: date | str | None = None) -> Answer:
        """A customer's days, both dates included; the last 30 days when left out."""
        return self._ask("GET", "/api/billing/daily-usage", {"user_id": user_id, "start_date": start_date, "end_date": end_date})

    def job_billing(self, job_id: str) -> Answer:
        """What a job used (bytes, seconds) and cost."""
        return self._ask("GET", f"/api/billing/job/{part(job_id)}")

    def all_users(self, limit: int | None = None, offset: int | None = None) -> Answer:
        """`{"total_users", "users": […]}`, dearest first. Needs a key with the admin scope."""
        return self._ask("GET", "/api/billing/all-users", {"limit": limit, "offset": offset})

    def bill(self, user_id: str, period: str | None = None) -> Answer:
        """A customer's bill of a month such as 2024-01, line by line; of the running month when left out."""
        return self._ask("GET", "/api/billing/bill", {"user_id": user_id, "period": period})

    def reset(self, user_id: str) -> Answer:
        """Start a customer's lifetime totals again from now. Needs a key with the admin scope."""
        return self._ask("POST", f"/api/billing/users/{part(user_id)}/reset")

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
        return self._ask("POST", "/api/prices", body={"meter": meter, "model": model} | given(terms))
