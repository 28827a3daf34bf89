"""Commands as a user types them, with no server running: each serves itself for the moment."""

import csv
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from tests.architecture.test_docs import commands
from tollhouse.cli import backfill
from tollhouse.cli.connection import Refused
from tollhouse.cli.main import app
from tollhouse.kit.errors import BadInput, TollhouseError, Unavailable, Unprocessable

runner = CliRunner()


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in, and no settings but its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("TOLLHOUSE_URL", "TOLLHOUSE_API_KEY", "TOLLHOUSE_DATA"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def told(*command: str) -> Any:
    ran = runner.invoke(app, [*command, "--json"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)


@pytest.mark.parametrize("command", commands())
def test_every_command_explains_itself(command: str) -> None:
    ran = runner.invoke(app, [*command.split(), "--help"])
    assert ran.exit_code == 0
    assert "Usage" in ran.output


def rows(count: int, bad: tuple[int, ...] = ()) -> list[list[str]]:
    return [[f"c{at % 3}", "soon" if at in bad else f"2024-05-01T00:00:{at % 60:02d}Z", str(at), 'x,"y"'] for at in range(1, count + 1)]


def write_csv(path: Path, lines: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["who", "at", "n", "note"], *lines])


IMPORT = ("events", "import", "use.csv", "--format", "csv", "--type", "use", "--subject", "who", "--time", "at", "--data", "n,note")


def test_a_bad_row_is_named_by_its_number_and_stops_nothing(desk: Path) -> None:
    write_csv(desk / "use.csv", rows(20, bad=(4, 17)))
    done = told(*IMPORT)
    assert (done["rows"], done["inserted"], done["bad"]) == (20, 18, 2)
    assert [one["row"] for one in done["bad_rows"]] == [4, 17]
    assert "at: 'soon' is not a time" in done["bad_rows"][0]["detail"]
    again = told(*IMPORT)
    assert (again["inserted"], again["duplicates"]) == (0, 18)


def test_strict_stops_at_the_first_bad_row(desk: Path) -> None:
    write_csv(desk / "use.csv", rows(20, bad=(4,)))
    with pytest.raises(Unprocessable, match=r"row 4: .*--strict"):
        runner.invoke(app, [*IMPORT, "--strict"], catch_exceptions=False)


def test_an_import_that_was_interrupted_goes_on_where_it_was(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "BATCH", 10)
    write_csv(desk / "use.csv", rows(45))
    whole = backfill._send
    sent: list[Any] = []

    def cut_off(*given: Any) -> None:
        if len(sent) == 2:
            raise Unavailable("the server went away")
        sent.append(given)
        whole(*given)

    monkeypatch.setattr(backfill, "_send", cut_off)
    with pytest.raises(Unavailable):
        runner.invoke(app, list(IMPORT), catch_exceptions=False)
    monkeypatch.setattr(backfill, "_send", whole)
    done = told(*IMPORT)
    assert (done["resumed_after"], done["inserted"], done["duplicates"]) == (20, 25, 0)
    assert told(*IMPORT)["resumed_after"] == 0


def test_parquet_and_ndjson_are_read_too(desk: Path) -> None:
    row = "SELECT 'carol' AS who, TIMESTAMPTZ '2024-05-01 00:00:00+00' AS at, 12.50::DECIMAL(9, 2) AS n"
    duckdb.execute(f"COPY ({row}) TO 'use.parquet' (FORMAT parquet)")
    parquet = told(
        "events", "import", "use.parquet", "--format", "parquet", "--type", "use", "--subject", "who", "--time", "at", "--data", "n"
    )
    assert parquet["inserted"] == 1
    (desk / "use.ndjson").write_text('{"id":"1","type":"use","subject":"dave","data":{"n":1.10}}\n{"id":2}\n')
    lines = told("events", "import", "use.ndjson")
    assert (lines["inserted"], [one["row"] for one in lines["bad_rows"]]) == (1, [2])
    told("meters", "create", "use", "--event-type", "use", "--value", "$.n")
    answer = told("meters", "query", "use", "--group-by", "subject")
    assert [(row["subject"], row["value"]) for row in answer["data"]] == [("carol", 12.5), ("dave", 1.1)]


def test_what_was_exported_is_what_was_sent(desk: Path) -> None:
    write_csv(desk / "use.csv", [["=1+1", "2024-05-01T00:00:00Z", "1.50", 'say "hi", twice']])
    told(*IMPORT)
    assert runner.invoke(app, ["events", "export", "-o", "out.csv"]).exit_code == 0
    with (desk / "out.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["subject"] == "'=1+1"
    assert json.loads(row["data"]) == {"n": 1.5, "note": 'say "hi", twice'}
    assert '"n":1.50' in row["data"]


def test_usage_is_aggregated_rebuilt_trimmed_and_billed(desk: Path) -> None:
    told("events", "send", "compute_seconds", "--subject", "carol", "--data", '{"seconds": 3600}', "--time", "2024-05-01T00:00:00Z")
    assert told("usage", "aggregate", "daily")["events"] == 1
    assert told("usage", "rebuild")["periods"]["day"] >= 1
    assert told("usage", "trim") == {"hours": 2, "days": 2, "events": 0}
    assert told("billing", "summary", "carol")["estimated_cost"] == 0.36
    assert told("billing", "bill", "carol", "--period", "2024-05")["net"] == 0.36
    assert len(told("billing", "daily", "carol", "--start", "2024-05-01", "--end", "2024-05-03")["daily_usage"]) == 3
    assert told("billing", "all-users")["total_users"] == 1
    told("billing", "reset", "carol")
    assert told("billing", "summary", "carol")["estimated_cost"] == 0


def test_keys_prices_and_organizations_are_managed(desk: Path) -> None:
    key = told("keys", "create", "--name", "worker", "--scope", "read")
    assert key["secret"].startswith("sk_")
    assert told("keys", "revoke", key["id"])["revoked_at"]
    with pytest.raises(Refused, match="revoked already"):
        runner.invoke(app, ["keys", "revoke", key["id"]], catch_exceptions=False)
    price = told("prices", "create", "compute_seconds", "--amount", "0.5")
    assert [one["id"] for one in told("prices", "list")["prices"]] == [price["id"]]
    assert runner.invoke(app, ["prices", "delete", price["id"]]).exit_code == 0
    beats = told("organizations", "create", "Beats", "--time-zone", "Asia/Tokyo")
    assert told("meters", "list", "--organization", beats["id"])["total"] == 3
    assert [one["name"] for one in told("organizations", "list")["organizations"]] == ["default", "Beats"]


def test_deleting_events_takes_them_out_of_the_meters(desk: Path) -> None:
    told("events", "send", "compute_seconds", "--subject", "carol", "--data", '{"seconds": 5}')
    told("usage", "aggregate")
    ran = runner.invoke(app, ["events", "delete", "--subject", "carol", "--yes"], catch_exceptions=False)
    assert "Deleted 1 events" in ran.output
    assert told("billing", "summary", "carol")["compute_seconds"] == 0


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("meters", "query", "nothing"), TollhouseError),
        (("events", "import", "nothing.csv", "--format", "csv", "--type", "x"), BadInput),
        (("prices", "create", "compute_seconds", "--tiers", "{"), Unprocessable),
        (("meters", "create", "Bad Slug", "--event-type", "x"), TollhouseError),
    ],
)
def test_what_cannot_be_done_is_one_sentence(command: tuple[str, ...], error: type[TollhouseError]) -> None:
    with pytest.raises(error) as told_why:
        runner.invoke(app, list(command), catch_exceptions=False)
    assert told_why.value.detail
    assert "\n" not in told_why.value.detail
