"""The files of a job: what was handed in (`input`), what came out (`result`), and a picture of it (`thumbnail`)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse.kit import ids
from tollhouse.kit.errors import NotFound
from tollhouse.store.records import Record

FileRole = Literal["input", "result", "thumbnail"]


class JobFile(Record):
    """`key` is where the object store has it; `size` is in bytes; `content_type` is what its content says."""

    __tablename__ = "job_files"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"))
    job: Mapped[str] = mapped_column(sa.ForeignKey("jobs.id"), index=True)
    role: Mapped[str] = mapped_column(sa.String(20))
    name: Mapped[str] = mapped_column(sa.String(255))
    key: Mapped[str] = mapped_column(sa.String(600))
    size: Mapped[int] = mapped_column(sa.BigInteger)
    content_type: Mapped[str] = mapped_column(sa.String(120))
    created_at: Mapped[datetime]


@dataclass(frozen=True)
class StoredFile:
    """A file that lies in the object store and belongs to no job yet."""

    name: str
    key: str
    size: int
    content_type: str
    sha256: str = ""


def attach(session: Session, organization: str, job: str, role: FileRole, files: Iterable[StoredFile], now: datetime) -> list[JobFile]:
    """Give a job its files."""
    rows = [
        JobFile(
            id=ids.new("fil"),
            organization=organization,
            job=job,
            role=role,
            name=file.name,
            key=file.key,
            size=file.size,
            content_type=file.content_type,
            created_at=now,
        )
        for file in files
    ]
    session.add_all(rows)
    session.flush()
    return rows


def files_of(session: Session, organization: str, jobs: Sequence[str]) -> dict[str, list[JobFile]]:
    """The files of those jobs, in the order in which they came."""
    found: dict[str, list[JobFile]] = {job: [] for job in jobs}
    for at in range(0, len(jobs), 500):
        mine = sa.select(JobFile).where(JobFile.organization == organization, JobFile.job.in_(jobs[at : at + 500]))
        for file in session.scalars(mine.order_by(JobFile.id)):
            found[file.job].append(file)
    return found


def file(session: Session, id: str) -> JobFile:
    """The file of that id, for whoever holds a signed address of it; raises NotFound."""
    kept = session.get(JobFile, id)
    if kept is None:
        raise NotFound("There is no such file any more.")
    return kept
