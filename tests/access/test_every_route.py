"""Every route of the OpenAPI document, with every kind of caller that must not get through.

The routes are read from the document, so a new one fails `test_every_route_is_covered` until it is listed here with
what it needs and what of Manga's it could give away.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.scenarios.serving import House, Tenant, client, founded
from tollhouse import access, alerts, journal
from tollhouse.backup import operations
from tollhouse.backup.operations import NewSchedule
from tollhouse.backup.operations.history import begin_run

MANGA_CUSTOMER, MANGA_JOB, MANGA_EVENT = "carol-of-manga", "job-of-manga", "event-of-manga"
MANGA_METER = "pages-of-manga"
MANGA_SCHEDULE, MANGA_REPOSITORY = "schedule-of-manga", "repository-of-manga"


@dataclass(frozen=True)
class Route:
    """A route and what it needs: a scope, nothing (`open`), or the operator. `names` says whose thing its path names."""

    method: str
    path: str
    scope: str
    names: str = ""
    body: dict[str, Any] | None = None
    params: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


METER = {"slug": "fresh", "event_type": "page", "aggregation": "count"}
OPENMETER = {"slug": "fresh", "eventType": "page", "aggregation": "COUNT"}
EVENT = {"id": "another", "type": "page", "source": "reader"}
ALERT_RULE = {"name": "another", "condition": {"kind": "happened", "noun": "job", "verbs": ["failed"]}}
OF_CAROL = {"user_id": MANGA_CUSTOMER}

ROUTES = (
    Route("GET", "/api/health", "open"),
    Route("GET", "/api/me", "read"),
    Route("GET", "/api/keys", "admin"),
    Route("POST", "/api/keys", "admin", body={"name": "another"}),
    Route("DELETE", "/api/keys/{id}", "admin", "key"),
    Route("GET", "/api/organizations", "operator"),
    Route("POST", "/api/organizations", "operator", body={"name": "Another"}),
    Route("GET", "/api/customers", "admin"),
    Route("POST", "/api/events", "events:write", body=EVENT),
    Route("GET", "/api/events", "read"),
    Route("DELETE", "/api/events", "admin", params={"id": MANGA_EVENT}),
    Route("GET", "/api/events/export", "read"),
    Route("GET", "/api/meters", "read"),
    Route("POST", "/api/meters", "write", body=METER),
    Route("GET", "/api/meters/{slug}", "read", "meter"),
    Route("PATCH", "/api/meters/{slug}", "write", "meter", body={"unit": "page"}),
    Route("DELETE", "/api/meters/{slug}", "write", "meter"),
    Route("GET", "/api/meters/{slug}/query", "read", "meter"),
    Route("POST", "/api/usage/aggregate", "admin", "meter", params={"meter": MANGA_METER}),
    Route("POST", "/api/usage/rebuild", "admin", "meter", params={"meter": MANGA_METER}),
    Route("POST", "/api/usage/trim", "admin"),
    Route("GET", "/api/prices", "read"),
    Route("POST", "/api/prices", "write", "meter", body={"meter": MANGA_METER, "amount": "1"}),
    Route("DELETE", "/api/prices/{id}", "write", "price"),
    Route("GET", "/api/billing/summary", "read", params=OF_CAROL),
    Route("GET", "/api/billing/daily-usage", "read", params=OF_CAROL),
    Route("GET", "/api/billing/job/{job_id}", "read", "job"),
    Route("GET", "/api/billing/bill", "read", params=OF_CAROL),
    Route("GET", "/api/billing/forecast", "read", params=OF_CAROL),
    Route("GET", "/api/billing/revenue", "admin"),
    Route("GET", "/api/billing/all-users", "admin"),
    Route("POST", "/api/billing/users/{user_id}/reset", "admin", "customer"),
    Route("POST", "/api/customer-tokens", "write", body=OF_CAROL),
    Route("GET", "/api/users", "admin"),
    Route("POST", "/api/users/link", "admin"),
    Route("DELETE", "/api/users/{id}/sessions", "admin", "user"),
    Route("POST", "/api/jobs", "write", body={"kind": "animate", "user_id": "somebody"}),
    Route("POST", "/api/presign", "write", body=OF_CAROL | {"filename": "a.png", "contentType": "image/png", "fileSizeBytes": 9}),
    Route("GET", "/api/jobs", "read", params=OF_CAROL),
    Route("GET", "/api/jobs/{id}", "read", "work"),
    Route("GET", "/api/jobs/{id}/download", "read", "work"),
    Route("GET", "/api/jobs/{id}/thumbnail", "read", "work"),
    Route("POST", "/api/jobs/{id}/cancel", "write", "work"),
    Route("POST", "/api/jobs/{id}/retry", "write", "work"),
    Route("POST", "/api/jobs/claim", "jobs:work", body={}),
    Route("POST", "/api/jobs/{id}/progress", "jobs:work", "work", body={"fence": 1}),
    Route("POST", "/api/jobs/{id}/complete", "jobs:work", "work", body={"fence": 1}),
    Route("POST", "/api/jobs/{id}/fail", "jobs:work", "work", body={"fence": 1}),
    Route("GET", "/api/alerts", "read"),
    Route("GET", "/api/alerts/{id}", "read", "alert"),
    Route("GET", "/api/alerts/{id}/deliveries", "read", "alert"),
    Route("POST", "/api/alerts/deliveries/{id}/retry", "admin", "delivery"),
    Route("POST", "/api/alerts/{id}/acknowledge", "admin", "alert"),
    Route("POST", "/api/alerts/{id}/resolve", "admin", "alert"),
    Route("POST", "/api/alerts/{id}/snooze", "admin", "alert", body={"hours": 1}),
    Route("GET", "/api/alert-rules", "read"),
    Route("POST", "/api/alert-rules", "admin", body=ALERT_RULE),
    Route("GET", "/api/alert-rules/{id}", "read", "rule"),
    Route("PATCH", "/api/alert-rules/{id}", "admin", "rule", body={"enabled": False}),
    Route("DELETE", "/api/alert-rules/{id}", "admin", "rule"),
    Route("GET", "/api/alert-channels", "read"),
    Route("POST", "/api/alert-channels", "admin", body={"name": "another", "kind": "webhook", "address": "http://127.0.0.1:9/"}),
    Route("PATCH", "/api/alert-channels/{id}", "admin", "channel", body={"enabled": False}),
    Route("DELETE", "/api/alert-channels/{id}", "admin", "channel"),
    Route("POST", "/api/alert-channels/{id}/test", "admin", "channel"),
    Route("GET", "/api/backup-repositories", "admin"),
    Route("POST", "/api/backup-repositories", "operator", body={"name": "main", "address": "/tmp"}),
    Route("DELETE", "/api/backup-repositories/{name}", "operator", "repository"),
    Route("GET", "/api/backup-schedules", "admin"),
    Route("POST", "/api/backup-schedules", "operator", body={"repository": "main", "preset": True}),
    Route("DELETE", "/api/backup-schedules/{name}", "operator", "schedule"),
    Route("POST", "/api/backup-schedules/{name}/run", "admin", "schedule"),
    Route("GET", "/api/backups", "admin"),
    Route("POST", "/api/backups", "operator", body={"repository": "nowhere"}),
    Route("GET", "/api/backups/{id}", "admin", "backup"),
    Route("POST", "/api/backups/{id}/verify", "admin", "backup"),
    Route("POST", "/api/backups/{id}/restore", "operator", "backup", body={"to": "/nowhere"}),
    Route("GET", "/api/drills", "admin"),
    Route("POST", "/api/drills", "admin", "repository", body={"repository": MANGA_REPOSITORY}),
    Route("GET", "/files/{token}/{name}", "address"),
    Route("PUT", "/files/{token}", "address"),
    Route("POST", "/api/v1/events", "events:write", body=EVENT),
    Route("GET", "/api/v1/events", "read"),
    Route("GET", "/api/v1/meters", "read"),
    Route("POST", "/api/v1/meters", "write", body=OPENMETER),
    Route("GET", "/api/v1/meters/{slug}", "read", "meter"),
    Route("DELETE", "/api/v1/meters/{slug}", "write", "meter"),
    Route("GET", "/api/v1/meters/{slug}/query", "read", "meter"),
    Route("POST", "/api/v1/meters/{slug}/query", "read", "meter", body={}),
    Route("GET", "/api/v1/meters/{slug}/subjects", "read", "meter"),
)
INGEST = ("/api/events", "/api/v1/events")

# A signed address is its own credential; tests/jobs has who may not use one.
CLOSED = [route for route in ROUTES if route.scope not in ("open", "address")]
every_closed_route = pytest.mark.parametrize("route", CLOSED, ids=str)


@dataclass
class Manga:
    """Alice's organization with something in it behind every route."""

    tenant: Tenant
    meter: str
    price: str
    key: str
    work: str
    user: str
    alert: str
    rule: str
    channel: str
    delivery: str
    backup: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody else may ever be shown."""
        return (
            MANGA_CUSTOMER,
            MANGA_JOB,
            MANGA_EVENT,
            self.meter,
            self.price,
            self.key,
            self.work,
            self.user,
            self.alert,
            self.rule,
            self.channel,
            self.delivery,
            self.backup,
            MANGA_SCHEDULE,
            MANGA_REPOSITORY,
            self.tenant.id,
            "Manga",
        )

    def address(self, route: Route) -> str:
        """The route's path with the names of Manga's things."""
        names = {
            "slug": MANGA_METER,
            "job_id": MANGA_JOB,
            "user_id": MANGA_CUSTOMER,
            "id": vars(self).get(route.names, self.price),
            "name": MANGA_REPOSITORY if route.names == "repository" else MANGA_SCHEDULE,
        }
        return route.path.format_map(names)


@pytest.fixture(scope="module")
def alice(house: House) -> Iterator[Manga]:
    """Manga, with a meter, a price, a key, a customer, a job and events."""
    with founded(house.url, house.operator, "Manga") as tenant:
        wanted = {"slug": MANGA_METER, "event_type": "page", "aggregation": "count", "group_by": {"chapter": "$.chapter"}}
        meter = tenant.api.post("/api/meters", json=wanted).json()["id"]
        price = tenant.api.post("/api/prices", json={"meter": MANGA_METER, "amount": "5"}).json()["id"]
        used = {"subject": MANGA_CUSTOMER, "source": "reader", "data": {"job_id": MANGA_JOB, "bytes": 1024, "chapter": "one"}}
        tenant.send({"id": MANGA_EVENT, "type": "page"} | used, {"id": "bytes", "type": "bytes_processed"} | used)
        work = tenant.api.post("/api/jobs", json={"kind": "animate", "user_id": MANGA_CUSTOMER}).json()["id"]
        with house.tollhouse.records.transaction() as session:
            now = house.tollhouse.parts.clock()
            user = access.set_password(session, tenant.id, "alice@manga.example", "a long password", now, "test").id
            journal.write(session, tenant.id, now, "test", "failed", "backup", "nightly-of-manga")
            place = operations.add_place(session, tenant.id, now, "test", MANGA_REPOSITORY, "/nowhere-of-manga", "", "", False)
            new = NewSchedule(MANGA_SCHEDULE, "full", "tollhouse", place.id, "0 2 * * *")
            operations.add_schedule(session, tenant.id, now, "test", new)
            run = begin_run(session, tenant.id, now, "test", "full", "tollhouse", place.id).id
        hook = {"name": "hook-of-manga", "kind": "webhook", "address": "http://127.0.0.1:9/token-of-manga"}
        channel = tenant.api.post("/api/alert-channels", json=hook).json()["id"]
        alerts.evaluate(house.tollhouse.records, now)
        alert = tenant.api.get("/api/alerts").json()["alerts"][0]
        key = tenant.key("read", name="of Manga")["id"]
        (delivery,) = tenant.api.get(f"/api/alerts/{alert['id']}/deliveries").json()["deliveries"]
        yield Manga(tenant, meter, price, key, work, user, alert["id"], alert["rule"], channel, delivery["id"], run)


@pytest.fixture(scope="module")
def bob(house: House) -> Iterator[Tenant]:
    """Beats, which has nothing yet."""
    with founded(house.url, house.operator, "Beats") as tenant:
        yield tenant


def call(api: httpx.Client, route: Route, address: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if route.body is not None:
        return api.request(route.method, address, params=route.params, json=route.body, headers=named)
    return api.request(route.method, address, params=route.params, headers=named)


def everything_of(manga: Manga) -> tuple[Any, ...]:
    """Manga's whole state, as its own key reads it."""
    paths = (
        "/api/events?limit=1000",
        "/api/meters?limit=1000",
        "/api/prices?limit=1000",
        "/api/keys",
        "/api/billing/all-users",
        "/api/jobs",
        "/api/users",
        "/api/alerts",
        "/api/alert-rules",
        "/api/alert-channels",
    )
    return tuple(manga.tenant.api.get(path).json() for path in paths)


