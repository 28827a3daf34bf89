"""People: how they get in and out, what a page believes of whoever looks at it, and what a customer's token shows."""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import sqlalchemy as sa

from tests.access.conftest import SLOW
from tests.jobs.customer import hand_in
from tests.jobs.floor import Clock
from tests.jobs.material import picture
from tests.scenarios.serving import House, Server, Tenant, client
from tollhouse import access, journal
from tollhouse.access import Attempt, User
from tollhouse.access.user import FailedSignIn, TooManyAttempts
from tollhouse.app import opened
from tollhouse.cli.embedded import served
from tollhouse.kit.errors import Conflict, LinkExpired, Unauthenticated, Unprocessable
from tollhouse.settings import Settings
from tollhouse.store.records import Records

PASSWORD = "correct horse battery"  # noqa: S105
NO_FIELDS = {"csrf": ""}
START = datetime(2024, 5, 1, tzinfo=UTC)


BROWSERS: "list[Browser]" = []


@pytest.fixture(autouse=True)
def browsers_are_closed() -> Iterator[None]:
    yield
    while BROWSERS:
        BROWSERS.pop().http.close()


@dataclass
class Browser:
    """A person's browser: keeps cookies, follows nowhere by itself."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        BROWSERS.append(self)
        self.http = client(self.url, accept="text/html")
        self.http.headers.update(self.headers)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def post(self, path: str, fields: dict[str, str], **options: Any) -> httpx.Response:
        return self.http.post(path, data=fields, **options)

    def csrf(self, path: str = "/admin/account") -> str:
        """The second secret that a page's forms carry."""
        found = re.search(r'name="csrf" value="([^"]*)"', self.get(path).text)
        assert found is not None
        return str(found.group(1))

    def sign_in(self, email: str, password: str = PASSWORD, **more: str) -> httpx.Response:
        return self.post("/sign-in", {"email": email, "password": password, **more})


@pytest.fixture
def clock(house: House) -> Iterator[Clock]:
    """The house's clock, moved by hand; it begins an hour and a half on, when no failed attempt counts any more."""
    parts = house.tollhouse.parts
    with house.tollhouse.records.transaction() as session:
        session.execute(sa.delete(FailedSignIn))
    before = parts.clock, parts.courier.clock
    parts.clock = parts.courier.clock = Clock(datetime.now(UTC))
    yield parts.clock
    parts.clock, parts.courier.clock = before


@dataclass
class Person:
    """Alice, with an account of her own in her organization."""

    email: str
    tenant: Tenant
    browser: Browser


def link_of(tenant: Tenant) -> str:
    answer = tenant.api.post("/api/users/link")
    assert answer.status_code == 201
    return str(parse_qs(urlsplit(answer.json()["url"]).query)["token"][0])


