"""The server's own backups on the command line: repositories by name, schedules, and Tollhouse brought back by a command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.command_line import CommandLine
from tests.scenarios.serving import running

PHRASE = {"TOLLHOUSE_BACKUP_PASSPHRASE": "correct horse battery"}
Tollhouse = Callable[..., Any]


@pytest.fixture
def tollhouse(command_line: CommandLine, tmp_path: Path) -> Tollhouse:
    """A command on a data directory; returns its JSON, or what it said where it fails."""

    def run(data: Path, *words: str, code: int = 0) -> Any:
        return command_line.answer(*words, folder=tmp_path, environment=PHRASE | {"TOLLHOUSE_DATA": str(data)}, code=code)

    return run


@pytest.mark.parametrize("served", [True, False], ids=["while it serves", "while nothing runs"])
def test_tollhouse_is_backed_up_and_brought_back_by_commands(tollhouse: Tollhouse, tmp_path: Path, served: bool) -> None:
    data, new = tmp_path / "data", tmp_path / "new"
    tollhouse(data, "events", "send", "compute_seconds", "--subject", "carol", "--data", '{"seconds": 3600, "job_id": "j"}')
    tollhouse(data, "backup", "init", "repository")

    def back_up() -> None:
        tollhouse(data, "backup", "full", "--source", "tollhouse", "--repository", "repository")

    if served:
        with running(data, environment=PHRASE):
            back_up()
    else:
        back_up()
    before = tollhouse(data, "billing", "all-users")
    back = tollhouse(new, "restore", "--repository", "repository")
    assert back["events"] == 1
    assert tollhouse(new, "billing", "all-users") == before
    said = tollhouse(new, "restore", "--repository", "repository", code=5)
    assert "restore to an empty directory" in said


def test_where_there_is_no_tollhouse_none_is_made_to_be_backed_up(tollhouse: Tollhouse, tmp_path: Path) -> None:
    """An empty one would become the latest snapshot: a cron job in another directory is all that takes."""
    tollhouse(tmp_path / "data", "backup", "init", "repository")
    said = tollhouse(tmp_path / "wrong", "backup", "full", "--source", "tollhouse", "--repository", "repository", code=2)
    assert f"There is no Tollhouse in {tmp_path / 'wrong'}" in said
    assert not (tmp_path / "wrong").exists()
    assert tollhouse(tmp_path / "data", "backup", "list", "--repository", "repository")["total"] == 0


def test_schedules_are_made_listed_run_and_removed(tollhouse: Tollhouse, tmp_path: Path) -> None:
    data = tmp_path / "data"
    tollhouse(data, "backup", "init", "repository")
    with running(data, environment=PHRASE):
        said = tollhouse(data, "backup-repositories", "add", "nowhere", "/nowhere/at/all", code=4)
        assert "There is no backup repository" in said
        assert tollhouse(data, "backup-repositories", "list")["repositories"] == []
        tollhouse(data, "backup-repositories", "add", "main", "repository", "--medium", "nas")
        made = tollhouse(data, "backup-schedules", "preset", "--repository", "main")["schedules"]
        assert [one["name"] for one in made] == ["hourly", "daily", "weekly", "monthly", "drill", "verify"]
        assert tollhouse(data, "backup-schedules", "run", "daily")["status"] == "completed"
        drill = tollhouse(data, "backup-schedules", "run", "drill")
        assert drill["detail"]["in_time"] is True
        assert tollhouse(data, "backup-schedules", "run", "verify")["status"] == "completed"
        tollhouse(data, "backup-schedules", "remove", "hourly")
        left = [one["name"] for one in tollhouse(data, "backup-schedules", "list")["schedules"]]
        assert left == ["daily", "drill", "monthly", "verify", "weekly"]
        assert "remove those first" in tollhouse(data, "backup-repositories", "remove", "main", code=5)
        for name in left:
            tollhouse(data, "backup-schedules", "remove", name)
        assert tollhouse(data, "backup-repositories", "remove", "main")["runs"] == 3
        assert "no backup repository" in tollhouse(data, "backup-repositories", "remove", "main", code=4)
        tollhouse(data, "backup-repositories", "add", "main", "repository")
        wrong = ("backup-schedules", "add", "x", "--kind", "full", "--repository", "main", "--cron", "at noon")
        assert "is no cron expression" in tollhouse(data, *wrong, code=2)
