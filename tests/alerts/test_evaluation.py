"""What a rule finds in the journal, and what becomes of it, on both records databases."""

from datetime import timedelta
from typing import Any

import pytest

from tests.alerts.conftest import NOON, Watch, founded
from tollhouse import alerts
from tollhouse.alerts import Counted, Happened, Missing, Where
from tollhouse.kit import ids
from tollhouse.kit.errors import Conflict, NotFound, Unprocessable
from tollhouse.store.records import Records

FAILED = Happened("backup", ("failed",))


def test_what_happened_raises_an_alert_that_says_it_in_plain_words(watch: Watch) -> None:
    watch.rule("Backup failed", FAILED, "critical")
    watch.happens("backup", "failed", reason="the disk is full", bytes=1234567)
    assert watch.evaluate() == 1
    alert = watch.alert()
    assert (alert.title, alert.severity, alert.status) == ("Backup failed: nightly", "critical", "open")
    assert alert.message == "Backup failed for nightly at 2024-03-01 12:00:00 UTC.\nBytes: 1,234,567\nReason: the disk is full"


def test_a_rule_speaks_once_per_subject_and_period(watch: Watch) -> None:
    watch.rule("Backup failed", FAILED, period_seconds=3600)
    for minutes, subject in ((0, "nightly"), (10, "nightly"), (10, "weekly"), (59, "nightly"), (60, "nightly")):
        watch.happens("backup", "failed", subject, at=NOON + timedelta(minutes=minutes))
    assert watch.evaluate() == 3
    found = [(one.subject, one.period_start.hour) for one in watch.alerts()]
    assert found == [("nightly", 12), ("weekly", 12), ("nightly", 13)]
    assert watch.alerts()[0].last_at == NOON + timedelta(minutes=59)


def test_evaluating_again_also_after_a_restart_raises_nothing_new(watch: Watch) -> None:
    watch.rule("Backup failed", FAILED)
    watch.happens("backup", "failed")
    assert [watch.evaluate(), watch.evaluate(), watch.evaluate(timedelta(days=9999))] == [1, 0, 0]


def test_a_row_that_a_slow_transaction_commits_late_is_noticed(watch: Watch) -> None:
    watch.rule("Backup failed", FAILED)
    early = ids.new("log")
    watch.happens("backup", "failed", "weekly")
    assert watch.evaluate() == 1
    watch.happens("backup", "failed", "nightly", id=early)
    assert watch.evaluate() == 1


def test_what_happened_before_the_rule_is_history(watch: Watch) -> None:
    watch.happens("backup", "failed")
    watch.later(minutes=1)
    rule = watch.rule("Backup failed", FAILED)
    assert watch.evaluate() == 0
    with watch.records.transaction() as session:
        alerts.change_rule(session, watch.organization, rule.id, watch.now, "alice", enabled=False)
    watch.later(minutes=1)
    watch.happens("backup", "failed")
    assert watch.evaluate() == 0
    watch.later(minutes=1)
    with watch.records.transaction() as session:
        alerts.change_rule(session, watch.organization, rule.id, watch.now, "alice", enabled=True)
    watch.happens("backup", "failed", "weekly")
    assert watch.evaluate() == 1
    assert watch.alert().subject == "weekly"


@pytest.mark.parametrize(
    ("where", "detail", "holds"),
    [
        (Where("percent", ">=", 50), {"percent": 50}, True),
        (Where("percent", ">", 50), {"percent": 50}, False),
        (Where("percent", "<", 0.5), {"percent": "0.49999999999999999999"}, True),
        (Where("percent", "<=", 5), {"percent": 6}, False),
        (Where("bytes", "==", 10), {"bytes": "10.0"}, True),
        (Where("reason", "==", "full"), {"reason": "full"}, True),
        (Where("reason", "==", "full"), {"reason": "torn"}, False),
        (Where("percent", ">", 1), {"percent": "many"}, False),
        (Where("percent", ">", 1), {"percent": True}, False),
        (Where("percent", ">", 1), {"percent": float("nan")}, False),
        (Where("percent", ">", 1), {}, False),
        (Where("rto_seconds", ">", than="rto_objective"), {"rto_seconds": 3601, "rto_objective": 3600}, True),
        (Where("rto_seconds", ">", than="rto_objective"), {"rto_seconds": 3601}, False),
    ],
    ids=str,
)
def test_a_field_is_compared_as_the_number_or_text_that_it_is(where: Where, detail: dict[str, object], holds: bool) -> None:
    assert where.faults() == []
    assert where.holds(detail) is holds


