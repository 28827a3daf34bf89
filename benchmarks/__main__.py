"""`python -m benchmarks`: run the chosen sections and print a table of each."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import backup, ingest, pages, postgres, queries
from benchmarks.report import console, seconds

SECTIONS = ("ingest", "memory", "queries", "pages", "postgres", "backup")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Tollhouse beside the limits of its engines.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="one million events, to see that everything runs")
    size.add_argument("--large", action="store_true", help="queries at a hundred million events, too")
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--directory", type=Path, help="where to put the stores meanwhile (default: the temporary directory)")
    given = parser.parse_args()
    chosen = set(given.only.split(","))
    if unknown := chosen - set(SECTIONS):
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(SECTIONS)}")
    sizes = [1_000_000] if given.quick else [1_000_000, 10_000_000]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that no server is left behind
    with tempfile.TemporaryDirectory(prefix="tollhouse-bench-", dir=given.directory) as directory:
        taken = seconds(lambda: _run(Path(directory), chosen, sizes, given.quick, given.large))
    console.print(f"All of it took {taken / 60:.1f} minutes.", highlight=False)


def _run(directory: Path, chosen: set[str], sizes: list[int], quick: bool, large: bool) -> None:
    if chosen & {"ingest", "memory"}:
        ran = ingest.run(directory / "server", sizes[-1], 5.0 if quick else 70.0)
        if "ingest" in chosen:
            ingest.speed(ran, directory).show()
        if "memory" in chosen:
            ingest.memory(ran).show()
    if "queries" in chosen:
        for section in queries.sections(directory, [*sizes, 100_000_000] if large else sizes):
            section.show()
    if "pages" in chosen:
        pages.sections(directory, 300_000 if quick else 1_000_000).show()
    if "backup" in chosen:
        for section in backup.sections(directory, quick):
            section.show()
    if "postgres" in chosen:
        for section in postgres.sections([300_000] if quick else sizes, 480.0):
            section.show()


if __name__ == "__main__":
    main()
