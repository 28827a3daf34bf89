"""A real browser (the system's Chromium, driven by Playwright) before a real Tollhouse that has something in it.

Every page that a test opens is watched: a script error, or anything that the pages' own policy forbids, fails the test.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.access.conftest import QUICK
from tests.browser.drawing import page_of_manga
from tests.scenarios.serving import PLAIN
from tollhouse import access
from tollhouse.access import user
from tollhouse.app import Tollhouse, opened
from tollhouse.cli.embedded import served
from tollhouse.settings import Settings

ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ALICE, PASSWORD = "alice@manga.example", "a long enough password"
CAROL, DAVE = "carol", "dave"
DAYS = 100


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests share two processes: a world and a browser take longer to make than a test, and one process takes too long."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("every page" if item.path.stem == "test_every_page" else "browser"))


@dataclass
class World:
    """A Tollhouse with Alice, who operates it, and Carol's and Dave's jobs and usage."""

    tollhouse: Tollhouse
    url: str
    api: httpx.Client
    late: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        """The time here, which a test may move on."""
        return datetime.now(UTC) + self.late

    def token(self, customer: str = CAROL, **more: Any) -> str:
        """A customer's address."""
        answer = self.api.post("/api/customer-tokens", json={"user_id": customer} | more)
        assert answer.status_code == 201, answer.text
        url: str = answer.json()["url"]
        return url

    def job(self, customer: str = CAROL, files: int = 1, name: str = "page") -> str:
        """A new job with that many pages."""
        parts = [("files", (f"{name}-{at + 1}.png", page_of_manga(at), "image/png")) for at in range(files)]
        answer = self.api.post("/api/jobs", params={"user_id": customer}, files=parts, data={"kind": "animate"})
        assert answer.status_code == 201, answer.text
        id: str = answer.json()["id"]
        return id

    def claim(self, kind: str = "animate") -> dict[str, Any]:
        """The next job, as a worker gets it."""
        answer = self.api.post("/api/jobs/claim", json={"worker": "test", "kinds": [kind]})
        assert answer.status_code == 200, answer.text
        claimed: dict[str, Any] = answer.json()
        return claimed

    def report(self, job: dict[str, Any], progress: int, message: str = "") -> None:
        """A sign of life."""
        answer = self.api.post(f"/api/jobs/{job['id']}/progress", json={"fence": job["fence"], "progress": progress, "message": message})
        assert answer.status_code == 200, answer.text

    def complete(self, job: dict[str, Any]) -> None:
        """The result: a picture."""
        files = [("files", ("motion.png", page_of_manga(7), "image/png"))]
        fields = {"fence": str(job["fence"]), "compute_seconds": "12.5"}
        answer = self.api.post(f"/api/jobs/{job['id']}/complete", data=fields, files=files)
        assert answer.status_code == 200, answer.text

    def fail(self, job: dict[str, Any], error: str) -> None:
        """For good."""
        body = {"fence": job["fence"], "error": error, "retry": False}
        assert self.api.post(f"/api/jobs/{job['id']}/fail", json=body).status_code == 200

    def empty_queue(self) -> None:
        """Leave no job of an earlier test to be claimed."""
        for status in ("pending", "processing"):
            for job in self.api.get("/api/jobs", params={"status": status, "limit": 1000}).json()["jobs"]:
                assert self.api.post(f"/api/jobs/{job['id']}/cancel").status_code == 200


