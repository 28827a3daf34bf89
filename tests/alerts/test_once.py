"""For any sequence of rows, late commits, ticks, restarts and re-reads: once per rule, subject and period, and none left out."""

import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.alerts.conftest import NOON, Watch, founded
from tollhouse.alerts import Counted, Happened
from tollhouse.alerts.alert import Alert
from tollhouse.alerts.evaluation import SAFETY, evaluate_one
from tollhouse.kit import ids
from tollhouse.store.records import Records

PERIOD = 600
COUNT, WITHIN = 3, 300


@dataclass(frozen=True)
class Step:
    """A row about a subject after so many seconds, which commits at once or after the next ticks; or a tick."""

    kind: str
    subject: str = ""
    verb: str = ""
    seconds: int = 0


ROWS = st.builds(
    Step,
    st.sampled_from(["row", "row", "slow"]),
    st.sampled_from("ab"),
    st.sampled_from(["failed", "failed", "completed"]),
    st.integers(0, 400),
)
STEPS = st.lists(ROWS | st.sampled_from([Step("tick"), Step("reread"), Step("commit")]), max_size=25)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_each_rule_subject_and_period_fires_once_and_every_row_is_covered(records: Records, steps: list[Step]) -> None:
    watch = founded(records)
    happened = watch.rule("Failed", Happened("backup", ("failed",)), period_seconds=PERIOD, resolved_by=("completed",))
    counted = watch.rule("Failed often", Counted("backup", ("failed",), COUNT, WITHIN), period_seconds=PERIOD)
    waiting: list[tuple[str, Step, Any]] = []
    rows: list[tuple[str, Any]] = []
    fired = 0

    def tick(safety: timedelta = SAFETY) -> int:  # of this example's organization alone: the examples before it left theirs
        return evaluate_one(records, watch.organization, watch.now, safety)

    def commit() -> None:
        for id, step, at in waiting:
            watch.happens("backup", step.verb, step.subject, id=id, at=at)
        waiting.clear()

    for step in steps:
        if step.kind in ("row", "slow"):
            watch.later(seconds=step.seconds)
            if step.verb == "failed":
                rows.append((step.subject, watch.now))
            if step.kind == "slow":
                waiting.append((ids.new("log"), step, watch.now))
            else:
                watch.happens("backup", step.verb, step.subject)
        elif step.kind == "commit":
            commit()
        else:
            fired += tick(SAFETY if step.kind == "tick" else timedelta(days=9999))
    commit()
    fired += tick()
    fired += tick()

    found = [(one.rule, one.subject, one.period_start) for one in watch.alerts()]
    assert len(found) == len(set(found)) == fired
    wanted = {(happened.id, subject, happened.period_of(at)) for subject, at in rows}
    for subject, at in rows:
        near = [other for name, other in rows if name == subject and at - timedelta(seconds=WITHIN) < other <= at]
        if len(near) >= COUNT:
            wanted.add((counted.id, subject, counted.period_of(at)))
    assert set(found) == wanted


def test_many_processes_that_evaluate_at_once_raise_one_alert(records: Records) -> None:
    watch = founded(records)
    watch.rule("Failed", Happened("backup", ("failed",)))
    watch.channel("http://127.0.0.1:9/", kind="webhook")
    for at in range(10):
        watch.happens("backup", "failed", f"schedule-{at}")
    raised: list[int] = []
    threads = [threading.Thread(target=lambda: raised.append(watch.evaluate())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(raised) == [0, 0, 0, 0, 0, 10]
    assert len(watch.deliveries()) == 10


def test_the_database_itself_keeps_an_alert_once(records: Records) -> None:
    watch = Watch(records, founded(records).organization, NOON)
    watch.rule("Failed", Happened("backup", ("failed",)))
    watch.happens("backup", "failed")
    watch.evaluate()
    with records.reading() as session:
        names = {one["name"] for one in sa.inspect(session.connection()).get_unique_constraints("alerts")}
        assert "uq_alerts_rule_subject_period_start" in names
        assert session.scalar(sa.select(sa.func.count()).select_from(Alert)) == 1
