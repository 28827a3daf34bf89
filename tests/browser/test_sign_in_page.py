"""Signing in as a person does it."""

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import ALICE, PASSWORD, Watched, World, context_of, sign_in


def test_the_link_of_the_first_start_makes_an_operator(page: Page, world: World, watched: Watched) -> None:
    watched.expected = ("403", "422")
    link = world.api.post("/api/users/link").json()["url"]
    page.goto(link)
    page.get_by_label("E-mail address").fill("erin@manga.example")
    page.get_by_label("Password").fill("erin@manga.example")
    page.get_by_role("button", name="Set and sign in").click()
    expect(page.get_by_role("alert")).to_have_text("password: choose one that is not your address.")
    expect(page.get_by_label("E-mail address")).to_have_value("erin@manga.example")
    page.get_by_label("Password").fill("something better")
    page.get_by_role("button", name="Set and sign in").click()
    expect(page.get_by_role("heading", name="All jobs")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in to Tollhouse")).to_be_visible()
    page.goto(link)
    expect(page.get_by_role("heading", name="This link has expired")).to_be_visible()


def test_who_is_not_signed_in_is_asked_to_and_then_led_on(page: Page, world: World) -> None:
    page.goto(f"{world.url}/admin/billing?days=7")
    expect(page.get_by_role("heading", name="Sign in to Tollhouse")).to_be_visible()
    page.get_by_label("E-mail address").fill(ALICE.upper())
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/billing?days=7")


def test_a_wrong_password_is_said_once_and_the_address_is_kept(page: Page, world: World, watched: Watched) -> None:
    watched.expected = ("401",)
    page.goto(f"{world.url}/sign-in")
    page.get_by_label("E-mail address").fill("nobody@manga.example")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("The address or the password is wrong.")
    expect(page.get_by_label("E-mail address")).to_have_value("nobody@manga.example")
    expect(page.get_by_label("Password")).to_be_focused()


def test_a_session_is_ended_from_another_browser(browser: Browser, world: World) -> None:
    with context_of(browser) as (one, _), context_of(browser, user_agent="The other browser") as (other, _):
        here, there = one.new_page(), other.new_page()
        sign_in(here, world)
        sign_in(there, world)
        here.goto(f"{world.url}/admin/account")
        here.locator("li", has_text="The other browser").get_by_role("button", name="End").first.click()
        expect(here.locator("li", has_text="The other browser")).to_have_count(0)
        there.reload()
        expect(there.get_by_role("heading", name="Sign in to Tollhouse")).to_be_visible()
        here.reload()
        expect(here.get_by_role("heading", name="Account")).to_be_visible()
