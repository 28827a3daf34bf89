"""The README's tour, command by command, in an empty directory; `…` stands for what differs each time."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def steps() -> list[tuple[str, str]]:
    """Each `$ command` and what it prints."""
    blocks = re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL)
    found = []
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def told(expected: str) -> str:
    return ".*".join(re.escape(part) for part in tidy(expected).split("…"))


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def test_the_tour_prints_what_the_readme_says(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(tmp_path), "TOLLHOUSE_PORT": port, "LANG": "C.UTF-8"}
    server: subprocess.Popen[str] | None = None
    try:
        for command, expected in steps():
            if command.endswith("&"):
                server = subprocess.Popen(command.rstrip("& ").split(), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
                assert server.stdout is not None
                said = "".join(server.stdout.readline() for _ in expected.splitlines())
            else:
                ran = subprocess.run(
                    command.replace("3000", port), shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
                )
                assert ran.returncode == 0, ran.stderr
                said = ran.stdout
            assert re.fullmatch(told(expected.replace("3000", port)), tidy(said)), f"$ {command}\n{said}"
    finally:
        if server is not None and server.stdout is not None:
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
            server.stdout.close()


def test_the_first_lines_name_both_commands_of_the_make_file() -> None:
    targets = set(re.findall(r"^([a-z]+):", (README.parent / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z]+)", README.read_text(), re.MULTILINE)) <= targets
