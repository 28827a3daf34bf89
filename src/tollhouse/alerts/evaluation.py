"""Evaluation: reads on in each organization's journal, holds every row against the rules, and raises what they find.

Rows are read by id behind a cursor. An id is made before its transaction commits, so a slow transaction's row appears
behind rows that were read already; therefore the last `SAFETY` of rows is read again each time. Reading a row twice does
no harm, since an alert is unique by rule, subject and period. So restarts, and several processes at once, do none either.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from tollhouse import access, journal
from tollhouse.alerts import alert, sighting, words
from tollhouse.alerts.alert import Finding
from tollhouse.alerts.condition import Condition, Counted, Missing
from tollhouse.alerts.rule import Rule
from tollhouse.journal import Entry
from tollhouse.kit import ids
from tollhouse.store.records import Records

log = structlog.get_logger()
SAFETY = timedelta(minutes=5)
PAGE = 5000


def evaluate(records: Records, now: datetime, safety: timedelta = SAFETY) -> int:
    """Bring every organization's alerts up to date; returns how many were raised."""
    with records.reading() as session:
        organizations = [one.id for one in access.list_organizations(session)]
    return sum(_evaluated(records, organization, now, safety) for organization in organizations)


def _evaluated(records: Records, organization: str, now: datetime, safety: timedelta) -> int:
    """What cannot be judged in one organization is in the log, and tried again in a minute; the others do not wait for it."""
    try:
        return evaluate_one(records, organization, now, safety)
    except Exception as error:
        log.error("alerts could not be evaluated", organization=organization, exc_info=error)
        return 0


def evaluate_one(records: Records, organization: str, now: datetime, safety: timedelta = SAFETY) -> int:
    """Bring one organization's alerts up to date; returns how many were raised."""
    with records.reading() as session:
        begun = sighting.cursor(session, organization)
    if begun is None:
        return 0
    fired, after, more = 0, ids.least(begun, safety), True
    while more:
        with records.transaction() as session:
            _hold(session, organization)
            rules = _rules(session, organization)
            nouns = sorted({condition.noun for _, condition in rules})
            entries = journal.read_on(session, organization, nouns, after, PAGE) if rules else []
            fired += _judge(session, rules, entries, now)
            more = len(entries) == PAGE
            if entries:
                after = entries[-1].id
                sighting.read_to(session, organization, after)
            if not more:
                fired += _listen_for_silence(session, rules, now)
                alert.wake(session, organization, now)
    return fired


def _hold(session: Session, organization: str) -> None:
    """One process at a time, where the database would let two: they would only wait for each other's rows."""
    session.execute(sa.select(sighting.Cursor).where(sighting.Cursor.organization == organization).with_for_update())


def _rules(session: Session, organization: str) -> list[tuple[Rule, Condition]]:
    kept = session.scalars(sa.select(Rule).where(Rule.organization == organization, Rule.enabled).order_by(Rule.id))
    return [(rule, rule.watches) for rule in kept]


def _judge(session: Session, rules: Sequence[tuple[Rule, Condition]], entries: Sequence[Entry], now: datetime) -> int:
    fired = 0
    tallies = {rule.id: _Tally(session, condition, entries) for rule, condition in rules if isinstance(condition, Counted)}
    for entry in sorted(entries, key=lambda one: (one.at, one.id)):
        for rule, condition in rules:
            if condition.matches(entry):
                if isinstance(condition, Missing):
                    _seen(session, rule, entry, now)
                elif entry.at >= rule.since and (rule.id not in tallies or tallies[rule.id].reached(entry)):
                    fired += alert.fire(session, _finding(rule, condition, entry), now)
            elif entry.noun == condition.noun and entry.verb in rule.resolved_by:
                alert.settle(session, rule, condition.about(entry), entry.at, now, entry.verb)
    return fired


def _finding(rule: Rule, condition: Condition, entry: Entry) -> Finding:
    about = condition.about(entry)
    said = words.message(condition, entry)
    return Finding(rule, about, rule.period_of(entry.at), entry.at, words.title(rule, about), said, entry.id)


class _Tally:
    """When the rows that a rule counts were written, by whom they are about; read once for all rows that are judged."""

    def __init__(self, session: Session, condition: Counted, entries: Sequence[Entry]) -> None:
        self.condition = condition
        self.times: dict[str, list[datetime]] = {}
        matching = [entry for entry in entries if condition.matches(entry)]
        for entry in journal.leading_to(session, matching, condition.verbs, condition.within, SAFETY) if matching else ():
            if condition.matches(entry):
                self.times.setdefault(condition.about(entry), []).append(entry.at)

    def reached(self, entry: Entry) -> bool:
        """Whether the row completes the count."""
        return self.condition.reached(entry.at, self.times[self.condition.about(entry)])


def _seen(session: Session, rule: Rule, entry: Entry, now: datetime) -> None:
    sighting.note(session, {(rule.id, entry.subject): entry.at})
    alert.settle(session, rule, entry.subject, entry.at, now, entry.verb)


def _listen_for_silence(session: Session, rules: Sequence[tuple[Rule, Condition]], now: datetime) -> int:
    """A silence is one alert, however long it lasts: its period begins when the row was due."""
    fired = 0
    for rule, condition in rules:
        if isinstance(condition, Missing):
            for subject, last in sorted(sighting.silent_since(session, rule.id, now - condition.patience).items()):
                due = last + condition.patience
                said = words.silence(condition, subject, last)
                fired += alert.fire(session, Finding(rule, subject, due, due, words.title(rule, subject), said), now)
    return fired
