"""The ASGI application: the ingest route ahead, FastAPI with one router a domain behind."""

from typing import Any

from fastapi import Depends, FastAPI
from starlette.types import Receive, Scope, Send

from tollhouse import __version__
from tollhouse.kit.errors import BadInput
from tollhouse.web import assets, problem
from tollhouse.web.api import access, alerts, backups, billing, customers, events, files, jobs, meters, people, prices, usage, work
from tollhouse.web.compat import openmeter
from tollhouse.web.ingest import OPENMETER_PATH, IngestRoute
from tollhouse.web.openapi import with_ingest
from tollhouse.web.pages import admin, sign_in
from tollhouse.web.pages import alerts as alert_pages
from tollhouse.web.pages import backups as backup_pages
from tollhouse.web.pages import billing as billing_pages
from tollhouse.web.pages import jobs as job_pages
from tollhouse.web.pages.frame import show_error, wants_page
from tollhouse.web.parts import Parts
from tollhouse.web.query import only_declared

API = (
    access.router,
    customers.router,
    people.router,
    events.router,
    meters.router,
    usage.router,
    prices.router,
    billing.router,
    work.router,  # its /api/jobs/claim comes before the jobs' own /api/jobs/{id}
    jobs.router,
    backups.router,
    alerts.router,
)
OTHERS = (
    files.router,
    openmeter.router,  # what its clients send is OpenMeter's to say
    assets.router,
    sign_in.router,
    job_pages.router,
    billing_pages.router,
    backup_pages.router,
    admin.router,
    alert_pages.router,
)
INGEST_PATHS = ("/api/events", OPENMETER_PATH)


class Application:
    """One Tollhouse on HTTP."""

    def __init__(self, parts: Parts) -> None:
        self.api = FastAPI(title="Tollhouse", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
        self.api.state.parts = parts
        problem.install(self.api, wants_page, show_error)
        for router in API:
            self.api.include_router(router, dependencies=[Depends(only_declared)])
        for router in OTHERS:
            self.api.include_router(router)
        generate = self.api.openapi
        described: dict[str, Any] = {}

        def openapi() -> dict[str, Any]:
            if not described:
                described.update(with_ingest(generate()))
            return described

        self.api.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
        self._ingest = IngestRoute(parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one connection."""
        if scope["type"] == "http":
            if scope["path"] in INGEST_PATHS and scope["method"] in ("POST", "OPTIONS"):
                await self._ingest(scope, receive, send)
                return
            if b"%00" in scope["query_string"] or "\0" in scope["path"]:
                await problem.respond(BadInput("The address holds a NUL character; leave it out."))(scope, receive, send)
                return
        try:
            await self.api(scope, receive, send)
        except Exception as error:  # it is answered; the server would write it into the log in words of its own
            problem.note(error)
