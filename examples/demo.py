"""The demo: Tollhouse on embedded stores, with real data in it.

    make demo                 starts Tollhouse, loads, prints, and serves until Ctrl-C
    make demo ARGS="--once"   ends after printing

A year of flights is imported, metered and billed (`examples/flights`); then a customer hands in three pages of manga, and a
worker makes a film of them (`examples/mangamotion`).
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.flights import demo as flights
from examples.mangamotion import demo as mangamotion
from tollhouse.cli.output import console
from tollhouse.store.lock import read_holder

TOLLHOUSE = Path(sys.executable).with_name("tollhouse")


def main() -> None:
    """Run the demo."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--once", action="store_true", help="end after printing")
    options.add_argument("--data", type=Path, default=Path("build/demo"), help="data directory; it is emptied first")
    options.add_argument("--port", type=int, default=3000, help="port to serve on; another if it is taken")
    given = options.parse_args()
    shutil.rmtree(given.data, ignore_errors=True)
    os.environ["TOLLHOUSE_DATA"] = str(given.data)
    with serving(given.data, given.port) as process:
        flights.run(given.data / "flights.csv")
        url = read_holder(given.data)["url"]
        mangamotion.run(url, given.data / "pages")
        out = console()
        out.print(f"\nTollhouse serves this at {url}, without a key from this machine. Look at:")
        out.print(f"  {url}/admin/jobs                        everybody's jobs", soft_wrap=True)
        out.print(f"  {url}/dashboard/jobs?user_id=carol      what the customer carol sees", soft_wrap=True)
        out.print(f"  {url}/dashboard/billing?user_id=UA&start=2013-07-01&end=2013-07-31", soft_wrap=True)
        out.print(f"  curl '{url}/api/billing/bill?user_id=UA&period=2013-07'", soft_wrap=True)
        if not given.once:
            out.print("Stop it with Ctrl-C.")
            process.wait()


@contextmanager
def serving(data: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A real server of its own process, drained at the end."""
    process = start(data, port)
    try:
        yield process
    except KeyboardInterrupt:
        console().print("Stopping.")
    finally:
        process.terminate()
        process.wait(60)


def start(data: Path, port: int) -> subprocess.Popen[bytes]:
    """Start `tollhouse up` and wait until it serves; on another port if that one is taken."""
    command = [str(TOLLHOUSE), "up", "--dev", "--data", str(data), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while "url" not in read_holder(data):
        if process.poll() is not None and port:
            console().print(f"Port {port} is taken; taking a free one.")
            return start(data, 0)
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("tollhouse up did not start; what it said stands above.")
        time.sleep(0.05)
    return process


if __name__ == "__main__":
    main()
