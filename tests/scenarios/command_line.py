"""The command line, as it is typed: each command is a process of its own, forked off one that has imported everything."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.scenarios.serving import surroundings


@dataclass
class Told:
    """What a command answered."""

    returncode: int
    stdout: str
    stderr: str


class CommandLine:
    """Runs commands in a folder, which is also their home."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, *words: str, folder: Path, environment: Mapping[str, str] | None = None) -> Told:
        """One command, whatever its exit code."""
        asked = {"words": words, "cwd": str(folder), "env": surroundings(environment, folder)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Told(**json.loads(self._process.stdout.readline()))

    def answer(self, *words: str, folder: Path, environment: Mapping[str, str] | None = None, code: int = 0) -> Any:
        """What a command answers as JSON, or what it says where it is to fail."""
        told = self.run(*words, "--json", folder=folder, environment=environment)
        assert told.returncode == code, told.stdout + told.stderr
        return json.loads(told.stdout) if told.stdout else told.stderr


@contextmanager
def typing() -> Iterator[CommandLine]:
    """A command line for as long as the block."""
    command = [sys.executable, "-m", "tests.scenarios.forked"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        yield CommandLine(process)
        process.communicate(timeout=20)