@pytest.fixture
def alice(house: House, manga: Tenant, clock: Clock) -> Person:
    browser, email = Browser(house.url), f"alice@{manga.id.replace('_', '-')}.example"
    answer = browser.post("/welcome", {"token": link_of(manga), "email": email, "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    return Person(email, manga, browser)


def is_in(browser: Browser) -> bool:
    answer = browser.get("/admin/jobs")
    assert answer.status_code in (200, 303)
    return answer.status_code == 200


def cookie(answer: httpx.Response) -> tuple[str, set[str]]:
    """The name of the one cookie that an answer sets, and its attributes."""
    (text,) = answer.headers.get_list("set-cookie")
    first, *rest = (part.strip() for part in text.split(";"))
    return first.partition("=")[0], {part.lower() for part in rest}


# The first link


def test_a_link_makes_a_user_once(house: House, manga: Tenant, clock: Clock) -> None:
    token, browser = link_of(manga), Browser(house.url)
    assert "Manga" in browser.get("/welcome", params={"token": token}).text
    fields = {"token": token, "email": " Alice@Manga-once.example ", "password": PASSWORD}
    made = browser.post("/welcome", fields)
    assert (made.status_code, made.headers["location"]) == (303, "/admin/jobs")
    assert is_in(browser)
    assert [user["email"] for user in manga.api.get("/api/users").json()["users"]] == ["alice@manga-once.example"]
    again = Browser(house.url).post("/welcome", fields | {"email": "mallory@manga.example"})
    assert again.status_code == 403
    assert "has been used or has expired" in again.text
    assert Browser(house.url).get("/welcome", params={"token": token}).status_code == 403
    assert manga.api.get("/api/users").json()["total"] == 1


def test_a_link_expires_after_a_day(house: House, manga: Tenant, clock: Clock) -> None:
    token, browser = link_of(manga), Browser(house.url)
    clock.forward(hours=24, seconds=-1)
    assert browser.get("/welcome", params={"token": token}).status_code == 200
    clock.forward(seconds=1)
    assert browser.get("/welcome", params={"token": token}).status_code == 403
    assert browser.post("/welcome", {"token": token, "email": "a@b.example", "password": PASSWORD}).status_code == 403
    assert manga.api.get("/api/users").json()["total"] == 0


def test_a_link_that_was_made_up_opens_nothing(house: House, clock: Clock) -> None:
    for token in ("", "x", "in_" + "A" * 43):
        assert Browser(house.url).get("/welcome", params={"token": token}).status_code == 403
        assert Browser(house.url).post("/welcome", {"token": token, "email": "a@b.example", "password": PASSWORD}).status_code == 403


def test_the_first_start_gives_a_link(tmp_path: Path) -> None:
    with opened(Settings(data=tmp_path / "data")) as tollhouse, served(tollhouse) as url:
        assert tollhouse.first_keys is not None
        browser = Browser(url)
        fields = {"token": tollhouse.first_keys.sign_in, "email": "ann@example.com", "password": PASSWORD}
        assert browser.post("/welcome", fields).status_code == 303
        assert is_in(browser)


@pytest.mark.parametrize(
    ("email", "password", "word"),
    [
        ("ann@example.com", "short", "password"),
        ("ann@example.com", "x" * 201, "password"),
        ("annabella@example.com", "AnnaBella@Example.com", "address"),
        ("annabella-long@example.com", "annabella-LONG", "address"),
        ("nobody", PASSWORD, "e-mail"),
        ("@example.com", PASSWORD, "e-mail"),
        ("a b@example.com", PASSWORD, "e-mail"),
        ("a\nb@example.com", PASSWORD, "e-mail"),
        (f"{'a' * 250}@example.com", PASSWORD, "e-mail"),
    ],
)
def test_a_bad_choice_is_told_and_the_link_is_still_good(
    house: House, manga: Tenant, clock: Clock, email: str, password: str, word: str
) -> None:
    token, browser = link_of(manga), Browser(house.url)
    answer = browser.post("/welcome", {"token": token, "email": email, "password": password})
    assert answer.status_code == 422
    assert word in answer.text
    assert "set-cookie" not in answer.headers
    assert manga.api.get("/api/users").json()["total"] == 0
    assert browser.post("/welcome", {"token": token, "email": "ann@fine.example", "password": PASSWORD}).status_code in (303, 409)


def test_an_address_of_another_organization_cannot_be_taken_over(house: House, alice: Person, beats: Tenant) -> None:
    taken = Browser(house.url).post("/welcome", {"token": link_of(beats), "email": alice.email, "password": "another password"})
    assert taken.status_code == 409
    assert is_in(alice.browser)
    assert Browser(house.url).sign_in(alice.email).status_code == 303


def test_a_link_used_by_two_at_once_makes_one_user(records: Records) -> None:
    with records.transaction() as session:
        owner = access.found(session, START, "Manga").id
        secret = access.issue_link(session, owner, START)
    barrier, outcomes = threading.Barrier(4, timeout=20), []

    def use(at: int) -> None:
        barrier.wait()
        try:
            with records.transaction() as session:
                access.set_password(session, access.use_link(session, secret, START), f"a{at}@b.example", PASSWORD, START, "link")
            outcomes.append("made")
        except LinkExpired:
            outcomes.append("refused")

    threads = [threading.Thread(target=use, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["made", "refused", "refused", "refused"]
    with records.reading() as session:
        assert len(access.list_users(session, owner)) == 1


# In and out


def test_signing_in_gives_a_cookie_that_only_our_own_pages_use(house: House, alice: Person) -> None:
    answer = Browser(house.url).sign_in(alice.email.upper())
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/jobs")
    name, attributes = cookie(answer)
    assert name == "tollhouse_session"
    assert {"httponly", "samesite=lax", "path=/"} <= attributes
    assert "secure" not in attributes
    assert "no-store" in answer.headers["cache-control"]


def test_over_tls_the_cookie_is_kept_to_this_host_and_can_be_taken_back(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", public_url="https://toll.manga.example")
    with opened(settings) as tollhouse, served(tollhouse) as url:
        assert tollhouse.first_keys is not None
        browser = Browser(url)
        fields = {"token": tollhouse.first_keys.sign_in, "email": "ann@example.com", "password": PASSWORD}
        answer = browser.post("/welcome", fields)
        name, attributes = cookie(answer)
        assert name == "__Host-tollhouse_session"
        assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes
        assert not any(attribute.startswith("domain") for attribute in attributes)
        browser.headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]
        browser.http.headers.update(browser.headers)
        assert is_in(browser)
        out = browser.post("/sign-out", {"csrf": browser.csrf()})
        assert out.status_code == 303
        name, attributes = cookie(out)
        assert name == "__Host-tollhouse_session"
        assert {"secure", "path=/", "max-age=0"} <= attributes  # without Secure a browser would not touch it
        assert not is_in(browser)


def test_signing_out_ends_the_session_itself_and_not_only_the_cookie(house: House, alice: Person) -> None:
    stolen = Browser(house.url)
    stolen.http.cookies.update(alice.browser.http.cookies)
    assert is_in(stolen)
    answer = alice.browser.post("/sign-out", {"csrf": alice.browser.csrf()})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert not is_in(alice.browser)
    assert not is_in(stolen)


def test_who_has_not_signed_in_is_sent_to_do_so_and_back(house: House, alice: Person) -> None:
    nobody = Browser(house.url)
    sent = nobody.get("/admin/billing", params={"days": "30"})
    assert sent.status_code == 303
    where = urlsplit(sent.headers["location"])
    assert where.path == "/sign-in"
    following = parse_qs(where.query)["next"][0]
    assert following == "/admin/billing?days=30"
    assert nobody.sign_in(alice.email, next=following).headers["location"] == following


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "evil.example",
        " //evil.example",
        "/a\r\nSet-Cookie: x=1",
        "",
    ],
)
def test_signing_in_leads_to_no_other_site(house: House, alice: Person, address: str) -> None:
    browser = Browser(house.url)
    assert browser.sign_in(alice.email, next=address).headers["location"] == "/admin/jobs"
    if "\0" not in address:
        assert "evil.example" not in browser.get("/sign-in", params={"next": address}).text


def test_a_wrong_password_and_an_unknown_address_are_told_the_same(house: House, alice: Person) -> None:
    answers = [
        Browser(house.url).sign_in(email, "wrong password").text.replace(email, "ADDRESS") for email in (alice.email, "nobody@x.example")
    ]
    assert answers[0] == answers[1]
    assert "The address or the password is wrong." in answers[0]


@pytest.mark.parametrize("password", ["", "wrong password", PASSWORD + " ", PASSWORD.upper(), "x" * 100_000])
def test_a_wrong_password_opens_nothing(house: House, alice: Person, password: str) -> None:
    answer = Browser(house.url).sign_in(alice.email, password)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_a_session_ends_by_itself(alice: Person, clock: Clock) -> None:
    clock.forward(hours=336, seconds=-1)
    assert is_in(alice.browser)
    clock.forward(seconds=1)
    assert not is_in(alice.browser)


def test_a_session_can_be_revoked_from_another_and_by_a_key(house: House, alice: Person) -> None:
    phone = Browser(house.url, {"user-agent": "Phone"})
    phone.sign_in(alice.email)
    page = alice.browser.get("/admin/account").text
    assert "Phone" in page
    newest = re.findall(r"/admin/account/sessions/(ses_\w+)/revoke", page)[0]
    answer = alice.browser.post(f"/admin/account/sessions/{newest}/revoke", {"csrf": alice.browser.csrf()})
    assert answer.status_code == 303
    assert not is_in(phone)
    assert is_in(alice.browser)
    (user,) = alice.tenant.api.get("/api/users").json()["users"]
    assert alice.tenant.api.delete(f"/api/users/{user['id']}/sessions").status_code == 200
    assert not is_in(alice.browser)


def test_a_session_of_somebody_else_cannot_be_revoked(house: House, alice: Person, beats: Tenant) -> None:
    bob = Browser(house.url)
    bob.post("/welcome", {"token": link_of(beats), "email": f"bob@{beats.id.replace('_', '-')}.example", "password": PASSWORD})
    page = alice.browser.get("/admin/account").text
    hers = re.findall(r"/admin/account/sessions/(ses_\w+)/revoke", page)
    with house.tollhouse.records.reading() as session:
        user = session.scalar(sa.select(User).where(User.email == alice.email))
        assert user is not None
        hers += [one.id for one in access.list_sessions(session, user.id, house.tollhouse.parts.clock())]
    assert hers
    assert bob.post(f"/admin/account/sessions/{hers[0]}/revoke", {"csrf": bob.csrf()}).status_code == 404
    assert is_in(alice.browser)
    assert beats.api.delete(f"/api/users/{user.id}/sessions").status_code == 404


def test_a_new_password_ends_every_other_session(house: House, alice: Person) -> None:
    phone = Browser(house.url)
    phone.sign_in(alice.email)
    fields = {"csrf": alice.browser.csrf(), "current": PASSWORD, "password": "a better password"}
    before = dict(alice.browser.http.cookies)
    assert alice.browser.post("/admin/account/password", fields).status_code == 303
    assert is_in(alice.browser)
    assert dict(alice.browser.http.cookies) != before
    assert not is_in(phone)
    assert phone.sign_in(alice.email).status_code == 401
    assert phone.sign_in(alice.email, "a better password").status_code == 303


@pytest.mark.parametrize(("current", "new", "status"), [("wrong", "a better password", 401), (PASSWORD, "short", 422)])
def test_a_password_that_cannot_be_changed_stays(house: House, alice: Person, current: str, new: str, status: int) -> None:
    fields = {"csrf": alice.browser.csrf(), "current": current, "password": new}
    assert alice.browser.post("/admin/account/password", fields).status_code == status
    assert is_in(alice.browser)
    assert Browser(house.url).sign_in(alice.email).status_code == 303


def test_what_people_do_is_in_the_journal_and_no_secret_is(house: House, alice: Person) -> None:
    (user,) = alice.tenant.api.get("/api/users").json()["users"]
    Browser(house.url).sign_in(alice.email)
    with house.tollhouse.records.reading() as session:
        entries = journal.history(session, alice.tenant.id, "user", user["id"])
        hashed = session.get_one(User, user["id"]).password
    assert [entry.verb for entry in entries] == ["created", "signed in", "signed in"]
    assert hashed.startswith("$argon2id$")
    assert PASSWORD not in str([entry.detail for entry in entries]) + hashed


def test_a_password_costs_who_guesses_it_what_rfc_9106_recommends() -> None:
    assert SLOW.hash(PASSWORD).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


# Patience


def test_after_five_failures_each_further_one_waits_and_longer_each_time(house: House, alice: Person, clock: Clock) -> None:
    browser = Browser(house.url)
    for _ in range(6):
        assert browser.sign_in(alice.email, "wrong password").status_code == 401
    for wait in (10, 20, 40):
        refused = browser.sign_in(alice.email)
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= wait + 1
        assert "try again" in refused.text
        clock.forward(seconds=wait - 1)
        assert browser.sign_in(alice.email).status_code == 429
        clock.forward(seconds=1)
        assert browser.sign_in(alice.email, "wrong password").status_code == 401
    clock.forward(minutes=20)
    assert browser.sign_in(alice.email).status_code == 303


def test_other_servers_on_the_same_records_know_of_the_failures(records: Records) -> None:
    """Two processes: each with its own connections."""
    with records.transaction() as session:
        owner = access.found(session, START, "Manga").id
        access.set_password(session, owner, "ann@example.com", PASSWORD, START, "link")
    other = Records(records.address)
    try:
        for at in range(6):
            with (records, other)[at % 2].transaction() as session:
                access.note_failure(session, Attempt("Ann@example.com ", "wrong", f"10.0.0.{at}"), START)
        for one in (records, other):
            with one.reading() as session, pytest.raises(TooManyAttempts) as refused:
                access.check_patience(session, Attempt("ann@example.com", PASSWORD, "10.1.1.1"), START)
            assert refused.value.retry_after == 11
    finally:
        other.close()


def test_failures_are_counted_for_where_they_come_from_too(records: Records) -> None:
    for at in range(6):
        with records.transaction() as session:
            access.note_failure(session, Attempt(f"user{at}@example.com", "wrong", "10.0.0.1"), START)
    with records.reading() as session:
        with pytest.raises(TooManyAttempts):
            access.check_patience(session, Attempt("another@example.com", PASSWORD, "10.0.0.1"), START)
        access.check_patience(session, Attempt("another@example.com", PASSWORD, "10.0.0.2"), START)


def test_failures_at_the_same_moment_all_count(records: Records) -> None:
    barrier, failures = threading.Barrier(8, timeout=20), []

    def guess(at: int) -> None:
        barrier.wait()
        try:
            with records.transaction() as session:
                access.note_failure(session, Attempt("ann@example.com", "wrong", "10.0.0.1"), START)
        except Exception as error:  # the test looks at it
            failures.append(error)

    threads = [threading.Thread(target=guess, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with records.reading() as session:
        assert list(session.scalars(sa.select(FailedSignIn.count))) == [8, 8]


def test_success_forgets_the_failures_of_the_address_and_time_forgets_all(records: Records) -> None:
    attempt = Attempt("ann@example.com", PASSWORD, "10.0.0.1")
    for _ in range(9):
        with records.transaction() as session:
            access.note_failure(session, attempt, START)
    with records.transaction() as session:
        access.note_success(session, attempt)
    with records.reading() as session:
        access.check_patience(session, Attempt("ann@example.com", PASSWORD, "10.0.0.2"), START)
        with pytest.raises(TooManyAttempts):
            access.check_patience(session, attempt, START)
        access.check_patience(session, attempt, START + timedelta(hours=2))
    with records.transaction() as session:
        access.note_failure(session, attempt, START + timedelta(hours=2))
    with records.reading() as session:
        access.check_patience(session, attempt, START + timedelta(hours=2))


def test_the_wait_ends_at_a_quarter_of_an_hour(records: Records) -> None:
    attempt = Attempt("ann@example.com", PASSWORD, "10.0.0.1")
    for _ in range(60):
        with records.transaction() as session:
            access.note_failure(session, attempt, START)
    with records.reading() as session, pytest.raises(TooManyAttempts) as refused:
        access.check_patience(session, attempt, START)
    assert refused.value.retry_after == 901


def test_users_are_made_and_known_on_both_databases(records: Records) -> None:
    with records.transaction() as session:
        manga, beats = (access.found(session, START, name).id for name in ("Manga", "Beats"))
        made = access.set_password(session, manga, "Ann@Example.com", PASSWORD, START, "link")
        assert access.authenticate(session, Attempt("ann@example.com", PASSWORD)).id == made.id
        assert access.set_password(session, manga, "ann@example.com", "another password", START, "link").id == made.id
        with pytest.raises(Unauthenticated):
            access.authenticate(session, Attempt("ann@example.com", PASSWORD))
        with pytest.raises(Conflict):
            access.set_password(session, beats, "ann@example.com", PASSWORD, START, "link")
        with pytest.raises(Unprocessable):
            access.set_password(session, manga, "ann@example.com", "short", START, "link")


# Forms from elsewhere

CHANGES = ["/admin/account/password", "/sign-out", "/admin/account/sessions/{session}/revoke", "/dashboard/jobs/{job}/cancel"]


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize("forgery", ["no token", "a wrong token", "another session's", "from elsewhere", "from nowhere", "malformed"])
def test_a_form_that_none_of_our_pages_sent_changes_nothing(house: House, alice: Person, path: str, forgery: str) -> None:
    job = hand_in(alice.tenant.api)
    other = Browser(house.url)
    other.sign_in(alice.email)
    right = alice.browser.csrf()
    token = {"no token": None, "a wrong token": right[:-1] + ("0" if right[-1] != "0" else "1"), "another session's": other.csrf()}
    fields = {"current": PASSWORD, "password": "a better password", "csrf": token.get(forgery, right)}
    origin = {"from elsewhere": "https://evil.example", "from nowhere": "http://127.0.0.1:1", "malformed": "http://[evil"}.get(forgery)
    with house.tollhouse.records.reading() as session:
        (user,) = alice.tenant.api.get("/api/users").json()["users"]
        theirs = access.list_sessions(session, user["id"], house.tollhouse.parts.clock())[0].id
    answer = alice.browser.post(
        path.format(session=theirs, job=job["id"]),
        {name: text for name, text in fields.items() if text is not None},
        headers={"origin": origin} if origin else {},
        params={"user_id": "carol"},
    )
    assert answer.status_code == 403
    assert is_in(alice.browser)
    assert is_in(other)
    assert alice.tenant.api.get(f"/api/jobs/{job['id']}").json()["status"] == "pending"
    assert Browser(house.url).sign_in(alice.email).status_code == 303


def test_an_upload_that_none_of_our_pages_sent_makes_no_job(alice: Person) -> None:
    files = {"files": ("page.png", picture())}
    for headers, csrf in (({}, ""), ({"origin": "https://evil.example"}, alice.browser.csrf())):
        answer = alice.browser.http.post("/dashboard/jobs?user_id=carol", data={"csrf": csrf}, files=files, headers=headers)
        assert answer.status_code == 403
    assert alice.tenant.api.get("/api/jobs").json()["total"] == 0
    answer = alice.browser.http.post("/dashboard/jobs?user_id=carol", data={"csrf": alice.browser.csrf()}, files=files)
    assert answer.status_code == 303
    assert alice.tenant.api.get("/api/jobs").json()["total"] == 1


@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"}, {"origin": "http://[evil"}],
)
def test_nobody_is_signed_in_by_a_form_of_another_site(house: House, alice: Person, headers: dict[str, str]) -> None:
    answer = Browser(house.url, headers).sign_in(alice.email)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    token = link_of(alice.tenant)
    fields = {"token": token, "email": "eve@evil.example", "password": PASSWORD}
    assert Browser(house.url, headers).post("/welcome", fields).status_code == 403
    assert alice.tenant.api.get("/api/users").json()["total"] == 1


# Customers' tokens


def token_for(tenant: Tenant, user: str = "carol", **more: Any) -> str:
    answer = tenant.api.post("/api/customer-tokens", json={"user_id": user, **more})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert parse_qs(urlsplit(made["url"]).query)["token"] == [made["token"]]
    token: str = made["token"]
    return token


def test_a_token_shows_its_customers_pages(house: House, manga: Tenant, clock: Clock) -> None:
    mine, theirs = hand_in(manga.api, user="carol", kind="carols-kind"), hand_in(manga.api, user="dave", kind="daves-kind")
    who = {"token": token_for(manga)}
    browser = Browser(house.url)
    page = browser.get("/dashboard/jobs", params=who)
    assert page.status_code == 200
    assert mine["id"] in page.text
    assert theirs["id"] not in page.text
    for path in ("/dashboard/billing", "/dashboard/billing.csv", f"/dashboard/jobs/{mine['id']}"):
        assert browser.get(path, params=who).status_code == 200
    assert browser.get("/dashboard", params=who).headers["location"].startswith("/dashboard/jobs?token=")


@pytest.mark.parametrize(
    "path",
    [
        "/admin",
        "/admin/jobs",
        "/admin/billing",
        "/admin/billing.csv",
        "/admin/jobs/chart.svg",
        "/admin/billing/chart.svg",
        "/admin/account",
    ],
)
def test_a_token_opens_no_page_of_the_operators(house: House, manga: Tenant, clock: Clock, path: str) -> None:
    assert Browser(house.url).get(path, params={"token": token_for(manga)}).status_code == 403


def test_a_token_beats_the_session_that_the_browser_also_has(alice: Person) -> None:
    assert alice.browser.get("/admin/jobs", params={"token": token_for(alice.tenant)}).status_code == 403


def test_a_token_reaches_no_other_customers_job(house: House, manga: Tenant, beats: Tenant, clock: Clock) -> None:
    theirs, others = hand_in(manga.api, ("page.png", picture()), user="dave"), hand_in(beats.api, user="carol")
    who, browser = {"token": token_for(manga)}, Browser(house.url)
    for job in (theirs["id"], others["id"]):
        assert browser.get(f"/dashboard/jobs/{job}", params=who).status_code == 404
        assert browser.post(f"/dashboard/jobs/{job}/cancel", NO_FIELDS, params=who).status_code == 404
    file = theirs["files"][0]["id"]
    assert browser.get(f"/dashboard/jobs/{theirs['id']}/files/{file}", params=who).status_code == 404
    assert manga.api.get(f"/api/jobs/{theirs['id']}").json()["status"] == "pending"


def test_another_customer_in_the_address_changes_nothing(house: House, manga: Tenant, clock: Clock) -> None:
    mine, theirs = hand_in(manga.api, user="carol"), hand_in(manga.api, user="dave")
    browser, who = Browser(house.url), {"token": token_for(manga), "user_id": "dave"}
    page = browser.get("/dashboard/jobs", params=who).text
    assert mine["id"] in page
    assert theirs["id"] not in page
    assert browser.get(f"/dashboard/jobs/{theirs['id']}", params=who).status_code == 404
    assert browser.get("/dashboard/jobs", params={"token": who["token"]}, headers={"x-user-id": "dave"}).text.count(theirs["id"]) == 0


def test_a_token_is_no_key(house: House, manga: Tenant, clock: Clock) -> None:
    token = token_for(manga)
    with client(house.url, token) as api:
        assert api.get("/api/jobs", params={"user_id": "carol"}).status_code == 401
    assert Browser(house.url).get("/api/jobs", params={"user_id": "carol", "token": token}).status_code == 401


def test_a_customer_cancels_retries_and_hands_in_their_own(house: House, manga: Tenant, clock: Clock) -> None:
    who, browser = {"token": token_for(manga, kind="letter")}, Browser(house.url)
    made = browser.http.post(
        "/dashboard/jobs", params=who, files={"files": ("page.png", picture())}, headers={"accept": "application/json"}
    )
    assert made.status_code == 201
    id = made.json()["id"]
    job = manga.api.get(f"/api/jobs/{id}").json()
    assert (job["user_id"], job["kind"]) == ("carol", "letter")
    assert browser.post(f"/dashboard/jobs/{id}/cancel", NO_FIELDS, params=who).headers["location"].endswith(f"token={who['token']}")
    assert manga.api.get(f"/api/jobs/{id}").json()["status"] == "cancelled"
    assert browser.post(f"/dashboard/jobs/{id}/retry", NO_FIELDS, params=who).status_code == 303
    assert (
        browser.post(f"/dashboard/jobs/{id}/cancel", NO_FIELDS, params=who, headers={"origin": "https://evil.example"}).status_code == 403
    )
    assert manga.api.get(f"/api/jobs/{id}").json()["status"] == "pending"


def test_a_token_expires(house: House, manga: Tenant, clock: Clock) -> None:
    who, browser = {"token": token_for(manga, expires_in=600)}, Browser(house.url)
    clock.forward(seconds=598)
    assert browser.get("/dashboard/jobs", params=who).status_code == 200
    clock.forward(seconds=2)
    answer = browser.get("/dashboard/jobs", params=who)
    assert answer.status_code == 403
    assert "expired" in answer.text


def test_a_token_that_was_changed_or_made_for_something_else_opens_nothing(house: House, manga: Tenant, clock: Clock) -> None:
    token, browser = token_for(manga), Browser(house.url)
    for at in range(0, len(token), 11):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert browser.get("/dashboard/jobs", params={"token": changed}).status_code == 403
    place = manga.api.post("/api/presign", json={"filename": "a.png", "contentType": "image/png", "fileSizeBytes": 9, "user_id": "carol"})
    of_an_upload = place.json()["url"].rsplit("/", 1)[1]
    assert browser.get("/dashboard/jobs", params={"token": of_an_upload}).status_code == 403
    assert browser.get("/dashboard/jobs", params={"token": "x" * 9000}).status_code == 403


@pytest.mark.parametrize(
    "wanted",
    [
        {"user_id": ""},
        {"user_id": "c" * 256},
        {"expires_in": 0},
        {"expires_in": 7 * 86_400 + 1},
        {"origin": "app.example.com"},
        {"origin": "https://app.example.com/path"},
        {"origin": "https://a.example https://b.example"},
        {"origin": "https://a.example; script-src *"},
        {"origin": "*"},
        {"origin": "https://*"},
        {"origin": "javascript:alert(1)"},
        {"surprise": 1},
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(manga: Tenant, wanted: dict[str, Any]) -> None:
    answer = manga.api.post("/api/customer-tokens", json={"user_id": "carol"} | wanted)
    assert answer.status_code == 422
    assert next(iter(wanted)) in answer.json()["detail"]


# What a browser may do with a page


def policy(answer: httpx.Response) -> dict[str, str]:
    rules = (rule.strip().partition(" ") for rule in answer.headers["content-security-policy"].split(";"))
    return {name: value for name, _, value in rules}


def test_only_the_named_origin_may_frame_a_customers_page(house: House, manga: Tenant, clock: Clock) -> None:
    browser = Browser(house.url)
    framed = browser.get("/dashboard/jobs", params={"token": token_for(manga, origin="https://app.manga.example")})
    assert policy(framed)["frame-ancestors"] == "https://app.manga.example"
    assert "x-frame-options" not in framed.headers
    alone = browser.get("/dashboard/jobs", params={"token": token_for(manga)})
    assert policy(alone)["frame-ancestors"] == "'none'"
    assert alone.headers["x-frame-options"] == "DENY"


def test_every_page_says_what_a_browser_may_do_with_it(house: House, alice: Person) -> None:
    pages = ["/admin/jobs", "/admin/billing", "/admin/account", "/dashboard/jobs?user_id=carol", "/dashboard/billing?user_id=carol"]
    pages += ["/sign-in", "/dashboard/jobs/none?user_id=carol", f"/welcome?token={link_of(alice.tenant)}", "/welcome?token=x"]
    for page in pages:
        answer = alice.browser.get(page)
        assert answer.headers["content-type"].startswith("text/html")
        rules = policy(answer)
        assert rules["default-src"] == "'none'"
        assert rules["script-src"] == "'self'"
        assert rules["frame-ancestors"] == "'none'"
        assert rules["base-uri"] == "'none'"
        assert rules["form-action"] == "'self'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "no-store" in answer.headers["cache-control"]
        assert "<script>" not in answer.text
        assert " onclick=" not in answer.text


def test_a_name_is_shown_as_text_whatever_is_in_it(house: House, alice: Person) -> None:
    evil = "<img src=x onerror=alert(1)>\"'"
    job = hand_in(alice.tenant.api, ('<b>"x".txt', b"text"), user=evil, kind="<script>alert(1)</script>")
    for page in ("/admin/jobs", "/admin/billing", f"/dashboard/jobs/{job['id']}", "/dashboard/jobs", "/dashboard/billing"):
        text = alice.browser.get(page, params={"user_id": evil}).text
        assert "<img src=x" not in text
        assert "<script>alert" not in text
        assert '<b>"x"' not in text


# Development


@pytest.mark.parametrize("path", ["/admin/jobs", "/admin/billing", "/dashboard/jobs?user_id=carol", "/dashboard/billing?user_id=carol"])
@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example"}]
)
def test_dev_shows_its_pages_to_no_foreign_page(dev_server: Server, path: str, headers: dict[str, str]) -> None:
    browser = Browser(dev_server.url)
    assert browser.get(path).status_code == 200
    assert browser.get(path, headers=headers).status_code == 403


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}])
def test_dev_lets_no_foreign_page_change_anything(dev_server: Server, headers: dict[str, str]) -> None:
    browser = Browser(dev_server.url)
    with client(dev_server.url) as api:
        job = hand_in(api)
        assert (
            browser.post(f"/dashboard/jobs/{job['id']}/cancel", NO_FIELDS, params={"user_id": "carol"}, headers=headers).status_code == 403
        )
        assert api.get(f"/api/jobs/{job['id']}").json()["status"] == "pending"
        assert browser.post(f"/dashboard/jobs/{job['id']}/cancel", NO_FIELDS, params={"user_id": "carol"}).status_code == 303
