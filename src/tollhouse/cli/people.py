"""`tollhouse users` and `tollhouse customer-token`: who may look at the pages."""

from typing import Annotated

import typer

from tollhouse.cli.connection import connected
from tollhouse.cli.output import AsJson, InOrganization, show

users = typer.Typer(name="users", help="People who sign in to the pages.", no_args_is_help=True)


@users.command("list")
def list_users(as_json: AsJson = False, organization: InOrganization = None) -> None:
    """List the people who may sign in."""
    with connected(organization) as server:
        answer = server.call("GET", "/api/users")
    show(answer, as_json, ("id", "address", "since"), [(user["id"], user["email"], user["created_at"]) for user in answer["users"]])


@users.command("link")
def link(as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Make a link that lets its holder choose an address and a password, once: a new user, or a forgotten password."""
    with connected(organization) as server:
        answer = server.call("POST", "/api/users/link")
    show(answer, as_json, ("open within a day",), [(answer["url"],)])


@users.command("sign-out")
def sign_out(id: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """End all of a user's sessions."""
    with connected(organization) as server:
        answer = server.call("DELETE", f"/api/users/{id}/sessions")
    show(answer, as_json, ("signed out",), [(answer["id"],)])


def customer_token(
    customer: str,
    expires_in: Annotated[int, typer.Option(help="Seconds that it is good for.")] = 3600,
    origin: Annotated[str, typer.Option(help="Web origin that may frame the pages, such as https://app.example.com.")] = "",
    kind: Annotated[str, typer.Option(help="Kind of the jobs that an upload on the page makes.")] = "",
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Make an address that shows one customer their own jobs and bills."""
    wanted = {"user_id": customer, "expires_in": expires_in, "origin": origin, "kind": kind}
    with connected(organization) as server:
        answer = server.call("POST", "/api/customer-tokens", json=wanted)
    show(answer, as_json, ("address", "until"), [(answer["url"], answer["expires_at"])])
