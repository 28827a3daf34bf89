"""Everything that runs by itself: what, when, and how late it may be.

DBOS runs the table: durable, once per tick even with several processes, resumed after a crash. Every task is
idempotent, so a repeated tick does no harm.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dbos import DBOS, DBOSConfig

from tollhouse.app import Tollhouse, records_address


@dataclass(frozen=True)
class Task:
    """One task: its name, its cron expression (UTC), and what it does."""

    name: str
    cron: str
    run: Callable[[Tollhouse], None]


TASKS = (
    Task("aggregate-usage", "* * * * *", Tollhouse.aggregate),  # a minute late is a minute of raw events to read
    Task("tend-jobs", "* * * * *", Tollhouse.tend_jobs),  # a claim also takes overdue jobs back: this is for when nobody claims
    Task("evaluate-alerts", "* * * * *", Tollhouse.evaluate_alerts),  # a minute late is a minute later told
    Task("deliver-alerts", "* * * * *", Tollhouse.deliver_alerts),  # second attempts come also where evaluation fails
    Task("run-backups", "* * * * *", Tollhouse.run_backups),  # each schedule has its own time; this looks which has come
    Task("sweep-uploads", "23 * * * *", Tollhouse.sweep_uploads),  # an hour late keeps litter for an hour
    Task("trim-usage", "17 3 * * *", Tollhouse.trim),  # a day late keeps a day more
)


@contextmanager
def running(tollhouse: Tollhouse) -> Iterator[None]:
    """Run the tasks until the block ends."""
    settings = tollhouse.settings
    system = settings.records_url or f"sqlite:///{settings.data.absolute() / 'schedule.db'}"
    if settings.records_url:
        system = records_address(settings)
    config: DBOSConfig = {
        "name": "tollhouse",
        "system_database_url": system,
        "log_level": "WARNING",
        "application_version": "1",
    }
    DBOS(config=config)
    try:
        workflows = {task.name: _workflow(task, tollhouse) for task in TASKS}
        DBOS.launch()
        DBOS.apply_schedules(
            [{"schedule_name": task.name, "workflow_fn": workflows[task.name], "schedule": task.cron, "context": None} for task in TASKS]
        )
        yield
    finally:
        DBOS.destroy(destroy_registry=True)


def _workflow(task: Task, tollhouse: Tollhouse) -> Callable[[datetime, Any], None]:
    @DBOS.step(name=f"{task.name}-step")
    def step() -> None:
        task.run(tollhouse)

    @DBOS.workflow(name=task.name)
    def workflow(_scheduled: datetime, _context: Any) -> None:
        step()

    return workflow
