"""The jobs page, used as a customer uses it."""

import base64
import re
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import CAROL, DAVE, Watched, World
from tests.browser.drawing import page_of_manga


class App(BaseHTTPRequestHandler):
    """A page of somebody's app, at an origin of its own."""

    body = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(f"<!doctype html><title>App</title><link rel=icon href='data:,'>{self.body}".encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def refreshes(page: Page) -> None:
    """The five seconds until the page refreshes by itself are over; its clock has to be installed."""
    page.clock.fast_forward(5000)


@pytest.fixture
def pages(tmp_path: Path) -> list[Path]:
    """Three pages on disk, to be picked."""
    found = [tmp_path / f"scan-{at}.png" for at in range(1, 4)]
    for at, path in enumerate(found):
        path.write_bytes(page_of_manga(at))
    return found


def test_pages_are_uploaded_watched_and_the_result_is_fetched(carol: Page, world: World, pages: list[Path], tmp_path: Path) -> None:
    world.empty_queue()
    carol.clock.install()
    carol.reload()
    carol.get_by_label("Upload files for a new job").set_input_files(pages)
    carol.get_by_role("button", name="Upload", exact=True).click()
    fresh = carol.locator("li.card").first
    expect(fresh.get_by_role("link")).to_have_text("scan-1.png")
    expect(fresh).to_contain_text("3 files")
    expect(fresh.locator(".badge")).to_have_text("Pending")
    job = world.claim("default")
    for percent in (33, 66):
        world.report(job, percent, f"page {percent // 33} of 3")
        refreshes(carol)
        expect(fresh.locator(".percent")).to_have_text(f"{percent} %")
        expect(fresh.get_by_role("progressbar")).to_have_attribute("value", str(percent))
    expect(fresh).to_contain_text("page 2 of 3")
    fresh.get_by_role("link").click()
    dialog = carol.get_by_role("dialog")
    expect(dialog.locator(".percent")).to_have_text("66 %")
    world.report(job, 100, "packing up")
    refreshes(carol)
    expect(dialog.locator(".percent")).to_have_text("100 %")
    world.complete(job)
    refreshes(carol)
    expect(dialog.locator(".badge")).to_have_text("Completed")
    expect(dialog.get_by_alt_text("Preview of the result")).to_be_visible()
    expect(dialog).to_contain_text("12 s")
    expect(dialog).to_contain_text("$0.0013")
    with carol.expect_download() as started:
        dialog.get_by_role("link", name="Download motion.png").click()
    started.value.save_as(tmp_path / "motion.png")
    with Image.open(tmp_path / "motion.png") as result:
        assert result.size == (600, 900)


def test_dropped_files_make_a_job(carol: Page, world: World) -> None:
    carol.evaluate(
        """async (content) => {
            const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
            const form = document.querySelector("form[data-upload]");
            for (const kind of ["dragenter", "dragover", "drop"])
              form.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        base64.b64encode(page_of_manga(1)).decode(),
    )
    expect(carol.locator("li.card").first.get_by_role("link")).to_have_text("dropped.png")
    world.empty_queue()


def test_a_file_that_is_not_accepted_is_explained_and_nothing_is_made(carol: Page, world: World, watched: Watched) -> None:
    watched.expected = ("422",)
    before = world.api.get("/api/jobs", params={"user_id": CAROL}).json()["total"]
    carol.get_by_label("Upload files for a new job").set_input_files(
        {"name": "page.png", "mimeType": "image/png", "buffer": b"<html><script>alert(1)</script></html>"}
    )
    carol.get_by_role("button", name="Upload", exact=True).click()
    expect(carol.get_by_role("alert")).to_contain_text("page.png: its content is text/html, which is not accepted")
    expect(carol.get_by_role("button", name="Upload", exact=True)).to_be_enabled()
    assert world.api.get("/api/jobs", params={"user_id": CAROL}).json()["total"] == before


def test_filters_show_one_status_and_its_count(carol: Page) -> None:
    shown = carol.get_by_role("navigation", name="Filter by status")
    for status in ("Completed", "Failed"):
        link = shown.get_by_role("link", name=status)
        count = int(re.findall(r"\d+", link.inner_text())[0])
        link.click()
        expect(shown.get_by_role("link", name=status)).to_have_attribute("aria-current", "true")
        expect(carol.locator("li.card")).to_have_count(min(count, 24))
        assert set(carol.locator("li.card .badge").all_inner_texts()) == {status}


def test_a_failed_job_says_why_and_is_tried_again(carol: Page, world: World) -> None:
    world.empty_queue()
    world.job(CAROL, 1, "broken")
    world.fail(world.claim(), "Page 1 is torn; scan it again.")
    carol.reload()
    carol.get_by_role("link", name="broken-1.png").first.click()
    dialog = carol.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text("Page 1 is torn; scan it again.")
    dialog.get_by_role("button", name="Try again").click()
    expect(dialog.locator(".badge")).to_have_text("Pending")
    dialog.get_by_role("button", name="Cancel this job").click()
    expect(dialog.locator(".badge")).to_have_text("Cancelled")


def test_refreshing_keeps_focus_scroll_and_the_open_dialog(carol: Page, world: World) -> None:
    carol.clock.install()
    carol.reload()
    carol.set_viewport_size({"width": 800, "height": 500})
    target = carol.locator("li.card a").nth(9)
    target.scroll_into_view_if_needed()
    target.focus()
    scrolled = carol.evaluate("scrollY")
    assert scrolled > 0
    id = carol.evaluate("document.activeElement.closest('li').dataset.key")
    world.job(CAROL, 1, "arrived-meanwhile")
    refreshes(carol)
    expect(carol.get_by_role("link", name="arrived-meanwhile-1.png")).to_have_count(1)
    assert carol.evaluate("document.activeElement.closest('li').dataset.key") == id
    carol.keyboard.press("Enter")
    dialog = carol.get_by_role("dialog")
    expect(dialog.get_by_role("heading", level=1)).to_be_visible()
    link = dialog.locator(".files a").first
    link.focus()
    world.job(CAROL, 1, "arrived-later")
    refreshes(carol)
    expect(carol.get_by_text("arrived-later-1.png")).to_have_count(1)
    expect(dialog).to_be_visible()
    expect(link).to_be_focused()
    carol.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    world.empty_queue()


def test_nothing_shifts_when_the_page_refreshes(carol: Page, world: World) -> None:
    carol.clock.install()
    carol.reload()
    carol.wait_for_load_state("networkidle")
    carol.evaluate(
        """() => { let shift = 0; const add = (entries) => entries.forEach((one) => shift += one.value);
            const observer = new PerformanceObserver((list) => add(list.getEntries())); observer.observe({ type: "layout-shift" });
            window.shifted = () => { add(observer.takeRecords()); const before = shift; shift = 0; return before; }; }"""
    )

    def shifted() -> float:
        """How much has moved since the last time, up to a frame that has been drawn."""
        carol.screenshot()
        moved: float = carol.evaluate("window.shifted()")
        return moved

    world.empty_queue()
    id = world.job(CAROL, 1, "steady")
    refreshes(carol)
    expect(carol.get_by_role("link", name="steady-1.png")).to_have_count(1)
    assert shifted() > 0.01, "a new card makes room for itself; from here on only states change"
    job = world.claim()
    assert job["id"] == id
    world.report(job, 40, "page 1 of 2, which has a rather long message that does not fit into one line of a card at all")
    refreshes(carol)
    expect(carol.locator("li.card").first.locator(".percent")).to_have_text("40 %")
    world.complete(job)
    refreshes(carol)
    expect(carol.locator("li.card").first.locator(".badge")).to_have_text("Completed")
    assert shifted() < 0.01


def test_refreshing_pauses_while_the_tab_is_hidden(page: Page, world: World) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.resource_type == "fetch" else None)
    page.clock.install()
    page.goto(world.token())
    page.clock.run_for(2000)  # the clock also runs by itself
    assert asked == []
    with page.expect_request(lambda request: request.resource_type == "fetch"):
        page.clock.run_for(4000)
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    asked.clear()
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_request(lambda request: request.resource_type == "fetch"):
        page.evaluate(
            "() => { Object.defineProperty(document, 'hidden', { value: false, configurable: true });"
            " document.dispatchEvent(new Event('visibilitychange')); }"
        )


def test_the_refresh_button_refreshes_without_loading_the_page(carol: Page, world: World) -> None:
    carol.evaluate("window.same = true")
    world.job(CAROL, 1, "by-hand")
    carol.get_by_role("link", name="Refresh").click()
    expect(carol.get_by_role("link", name="by-hand-1.png")).to_have_count(1, timeout=3000)
    assert carol.evaluate("window.same") is True
    world.empty_queue()


def test_a_server_that_stumbles_is_reported_and_forgotten(carol: Page, watched: Watched) -> None:
    watched.expected = ("503", "ERR_FAILED")
    notice = carol.locator("#notice")
    carol.route("**/dashboard/jobs*", lambda route: route.fulfill(status=503, body="<p>down</p>", content_type="text/html"))
    carol.get_by_role("link", name="Refresh").click()
    expect(notice).to_have_text("Tollhouse could not be reached just now; trying again.")
    carol.unroute("**/dashboard/jobs*")
    carol.route("**/dashboard/jobs*", lambda route: route.abort())
    carol.get_by_role("link", name="Refresh").click()
    expect(notice).to_be_visible()
    expect(carol.locator("li.card").first).to_be_visible()  # what was there stays
    carol.unroute("**/dashboard/jobs*")
    expect(notice).to_be_hidden(timeout=12_000)


def test_a_token_that_expires_while_the_page_is_open_says_so(page: Page, world: World, watched: Watched) -> None:
    watched.expected = ("403",)
    page.goto(world.token(expires_in=60))
    expect(page.locator("li.card").first).to_be_visible()
    try:
        world.late += timedelta(minutes=2)
        page.get_by_role("link", name="Refresh").click()
        expect(page.locator("#notice")).to_have_text("This page has expired. Open it again to go on.")
        page.reload()
        expect(page.get_by_role("heading", name="This link has expired")).to_be_visible()
    finally:
        world.late -= timedelta(minutes=2)


def test_a_download_link_expires_and_the_page_gives_a_fresh_one(carol: Page, world: World) -> None:
    job = next(job for job in world.api.get("/api/jobs", params={"user_id": CAROL, "status": "completed"}).json()["jobs"])
    offered = world.api.get(f"/api/jobs/{job['id']}/download").json()
    assert offered["expires_in"] == 3600
    try:
        world.late += timedelta(minutes=61)
        refused = carol.request.get(offered["download_url"])
        assert refused.status == 403
        assert "expired" in refused.text()
        carol.goto(world.token())
        with carol.expect_download() as started:
            carol.locator("li.card", has=carol.locator(".completed")).first.get_by_role("link").click()
            carol.get_by_role("dialog").get_by_role("link", name=re.compile("^Download")).click()
        assert Path(started.value.path()).read_bytes() == page_of_manga(7)
    finally:
        world.late -= timedelta(minutes=61)


def test_everything_can_be_done_with_the_keyboard_alone(carol: Page, world: World) -> None:
    world.empty_queue()
    world.job(CAROL, 1, "typed")
    world.fail(world.claim(), "Try me again.")
    carol.reload()
    carol.keyboard.press("Tab")
    expect(carol.get_by_text("Skip to the content")).to_be_focused()
    carol.keyboard.press("Enter")
    for _ in range(20):
        carol.keyboard.press("Tab")
        if carol.evaluate("document.activeElement.textContent").startswith("Failed"):
            break
    carol.keyboard.press("Enter")
    carol.wait_for_url("**status=failed**")
    first = carol.locator("li.card a").first
    expect(first).to_have_text("typed-1.png")
    for _ in range(25):
        carol.keyboard.press("Tab")
        if first.evaluate("(link) => link === document.activeElement"):
            break
    outline = carol.locator("li.card").first.evaluate("(card) => getComputedStyle(card).outlineStyle")
    assert outline == "solid"  # where one is can be seen
    carol.keyboard.press("Enter")
    dialog = carol.get_by_role("dialog")
    retry = dialog.get_by_role("button", name="Try again")
    expect(retry).to_be_visible()
    for _ in range(10):
        carol.keyboard.press("Tab")
        if retry.evaluate("(button) => button === document.activeElement"):
            break
    carol.keyboard.press("Enter")
    expect(dialog.locator(".badge")).to_have_text("Pending")
    carol.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(first.or_(carol.locator("body"))).not_to_have_count(0)
    world.empty_queue()


def test_a_customer_sees_nothing_of_another(page: Page, world: World, watched: Watched) -> None:
    watched.expected = ("404", "403")
    theirs = world.api.get("/api/jobs", params={"user_id": DAVE}).json()["jobs"][0]["id"]
    address = world.token(CAROL)
    token = address.partition("?")[2]
    for path, status in ((f"/dashboard/jobs/{theirs}", 404), ("/admin/jobs", 403), ("/admin/billing", 403), ("/admin/billing.csv", 403)):
        answer = page.goto(f"{world.url}{path}?{token}")
        assert answer is not None
        assert answer.status == status, path
        assert DAVE not in page.content()
    page.goto(f"{world.url}/dashboard/jobs?{token}&user_id={DAVE}")
    own = world.api.get("/api/jobs", params={"user_id": CAROL}).json()["total"]
    expect(page.get_by_role("link", name="All")).to_contain_text(str(own))


def test_an_app_may_frame_the_pages_and_nobody_else(page: Page, world: World, watched: Watched) -> None:
    watched.expected = ("frame-ancestors", "X-Frame-Options", "Refused to display", "ERR_BLOCKED_BY_RESPONSE", "chromewebdata", "Framing")
    with ThreadingHTTPServer(("127.0.0.1", 0), App) as app:
        origin = f"http://127.0.0.1:{app.server_port}"
        frames = {
            "allowed": world.token(origin=origin),
            "refused": world.token(origin="http://other.example.test"),
            "opened": world.token(),
        }
        App.body = "".join(f'<iframe name="{name}" src="{url}"></iframe>' for name, url in frames.items())
        threading.Thread(target=app.serve_forever, daemon=True).start()
        page.goto(origin)
        framed = {name: page.frame_locator(f"[name={name}]").get_by_role("heading", name="Jobs", exact=True) for name in frames}
        expect(framed["allowed"]).to_be_visible()
        for name in ("refused", "opened"):
            expect(framed[name]).to_have_count(0)
        page.goto("about:blank")
        app.shutdown()
