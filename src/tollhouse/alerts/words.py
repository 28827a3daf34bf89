"""What an alert says, in plain words made out of the journal row. Nobody writes templates, so nobody can write a bad one."""

import json
from datetime import datetime
from typing import Any

from tollhouse.alerts.condition import Condition, Counted, Missing, span, spoken
from tollhouse.alerts.rule import Rule
from tollhouse.journal import Entry

MOST_FIELDS = 20


def title(rule: Rule, subject: str) -> str:
    """Such as `Backup failed: nightly`, on one line."""
    return _line(f"{rule.name}: {subject}", 500)


def message(condition: Condition, entry: Entry) -> str:
    """What happened, to what, when, and everything that the row tells."""
    said = f"{_capital(entry.noun)} {entry.verb} for {entry.subject} at {_time(entry.at)}."
    if isinstance(condition, Counted):
        said = f"{_capital(entry.noun)} {entry.verb} {condition.at_least} times or more within {span(condition.within_seconds)} "
        said += f"for {condition.about(entry)}, last at {_time(entry.at)}."
    details = [f"{_capital(spoken(name))}: {_value(value)}" for name, value in sorted(entry.detail.items()) if value is not None]
    return "\n".join([_line(said, 1000), *details[:MOST_FIELDS]])[:4000]


def silence(condition: Missing, subject: str, last: datetime) -> str:
    """What has not happened, and since when."""
    said = f"No {condition.noun} {' or '.join(condition.verbs)} for {subject} since {_time(last)}; "
    return _line(f"{said}{span(condition.longer_than_seconds)} is the longest that was expected.", 4000)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return _line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 300)


def _line(text: str, most: int) -> str:
    shown = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