def test_every_route_is_covered(house: House) -> None:
    with client(house.url) as anybody:
        document = anybody.get("/api/openapi.json").json()
    verbs = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
    described = {f"{verb.upper()} {path}" for path, operations in document["paths"].items() for verb in operations if verb in verbs}
    assert described - {str(route) for route in ROUTES} == set(), "list the new routes in ROUTES"
    assert {str(route) for route in ROUTES} - described == set()


def test_only_health_and_the_document_are_open(house: House) -> None:
    with client(house.url) as anybody:
        assert anybody.get("/api/health").json()["status"] == "ok"
        assert anybody.get("/api/openapi.json").status_code == 200


@every_closed_route
def test_without_a_key_every_route_answers_401(house: House, alice: Manga, route: Route) -> None:
    with client(house.url) as nobody:
        answer = call(nobody, route, alice.address(route))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["status"] == 401


@every_closed_route
@pytest.mark.parametrize("key", ["sk_unknown", "local_unknown", "é", "x" * 5000], ids=["unknown", "operator", "not-ascii", "long"])
def test_with_an_unknown_key_every_route_answers_401(house: House, alice: Manga, route: Route, key: str) -> None:
    with client(house.url) as nobody:
        answer = nobody.request(route.method, alice.address(route), headers=[(b"authorization", b"Bearer " + key.encode())])
        assert answer.status_code == 401, answer.text
        assert call(nobody, route, alice.address(route), x_api_key="pk_unknown").status_code == 401


