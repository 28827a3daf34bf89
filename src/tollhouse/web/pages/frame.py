"""What every page has around it: the template, the headers, what numbers and times look like, and how an error is shown."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from tollhouse.kit.errors import LinkExpired, TollhouseError, Unauthenticated
from tollhouse.kit.money import minor_places, round_half_even
from tollhouse.web import problem
from tollhouse.web.assets import asset_address
from tollhouse.web.pages.viewer import Viewer

PREFIXES = ("/dashboard", "/admin", "/sign-in", "/sign-out", "/welcome")
NOTHING = "\u2013"
_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
_TITLES = {403: "This page cannot be opened", 404: "There is nothing here", 500: "Something went wrong", 503: "Tollhouse is not ready"}
# In this order: Edge also calls itself Chrome, and Chrome Safari.
_BROWSERS = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (("Android", "Android"), ("iPhone", "iPhone"), ("Windows", "Windows"), ("Mac OS X", "macOS"), ("Linux", "Linux"))
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def show(request: Request, viewer: Viewer | None, template: str, code: int = 200, **values: Any) -> Response:
    """A page."""
    here = str(request.url.path) + (f"?{request.url.query}" if request.url.query else "")
    content = _templates.get_template(template).render(viewer=viewer, here=here, path=request.url.path, **values)
    return HTMLResponse(content, code, headers(viewer))


def headers(viewer: Viewer | None) -> dict[str, str]:
    """What a browser may do with a page: nothing from elsewhere, no frame but the one that the token names, no memory of it."""
    frame = viewer.frame_origin if viewer else ""
    framed_by = frame or "'none'"
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
        f"base-uri 'none'; frame-ancestors {framed_by}"
    )
    shown = {
        "content-security-policy": policy,
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
        "cross-origin-opener-policy": "same-origin",
    }
    return shown if frame else shown | {"x-frame-options": "DENY"}


def redirect(address: str) -> Response:
    """To another page, after a form."""
    return RedirectResponse(address, 303, {"cache-control": "no-store"})


def wants_page(request: Request) -> bool:
    """Whether an error is to be shown as a page: on the pages' own addresses, unless a script asks."""
    return request.url.path.startswith(PREFIXES) and "text/html" in request.headers.get("accept", "text/html")


def show_error(request: Request, error: TollhouseError) -> Response:
    """An error as a page; who has not signed in is sent to do so."""
    if isinstance(error, Unauthenticated) and request.method == "GET" and not request.url.path.startswith("/sign-in"):
        return RedirectResponse(f"/sign-in?next={_quoted(request)}", 303, {"cache-control": "no-store"})
    title = error.title() if isinstance(error, LinkExpired) else _TITLES.get(error.status, error.title())
    page = show(request, None, "error.html", error.status, error=error, title=title.rstrip("."))
    page.headers.update(problem.headers(error))
    return page


def _quoted(request: Request) -> str:
    return str(jinja2.filters.do_urlencode(request.url.path + (f"?{request.url.query}" if request.url.query else "")))


def money(amount: Decimal | int, currency: str) -> str:
    """$1,234.50; an amount too small for the currency's smallest unit shows its first two digits that count."""
    amount = Decimal(amount)
    places = minor_places(currency)
    shown = round_half_even(amount, places)
    if amount and abs(amount) < Decimal(1).scaleb(-places):
        digits = -amount.adjusted() + 1
        shown = round_half_even(amount, min(digits, 12))
    sign = _SIGNS.get(currency)
    return f"{'-' if amount < 0 else ''}{sign}{abs(shown):,f}" if sign else f"{shown:,f} {currency}"


def amount_of_bytes(count: Decimal | int) -> str:
    """1.5 MB, in powers of 1024 as the prices are."""
    value = Decimal(count)
    unit = 0
    while abs(value) >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    whole = unit == 0 or value >= 100 or value == int(value)
    return f"{value:,.0f} {_UNITS[unit]}" if whole else f"{value:,.1f} {_UNITS[unit]}"


def duration(seconds: Decimal | float | None) -> str:
    """0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None:
        return NOTHING
    whole = int(seconds)
    if whole < 10:
        return f"{float(seconds):.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min" if whole < 360_000 else f"{whole // 3600:,} h"


def ago(moment: datetime | None, now: datetime) -> str:
    """just now, 3 min ago, 2 h ago, 5 days ago."""
    if moment is None:
        return NOTHING
    seconds = int((now - moment).total_seconds())
    if seconds < 10:
        return "just now"
    for size, name in ((86_400, "day"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {name}{'s' if name == 'day' and count > 1 else ''} ago"
    return "just now"


def device(agent: str) -> str:
    """Firefox on Linux, out of what a browser calls itself; its own words where it is none of the usual ones."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return " on ".join(filter(None, (browser, system))) if browser else agent or "Unknown browser"


def time_element(moment: datetime | None, now: datetime | None = None) -> Markup:
    """A <time> with the exact instant behind it; relative where `now` is given."""
    if moment is None:
        return Markup("&ndash;")
    exact = moment.strftime("%Y-%m-%d %H:%M:%S UTC")
    shown = exact[:16] if now is None else ago(moment, now)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(moment.isoformat(), exact, shown)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent.parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"money": money, "bytes": amount_of_bytes, "duration": duration, "time": time_element, "device": device}
    environment.globals |= {"asset": asset_address}
    return environment


_templates = _environment()
