"""What an app and its workers do over HTTP, in a line each."""

import json
from decimal import Decimal
from typing import Any

import httpx
import sqlalchemy as sa

from tests.scenarios.serving import House, Tenant
from tollhouse.app import Tollhouse
from tollhouse.jobs import Upload

Files = list[tuple[str, tuple[str, bytes, str]]]


def named(*files: tuple[str, bytes], type: str = "application/octet-stream") -> Files:
    """Files as a form sends them."""
    return [("files", (name, content, type)) for name, content in files]


def hand_in(api: httpx.Client, *files: tuple[str, bytes], user: str = "carol", kind: str = "animate", **more: Any) -> dict[str, Any]:
    """A new job."""
    answer = (
        api.post("/api/jobs", data={"kind": kind, "user_id": user}, files=named(*files), **more)
        if files
        else api.post("/api/jobs", json={"kind": kind, "user_id": user}, **more)
    )
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def claim(api: httpx.Client, **wanted: Any) -> dict[str, Any]:
    """A job for a worker."""
    answer = api.post("/api/jobs/claim", json=wanted)
    assert answer.status_code == 200, answer.text
    given: dict[str, Any] = answer.json()
    return given


def complete(api: httpx.Client, job: dict[str, Any], *files: tuple[str, bytes], **said: Any) -> dict[str, Any]:
    """The job is done, with those result files."""
    fields = {"fence": str(job["fence"]), **{name: str(value) for name, value in said.items()}}
    answer = (
        api.post(f"/api/jobs/{job['id']}/complete", data=fields, files=named(*files))
        if files
        else api.post(f"/api/jobs/{job['id']}/complete", json={"fence": job["fence"], **said})
    )
    assert answer.status_code == 200, answer.text
    done: dict[str, Any] = answer.json()
    return done


def done_job(api: httpx.Client, *results: tuple[str, bytes], user: str = "carol") -> dict[str, Any]:
    """A job from its beginning to its end."""
    hand_in(api, user=user)
    return complete(api, claim(api), *results)


def exact(answer: httpx.Response) -> Any:
    """JSON with every digit of its numbers."""
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text, parse_float=Decimal, parse_int=Decimal)


def litter(tollhouse: Tollhouse, organization: str) -> list[str]:
    """What an organization has in the object store, and whatever waits as an upload."""
    with tollhouse.records.reading() as session:
        mine = sa.select(Upload.key).where(Upload.organization == organization, Upload.used_at.is_(None))
        waiting = list(session.scalars(mine))
    return sorted({*waiting, *kept(tollhouse, organization)})


def kept(tollhouse: Tollhouse, organization: str) -> list[str]:
    """The keys of an organization's objects."""
    return sorted(info.key for info in tollhouse.objects.list(f"files/{organization}"))


def refused(answer: httpx.Response, status: int, *words: str) -> str:
    """The sentence of a problem document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    sentence: str = problem["detail"]
    for word in words:
        assert word in sentence
    return sentence


def nothing_left(house: House, tenant: Tenant) -> None:
    """Neither a file nor a job of theirs."""
    assert litter(house.tollhouse, tenant.id) == []
    assert tenant.api.get("/api/jobs").json()["total"] == 0


def files_of(job: dict[str, Any]) -> list[tuple[str, int, str]]:
    """What a job's files are."""
    return [(file["name"], file["size"], file["content_type"]) for file in job["files"]]
