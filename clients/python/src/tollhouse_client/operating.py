"""What keeps a Tollhouse safe: backups, drills and alerts. One call a route; each waits for its answer and raises `TollhouseError`."""

from datetime import datetime
from typing import Any

from tollhouse_client.asking import Answer, Asking, given, part

LONG = 6 * 3600.0


class OperatorCalls(Asking):
    """Backups and alerts. All need a key with the admin scope, except to read alerts; where the operator's token is needed,
    `tollhouse.lock` in the data directory holds it while the server runs.

    What runs a backup, a drill, a verification or a restore is answered when that is done, and waits up to `timeout` seconds.
    """

    def backups(self, limit: int | None = None, offset: int | None = None) -> Answer:
        """`{"backups": […], "total", "limit", "offset"}`: what was run and what became of it, newest first."""
        return self._ask("GET", "/api/backups", {"limit": limit, "offset": offset})

    def backup(self, id: str) -> Answer:
        """One run: `status`, `snapshot`, `objects`, `bytes`, `added_bytes`, `seconds`, `errors`, …"""
        return self._ask("GET", f"/api/backups/{part(id)}")

    def backup_repositories(self) -> Answer:
        """`{"repositories": […]}`: where backups go to."""
        return self._ask("GET", "/api/backup-repositories")

    def backup_schedules(self) -> Answer:
        """`{"schedules": […]}`: what runs by itself, and when next."""
        return self._ask("GET", "/api/backup-schedules")

    def run_backup(self, schedule: str, timeout: float = LONG) -> Answer:
        """Run a backup schedule now."""
        return self._ask("POST", f"/api/backup-schedules/{part(schedule)}/run", timeout=timeout)

    def take_backup(self, repository: str, kind: str = "incremental", source: str = "tollhouse", timeout: float = LONG) -> Answer:
        """Back up now: `full`, `incremental` or `metadata`. Needs the operator's token instead of a key."""
        return self._ask("POST", "/api/backups", body={"repository": repository, "kind": kind, "source": source}, timeout=timeout)

    def verify_backup(self, id: str, timeout: float = LONG) -> Answer:
        """Read and check everything in the repository that a backup went to."""
        return self._ask("POST", f"/api/backups/{part(id)}/verify", timeout=timeout)

    def restore_backup(
        self,
        id: str,
        to: str,
        restored: str = "full",
        *,
        key: str | None = None,
        prefix: str | None = None,
        overwrite: bool = False,
        configuration: bool = False,
        dry_run: bool = True,
        timeout: float = LONG,
    ) -> Answer:
        """Restore `full`, `metadata` or `data` to a place as the server sees it; says what would change unless `dry_run` is false.

        `{"snapshot", "dry_run", "bytes", "actions": {"create": [keys], "overwrite", "identical", "keep"}, "errors", "settings"}`.
        Needs the operator's token instead of a key.
        """
        wanted = {"to": to, "part": restored, "overwrite": overwrite, "configuration": configuration, "dry_run": dry_run}
        body = wanted | given({"key": key, "prefix": prefix})
        return self._ask("POST", f"/api/backups/{part(id)}/restore", body=body, timeout=timeout)

    def drills(self, limit: int | None = None, offset: int | None = None) -> Answer:
        """`{"drills": […]}`: recovery time and point as measured, beside the objectives."""
        return self._ask("GET", "/api/drills", {"limit": limit, "offset": offset})

    def hold_drill(self, repository: str, source: str = "", scenario: str = "", timeout: float = LONG) -> Answer:
        """Restore the newest snapshot, of a source if one is named, into a scratch place and compare everything.

        `scenario` chooses the objectives (object, bucket, store, site); left out, what the snapshot holds does.
        """
        body = {"repository": repository, "source": source, "scenario": scenario}
        return self._ask("POST", "/api/drills", body=body, timeout=timeout)

    def alerts(self, status: str | None = None, severity: str | None = None, limit: int | None = None, offset: int | None = None) -> Answer:
        """`{"alerts": […], "total", "limit", "offset"}`: open ones first, then acknowledged, then resolved."""
        return self._ask("GET", "/api/alerts", {"status": status, "severity": severity, "limit": limit, "offset": offset})

    def alert(self, id: str) -> Answer:
        """One alert with its `history`."""
        return self._ask("GET", f"/api/alerts/{part(id)}")

    def alert_deliveries(self, id: str) -> Answer:
        """`{"deliveries": […]}`: to which channels an alert was brought, how often that was tried, and why it failed."""
        return self._ask("GET", f"/api/alerts/{part(id)}/deliveries")

    def acknowledge_alert(self, id: str) -> Answer:
        """Say that somebody looks after an alert."""
        return self._ask("POST", f"/api/alerts/{part(id)}/acknowledge")

    def resolve_alert(self, id: str) -> Answer:
        """Say that an alert is over."""
        return self._ask("POST", f"/api/alerts/{part(id)}/resolve")

    def snooze_alert(self, id: str, hours: float | None = None, until: datetime | None = None) -> Answer:
        """Leave an alert for so many hours, or until an aware datetime."""
        body: dict[str, Any] = given({"hours": hours, "until": None if until is None else until.isoformat()})
        return self._ask("POST", f"/api/alerts/{part(id)}/snooze", body=body)

    def alert_rules(self) -> Answer:
        """`{"rules": […]}`: what there is an alert for."""
        return self._ask("GET", "/api/alert-rules")

    def alert_channels(self) -> Answer:
        """`{"channels": […]}`: who is told; their addresses are not shown."""
        return self._ask("GET", "/api/alert-channels")
