"""Query parameters that several routes share, read and checked once."""

from typing import Annotated

from fastapi import Depends, Query

from tollhouse.kit import times
from tollhouse.kit.paging import MOST, Page

Limit = Annotated[int, Query(ge=1, le=MOST)]
Offset = Annotated[int, Query(ge=0, le=10**9)]


def page_of(limit: Limit = 50, offset: Offset = 0) -> Page:
    """A dependency: which page is wanted."""
    return Page(limit, offset)


def instant_of(text: str | None, field: str) -> int | None:
    """An optional time, in microseconds."""
    return None if text is None else times.parse_time(text, field)


Paged = Annotated[Page, Depends(page_of)]