@every_closed_route
def test_the_operator_token_of_another_start_is_refused(house: House, alice: Manga, route: Route) -> None:
    with client(house.url, house.operator[:-1]) as nobody:
        assert call(nobody, route, alice.address(route)).status_code == 401


def test_a_revoked_key_is_refused_at_once_everywhere(house: House, alice: Manga) -> None:
    made = alice.tenant.key()
    with client(house.url, made["secret"]) as api:
        assert api.get("/api/me").status_code == 200
        assert alice.tenant.api.delete(f"/api/keys/{made['id']}").json()["revoked_at"] is not None
        answers = {str(route): call(api, route, alice.address(route)).status_code for route in CLOSED}
    assert answers == dict.fromkeys(answers, 401)


def test_a_key_that_is_revoked_twice_is_a_conflict(alice: Manga) -> None:
    made = alice.tenant.key("read")
    assert alice.tenant.api.delete(f"/api/keys/{made['id']}").status_code == 200
    assert alice.tenant.api.delete(f"/api/keys/{made['id']}").status_code == 409


def test_a_key_may_revoke_itself_and_is_then_refused(alice: Manga, house: House) -> None:
    made = alice.tenant.key("admin", "read")
    with client(house.url, made["secret"]) as api:
        assert api.delete(f"/api/keys/{made['id']}").status_code == 200
        assert api.get("/api/me").status_code == 401


