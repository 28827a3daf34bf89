"""The people around an organization: its users and how they get in, and customers' passes to their own pages."""

from datetime import timedelta
from typing import Annotated
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from tollhouse import access
from tollhouse.kit.errors import NotFound
from tollhouse.web.answer import Answer, body_of, instant, schema_of
from tollhouse.web.guard import Admin, Writes
from tollhouse.web.parts import Wired

router = APIRouter(tags=["people"])


class CustomerTokenIn(msgspec.Struct, forbid_unknown_fields=True):
    """Whom a token is for, how many seconds it lasts, which web origin may frame the pages, and what an upload there makes."""

    user_id: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    expires_in: Annotated[int, msgspec.Meta(ge=1, le=7 * 86_400)] = 3600
    origin: Annotated[str, msgspec.Meta(max_length=200)] = ""
    kind: Annotated[str, msgspec.Meta(max_length=80)] = ""


@router.post("/api/customer-tokens", openapi_extra=schema_of(CustomerTokenIn), status_code=201)
def create_customer_token(
    request: Request, parts: Wired, caller: Writes, wanted: Annotated[CustomerTokenIn, Depends(body_of(CustomerTokenIn))]
) -> Response:
    """An address that shows one customer their own pages and nothing else, for a while; to be opened or framed."""
    now, valid = parts.clock(), timedelta(seconds=wanted.expires_in)
    with parts.records.reading() as session:
        token = access.issue_customer_token(session, caller.organization, wanted.user_id, now, valid, wanted.origin, wanted.kind)
    url = f"{parts.base(request)}/dashboard/jobs?token={quote(token)}"
    return Answer({"token": token, "url": url, "expires_in": wanted.expires_in, "expires_at": instant(now + valid)}, 201)


@router.get("/api/users")
def list_users(parts: Wired, caller: Admin) -> Response:
    """The people who may sign in."""
    with parts.records.reading() as session:
        users = access.list_users(session, caller.organization)
    shown = [{"id": user.id, "email": user.email, "created_at": instant(user.created_at)} for user in users]
    return Answer({"users": shown, "total": len(shown), "limit": len(shown), "offset": 0})


@router.post("/api/users/link", status_code=201)
def create_link(request: Request, parts: Wired, caller: Admin) -> Response:
    """A link that lets its holder choose an address and a password, once, within a day: a new user, or a forgotten password."""
    with parts.records.transaction() as session:
        secret = access.issue_link(session, caller.organization, parts.clock())
    return Answer({"url": f"{parts.base(request)}/welcome?token={secret}", "expires_in": 86_400}, 201)


@router.delete("/api/users/{id}/sessions")
def end_sessions(parts: Wired, caller: Admin, id: str) -> Response:
    """Sign a user out everywhere."""
    with parts.records.transaction() as session:
        user = next((user for user in access.list_users(session, caller.organization) if user.id == id), None)
        if user is None:
            raise NotFound(f"There is no user {id[:60]!r}.")
        access.revoke_all_sessions(session, user, parts.clock())
    return Answer({"id": id})
