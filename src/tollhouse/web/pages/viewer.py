"""Who looks at a page: an operator who has signed in, or a customer who holds a token.

A customer's token travels in the address, so no other site can make a browser send it. An operator's session travels in a
cookie, so whatever an operator changes has to carry a second secret, which only our own pages know.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlencode, urlsplit

from fastapi import Depends, Request

from tollhouse import access, alerts
from tollhouse.access import Caller, SignedIn
from tollhouse.kit import tokens
from tollhouse.kit.errors import Forbidden, Unauthenticated, Unprocessable
from tollhouse.web.guard import refuse_foreign_pages
from tollhouse.web.parts import Parts, parts_of

COOKIE = "tollhouse_session"


@dataclass(frozen=True)
class Viewer:
    """Who looks: the caller, the customer whose pages these are, and what of it a link has to carry on."""

    caller: Caller
    customer: str | None
    operator: bool
    kept: dict[str, str] = field(default_factory=dict)
    csrf: str = ""
    frame_origin: str = ""
    kind: str = ""
    signed_in: SignedIn | None = None
    open_alerts: int = 0

    def link(self, path: str, **params: object) -> str:
        """An address on our pages that keeps who is looking."""
        shown = self.kept | {name: str(value) for name, value in params.items() if value not in (None, "")}
        return f"{path}?{urlencode(shown)}" if shown else path

    @property
    def named_customer(self) -> str:
        """The customer; raises Unprocessable where none is named."""
        if self.customer is None:
            raise Unprocessable("user_id: name the customer whose page it is, as in ?user_id=user-123.")
        return self.customer

    def check_csrf(self, request: Request, sent: str | None) -> None:
        """Raise Forbidden for a change that did not come from one of our own pages."""
        if is_from_elsewhere(request):
            raise Forbidden("This form was sent from another site; open the page here and send it again.")
        if self.csrf and not tokens.same(self.csrf, sent or request.headers.get("x-csrf-token", "")):
            raise Forbidden("This form is out of date; load the page again and send it once more.")


def is_from_elsewhere(request: Request) -> bool:
    """Whether the browser says that a page of another site sent this. `null` says nothing: a framed page may send it, too."""
    origin = request.headers.get("origin", "null")
    try:
        ours = {request.headers.get("host"), urlsplit(parts_of(request).public_url).netloc}
        return origin != "null" and urlsplit(origin).netloc not in ours - {None, ""}
    except ValueError:
        return True


def csrf_of(secret: str) -> str:
    """The second secret of a session, made out of its cookie's: who cannot read the cookie cannot know it."""
    return hmac.digest(secret.encode(), b"csrf", hashlib.sha256).hex()


def cookie_name(secure: bool) -> str:
    """The cookie's name; over TLS with the prefix that keeps other hosts and plain HTTP from setting it."""
    return f"__Host-{COOKIE}" if secure else COOKIE


def is_secure(request: Request, parts: Parts) -> bool:
    """Whether browsers reach us over TLS."""
    return parts.base(request).startswith("https://")


def viewer(request: Request, parts: Annotated[Parts, Depends(parts_of)]) -> Viewer:
    """A dependency: who looks; raises Unauthenticated where nobody has signed in."""
    token = request.query_params.get("token")
    if token:
        with parts.records.reading() as session:
            held = access.read_customer_token(session, token, parts.clock())
        return Viewer(held.caller, held.customer, False, {"token": token}, "", held.origin, held.kind)
    chosen = request.query_params.get("user_id")
    kept = {"user_id": chosen} if chosen else {}
    secret = request.cookies.get(cookie_name(is_secure(request, parts)), "")
    if secret:
        with parts.records.reading() as session:
            found = access.find_session(session, secret, parts.clock())
            waiting = alerts.count_open(session, found.caller.organization, parts.clock()) if found else 0
        if found is not None:
            return Viewer(found.caller, chosen, True, kept, csrf_of(secret), signed_in=found, open_alerts=waiting)
    if parts.guard.dev:
        refuse_foreign_pages(request.headers)
        caller = parts.guard.operator_caller()
        with parts.records.reading() as session:
            return Viewer(caller, chosen, True, kept, open_alerts=alerts.count_open(session, caller.organization, parts.clock()))
    raise Unauthenticated("Sign in to see this page.")


def operator(viewer: Annotated[Viewer, Depends(viewer)]) -> Viewer:
    """A dependency: an operator; a customer gets no further."""
    if not viewer.operator:
        raise Forbidden("This page is for the operators of this server.")
    return viewer


Views = Annotated[Viewer, Depends(viewer)]
Operates = Annotated[Viewer, Depends(operator)]
