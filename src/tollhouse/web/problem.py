"""Errors as RFC 9457 problem documents. What a client is told never holds a stack trace, SQL or a path of ours."""

from collections.abc import Callable
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tollhouse.kit.errors import Busy, Fault, NotFound, TollhouseError, Unauthenticated, Unprocessable
from tollhouse.web.answer import encode

log = structlog.get_logger()
MEDIA_TYPE = "application/problem+json"
_TITLES = {404: "There is nothing at this address.", 405: "This address does not take that method."}


def document(error: TollhouseError) -> dict[str, Any]:
    """The problem document of one of our own errors."""
    shown = {"type": "about:blank", "title": error.title(), "status": error.status, "detail": sentence(error.detail)}
    return shown | ({"errors": [fault.as_dict() for fault in error.faults]} if error.faults else {})


def sentence(detail: str) -> str:
    """The text with a full stop, where it ends without one."""
    return detail if detail.endswith((".", "!", "?")) else f"{detail}."


def headers(error: TollhouseError) -> dict[str, str]:
    """What a client needs beside the document: when to come back, how to sign in."""
    if isinstance(error, Busy):
        return {"retry-after": str(error.retry_after)}
    return {"www-authenticate": "Bearer"} if isinstance(error, Unauthenticated) else {}


def respond(error: TollhouseError) -> Response:
    """The error as a response."""
    return Response(encode(document(error)), error.status, headers(error), MEDIA_TYPE)


def unexpected(error: Exception) -> TollhouseError:
    """What a client hears of an error of our own making; the log has all of it."""
    note(error)
    return _mishap()


def note(error: Exception) -> None:
    """Write an error of our own making into the log."""
    log.error("unexpected error", exc_info=error)


def _mishap() -> TollhouseError:
    return TollhouseError("Something went wrong inside Tollhouse; its log says what.")


def install(app: FastAPI, wants_page: Callable[[Request], bool], as_page: Callable[[Request, TollhouseError], Response]) -> None:
    """Answer every error with a problem document, or as a page where a person looks."""

    def answered(request: Request, error: TollhouseError) -> Response:
        return as_page(request, error) if wants_page(request) else respond(error)

    @app.exception_handler(TollhouseError)
    async def ours(request: Request, error: TollhouseError) -> Response:
        return answered(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        faults = [Fault(f"{fault['loc'][-1]}: {fault['msg']}", str(fault["loc"][-1])) for fault in error.errors()]
        return answered(request, Unprocessable("; ".join(fault.detail for fault in faults) + ".", faults))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404 and wants_page(request):
            return as_page(request, NotFound(_TITLES[404]))
        title = _TITLES.get(error.status_code, str(error.detail))
        shown = {"type": "about:blank", "title": title, "status": error.status_code, "detail": sentence(title)}
        return Response(encode(shown), error.status_code, error.headers, MEDIA_TYPE)

    @app.exception_handler(Exception)
    async def other(request: Request, _error: Exception) -> Response:
        return answered(request, _mishap())  # it is raised again behind this, and noted there
