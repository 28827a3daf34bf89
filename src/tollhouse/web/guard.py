"""Who is calling: a secret or publishable key, the operator's command line, or anybody in development.

A key is looked up once and remembered for some seconds; revoking it here forgets it at once, and another process
notices within `REMEMBER` seconds.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from tollhouse import access
from tollhouse.access import SCOPES, Caller
from tollhouse.kit import tokens
from tollhouse.kit.errors import Busy, Forbidden, NotFound, Unauthenticated, Unprocessable
from tollhouse.store.records import Records

REMEMBER = 5.0


@dataclass
class Guard:
    """Turns a request's headers into a Caller. `operator_token` is made at each start and lies in the data directory."""

    records: Records
    operator_token: str
    dev: bool = False
    publishable_events_per_second: int = 100
    _known: dict[str, tuple[float, Caller]] = field(default_factory=dict)
    _forgotten: int = 0
    _spent: dict[str, tuple[float, float]] = field(default_factory=dict)

    def remembered(self, headers: Headers) -> Caller | None:
        """The caller, if no look-up is needed."""
        known = self._known.get(_secret(headers))
        return known[1] if known is not None and known[0] > time.monotonic() else None

    def caller(self, headers: Headers) -> Caller:
        """The caller; raises Unauthenticated, or Forbidden for a web page that is not ours in development."""
        secret = _secret(headers)
        known = self._known.get(secret)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        if secret and tokens.same(secret, self.operator_token):
            return self._operator(headers.get("x-organization"), "command line")
        if not secret and self.dev:
            refuse_foreign_pages(headers)
            return self._operator(headers.get("x-organization"), "dev mode")
        generation = self._forgotten
        with self.records.reading() as session:
            caller = access.find_caller(session, secret) if secret else None
        if caller is None:
            what = "This API key is unknown or revoked" if secret else "There is no API key in this request"
            raise Unauthenticated(f"{what}; send a valid one as 'Authorization: Bearer sk_…'.")
        if len(self._known) > 10_000:
            self._known.clear()
        if generation == self._forgotten:  # else it may have been revoked while we looked
            self._known[secret] = (time.monotonic() + REMEMBER, caller)
        return caller

    def operator_caller(self) -> Caller:
        """In development, whoever sits at this machine."""
        return self._operator(None, "dev mode")

    def _operator(self, organization: str | None, name: str) -> Caller:
        with self.records.reading() as session:
            found = access.organization(session, organization) if organization else access.default_organization(session)
        if found is None:
            raise NotFound("There is no organization yet.")
        return Caller(found.id, name, frozenset(SCOPES), time_zone=found.time_zone, operator=True)

    def forget(self) -> None:
        """Look every key up again: one was revoked."""
        self._forgotten += 1
        self._known.clear()

    def admit_publishable(self, caller: Caller, origin: str | None, events: int) -> None:
        """Hold a publishable key to its origins and its rate (a token bucket that holds ten seconds' worth)."""
        if not caller.publishable:
            return
        if caller.origins and origin not in caller.origins:
            raise Forbidden("This publishable key may not be used from this origin; add it to the key's origins.")
        rate, now = self.publishable_events_per_second, time.monotonic()
        before, tokens_left = self._spent.get(caller.name, (now, rate * 10.0))
        tokens_left = min(rate * 10.0, tokens_left + (now - before) * rate)
        if events > tokens_left:
            self._spent[caller.name] = (now, tokens_left)
            raise Busy(f"This publishable key sends more than {rate} events a second; slow down.")
        self._spent[caller.name] = (now, tokens_left - events)


def _secret(headers: Headers) -> str:
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def refuse_foreign_pages(headers: Headers) -> None:
    """In development no key stands between a web page elsewhere and this server, so the page's origin has to.

    The host is checked too: a page elsewhere can make its own name point to this machine (DNS rebinding).
    """
    origin = headers.get("origin")
    local = _is_local(f"//{headers.get('host', '')}") and (origin is None or _is_local(origin))
    if not local or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise Forbidden("In development Tollhouse answers only requests from this machine; use a key instead.")


def _is_local(address: str) -> bool:
    try:
        return urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1")
    except ValueError:
        return False


def guard_of(connection: HTTPConnection) -> Guard:
    """The application's guard."""
    guard: Guard = connection.app.state.parts.guard
    return guard


def requires(scope: str) -> Callable[[Request], Caller]:
    """A dependency: the caller, who has that scope."""

    def check(request: Request) -> Caller:
        caller = guard_of(request).caller(request.headers)
        caller.require(scope)
        return caller

    return check


def operator(request: Request) -> Caller:
    """A dependency: the operator of this machine, not merely somebody with a key."""
    caller = guard_of(request).caller(request.headers)
    if not caller.operator:
        raise Forbidden("Only the command line on the server itself may do this.")
    return caller


def customer_of(request: Request, user_id: str | None = None) -> str | None:
    """A dependency: the customer that the app speaks for, from `user_id=` or `X-User-ID`."""
    header = request.headers.get("x-user-id")
    if user_id is not None and header is not None and user_id != header:
        raise Unprocessable("user_id: it differs from X-User-ID; send one of the two")
    chosen = user_id if user_id is not None else header
    if chosen is not None and not 1 <= len(chosen) <= 255:
        raise Unprocessable("user_id: a customer's id has 1 to 255 characters")
    return chosen


def named_customer(customer: Annotated[str | None, Depends(customer_of)]) -> str:
    """A dependency: the customer, who has to be named."""
    if customer is None:
        raise Unprocessable("user_id: name the customer with ?user_id= or an X-User-ID header")
    return customer


Reads = Annotated[Caller, Depends(requires("read"))]
Writes = Annotated[Caller, Depends(requires("write"))]
Works = Annotated[Caller, Depends(requires("jobs:work"))]
Admin = Annotated[Caller, Depends(requires("admin"))]
Operator = Annotated[Caller, Depends(operator)]
MaybeCustomer = Annotated[str | None, Depends(customer_of)]
NamedCustomer = Annotated[str, Depends(named_customer)]
