"""What is PostgreSQL's own about its event store."""

import json

from tollhouse.store.events import PostgresEvents

MINE = "organization = 'manga' AND meter = 'mtr_images'"


def expected_rows(store: PostgresEvents) -> int:
    """How many rows of the meter the planner counts on."""
    with store.reading() as read:
        ((plan,),) = read.rows(f"EXPLAIN (FORMAT json) SELECT * FROM rollup_hour_subject WHERE {MINE}", {})
    shown = json.loads(plan) if isinstance(plan, str) else plan
    rows: int = shown[0]["Plan"]["Plan Rows"]
    return rows


def test_the_planner_hears_at_once_of_many_derived_rows(postgres: str) -> None:
    """Else it takes half a million rows for one, and the next aggregation takes hours instead of seconds."""
    store = PostgresEvents(postgres)
    with store.writing() as write:
        write.run(
            "INSERT INTO rollup_hour_subject (organization, meter, start, subject, groups, n)"
            " SELECT 'manga', 'mtr_images', at, 'carol', '[]', 1 FROM generate_series(1, 20000) AS at",
            {},
        )
    assert 15_000 < expected_rows(store) < 25_000
    store.close()
