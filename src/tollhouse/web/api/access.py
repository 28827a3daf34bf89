"""Organizations and API keys, and who one is."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends
from starlette.responses import Response

from tollhouse import __version__, access, alerts, billing
from tollhouse.access import ApiKey
from tollhouse.web.answer import Answer, body_of, instant, schema_of
from tollhouse.web.guard import Admin, Operator, Reads
from tollhouse.web.parts import Wired

router = APIRouter(tags=["access"])


class KeyIn(msgspec.Struct, forbid_unknown_fields=True):
    """A key to be made."""

    kind: Literal["secret", "publishable"] = "secret"
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    scopes: Annotated[list[str], msgspec.Meta(max_length=20)] | None = None
    origins: Annotated[list[Annotated[str, msgspec.Meta(max_length=200)]], msgspec.Meta(max_length=50)] = []


class OrganizationIn(msgspec.Struct, forbid_unknown_fields=True):
    """An organization to be founded."""

    name: Annotated[str, msgspec.Meta(max_length=200)]
    time_zone: Annotated[str, msgspec.Meta(max_length=64)] = "UTC"


@router.get("/api/health")
def alive() -> Response:
    """Say that the process serves; needs no key."""
    return Answer({"status": "ok", "version": __version__})


@router.get("/api/me")
def me(parts: Wired, caller: Reads) -> Response:
    """The caller's organization and scopes."""
    with parts.records.reading() as session:
        mine = access.organization(session, caller.organization)
    shown = {"id": mine.id, "name": mine.name, "time_zone": mine.time_zone}
    return Answer({"organization": shown, "caller": caller.name, "scopes": sorted(caller.scopes)})


@router.get("/api/keys")
def list_keys(parts: Wired, caller: Admin) -> Response:
    """The organization's keys, without their secrets."""
    with parts.records.reading() as session:
        keys = [_shown(key) for key in access.list_keys(session, caller.organization)]
    return Answer({"keys": keys, "total": len(keys), "limit": len(keys), "offset": 0})


@router.post("/api/keys", openapi_extra=schema_of(KeyIn), status_code=201)
def create_key(parts: Wired, caller: Admin, wanted: Annotated[KeyIn, Depends(body_of(KeyIn))]) -> Response:
    """Make a key; its secret is in this answer and nowhere else."""
    with parts.records.transaction() as session:
        issued = access.issue(
            session, caller.organization, parts.clock(), caller.name, wanted.kind, wanted.name, wanted.scopes, wanted.origins
        )
    return Answer({**_shown(issued.key), "secret": issued.secret}, 201)


@router.delete("/api/keys/{id}")
def revoke_key(parts: Wired, caller: Admin, id: str) -> Response:
    """End a key at once and for ever."""
    with parts.records.transaction() as session:
        key = access.revoke(session, caller.organization, id, parts.clock(), caller.name)
    parts.guard.forget()
    return Answer(_shown(key))


@router.get("/api/organizations")
def list_organizations(parts: Wired, _operator: Operator) -> Response:
    """All organizations; only for the operator."""
    with parts.records.reading() as session:
        found = [
            {"id": one.id, "name": one.name, "time_zone": one.time_zone, "created_at": instant(one.created_at)}
            for one in access.list_organizations(session)
        ]
    return Answer({"organizations": found, "total": len(found), "limit": len(found), "offset": 0})


@router.post("/api/organizations", openapi_extra=schema_of(OrganizationIn), status_code=201)
def found_organization(parts: Wired, caller: Operator, wanted: Annotated[OrganizationIn, Depends(body_of(OrganizationIn))]) -> Response:
    """Found an organization with its meters and a first secret and publishable key, shown in this answer alone."""
    with parts.records.transaction() as session:
        now = parts.clock()
        made = access.found(session, now, wanted.name, wanted.time_zone, caller.name)
        billing.lay_meters(session, made.id, now, caller.name)
        alerts.lay_rules(session, made.id, now, caller.name)
        secret = access.issue(session, made.id, now, caller.name, "secret").secret
        publishable = access.issue(session, made.id, now, caller.name, "publishable").secret
    shown = {"id": made.id, "name": made.name, "time_zone": made.time_zone, "created_at": instant(made.created_at)}
    return Answer(shown | {"secret_key": secret, "publishable_key": publishable}, 201)


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "kind": key.kind,
        "name": key.name,
        "hint": key.hint,
        "scopes": key.scopes,
        "origins": key.origins,
        "created_at": instant(key.created_at),
        "revoked_at": instant(key.revoked_at),
    }
