"""`tollhouse backup-repositories` and `tollhouse backup-schedules`: the server's own backups."""

import json
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from tollhouse.cli.connection import connected
from tollhouse.cli.output import AsJson, InOrganization, show
from tollhouse.kit.errors import Conflict, Unprocessable

repositories = typer.Typer(name="backup-repositories", help="Repositories that the server knows by name.", no_args_is_help=True)
schedules = typer.Typer(name="backup-schedules", help="When backups, drills and verifications run by themselves.", no_args_is_help=True)


@repositories.command("list")
def list_repositories(as_json: AsJson = False, organization: InOrganization = None) -> None:
    """List them."""
    with connected(organization) as server:
        answer = server.call("GET", "/api/backup-repositories")
    rows = [(one["name"], one["address"], one["medium"], "yes" if one["offsite"] else "no") for one in answer["repositories"]]
    show(answer, as_json, ("name", "address", "medium", "offsite"), rows)


@repositories.command("add")
def add_repository(
    name: str,
    address: str,
    passphrase_file: Annotated[str, typer.Option(help="File with its passphrase, if not the server's own.")] = "",
    medium: Annotated[str, typer.Option(help="What it lies on, such as disk, nas, s3, tape.")] = "",
    offsite: Annotated[bool, typer.Option("--offsite", help="It is in another place.")] = False,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Make a repository, which `tollhouse backup init` has made, known to the server."""
    place = address if "://" in address else str(Path(address).absolute())
    wanted = {"name": name, "address": place, "passphrase_file": passphrase_file, "medium": medium, "offsite": offsite}
    with connected(organization) as server:
        answer = server.call("POST", "/api/backup-repositories", json=wanted)
    show(answer, as_json, ("name", "address"), [(answer["name"], answer["address"])])


@repositories.command("remove")
def remove_repository(name: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Forget a repository and the list of its runs; what is in it stays."""
    with connected(organization) as server:
        known = server.call("GET", "/api/backup-repositories")["repositories"]
        id = next((one["id"] for one in known if one["name"] == name), name)  # its name may be its address, with slashes
        answer = server.call("DELETE", f"/api/backup-repositories/{quote(id, safe='')}")
    show(answer, as_json, ("forgotten", "address", "runs"), [(answer["name"], answer["address"], answer["runs"])])


@schedules.command("list")
def list_schedules(as_json: AsJson = False, organization: InOrganization = None) -> None:
    """List what runs by itself, and when next."""
    with connected(organization) as server:
        answer = server.call("GET", "/api/backup-schedules")
    rows = [
        (
            one["name"],
            one["kind"],
            one["source"],
            one["repository"],
            one["copy_to"],
            one["cron"],
            json.dumps(one["keep"]),
            one["next_at"][:19],
        )
        for one in answer["schedules"]
    ]
    show(answer, as_json, ("name", "kind", "source", "repository", "copied to", "cron (UTC)", "keep", "next"), rows)


@schedules.command("add")
def add_schedule(
    name: str,
    kind: Annotated[str, typer.Option(help="full, incremental, metadata, verify, drill, prune or copy.")],
    repository: Annotated[str, typer.Option(help="The repository's name.")],
    cron: Annotated[str, typer.Option(help="Five fields, in UTC, such as '0 2 * * *'.")],
    source: Annotated[str, typer.Option(help="tollhouse, a directory, s3://bucket/prefix or a database.")] = "tollhouse",
    keep: Annotated[str, typer.Option(help='JSON such as {"within_days": 7, "daily": 30}.')] = "{}",
    copy_to: Annotated[str | None, typer.Option(help="A second repository that snapshots are copied to.")] = None,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Make a schedule."""
    try:
        kept = json.loads(keep)
    except ValueError:
        raise Unprocessable("--keep: it is no JSON; write it like '{\"daily\": 30}'.") from None
    wanted = {"name": name, "kind": kind, "repository": repository, "cron": cron, "source": source, "keep": kept, "copy_to": copy_to}
    with connected(organization) as server:
        answer = server.call("POST", "/api/backup-schedules", json=wanted)
    show(answer, as_json, ("name", "next"), [(one["name"], one["next_at"][:19]) for one in answer["schedules"]])


@schedules.command("preset")
def preset(
    repository: Annotated[str, typer.Option(help="The repository's name.")],
    source: Annotated[str, typer.Option(help="tollhouse, a directory, s3://bucket/prefix or a database.")] = "tollhouse",
    copy_to: Annotated[str | None, typer.Option(help="A second repository that snapshots are copied to.")] = None,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Make the usual schedules: hourly, daily, weekly, monthly, a weekly drill and a weekly verification."""
    wanted = {"repository": repository, "source": source, "copy_to": copy_to, "preset": True}
    with connected(organization) as server:
        answer = server.call("POST", "/api/backup-schedules", json=wanted)
    show(
        answer,
        as_json,
        ("name", "kind", "cron (UTC)", "next"),
        [(one["name"], one["kind"], one["cron"], one["next_at"][:19]) for one in answer["schedules"]],
    )


@schedules.command("run")
def run(name: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Run a schedule now."""
    with connected(organization) as server:
        answer = server.call("POST", f"/api/backup-schedules/{name}/run")
    show(
        answer,
        as_json,
        ("run", "kind", "status", "objects", "bytes added"),
        [(answer["id"], answer["kind"], answer["status"], answer["objects"], answer["added_bytes"])],
    )
    if answer["status"] == "failed":
        raise Conflict(f"It failed: {answer['errors'][0]['reason'] if answer['errors'] else 'the log says why'}")


@schedules.command("remove")
def remove(name: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Take a schedule away; what it made stays."""
    with connected(organization) as server:
        answer = server.call("DELETE", f"/api/backup-schedules/{name}")
    show(answer, as_json, ("removed",), [(answer["name"],)])