def test_a_count_is_reached_by_the_row_that_completes_it(watch: Watch) -> None:
    watch.rule("Jobs fail", Counted("job", ("failed",), 3, 600))
    for minutes in (0, 8, 16, 24):
        watch.happens("job", "failed", "animate", at=NOON + timedelta(minutes=minutes))
    assert watch.evaluate() == 0
    watch.happens("job", "failed", "other", at=NOON + timedelta(minutes=25))
    watch.happens("job", "completed", "animate", at=NOON + timedelta(minutes=25))
    assert watch.evaluate() == 0
    watch.happens("job", "failed", "animate", at=NOON + timedelta(minutes=25))
    assert watch.evaluate() == 1
    assert watch.alert().message.startswith("Job failed 3 times or more within 10 min for animate, last at 2024-03-01 12:25:00 UTC.")


@pytest.mark.parametrize(("by", "raised"), [("", []), ("customer", ["carol"]), ("*", ["every job"]), ("kind", [])])
def test_rows_are_counted_by_subject_by_a_field_or_all_together(watch: Watch, by: str, raised: list[str]) -> None:
    watch.rule("Jobs fail", Counted("job", ("failed",), 3, 600, by=by))
    for at, customer in enumerate(("carol", "dave", "carol", "carol")):
        watch.happens("job", "failed", f"job-{at}", customer=customer, id=ids.new("log"))
    watch.happens("job", "completed", "job-9", customer="dave")
    watch.evaluate()
    assert [one.subject for one in watch.alerts()] == raised


def test_an_organization_that_cannot_be_judged_does_not_stop_the_others(records: Records) -> None:
    manga, beats = founded(records), founded(records, "Beats")
    broken = manga.rule("Backup failed", FAILED)
    with records.transaction() as session:
        alerts.find_rule(session, manga.organization, broken.id).condition = {"kind": "of a later version"}
    beats.rule("Backup failed", FAILED)
    beats.happens("backup", "failed")
    assert manga.evaluate() == 1
    assert beats.alert().subject == "nightly"


def test_a_subject_that_falls_silent_raises_one_alert_until_it_speaks_again(watch: Watch) -> None:
    watch.happens("backup", "completed", "nightly")  # seen before the rule was made
    watch.rule("No backup", Missing("backup", ("completed",), 3600))
    watch.happens("backup", "completed", "weekly")
    assert watch.evaluate() == 0
    watch.later(minutes=61)
    watch.happens("backup", "completed", "weekly")
    assert watch.evaluate() == 1
    watch.later(days=2)
    watch.happens("backup", "completed", "weekly")
    assert watch.evaluate() == 0
    assert watch.alert().message == "No backup completed for nightly since 2024-03-01 12:00:00 UTC; 1 h is the longest that was expected."
    watch.happens("backup", "completed", "nightly")
    assert watch.evaluate() == 0
    assert watch.alert().status == "resolved"
    watch.later(minutes=61)
    watch.happens("backup", "completed", "weekly")
    assert watch.evaluate() == 1


def test_a_row_that_says_the_opposite_resolves_the_alert(watch: Watch) -> None:
    watch.rule("Backup failed", FAILED, resolved_by=("completed",))
    watch.happens("backup", "completed", at=NOON - timedelta(minutes=1))
    watch.happens("backup", "failed")
    watch.happens("backup", "completed", "weekly", at=NOON + timedelta(minutes=1))
    watch.evaluate()
    assert watch.alert().status == "open"
    watch.happens("backup", "completed", at=NOON + timedelta(minutes=2))
    watch.evaluate()
    assert (watch.alert().status, watch.alert().resolved_by) == ("resolved", "backup completed")