@pytest.fixture(scope="package")  # Playwright keeps an event loop running in this thread; other tests want none
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world, made once."""
    quick_passwords = pytest.MonkeyPatch.context()
    with quick_passwords as patch, opened(Settings(data=tmp_path_factory.mktemp("world"))) as tollhouse, served(tollhouse) as url:
        patch.setattr(user, "_hasher", QUICK)
        headers = {"authorization": f"Bearer {tollhouse.parts.guard.operator_token}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False, verify=PLAIN) as api:
            made = World(tollhouse, url, api)
            tollhouse.parts.clock = made.now
            _people(made)
            _usage(made)
            _jobs(made)
            tollhouse.aggregate()
            yield made


def _people(world: World) -> None:
    with world.tollhouse.records.transaction() as session:
        organization = access.default_organization(session)
        assert organization is not None
        access.set_password(session, organization.id, ALICE, PASSWORD, world.now(), "test")


def _usage(world: World) -> None:
    events = []
    for at in range(DAYS):
        for customer, share in ((CAROL, 1), (DAVE, 4), *((f"reader-{n:02}", 6 + n) for n in range(30))):
            time = (world.now() - timedelta(days=at, minutes=5)).isoformat()
            used = {"subject": customer, "time": time, "source": "test"}
            name = f"{customer}-{at}"
            events += [
                {"id": f"{name}-b", "type": "bytes_processed", "data": {"bytes": (at % 7 + 1) * 1024**3 * 40 // share, "job_id": name}}
                | used,
                {"id": f"{name}-s", "type": "compute_seconds", "data": {"seconds": (at % 5 + 1) * 4000 // share, "job_id": name}} | used,
                {"id": f"{name}-j", "type": "job_completion", "data": {"status": "completed", "job_id": name}} | used,
            ]
    assert world.api.post("/api/events", json=events).json()["rejected"] == []


def _jobs(world: World) -> None:
    for at in range(30):
        world.job(DAVE if at % 3 == 0 else CAROL, at % 3 + 1, f"chapter-{at}")
    for at in range(22):
        job = world.claim()
        if at % 4 == 3:
            world.fail(job, "Page 2 has no panels; send a page with at least one panel on it.")
        else:
            world.complete(job)
    for at in range(3):
        world.report(world.claim(), 20 + 30 * at, f"page {at + 1} of 4")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The browser."""
    assert CHROMIUM is not None, "no Chromium is installed; run `make browser`"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield launched
        launched.close()


@dataclass
class Watched:
    """What went wrong in a page: errors of scripts, and what the console calls an error."""

    faults: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def watch(self, page: Page) -> None:
        """Listen to one page."""
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self.faults.append(message.text) if message.type in ("error", "warning") else None)

    def check(self) -> None:
        """Fail for what was not expected."""
        assert [fault for fault in self.faults if not any(text in fault for text in self.expected)] == []


@contextmanager
def context_of(browser: Browser, **options: Any) -> Iterator[tuple[BrowserContext, Watched]]:
    """A fresh browser context, watched."""
    context = browser.new_context(**({"viewport": {"width": 1440, "height": 900}} | options))
    context.set_default_timeout(15_000)
    watched = Watched()
    context.on("page", watched.watch)
    try:
        yield context, watched
    finally:
        context.close()
    watched.check()


@pytest.fixture
def watched() -> Watched:
    """What the test's pages said; a test that provokes an error names it in `expected`."""
    return Watched()


@pytest.fixture
def page(browser: Browser, watched: Watched) -> Iterator[Page]:
    """A page of nobody's yet."""
    with context_of(browser) as (context, own):
        opened_page = context.new_page()
        own.expected = watched.expected
        yield opened_page
        own.expected = watched.expected


@pytest.fixture
def carol(page: Page, world: World) -> Page:
    """Carol's jobs, opened with her token."""
    page.goto(world.token())
    return page


@pytest.fixture
def alice(page: Page, world: World) -> Page:
    """Alice, signed in."""
    sign_in(page, world)
    return page


def admit(page: Page, world: World) -> None:
    """Sign Alice in without the page for it."""
    answer = page.request.post(f"{world.url}/sign-in", form={"email": ALICE, "password": PASSWORD}, max_redirects=0)
    assert answer.status == 303, answer.text()


def sign_in(page: Page, world: World) -> None:
    """Sign Alice in, as she does it."""
    page.goto(f"{world.url}/sign-in")
    page.get_by_label("E-mail address").fill(ALICE)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/admin/jobs")


SCREENSHOTS = Path("build/screenshots")
