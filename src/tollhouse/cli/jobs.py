"""`tollhouse jobs`: hand work in, watch it, fetch it."""

import json
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from tollhouse.cli.connection import connected
from tollhouse.cli.output import AsJson, InOrganization, console, show
from tollhouse.kit.errors import Unavailable, Unprocessable

app = typer.Typer(name="jobs", help="Jobs: work that customers hand in.", no_args_is_help=True)
OfCustomer = Annotated[str | None, typer.Option("--customer", help="Only if it is this customer's.")]
COLUMNS = ("id", "customer", "kind", "status", "progress %", "created", "error")


@app.command("list")
def list_jobs(
    customer: Annotated[str | None, typer.Option("--customer", help="Only this customer's.")] = None,
    status: Annotated[str, typer.Option(help="pending, processing, completed, failed, cancelled, skipped or all.")] = "all",
    limit: int = 50,
    offset: int = 0,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """List jobs, the newest first."""
    params = {"status": status, "limit": limit, "offset": offset} | _of(customer)
    with connected(organization) as server:
        answer = server.call("GET", "/api/jobs", params=params)
    show(answer, as_json, COLUMNS, [_row(job) for job in answer["jobs"]], f"{len(answer['jobs'])} of {answer['total']} jobs")


@app.command("show")
def show_job(id: str, customer: OfCustomer = None, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Show one job."""
    with connected(organization) as server:
        _print(server.call("GET", f"/api/jobs/{id}", params=_of(customer)), as_json)


@app.command("create")
def create_job(
    kind: str,
    files: Annotated[list[Path] | None, typer.Argument(help="Its input files.", exists=True, dir_okay=False)] = None,
    customer: Annotated[str, typer.Option("--customer", help="Whose job it is.")] = "",
    data: Annotated[str, typer.Option(help="A JSON object for the worker.")] = "{}",
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Hand in a job for a customer."""
    try:
        json.loads(data)
    except ValueError:
        raise Unprocessable('--data: it is no JSON; write it like \'{"direction": "ltr"}\'.') from None
    opened: list[Any] = [("files", (path.name, path.open("rb"))) for path in files or []]
    try:
        with connected(organization) as server:
            fields = {"kind": kind, "data": data, "user_id": customer}
            # A form without files would go as another media type.
            parts = opened or [("kind", (None, kind))]
            _print(server.call("POST", "/api/jobs", data=fields if opened else _without_kind(fields), files=parts), as_json)
    finally:
        for _, (_, file) in opened:
            file.close()


@app.command("cancel")
def cancel_job(id: str, customer: OfCustomer = None, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Stop a job that has not ended."""
    with connected(organization) as server:
        _print(server.call("POST", f"/api/jobs/{id}/cancel", params=_of(customer)), as_json)


@app.command("retry")
def retry_job(id: str, customer: OfCustomer = None, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Run a failed or cancelled job again."""
    with connected(organization) as server:
        _print(server.call("POST", f"/api/jobs/{id}/retry", params=_of(customer)), as_json)


@app.command("download")
def download(
    id: str,
    to: Annotated[Path | None, typer.Option("--to", help="Where to write it; its own name in this directory if left out.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    customer: OfCustomer = None,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Fetch a job's result."""
    with connected(organization) as server:
        offered = server.call("GET", f"/api/jobs/{id}/download", params=_of(customer))
        target = to if to is not None else Path(offered["name"])
        if target.is_dir():
            target = target / offered["name"]
        if target.exists() and not overwrite:
            raise Unprocessable(f"{target} exists; say --overwrite to replace it, or --to somewhere else.")
        part = target.with_name(target.name + ".part")
        with httpx.stream("GET", offered["download_url"], timeout=600, trust_env=False) as response:
            if response.is_error:
                raise Unavailable(f"The result cannot be fetched: the object store answered {response.status_code}.")
            with part.open("wb") as file:
                for chunk in response.iter_bytes(1 << 20):
                    file.write(chunk)
        part.replace(target)
    if as_json:
        show(offered | {"path": str(target)}, True)
    else:
        console().print(f"Wrote {target} ({offered['size']} bytes, {offered['content_type']}).", soft_wrap=True)


def _without_kind(fields: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in fields.items() if name != "kind"}


def _of(customer: str | None) -> dict[str, str]:
    return {} if customer is None else {"user_id": customer}


def _row(job: dict[str, Any]) -> tuple[Any, ...]:
    return (job["id"], job["user_id"], job["kind"], job["status"], job["progress"], job["created_at"][:19], job["error"])


def _print(job: dict[str, Any], as_json: bool) -> None:
    show(job, as_json, COLUMNS, [_row(job)])