def test_what_happens_again_after_it_was_resolved_is_open_again(watch: Watch) -> None:
    watch.rule("Backup failed", FAILED, resolved_by=("completed",), period_seconds=3600)
    for minutes, verb in ((0, "failed"), (5, "completed"), (10, "failed")):
        watch.happens("backup", verb, at=NOON + timedelta(minutes=minutes))
    assert watch.evaluate() == 1
    assert watch.alert().status == "open"
    watch.later(minutes=11)
    watch.act(alerts.resolve)
    assert watch.evaluate(timedelta(days=9999)) == 0
    assert watch.alert().status == "resolved"
    assert [verb for verb, _ in watch.told()] == ["fired", "resolved", "reopened", "resolved"]


def test_an_alert_is_acknowledged_and_resolved_once(watch: Watch) -> None:
    watch.rule("Backup failed", FAILED)
    watch.happens("backup", "failed")
    watch.evaluate()
    assert watch.act(alerts.acknowledge).acknowledged_by == "alice"
    with pytest.raises(Conflict, match="only an open one"):
        watch.act(alerts.acknowledge)
    assert watch.act(alerts.resolve).status == "resolved"
    with pytest.raises(Conflict, match="resolved already"):
        watch.act(alerts.resolve)
    assert watch.told() == [("fired", "alerts"), ("acknowledged", "alice"), ("resolved", "alice")]


def test_two_people_at_once_do_not_overwrite_each_other(watch: Watch) -> None:
    watch.rule("Backup failed", FAILED)
    watch.happens("backup", "failed")
    watch.evaluate()
    seen = watch.alert()
    watch.act(alerts.acknowledge)
    with watch.records.transaction() as session, pytest.raises(Conflict, match="changed meanwhile"):
        alerts.alert.move(session, seen, "resolved", watch.now, "bob", "resolved")


def test_a_snooze_ends_and_the_channels_are_told_again(watch: Watch) -> None:
    watch.rule("Backup failed", FAILED)
    watch.channel("http://127.0.0.1:9/", kind="webhook")
    watch.happens("backup", "failed")
    watch.evaluate()
    watch.act(alerts.snooze, NOON + timedelta(hours=8))
    with watch.records.reading() as session:
        assert alerts.count_open(session, watch.organization, watch.now) == 0
    watch.later(hours=7)
    watch.evaluate()
    assert len(watch.deliveries()) == 1
    watch.later(hours=1)
    watch.evaluate()
    watch.evaluate()
    assert [one.round for one in watch.deliveries()] == [0, 1]
    with watch.records.reading() as session:
        assert alerts.count_open(session, watch.organization, watch.now) == 1


@pytest.mark.parametrize("hours", [0, -1, 24 * 400])
def test_a_snooze_that_does_not_end_ahead_within_a_year_is_refused(watch: Watch, hours: int) -> None:
    watch.rule("Backup failed", FAILED)
    watch.happens("backup", "failed")
    watch.evaluate()
    with pytest.raises(Unprocessable, match="within a year"):
        watch.act(alerts.snooze, NOON + timedelta(hours=hours))


@pytest.mark.parametrize(
    ("condition", "values", "said"),
    [
        (Happened("alert", ("fired",)), {}, "an alert on alerts would never end"),
        (Happened("alert-channel", ("created",)), {}, "would never end"),
        (Happened("backup", ()), {}, "1 to 20 verbs"),
        (Happened("", ("failed",)), {}, "name a noun"),
        (Happened("backup", ("failed",), Where("bytes", ">", "many")), {}, "compares numbers"),
        (Happened("backup", ("failed",), Where("bytes", ">")), {}, "either with a value or with another field"),
        (Counted("job", ("failed",), 1, 60), {}, "at_least"),
        (Counted("job", ("failed",), 2, 0), {}, "within_seconds"),
        (Missing("job", ("failed",), 0), {}, "longer_than_seconds"),
        (FAILED, {"severity": "grave"}, "none of info, warning, critical"),
        (FAILED, {"period_seconds": 1}, "period_seconds"),
        (FAILED, {"channels": ("channel_unknown",)}, "no alert channel"),
        (FAILED, {"resolved_by": ("failed",)}, "both raise the alert and resolve it"),
    ],
    ids=str,
)
def test_a_rule_that_makes_no_sense_is_refused_with_one_clear_sentence(
    watch: Watch, condition: object, values: dict[str, object], said: str
) -> None:
    with pytest.raises(Unprocessable, match=said):
        watch.rule("A rule", condition, **values)


