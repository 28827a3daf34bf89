"""`tollhouse`: one command, with a group of verbs a capability."""

import os
import sys

import typer

from tollhouse import __version__
from tollhouse.cli.output import fail
from tollhouse.cli.stand_in import Place, group_of
from tollhouse.kit.errors import TollhouseError

COMMANDS = {
    "up": Place("server", "up", "Serve everything in one process, until Ctrl-C."),
    "web": Place("server", "web", "Serve the web side alone; needs PostgreSQL for records and events, and `tollhouse worker` beside it."),
    "worker": Place("server", "worker", "Run what runs by itself, without a web side; needs PostgreSQL for records and events."),
    "migrate": Place("server", "migrate", "Bring the records to this version's schema, and end."),
    "customer-token": Place("people", "customer_token", "Make an address that shows one customer their own jobs and bills."),
    "restore": Place("restore", "restore", "Bring Tollhouse itself back, on a machine where it is not running."),
    "keys": Place("access", "keys", "API keys."),
    "organizations": Place("access", "organizations", "Organizations on this server."),
    "users": Place("people", "users", "People who sign in to the pages."),
    "events": Place("events", "app", "Usage events."),
    "meters": Place("meters", "app", "What is counted."),
    "prices": Place("meters", "prices", "What it costs."),
    "usage": Place("usage", "app", "Rollups and retention."),
    "billing": Place("billing", "app", "Usage and cost per customer."),
    "jobs": Place("jobs", "app", "Jobs: work that customers hand in."),
    "alerts": Place("alerts", "alerts", "Alerts: what ought to be noticed."),
    "alert-rules": Place("alerts", "rules", "The rules that raise alerts."),
    "alert-channels": Place("alerts", "channels", "The channels that tell people of alerts."),
    "backup": Place("backup", "app", "Back up directories, buckets and databases; restore, verify, drill."),
    "backup-repositories": Place("backups", "repositories", "Repositories that the server knows by name."),
    "backup-schedules": Place("backups", "schedules", "When backups, drills and verifications run by themselves."),
}

app = typer.Typer(
    name="tollhouse",
    cls=group_of(COMMANDS),
    help="The back office of a SaaS app in one process: usage events in, exact bills out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _group() -> None:
    """Say to Typer that this is a group, although it is told of one command only."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run a command; an error is one sentence and its own exit code.

    By then every store is closed and every file written. The process ends at once, because threads that libraries keep
    for themselves can abort it while the interpreter is being taken down.
    """
    code = _run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run() -> int:
    try:
        app()
    except TollhouseError as error:
        return fail(error)
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