@every_closed_route
def test_a_publishable_key_may_send_events_and_nothing_else(house: House, alice: Manga, route: Route) -> None:
    with client(house.url, alice.tenant.publishable) as page:
        answer = call(page, route, alice.address(route))
    if route.method == "POST" and route.path in INGEST:
        assert answer.status_code in (200, 204)
    else:
        assert answer.status_code == 403
        assert not any(secret in answer.text for secret in alice.secrets)


@every_closed_route
def test_a_key_does_only_what_its_scope_allows(house: House, bob: Tenant, alice: Manga, route: Route) -> None:
    every = ("events:write", "read", "write", "jobs:work", "admin")
    lacking = [scope for scope in every if scope != route.scope] if route.scope in every else list(every)
    with client(house.url, bob.key(*lacking)["secret"]) as api:
        answer = call(api, route, alice.address(route))
    assert answer.status_code == 403, answer.text
    if route.scope in every:
        assert repr(route.scope) in answer.json()["detail"]


@pytest.mark.parametrize("route", [route for route in CLOSED if route.scope != "read"], ids=str)
def test_a_key_that_may_only_read_changes_nothing(house: House, alice: Manga, route: Route) -> None:
    before = everything_of(alice)
    with client(house.url, alice.tenant.key("read")["secret"]) as api:
        assert call(api, route, alice.address(route)).status_code == 403
    after = everything_of(alice)
    assert [one for at, one in enumerate(after) if at != 3] == [one for at, one in enumerate(before) if at != 3]


