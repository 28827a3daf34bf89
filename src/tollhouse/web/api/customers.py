"""Customers: whom the app has sent usage for."""

from fastapi import APIRouter
from starlette.responses import Response

from tollhouse import access
from tollhouse.web.answer import Answer, instant
from tollhouse.web.guard import Admin
from tollhouse.web.parts import Wired
from tollhouse.web.query import Paged

router = APIRouter(tags=["customers"])


@router.get("/api/customers")
def list_customers(parts: Wired, caller: Admin, page: Paged) -> Response:
    """Every customer by id, with the time of its first event's arrival."""
    with parts.records.reading() as session:
        found, total = access.list_customers(session, caller.organization, page)
    rows = [{"id": one.id, "first_seen": instant(one.first_seen)} for one in found]
    return Answer(page.answer("customers", rows, total))
