"""The rules that every organization begins with. They are rows like any other: switch them off, delete them."""

from datetime import datetime

from sqlalchemy.orm import Session

from tollhouse.alerts import sighting
from tollhouse.alerts.condition import Happened, Where
from tollhouse.alerts.rule import NewRule, add_rule

HOUR, DAY = 3600, 86_400
BACKUP = (
    NewRule("Backup failed", Happened("backup", ("failed",)), "critical", HOUR, resolved_by=("completed",)),
    NewRule("Backup late", Happened("backup", ("late",)), "warning", DAY, resolved_by=("completed",)),
    NewRule("Verification failed", Happened("verification", ("failed",)), "critical", DAY, resolved_by=("passed",)),
    NewRule("Drill failed", Happened("drill", ("failed",)), "critical", DAY, resolved_by=("passed",)),
    NewRule(
        "Restoring takes longer than its objective",
        Happened("drill", ("passed", "failed"), Where("rto_seconds", ">", than="rto_objective")),
        "warning",
        DAY,
    ),
    NewRule(
        "More would be lost than the objective allows",
        Happened("drill", ("passed", "failed"), Where("rpo_seconds", ">", than="rpo_objective")),
        "warning",
        DAY,
    ),
    NewRule("Repository grew oddly", Happened("repository", ("grew oddly",)), "warning", DAY),
    NewRule("Much has changed at once: possibly ransomware", Happened("backup", ("changed much",)), "critical", HOUR),
)


def lay_rules(session: Session, organization: str, now: datetime, actor: str = "setup") -> None:
    """Give an organization that has never had rules the usual ones; who deleted them does not get them back."""
    if sighting.cursor(session, organization) is None:
        for new in BACKUP:
            add_rule(session, organization, now, actor, new)
