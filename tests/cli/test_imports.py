"""A command imports what it needs: one that asks a server carries none itself, and answers at once."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_group

from tests.scenarios.serving import House, surroundings
from tollhouse.cli.main import COMMANDS, app
from tollhouse.cli.stand_in import StandIn

SERVING = ("fastapi", "uvicorn", "sqlalchemy", "duckdb", "psycopg", "dbos", "alembic", "argon2", "numpy", "PIL")
RUN = """
import sys
from tollhouse.cli.main import app
try:
    app(sys.argv[1:])
finally:
    sys.stderr.write(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.mark.parametrize(
    "command", ["--help", "version", "jobs list", "events list", "billing all-users", "alerts list", "backup-schedules --help"]
)
def test_a_command_that_asks_a_server_imports_none(house: House, command: str) -> None:
    environment = surroundings({"TOLLHOUSE_URL": house.url, "TOLLHOUSE_API_KEY": house.operator})
    ran = subprocess.run(
        [sys.executable, "-c", RUN, *command.split()], capture_output=True, text=True, env=environment, check=True, timeout=60
    )
    assert ran.stdout
    assert set(ran.stderr.split()) & set(SERVING) == set()


def test_the_list_of_commands_says_of_each_what_it_says_itself() -> None:
    listed = get_group(app).commands
    assert set(listed) == {*COMMANDS, "version"}
    for name, command in listed.items():
        if isinstance(command, StandIn):
            own = command.command()
            assert (own.name, own.get_short_help_str(200)) == (name, command.get_short_help_str(200))


def test_a_backup_of_files_imports_no_drivers_and_no_http_client(tmp_path: Path) -> None:
    environment = surroundings({"TOLLHOUSE_BACKUP_PASSPHRASE": "a long passphrase"})
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one.txt").write_text("one")
    at = ["--repository", str(tmp_path / "repository")]
    for command in (
        ["init", str(tmp_path / "repository")],
        ["full", *at, "--source", str(tmp_path / "files")],
        ["verify", *at, "--read-data"],
        ["restore", "full", *at, "--to", str(tmp_path / "back")],
    ):
        ran = subprocess.run(
            [sys.executable, "-c", RUN, "backup", *command], capture_output=True, text=True, env=environment, check=True, timeout=60
        )
        assert set(ran.stderr.split()) & {*SERVING, "httpx", "structlog"} == set()
    assert (tmp_path / "back" / "one.txt").read_text() == "one"