def test_a_name_is_taken_once(watch: Watch) -> None:
    watch.rule("Backup failed", FAILED)
    with pytest.raises(Conflict):
        watch.rule("Backup failed ", FAILED)


def test_a_rule_that_is_deleted_leaves_what_it_raised(watch: Watch) -> None:
    rule = watch.rule("No backup", Missing("backup", ("completed",), 60))
    watch.happens("backup", "completed")
    watch.evaluate()
    watch.later(minutes=2)
    assert watch.evaluate() == 1
    with watch.records.transaction() as session:
        alerts.remove_rule(session, watch.organization, rule.id, watch.now, "alice")
    assert watch.evaluate() == 0
    assert watch.alert().rule_name == "No backup"
    with watch.records.reading() as session, pytest.raises(NotFound):
        alerts.find_rule(session, watch.organization, rule.id)


def test_every_organization_begins_with_the_rules_for_backups_once(records: Records) -> None:
    watch = founded(records)
    for _ in range(2):
        with records.transaction() as session:
            alerts.lay_rules(session, watch.organization, watch.now)
    with records.transaction() as session:
        rules = alerts.list_rules(session, watch.organization)
        assert len(rules) == 8
        for rule in rules:
            alerts.remove_rule(session, watch.organization, rule.id, watch.now, "alice")
    with records.transaction() as session:
        alerts.lay_rules(session, watch.organization, watch.now)  # the next start
        assert alerts.list_rules(session, watch.organization) == []


@pytest.mark.parametrize(
    ("noun", "verb", "detail", "raised"),
    [
        ("backup", "failed", {"reason": "full"}, [("Backup failed", "critical")]),
        ("backup", "late", {"due_at": "2024-03-01T02:00:00Z"}, [("Backup late", "warning")]),
        ("verification", "failed", {"reason": "torn"}, [("Verification failed", "critical")]),
        ("drill", "failed", {"reason": "a checksum"}, [("Drill failed", "critical")]),
        (
            "drill",
            "passed",
            {"rto_seconds": 3601, "rto_objective": 3600, "rpo_seconds": 5, "rpo_objective": 9},
            [("Restoring takes longer than its objective", "warning")],
        ),
        (
            "drill",
            "passed",
            {"rto_seconds": 1, "rto_objective": 3600, "rpo_seconds": 9.5, "rpo_objective": 9},
            [("More would be lost than the objective allows", "warning")],
        ),
        ("drill", "passed", {"rto_seconds": 1, "rto_objective": 3600}, []),
        ("repository", "grew oddly", {"bytes": 9, "usual": 1}, [("Repository grew oddly", "warning")]),
        ("backup", "changed much", {"percent": 80}, [("Much has changed at once: possibly ransomware", "critical")]),
        ("backup", "completed", {"bytes": 1}, []),
        ("verification", "passed", {}, []),
    ],
    ids=str,
)
def test_the_rules_for_backups_find_what_the_backup_writes(
    watch: Watch, noun: str, verb: str, detail: dict[str, Any], raised: list[tuple[str, str]]
) -> None:
    with watch.records.transaction() as session:
        alerts.lay_rules(session, watch.organization, watch.now)
    watch.happens(noun, verb, **detail)
    watch.evaluate()
    assert [(one.rule_name, one.severity) for one in watch.alerts()] == raised


def test_organizations_do_not_hear_of_each_other(records: Records) -> None:
    manga, beats = founded(records), founded(records, "Beats")
    for one in (manga, beats):
        one.rule("Backup failed", FAILED)
    manga.happens("backup", "failed")
    assert beats.evaluate() == 1
    assert beats.alerts() == []
    with records.reading() as session, pytest.raises(NotFound):
        alerts.find(session, beats.organization, manga.alert().id)


def test_more_rows_than_are_read_at_once_are_all_read(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts.evaluation, "PAGE", 7)
    watch.rule("Backup failed", FAILED)
    for at in range(30):
        watch.happens("backup", "failed", f"schedule-{at}")
    assert watch.evaluate() == 30
    assert watch.evaluate() == 0
