"""What holds on every page: no serious fault for assistive technology, no sideways scrolling, readable without scripts.

The screenshots are written to build/screenshots for a person to look at.
"""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browser.conftest import CAROL, SCREENSHOTS, World, admit, context_of

CUSTOMER = {
    "jobs": "/dashboard/jobs",
    "failed-jobs": "/dashboard/jobs?status=failed",
    "no-jobs": "/dashboard/jobs?status=skipped",
    "billing": "/dashboard/billing",
}
OPERATOR = {
    "admin-jobs": "/admin/jobs",
    "admin-billing": "/admin/billing",
    "admin-alerts": "/admin/alerts",
    "backups": "/admin/backups",
    "account": "/admin/account",
}
DOORS = {"sign-in": "/sign-in", "welcome": "/welcome", "expired": "/dashboard/jobs?token=old", "not-found": "/dashboard/nothing"}
ALL = [*CUSTOMER, "job", "dialog", *OPERATOR, *DOORS]
EXPECTED = ("403", "404")


def show(page: Page, world: World, name: str) -> None:
    """Open the page of that name, and wait until it is all there."""
    if name in CUSTOMER:
        address, token = CUSTOMER[name], world.token().partition("?")[2]
        page.goto(f"{world.url}{address}{'&' if '?' in address else '?'}{token}")
    elif name in ("job", "dialog"):
        jobs = world.api.get("/api/jobs", params={"user_id": CAROL, "status": "completed"}).json()["jobs"]
        token = world.token().partition("?")[2]
        page.goto(f"{world.url}/dashboard/jobs?{token}" if name == "dialog" else f"{world.url}/dashboard/jobs/{jobs[0]['id']}?{token}")
        if name == "dialog":
            page.locator("li.card", has=page.locator(".completed")).first.get_by_role("link").click()
            page.locator("dialog[open] .preview img").wait_for()
    elif name in OPERATOR:
        admit(page, world)
        page.goto(f"{world.url}{OPERATOR[name]}")
    elif name == "welcome":
        page.goto(world.api.post("/api/users/link").json()["url"])
    else:
        page.goto(f"{world.url}{DOORS[name]}", wait_until="load")
    if name in ("billing", "admin-jobs", "admin-billing"):
        page.locator("figure canvas").wait_for()
    page.wait_for_function("[...document.images].every((image) => image.complete || image.loading === 'lazy')")


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> str:
    """Both themes."""
    chosen: str = request.param
    return chosen


@pytest.mark.parametrize("name", ALL)
def test_every_page_is_accessible_and_fits_and_is_photographed(browser: Browser, world: World, name: str, theme: Any) -> None:
    for width in (1440, 360):
        with context_of(browser, viewport={"width": width, "height": 900}, color_scheme=theme) as (context, watched):
            watched.expected = EXPECTED if name in ("expired", "not-found") else ()
            page = context.new_page()
            show(page, world, name)
            assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, (
                f"{width} px: it scrolls sideways"
            )
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{theme}.png", full_page=name != "dialog")
            found = Axe().run(page).response["violations"]
            serious = [f"{fault['id']}: {fault['nodes'][0]['html'][:200]}" for fault in found if fault["impact"] in ("serious", "critical")]
            assert serious == [], f"{width} px"


@pytest.mark.parametrize("name", ["jobs", "billing", "job", "admin-billing"])
def test_every_page_can_be_read_without_javascript(browser: Browser, world: World, name: str) -> None:
    with context_of(browser, java_script_enabled=False) as (context, _):
        page = context.new_page()
        if name == "admin-billing":
            admit(page, world)
            page.goto(f"{world.url}/admin/billing")
        elif name == "job":
            id = world.api.get("/api/jobs", params={"user_id": CAROL, "status": "completed"}).json()["jobs"][0]["id"]
            page.goto(f"{world.url}/dashboard/jobs/{id}?{world.token().partition('?')[2]}")
        else:
            page.goto(world.token().replace("/dashboard/jobs", f"/dashboard/{name}"))
        text = page.inner_text("main")
        wanted = {"jobs": "Completed", "billing": "By day", "job": "Download motion.png", "admin-billing": "Dearest first"}
        assert wanted[name] in text
        if "billing" in name:
            assert page.get_by_alt_text("The table has the figures").is_visible()


def test_files_are_uploaded_without_javascript(browser: Browser, world: World) -> None:
    with context_of(browser, java_script_enabled=False) as (context, watched):
        watched.expected = ("422",)
        page = context.new_page()
        page.goto(world.token())
        field = page.get_by_label("Upload files for a new job")
        field.set_input_files({"name": "plain.txt", "mimeType": "text/plain", "buffer": b"one page of words"})
        page.get_by_role("button", name="Upload", exact=True).click()
        assert page.locator("li.card").first.get_by_role("link").inner_text() == "plain.txt"
        page.get_by_label("Upload files for a new job").set_input_files({"name": "empty.txt", "mimeType": "text/plain", "buffer": b""})
        page.get_by_role("button", name="Upload", exact=True).click()
        assert "empty.txt: the file is empty" in page.get_by_role("alert").inner_text()
    world.empty_queue()


@pytest.mark.parametrize("width", [360, 1440])
def test_motion_is_spared_who_asks_for_it(browser: Browser, world: World, width: int) -> None:
    with context_of(browser, reduced_motion="reduce", viewport={"width": width, "height": 800}) as (context, _):
        page = context.new_page()
        page.goto(world.token())
        moving = page.evaluate("[...document.querySelectorAll('*')].filter((e) => getComputedStyle(e).transitionDuration !== '0s').length")
        assert moving == 0
