"""Commands as a user types them, with no server running: each serves itself for the moment."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from tests.architecture.test_docs import commands
from tollhouse.cli import backfill
from tollhouse.cli.connection import Connection, Refused
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


def refused(*command: str) -> tuple[Any, str]:
    """What a command that fails prints as JSON, and its sentence."""
    ran = runner.invoke(app, [*command, "--json"])
    assert isinstance(ran.exception, Unprocessable), ran.output
    assert ran.exception.exit_code == 2
    return json.loads(ran.stdout), ran.exception.detail


def stored() -> list[str]:
    """The ids of the events, in order."""
    return sorted(one["id"] for one in told("events", "list", "--limit", "100")["events"])


def lines_of(*texts: str) -> bytes:
    return "".join(text + "\n" for text in texts).encode()


def event(name: str, **members: Any) -> str:
    return json.dumps({"id": name, "type": "use", "time": "2024-05-01T00:00:00Z", "data": {"n": 1}} | members)


def test_strict_stores_what_is_before_the_first_bad_row_and_nothing_behind_it(desk: Path) -> None:
    write_csv(desk / "use.csv", rows(20, bad=(4,)))
    done, why = refused(*IMPORT, "--strict")
    assert (done["rows"], done["inserted"], [one["row"] for one in done["bad_rows"]]) == (4, 3, [4])
    assert why.startswith("use.csv: row 4: at: 'soon' is not a time")
    assert stored() == ["use.csv:1", "use.csv:2", "use.csv:3"]
    again, why_again = refused(*IMPORT, "--strict")
    assert (again["resumed_after"], again["inserted"], why_again) == (3, 0, why)


def test_strict_sends_nothing_behind_a_row_that_the_server_refuses(desk: Path) -> None:
    (desk / "use.ndjson").write_bytes(lines_of(event("a"), event("b"), event("c", type=""), event("d"), "{", event("e")))
    done, why = refused("events", "import", "use.ndjson", "--strict")
    assert (done["rows"], done["inserted"], [one["row"] for one in done["bad_rows"]]) == (3, 2, [3])
    assert why.startswith("use.ndjson: row 3: ")
    assert why.endswith("(--strict: stopped here)")
    assert stored() == ["a", "b"]


def test_strict_names_the_first_bad_row_whoever_finds_it(desk: Path) -> None:
    write_csv(desk / "use.csv", [["c", "1999-01-01T00:00:00Z", "1", ""], *rows(5, bad=(3,))])
    done, why = refused(*IMPORT, "--strict")
    assert (done["inserted"], [one["row"] for one in done["bad_rows"]]) == (0, [1])
    assert "row 1: time: 1999-01-01T00:00:00Z is out of range" in why


def test_strict_leaves_the_verdict_to_a_server_with_wider_limits(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLHOUSE_MAX_DAYS_AHEAD", "100000")
    (desk / "use.ndjson").write_bytes(lines_of(event("a"), event("b", time="2222-01-01T00:00:00Z"), event("c")))
    done = told("events", "import", "use.ndjson", "--strict")
    assert (done["inserted"], done["bad"]) == (3, 0)


def test_strict_ends_with_a_fault_that_only_the_server_can_find(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOLLHOUSE_MAX_DATA_BYTES", "20")
    monkeypatch.setattr(backfill, "BATCH", 3)
    long = event("b", data={"note": "x" * 30})
    (desk / "use.ndjson").write_bytes(lines_of(event("a"), long, event("c"), event("d")))
    done, why = refused("events", "import", "use.ndjson", "--strict")
    assert "row 2: data: has 42 bytes" in why
    assert why.endswith("(--strict: stopped, but the rows up to 3 had gone with it)")
    assert (done["rows"], stored()) == (3, ["a", "c"])


def test_an_id_that_is_stored_with_other_content_is_a_conflict_and_no_duplicate(desk: Path) -> None:
    write_csv(desk / "use.csv", rows(3))
    assert told(*IMPORT)["conflicts"] == 0
    write_csv(desk / "use.csv", [["carol", "2024-04-30T00:00:00Z", "9", ""], *rows(3)])
    done = told(*IMPORT)
    assert (done["inserted"], done["duplicates"], done["conflicts"], done["bad"]) == (1, 0, 3, 0)
    assert [one["row"] for one in done["conflict_rows"]] == [1, 2, 3]
    assert "stored with other content" in done["conflict_rows"][0]["detail"]
    again = told(*IMPORT)
    assert (again["inserted"], again["duplicates"], again["conflicts"]) == (0, 1, 3)
    shown = runner.invoke(app, list(IMPORT))
    assert shown.exit_code == 0
    assert "conflicts" in shown.stdout
    assert "row 1: this id is stored with other content" in shown.stderr
    assert "Without --id" in shown.stderr
    _, why = refused(*IMPORT, "--strict")
    assert "row 1: this id is stored with other content" in why


def test_many_conflicts_are_named_up_to_twenty(desk: Path) -> None:
    write_csv(desk / "use.csv", rows(25))
    told(*IMPORT)
    write_csv(desk / "use.csv", [["carol", "2024-04-30T00:00:00Z", "9", ""], *rows(25)])
    said = runner.invoke(app, list(IMPORT)).stderr
    assert said.count("stored with other content") == 20
    assert "… and 5 more conflicts" in said


@pytest.mark.parametrize("strict", [False, True])
def test_a_row_of_a_csv_that_is_not_utf_8_is_a_bad_row(desk: Path, strict: bool) -> None:
    (desk / "use.csv").write_bytes(
        b"who,at,n,note\nc,2024-05-01T00:00:00Z,1,ok\nc,2024-05-01T00:00:01Z,2,caf\xe9\nc,2024-05-01T00:00:02Z,3,caf\xc3\xa9\n"
    )
    done = refused(*IMPORT, "--strict")[0] if strict else told(*IMPORT)
    assert done["inserted"] == (1 if strict else 2)
    assert done["bad_rows"] == [{"row": 2, "detail": "note: it is not UTF-8, there is the byte 0xe9; save the file in UTF-8"}]


def test_a_header_that_is_not_utf_8_is_one_sentence(desk: Path) -> None:
    (desk / "use.csv").write_bytes("who,at,n,note\n".encode("utf-16"))
    with pytest.raises(BadInput, match="the header: it is not UTF-8, there is the byte 0xff"):
        runner.invoke(app, list(IMPORT), catch_exceptions=False)


def test_a_malformed_line_of_a_csv_is_a_bad_row(desk: Path) -> None:
    (desk / "use.csv").write_bytes(
        b'who,at,n,note\n\nc,2024-05-01T00:00:00Z,1,"ok"x\nc,2024-05-01T00:00:01Z,2,"two\nlines"\n\nc,2024-05-01T00:00:02Z,3,\0\n'
    )
    done = told(*IMPORT)
    assert (done["rows"], done["inserted"]) == (3, 1)
    assert done["bad_rows"][0] == {
        "row": 1,
        "detail": "it is no CSV: a field goes on behind its closing quote; write a quote inside a field twice (line 3)",
    }
    assert (done["bad_rows"][1]["row"], "NUL" in done["bad_rows"][1]["detail"]) == (3, True)


def test_a_quote_that_is_never_closed_ends_the_import_after_the_rows_before_it(desk: Path) -> None:
    row = "c,2024-05-01T00:00:0{0}Z,{0},{1}\n"
    (desk / "use.csv").write_text("who,at,n,note\n" + row.format(1, "") + row.format(2, '"open') + row.format(3, ""))
    done, why = refused(*IMPORT)
    assert (done["inserted"], [one["row"] for one in done["bad_rows"]]) == (1, [2])
    assert why == (
        "use.csv: row 2: it is no CSV: a quote is opened and never closed (lines 3 to 4); "
        "where the next row begins is unclear, so nothing behind was read"
    )
    assert refused(*IMPORT)[1] == why


NDJSON = ("events", "import", "use.ndjson", "--type", "use", "--subject", "who")


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b'{"who": "c", "n": NaN}', "no JSON: NaN is no JSON number; leave it out or write null"),
        (b'{"who": "c", "n": [-Infinity]}', "no JSON: -Infinity is no JSON number; leave it out or write null"),
        (b'{"who": "\\ud800"}', "it holds half of a surrogate pair, which is no character; send whole characters"),
        (b'{"who": "caf\xe9"}', "it is not UTF-8: byte 12 of the line is 0xe9; save the file in UTF-8"),
        (b"[1]", "it is no JSON object; write one object a line"),
        pytest.param(b"[" * 100_000, "no JSON: it is nested too deeply; nest at most 32 levels", id="deep"),
    ],
)
def test_a_line_that_cannot_become_an_event_is_a_bad_row(desk: Path, line: bytes, detail: str) -> None:
    (desk / "use.ndjson").write_bytes(b'{"who": "c", "n": 1}\n' + line + b'\n{"who": "d", "n": 2}\n')
    done = told(*NDJSON)
    assert (done["inserted"], done["bad_rows"]) == (2, [{"row": 2, "detail": detail}])


def test_a_line_that_is_not_utf_8_does_not_keep_whole_events_out(desk: Path) -> None:
    (desk / "use.ndjson").write_bytes(lines_of(event("a")) + b'{"id": "\xe9"}\n' + lines_of(event("b")))
    done = told("events", "import", "use.ndjson")
    assert (done["inserted"], [one["row"] for one in done["bad_rows"]]) == (2, [2])
    assert "it is not UTF-8" in done["bad_rows"][0]["detail"]


@pytest.mark.parametrize(
    "harm", [lambda packed: packed[:-9], lambda packed: b"no gzip" + packed, lambda packed: packed[:20] + b"\xff" * 99]
)
def test_a_packed_file_that_is_damaged_is_refused_before_any_of_it_is_stored(desk: Path, harm: Callable[[bytes], bytes]) -> None:
    packed = gzip.compress(b"".join(b'{"who": "c", "n": %d}\n' % n for n in range(1000)))
    (desk / "use.ndjson.gz").write_bytes(harm(packed))
    with pytest.raises(BadInput, match="it is cut off, or no gzip"):
        told("events", "import", "use.ndjson.gz", "--type", "use", "--subject", "who", "--format", "ndjson")
    assert told("events", "list")["events"] == []


def test_a_number_of_parquet_that_is_none_is_a_bad_row(desk: Path) -> None:
    duckdb.execute("COPY (SELECT 'c' AS who, unnest(['1.5', 'nan', '2.5']::DOUBLE[]) AS n) TO 'use.parquet' (FORMAT parquet)")
    done = told("events", "import", "use.parquet", "--format", "parquet", "--type", "use", "--subject", "who")
    assert (done["inserted"], done["bad_rows"]) == (2, [{"row": 2, "detail": "nan is no JSON number; leave it out or write null"}])


def test_rows_of_any_size_are_sent_in_requests_that_the_server_takes(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "BATCH_BYTES", 1000)
    sent: list[int] = []
    call = Connection.call

    def counted(self: Connection, method: str, path: str, **asked: Any) -> Any:
        sent.extend([len(asked["content"])] if path == "/api/events" and method == "POST" else [])
        return call(self, method, path, **asked)

    monkeypatch.setattr(Connection, "call", counted)
    (desk / "use.ndjson").write_bytes(b"".join(b'{"who": "c", "n": "%s"}\n' % (b"x" * (at * 10)) for at in range(60)))
    assert told(*NDJSON)["inserted"] == 60
    assert len(sent) > 20
    assert max(sent) <= 1000


@pytest.mark.parametrize("columns", [["--data", "n", "--data", "note"], ["--data", "n,note"], ["--data", "n, ", "--data", "note"]])
def test_columns_of_the_data_are_named_together_or_one_by_one(desk: Path, columns: list[str]) -> None:
    write_csv(desk / "use.csv", rows(1))
    told(*IMPORT[: IMPORT.index("--data")], *columns)
    (one,) = told("events", "list")["events"]
    assert one["data"] == {"n": 1, "note": 'x,"y"'}


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
        (("prices", "create", "compute_seconds"), TollhouseError),
        (("meters", "create", "Bad Slug", "--event-type", "x"), TollhouseError),
    ],
)
def test_what_cannot_be_done_is_one_sentence(command: tuple[str, ...], error: type[TollhouseError]) -> None:
    with pytest.raises(error) as told_why:
        runner.invoke(app, list(command), catch_exceptions=False)
    assert told_why.value.detail
    assert "\n" not in told_why.value.detail
