"""Backup beside restic and rclone: the same files in the same run; 20,000 small ones, and one gigabyte in two large ones."""

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Figure, Section

SMALL, LARGE = 20_000, 512 << 20
MOST_MEMORY = 300.0
STEPS = ("first backup", "unchanged backup", "verify, reading all", "restore")
SECRET = {"RESTIC_PASSWORD": "benchmark password", "TOLLHOUSE_BACKUP_PASSPHRASE": "benchmark password"}


@dataclass(frozen=True)
class Ran:
    """One command: seconds and megabytes at its peak."""

    seconds: float
    megabytes: float


Tool = Callable[[Path, Path], dict[str, Ran]]


def sections(directory: Path, quick: bool) -> list[Section]:
    """Both sets of files, backed up with everything there is."""
    count, size = (SMALL // 10, LARGE // 10) if quick else (SMALL, LARGE)
    made = [
        (f"{count:,} small files", _small(directory / "small", count)),
        (f"{2 * size / (1 << 30):.1f} GB in two large files", _large(directory / "large", size)),
    ]
    return [_section(title, source, directory) for title, source in made]


def _section(title: str, source: Path, directory: Path) -> Section:
    best = _best(source, directory)
    restic, rclone, ours = (best.get(tool, {}) for tool in (_restic, _rclone, _tollhouse))
    section = Section(f"Backup of {title}, encrypted", raw_name="restic")
    for step in STEPS:
        raw = restic[step].seconds if step in restic else None
        section.figures.append(Figure(step, ours[step].seconds, "s", raw, raw))
    peak = max(ran.megabytes for ran in ours.values())
    section.figures.append(Figure("peak memory", peak, "MB", MOST_MEMORY, max((ran.megabytes for ran in restic.values()), default=None)))
    if rclone:
        said = ", ".join(f"{step} {ran.seconds:.1f} s" for step, ran in rclone.items())
        section.notes.append(f"rclone, which keeps one plain copy: {said}.")
    section.notes.append("Each step counts until what it wrote is on the disk.")
    if not restic:
        section.notes.append("restic is not installed, so there is nothing to compare with (Debian: apt-get install restic).")
    return section


def _best(source: Path, directory: Path) -> dict[Tool, dict[str, Ran]]:
    """The shorter of two runs of each tool, forwards and backwards in turn: what ran before makes the disk slower or quicker."""
    tools: list[Tool] = [_restic] if shutil.which("restic") else []
    tools += [_rclone] if _rclone_program().exists() else []
    tools += [_tollhouse]
    best: dict[Tool, dict[str, Ran]] = {}
    for at, tool in enumerate((*tools, *reversed(tools))):
        ran = _runs(tool, source, directory / f"{at}-{source.name}")
        known = best.setdefault(tool, ran)
        best[tool] = {
            step: Ran(min(one.seconds, known[step].seconds), max(one.megabytes, known[step].megabytes)) for step, one in ran.items()
        }
    return best


def _runs(tool: Tool, source: Path, place: Path) -> dict[str, Ran]:
    """In a folder of its own, which stays to the end: ext4 takes long to make files where many have just been deleted."""
    place.mkdir()
    os.sync()
    return tool(source, place)


def _tollhouse(source: Path, place: Path) -> dict[str, Ran]:
    program = [sys.executable, "-m", "tollhouse", "backup"]
    at = ["--repository", str(place / "repository")]
    _run([*program, "init", str(place / "repository")])
    return {
        "first backup": _run([*program, "full", *at, "--source", str(source)]),
        "unchanged backup": _run([*program, "incremental", *at, "--source", str(source)]),
        "verify, reading all": _run([*program, "verify", *at, "--read-data"]),
        "restore": _run([*program, "restore", "full", *at, "--to", str(place / "back")]),
    }


def _restic(source: Path, place: Path) -> dict[str, Ran]:
    program = ["restic", "--repo", str(place / "repository"), "--no-cache", "--quiet"]
    _run([*program, "init"])
    return {
        "first backup": _run([*program, "backup", str(source)]),
        "unchanged backup": _run([*program, "backup", str(source)]),
        "verify, reading all": _run([*program, "check", "--read-data"]),
        "restore": _run([*program, "restore", "latest", "--verify", "--target", str(place / "back")]),
    }


def _rclone(source: Path, place: Path) -> dict[str, Ran]:
    program = [str(_rclone_program()), "--config", os.devnull]
    kept = str(place / "kept")
    return {
        "first backup": _run([*program, "copy", str(source), kept]),
        "unchanged backup": _run([*program, "copy", str(source), kept]),
        "verify, reading all": _run([*program, "check", "--download", str(source), kept]),
        "restore": _run([*program, "copy", kept, str(place / "back")]),
    }


def _rclone_program() -> Path:
    return Path(sys.executable).with_name("rclone")


# What a process has at its peak counts from before it becomes another program: so it is a small one that becomes it.
_LAUNCH = """
import os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
os.sync()
print(time.perf_counter() - began, used.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""


def _run(command: list[str]) -> Ran:
    """Until what it wrote is on the disk: not every tool waits for that after a restore."""
    launched = [sys.executable, "-I", "-S", "-c", _LAUNCH, *command]
    ran = subprocess.run(launched, check=False, capture_output=True, env=os.environ | SECRET)
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)}: {re.sub(rb'[^ -~]+', b' ', ran.stderr).decode()[-500:]}")
    taken, megabytes = ran.stdout.split()
    return Ran(float(taken), float(megabytes))


def _small(path: Path, count: int) -> Path:
    chance = random.Random(1)
    for at in range(count):
        folder = path / f"{at // 200:03}"
        if at % 200 == 0:
            folder.mkdir(parents=True)
        text = " ".join(str(chance.randrange(10_000)) for _ in range(chance.randrange(50, 800)))
        (folder / f"{at}.txt").write_text(text)
    return path


def _large(path: Path, size: int) -> Path:
    path.mkdir()
    for name in ("one", "two"):
        chance = random.Random(name)
        with (path / name).open("wb") as file:
            for _ in range(size >> 20):
                file.write(chance.randbytes(1 << 20))
    return path
