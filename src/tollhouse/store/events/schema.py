"""The derived tables beside the event table, the same in every engine.

`rollup_<grain>` holds what each meter counted in each hour, day and month, over all subjects and per subject.
Columns are partial aggregates that merge: count `n`, `total`, `low`, `high`, and the value `last` at the highest
`mark`. `groups` is the JSON list of the meter's group-by values.
"""

GRAINS = ("hour", "day", "month")
ROLLUPS = tuple(f"rollup_{grain}{scope}" for grain in GRAINS for scope in ("", "_subject"))


def derived_tables(decimal: str = "DECIMAL(38, 12)", text: str = "TEXT") -> list[str]:
    """The CREATE statements; `text` is the engine's text type with bytewise comparison."""
    return [
        *(
            f"CREATE TABLE IF NOT EXISTS {table} (organization {text} NOT NULL, meter {text} NOT NULL, start BIGINT NOT NULL,"
            f" subject {text}, groups {text}, n BIGINT NOT NULL, total {decimal}, low {decimal}, high {decimal},"
            f" mark {text}, last {decimal})"
            for table in ROLLUPS
        ),
        f"CREATE TABLE IF NOT EXISTS rollup_state (organization {text} NOT NULL, meter {text} NOT NULL, through BIGINT NOT NULL)",
        # Up to when a grain's rows, or the raw events of a type, have been given up by retention.
        f"CREATE TABLE IF NOT EXISTS rollup_floor (organization {text} NOT NULL, detail {text} NOT NULL, floor BIGINT NOT NULL)",
    ]
