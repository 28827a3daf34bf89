"""Query parameters that several routes share, read and checked once; and the refusal of those that a route does not know.

A parameter that is passed over makes a question wider than it was meant: `DELETE /api/events?type=td&user_id=alice`
would delete everybody's. What a route takes is what the OpenAPI document says of it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.concurrency import run_in_threadpool

from tollhouse.kit import times
from tollhouse.kit.errors import Fault, Unprocessable
from tollhouse.kit.paging import MOST, Page
from tollhouse.web.guard import guard_of

_OPEN = ("/api/health",)
_MEMBER = re.compile(r"\A([^\[\]]+)\[.+\]\Z", re.DOTALL)
Limit = Annotated[int, Query(ge=1, le=MOST)]
Offset = Annotated[int, Query(ge=0, le=10**9)]


def page_of(limit: Limit = 50, offset: Offset = 0) -> Page:
    """A dependency: which page is wanted."""
    return Page(limit, offset)


def instant_of(text: str | None, field: str) -> int | None:
    """An optional time, in microseconds."""
    return None if text is None else times.parse_time(text, field)


Paged = Annotated[Page, Depends(page_of)]


async def only_declared(request: Request) -> None:
    """A dependency: no query parameter but those that the OpenAPI document names for this route, and one of each."""
    if request.query_params:
        operation = request.app.openapi()["paths"][request.scope["route"].path_format][request.method.lower()]
        declared = [one for one in operation.get("parameters", ()) if one["in"] == "query"]
        try:
            refuse_others(declared, (name for name, _ in request.query_params.multi_items()))
        except Unprocessable:
            if request.url.path not in _OPEN:  # whoever is nobody hears that first
                await run_in_threadpool(guard_of(request).caller, request.headers)
            raise


def refuse_others(declared: Iterable[Mapping[str, Any]], given: Iterable[str]) -> None:
    """Raise Unprocessable that names the first parameter that is not declared, or is there twice and no list."""
    repeatable = {_written(one): _is_map(one) or _is_list(one) for one in declared}
    seen: set[str] = set()
    for name in given:
        known = _MEMBER.sub(r"\1[name]", name)
        if known not in repeatable:
            there_are = f"there are {', '.join(repeatable)}" if repeatable else "this address takes none"
            raise _refusal(name, f"there is no such query parameter here; {there_are}")
        if name in seen and not repeatable[known]:
            raise _refusal(name, "it is there more than once; give it once")
        seen.add(name)


def _refusal(name: str, why: str) -> Unprocessable:
    field = name[:60]
    return Unprocessable(f"{field}: {why}", [Fault(f"{field}: {why}", field)])


def _written(parameter: Mapping[str, Any]) -> str:
    return f"{parameter['name']}[name]" if _is_map(parameter) else str(parameter["name"])


def _is_list(parameter: Mapping[str, Any]) -> bool:
    schema = parameter["schema"]
    return any(kind.get("type") == "array" for kind in (schema, *schema.get("anyOf", ())))


def _is_map(parameter: Mapping[str, Any]) -> bool:
    """Whether it is written like `filter[region]=eu`."""
    return parameter.get("style") == "deepObject"
