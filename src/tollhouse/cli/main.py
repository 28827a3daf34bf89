"""`tollhouse`: one command, with a group of verbs a capability."""

import os
import sys

import typer

from tollhouse import __version__
from tollhouse.app import log_to_stderr
from tollhouse.cli import access, alerts, backup, backups, billing, events, jobs, meters, people, server, usage
from tollhouse.cli.output import fail
from tollhouse.kit.errors import TollhouseError

app = typer.Typer(
    name="tollhouse",
    help="The back office of a SaaS app in one process: usage events in, exact bills out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


for command in (server.up, server.web, server.worker, server.migrate, people.customer_token, backups.restore):
    app.command()(command)
for group in (
    access.keys,
    access.organizations,
    people.users,
    events.app,
    meters.app,
    meters.prices,
    usage.app,
    billing.app,
    jobs.app,
    alerts.alerts,
    alerts.rules,
    alerts.channels,
    backup.app,
    backups.repositories,
    backups.schedules,
):
    app.add_typer(group)


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
    log_to_stderr(json_lines=not sys.stderr.isatty())
    try:
        app()
    except TollhouseError as error:
        return fail(error)
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
