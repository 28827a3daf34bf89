"""Signing in and out, and what a person can do about it: the first link, the password, the open sessions."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tollhouse import access
from tollhouse.access import Attempt, SignedIn, User
from tollhouse.jobs import FileLimits
from tollhouse.kit.errors import Busy, Forbidden, NotFound, TollhouseError, Unauthenticated
from tollhouse.web.forms import form_of
from tollhouse.web.pages.frame import redirect, show
from tollhouse.web.pages.viewer import Operates, cookie_name, is_from_elsewhere, is_secure
from tollhouse.web.parts import Parts, Wired

router = APIRouter(include_in_schema=False)
HOME = "/admin/jobs"
_NO_FILES = FileLimits(job_files=0)


async def _fields(request: Request) -> dict[str, str]:
    async with form_of(request, _NO_FILES) as form:
        return form.fields


@router.get("/sign-in")
def ask(request: Request, next: Annotated[str, Query(max_length=2000)] = "") -> Response:
    """The form."""
    return show(request, None, "sign_in.html", email="", next=_ours(next), fault="")


@router.post("/sign-in")
async def sign_in(request: Request, parts: Wired) -> Response:
    """Check the address and the password, and open a session."""
    _refuse_foreign(request)
    return await run_in_threadpool(_sign_in, request, parts, await _fields(request))


def _sign_in(request: Request, parts: Parts, fields: dict[str, str]) -> Response:
    origin = request.client.host if request.client else ""
    attempt = Attempt(fields.get("email", "")[:300], fields.get("password", ""), origin)
    following = _ours(fields.get("next", ""))
    try:
        user = _checked(parts, attempt)
    except (Unauthenticated, Busy) as error:
        page = show(request, None, "sign_in.html", error.status, email=attempt.email, next=following, fault=error.detail)
        if isinstance(error, Busy):
            page.headers["retry-after"] = str(error.retry_after)
        return page
    return _with_session(request, parts, user, following or HOME)


def _checked(parts: Parts, attempt: Attempt) -> User:
    """The user; a failure is counted, in a transaction of its own."""
    now = parts.clock()
    with parts.records.reading() as session:
        access.check_patience(session, attempt, now)
        try:
            user = access.authenticate(session, attempt)
        except Unauthenticated:
            with parts.records.transaction() as counting:
                access.note_failure(counting, attempt, now)
            raise
    with parts.records.transaction() as session:
        access.note_success(session, attempt)
    return user


def _with_session(request: Request, parts: Parts, user: User, address: str) -> Response:
    with parts.records.transaction() as session:
        device = request.headers.get("user-agent", "")
        secret = access.open_session(session, user, parts.clock(), parts.session, device)
    answer = redirect(address)
    secure = is_secure(request, parts)
    answer.set_cookie(
        cookie_name(secure), secret, max_age=int(parts.session.total_seconds()), httponly=True, samesite="lax", secure=secure, path="/"
    )
    return answer


@router.post("/sign-out")
async def sign_out(request: Request, parts: Wired, viewer: Operates) -> Response:
    """End this session."""
    fields = await _fields(request)
    viewer.check_csrf(request, fields.get("csrf"))
    if viewer.signed_in is not None:
        await run_in_threadpool(_revoke, parts, viewer.signed_in, viewer.signed_in.session.id)
    answer = redirect("/sign-in")
    secure = is_secure(request, parts)
    answer.delete_cookie(cookie_name(secure), path="/", secure=secure, httponly=True, samesite="lax")
    return answer


def _revoke(parts: Parts, signed_in: SignedIn, id: str) -> None:
    with parts.records.transaction() as session:
        access.revoke_session(session, signed_in.user, id, parts.clock())


@router.get("/welcome")
def welcome(request: Request, parts: Wired, token: Annotated[str, Query(max_length=100)]) -> Response:
    """The form behind a sign-in link."""
    with parts.records.reading() as session:
        owner = access.organization(session, access.check_link(session, token, parts.clock()))
    return show(request, None, "welcome.html", token=token, email="", fault="", organization=owner.name)


@router.post("/welcome")
async def choose(request: Request, parts: Wired) -> Response:
    """Spend the link: the address and password are set, and a session is open."""
    _refuse_foreign(request)
    return await run_in_threadpool(_choose, request, parts, await _fields(request))


def _choose(request: Request, parts: Parts, fields: dict[str, str]) -> Response:
    token, email = fields.get("token", "")[:100], fields.get("email", "")
    try:
        with parts.records.transaction() as session:
            now = parts.clock()
            owner = access.use_link(session, token, now)
            user = access.set_password(session, owner, email, fields.get("password", ""), now, "sign-in link")
            access.revoke_all_sessions(session, user, now)
    except Forbidden:
        raise
    except TollhouseError as error:
        with parts.records.reading() as session:
            name = access.organization(session, access.check_link(session, token, parts.clock())).name
        return show(request, None, "welcome.html", error.status, token=token, email=email, fault=error.detail, organization=name)
    return _with_session(request, parts, user, HOME)


@router.get("/admin/account")
def account(request: Request, parts: Wired, viewer: Operates) -> Response:
    """Who one is, and where one has signed in."""
    return _account(request, parts, viewer)


def _account(request: Request, parts: Parts, viewer: Operates, status: int = 200, fault: str = "", done: str = "") -> Response:
    if viewer.signed_in is None:
        raise NotFound("In development there is no account: nobody needs to sign in.")
    with parts.records.reading() as session:
        sessions = access.list_sessions(session, viewer.signed_in.user.id, parts.clock())
    return show(request, viewer, "account.html", status, me=viewer.signed_in, sessions=sessions, fault=fault, done=done)


@router.post("/admin/account/password")
async def change_password(request: Request, parts: Wired, viewer: Operates) -> Response:
    """A new password; every other session ends."""
    fields = await _fields(request)
    viewer.check_csrf(request, fields.get("csrf"))
    return await run_in_threadpool(_change_password, request, parts, viewer, fields)


def _change_password(request: Request, parts: Parts, viewer: Operates, fields: dict[str, str]) -> Response:
    if viewer.signed_in is None:
        raise NotFound("In development there is no account: nobody needs to sign in.")
    user = viewer.signed_in.user
    try:
        origin = request.client.host if request.client else ""
        _checked(parts, Attempt(user.email, fields.get("current", ""), origin))
        with parts.records.transaction() as session:
            changed = access.set_password(session, user.organization, user.email, fields.get("password", ""), parts.clock(), user.email)
            access.revoke_all_sessions(session, changed, parts.clock())
    except TollhouseError as error:
        said = "The present password is wrong." if isinstance(error, Unauthenticated) else error.detail
        return _account(request, parts, viewer, error.status, said)
    return _with_session(request, parts, user, "/admin/account")


@router.post("/admin/account/sessions/{id}/revoke")
async def revoke(request: Request, parts: Wired, viewer: Operates, id: str) -> Response:
    """End one session."""
    fields = await _fields(request)
    viewer.check_csrf(request, fields.get("csrf"))
    if viewer.signed_in is None:
        raise NotFound("In development there is no account: nobody needs to sign in.")
    await run_in_threadpool(_revoke, parts, viewer.signed_in, id)
    return redirect("/admin/account")


def _refuse_foreign(request: Request) -> None:
    """Before there is a session, where the form came from is all there is to check (login CSRF)."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") or is_from_elsewhere(request):
        raise Forbidden("This form was sent from another site; open the page here and send it again.")


def _ours(address: str) -> str:
    """The address to go on to if it is one of our own pages, else nothing."""
    plain = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable() and "\\" not in address
    return address if plain else ""
