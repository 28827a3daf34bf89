"""The server's own backups on the command line: repositories by name, schedules, and Tollhouse brought back by a command."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.serving import COMMAND, running, surroundings

PHRASE = {"TOLLHOUSE_BACKUP_PASSPHRASE": "correct horse battery"}


def tollhouse(folder: Path, data: Path, *words: str, code: int = 0) -> Any:
    """A command in a folder, on a data directory; returns its JSON, or what it said where it fails."""
    done = subprocess.run(
        [*COMMAND, *words, "--json"],
        cwd=folder,
        env=surroundings(PHRASE | {"TOLLHOUSE_DATA": str(data)}, folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


@pytest.mark.parametrize("served", [True, False], ids=["while it serves", "while nothing runs"])
def test_tollhouse_is_backed_up_and_brought_back_by_commands(tmp_path: Path, served: bool) -> None:
    data, new = tmp_path / "data", tmp_path / "new"
    tollhouse(tmp_path, data, "events", "send", "compute_seconds", "--subject", "carol", "--data", '{"seconds": 3600, "job_id": "j"}')
    tollhouse(tmp_path, data, "backup", "init", "repository")

    def back_up() -> None:
        tollhouse(tmp_path, data, "backup", "full", "--source", "tollhouse", "--repository", "repository")

    if served:
        with running(data, environment=PHRASE):
            back_up()
    else:
        back_up()
    before = tollhouse(tmp_path, data, "billing", "all-users")
    back = tollhouse(tmp_path, new, "restore", "--repository", "repository")
    assert back["events"] == 1
    assert tollhouse(tmp_path, new, "billing", "all-users") == before
    said = tollhouse(tmp_path, new, "restore", "--repository", "repository", code=5)
    assert "restore to an empty directory" in said


def test_schedules_are_made_listed_run_and_removed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    tollhouse(tmp_path, data, "backup", "init", "repository")
    with running(data, environment=PHRASE):
        said = tollhouse(tmp_path, data, "backup-repositories", "add", "nowhere", "/nowhere/at/all", code=4)
        assert "There is no backup repository" in said
        assert tollhouse(tmp_path, data, "backup-repositories", "list")["repositories"] == []
        tollhouse(tmp_path, data, "backup-repositories", "add", "main", "repository", "--medium", "nas")
        made = tollhouse(tmp_path, data, "backup-schedules", "preset", "--repository", "main")["schedules"]
        assert [one["name"] for one in made] == ["hourly", "daily", "weekly", "monthly", "drill", "verify"]
        assert tollhouse(tmp_path, data, "backup-schedules", "run", "daily")["status"] == "completed"
        drill = tollhouse(tmp_path, data, "backup-schedules", "run", "drill")
        assert drill["detail"]["in_time"] is True
        assert tollhouse(tmp_path, data, "backup-schedules", "run", "verify")["status"] == "completed"
        tollhouse(tmp_path, data, "backup-schedules", "remove", "hourly")
        left = [one["name"] for one in tollhouse(tmp_path, data, "backup-schedules", "list")["schedules"]]
        assert left == ["daily", "drill", "monthly", "verify", "weekly"]
        wrong = ("backup-schedules", "add", "x", "--kind", "full", "--repository", "main", "--cron", "at noon")
        assert "is no cron expression" in tollhouse(tmp_path, data, *wrong, code=2)
