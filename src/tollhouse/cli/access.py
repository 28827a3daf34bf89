"""`tollhouse keys` and `tollhouse organizations`."""

from typing import Annotated

import typer

from tollhouse.cli.connection import connected
from tollhouse.cli.output import AsJson, InOrganization, show

keys = typer.Typer(name="keys", help="API keys.", no_args_is_help=True)
organizations = typer.Typer(name="organizations", help="Organizations on this server.", no_args_is_help=True)


@keys.command("list")
def list_keys(as_json: AsJson = False, organization: InOrganization = None) -> None:
    """List the keys, without their secrets."""
    with connected(organization) as server:
        answer = server.call("GET", "/api/keys")
    rows = [(key["id"], key["kind"], key["name"], key["hint"] + "…", " ".join(key["scopes"]), key["revoked_at"]) for key in answer["keys"]]
    show(answer, as_json, ("id", "kind", "name", "key", "scopes", "revoked"), rows)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    publishable: Annotated[bool, typer.Option("--publishable", help="For browsers: may only send events.")] = False,
    scope: Annotated[list[str] | None, typer.Option(help="A scope; all of them if none is given.")] = None,
    origin: Annotated[list[str] | None, typer.Option(help="An origin that a publishable key may be used from.")] = None,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Make a key, and show it this once."""
    kind = "publishable" if publishable else "secret"
    with connected(organization) as server:
        answer = server.call("POST", "/api/keys", json={"kind": kind, "name": name, "scopes": scope, "origins": origin or []})
    show(answer, as_json, ("id", "key, shown once"), [(answer["id"], answer["secret"])])


@keys.command("revoke")
def revoke_key(id: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """End a key for ever."""
    with connected(organization) as server:
        answer = server.call("DELETE", f"/api/keys/{id}")
    show(answer, as_json, ("id", "revoked"), [(answer["id"], answer["revoked_at"])])


@organizations.command("list")
def list_organizations(as_json: AsJson = False) -> None:
    """List the organizations."""
    with connected() as server:
        answer = server.call("GET", "/api/organizations")
    rows = [(one["id"], one["name"], one["time_zone"], one["created_at"]) for one in answer["organizations"]]
    show(answer, as_json, ("id", "name", "time zone", "created"), rows)


@organizations.command("create")
def create_organization(
    name: str,
    time_zone: Annotated[str, typer.Option(help="Where its days and months begin.")] = "UTC",
    as_json: AsJson = False,
) -> None:
    """Found an organization, and show its first keys this once."""
    with connected() as server:
        answer = server.call("POST", "/api/organizations", json={"name": name, "time_zone": time_zone})
    rows = [(answer["id"], answer["secret_key"], answer["publishable_key"])]
    show(answer, as_json, ("id", "secret key, shown once", "publishable key, shown once"), rows)
