"""`python -m tests.scenarios.forked`: run commands that come as lines of JSON, each in a process of its own that need not import anew."""

import importlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from tollhouse.cli import embedded
from tollhouse.cli.main import COMMANDS, main

LONGEST = 120
IMPORTED = [embedded, *(importlib.import_module(f"tollhouse.cli.{place.module}") for place in COMMANDS.values())]


def run(asked: dict[str, Any]) -> dict[str, Any]:
    """One command: its exit code and what it said."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open("rb") as nothing:
        child = os.fork()
        if child == 0:
            for number, file in enumerate((nothing, out, err)):
                os.dup2(file.fileno(), number)
            os.chdir(asked["cwd"])
            os.environ.clear()
            os.environ.update(asked["env"])
            sys.argv = ["tollhouse", *asked["words"]]
            signal.alarm(LONGEST)
            main()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return {"returncode": code, "stdout": out.read().decode(), "stderr": err.read().decode()}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
        sys.stdout.flush()
