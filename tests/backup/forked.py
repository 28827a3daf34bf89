"""`python -m tests.backup.forked`: run commands that come as lines of JSON, each in a process of its own that need not import anew."""

import json
import os
import sys
import tempfile
from typing import Any

from tollhouse.cli.main import main


def run(asked: dict[str, Any]) -> dict[str, Any]:
    """One command: its exit code and what it said."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.chdir(asked["cwd"])
            os.environ.clear()
            os.environ.update(asked["env"])
            sys.argv = ["tollhouse", *asked["arguments"]]
            main()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return {"returncode": code, "stdout": out.read().decode(), "stderr": err.read().decode()}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
        sys.stdout.flush()