@pytest.mark.parametrize("route", [route for route in CLOSED if route.names and route.scope != "operator"], ids=str)
@pytest.mark.parametrize("by", ["name", "id"])
def test_a_foreign_key_finds_nothing_of_another_organization(alice: Manga, bob: Tenant, route: Route, by: str) -> None:
    before = everything_of(alice)
    address, params = alice.address(route), dict(route.params)
    if by == "id" and route.names == "meter":
        address = address.replace(MANGA_METER, alice.meter)
        params = dict.fromkeys(params, alice.meter)
    answer = bob.api.request(route.method, address, params=params, json=route.body)
    assert answer.status_code == 404, answer.text
    leaked = [secret for secret in alice.secrets if secret in answer.text and secret not in f"{address}{params}{route.body}"]
    assert leaked == []
    assert everything_of(alice) == before


@pytest.mark.parametrize("route", [route for route in CLOSED if not route.names and route.scope != "operator"], ids=str)
def test_a_foreign_key_is_answered_from_its_own_organization(alice: Manga, bob: Tenant, route: Route) -> None:
    before = everything_of(alice)
    for headers in ({}, {"x_organization": alice.tenant.id}, {"x_user_id": MANGA_CUSTOMER}):
        answer = call(bob.api, route, alice.address(route), **headers)
        assert answer.status_code < 500
        leaked = [secret for secret in alice.secrets if secret in answer.text and secret not in f"{route.params}{route.body}"]
        assert leaked == []
    assert everything_of(alice) == before


@pytest.mark.parametrize("path", ["/api/billing/summary", "/api/billing/daily-usage", "/api/billing/bill"])
def test_a_foreign_key_sees_a_customer_of_that_name_with_nothing_used(alice: Manga, bob: Tenant, path: str) -> None:
    ours = alice.tenant.api.get(path, params=OF_CAROL).json()
    theirs = bob.api.get(path, params=OF_CAROL).json()
    assert ours != theirs
    used = (
        theirs.get("bytes_processed", 0) or theirs.get("gross", 0) or sum(day["bytes_processed"] for day in theirs.get("daily_usage", []))
    )
    assert used == 0


@pytest.mark.parametrize("route", [route for route in ROUTES if route.scope == "operator"], ids=str)
def test_only_the_operator_founds_organizations_and_names_places_on_the_server(alice: Manga, house: House, route: Route) -> None:
    assert call(alice.tenant.api, route, alice.address(route)).status_code == 403
    with client(house.url, house.operator) as at_the_server:
        allowed = call(at_the_server, route, alice.address(route)).status_code
    assert allowed in ((200, 201) if "organizations" in route.path else (404, 409, 422))


def test_the_operator_speaks_for_the_organization_that_is_named(alice: Manga, house: House) -> None:
    with client(house.url, house.operator, x_organization=alice.tenant.id) as at_the_server:
        assert at_the_server.get("/api/me").json()["organization"]["id"] == alice.tenant.id
    with client(house.url, house.operator, x_organization="org_unknown") as at_the_server:
        assert at_the_server.get("/api/me").status_code == 404


def test_a_secret_is_shown_once_and_never_again(alice: Manga) -> None:
    made = alice.tenant.key("read", name="shown once")
    listed = alice.tenant.api.get("/api/keys")
    assert made["secret"] not in listed.text
    assert made["secret"][9:] not in listed.text
    (kept,) = [key for key in listed.json()["keys"] if key["id"] == made["id"]]
    assert made["secret"].startswith(kept["hint"])


def test_a_secret_is_not_in_the_files_of_the_server(alice: Manga, house: House) -> None:
    secret = alice.tenant.key("read")["secret"].encode()
    files = [path for path in house.tollhouse.settings.data.iterdir() if path.name.startswith("records.db")]
    assert files
    assert not any(secret in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    "wanted",
    [
        {"scopes": []},
        {"scopes": ["root"]},
        {"kind": "operator"},
        {"kind": "publishable", "scopes": ["read"]},
        {"name": 5},
        {"unknown": 1},
        {"name": "x" * 201},
    ],
    ids=str,
)
def test_a_key_that_makes_no_sense_is_refused(alice: Manga, wanted: dict[str, Any]) -> None:
    answer = alice.tenant.api.post("/api/keys", json=wanted)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]


@pytest.mark.parametrize("wanted", [{"name": ""}, {"name": " "}, {"name": "x", "time_zone": "Mars/Base"}, {}], ids=str)
def test_an_organization_that_makes_no_sense_is_refused(house: House, wanted: dict[str, Any]) -> None:
    with client(house.url, house.operator) as at_the_server:
        assert at_the_server.post("/api/organizations", json=wanted).status_code == 422
