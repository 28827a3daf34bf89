"""`python -m tests.backup.killed BASE RUNS VERB …`: run `tollhouse backup VERB …` on copies of the repository BASE, each in a process of
its own that is killed (SIGKILL) after its first store operation, its second, and so on, until one comes through."""

import importlib
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from tollhouse.cli.main import main
from tollhouse.store.objects import Objects

importlib.import_module("tollhouse.cli.backup")  # once, before the forks; the command line imports it when it is asked for
VERBS = ("put", "get", "list", "head", "delete")


def counted(left: int) -> None:
    """Have this process killed once that many store operations are done."""
    done = [0]

    def wrapped(verb: Any) -> Any:
        def call(self: Objects, *given: Any, **named: Any) -> Any:
            answer = verb(self, *given, **named)
            done[0] += 1
            if done[0] > left:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return call

    for name in VERBS:
        setattr(Objects, name, wrapped(getattr(Objects, name)))


def run(base: Path, runs: Path, arguments: list[str]) -> None:
    """One process after the other."""
    for number in range(500):
        place = runs / f"{number:03}"
        shutil.copytree(base, place)
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            counted(number)
            sys.argv = ["tollhouse", "backup", *arguments, "--repository", str(place)]
            main()
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
