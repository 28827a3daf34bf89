"""Objects: files by key, in a directory or a bucket, through `obstore` (Rust's object_store).

An address is a directory, `s3://bucket/prefix`, or `memory://`. Keys are relative paths with `/`; a key
that would leave the store is refused here, before any backend sees it.
"""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import obstore
from obstore.exceptions import BaseError, InvalidPathError, NotFoundError, PreconditionError
from obstore.store import LocalStore, MemoryStore, ObjectStore, S3Store

from tollhouse.kit.errors import Conflict, NotFound, StorageFull, Unavailable, Unprocessable

if TYPE_CHECKING:
    from obstore import GetOptions


@dataclass(frozen=True)
class ObjectInfo:
    """One stored object: its key, size in bytes, entity tag and version where the store has them, and when it was
    last changed, in microseconds since 1970."""

    key: str
    size: int
    etag: str | None
    modified: int = 0
    version: str | None = None


@dataclass(frozen=True)
class S3Access:
    """How an S3 server is reached. An empty endpoint is Amazon's own; no key means the environment's."""

    endpoint: str = ""
    access_key: str = ""
    secret_key: str = ""
    region: str = "us-east-1"
    use_ssl: bool = True


class UnspeakableKey(Unavailable):
    """Somebody else put an object there whose key has no place here; nothing can be listed past it."""


class Objects:
    """One object store. Every method raises NotFound, StorageFull or Unavailable, never a backend's own error."""

    def __init__(self, backend: ObjectStore) -> None:
        self._backend = backend

    @classmethod
    def at(cls, address: str, s3: S3Access | None = None) -> "Objects":
        """The store at an address: a directory (made if missing), `s3://bucket/prefix` or `memory://`."""
        if address == "memory://":
            return cls(MemoryStore())
        if address.startswith("s3://"):
            if not address.removeprefix("s3://").partition("/")[0]:
                raise Unprocessable(f"{address[:200]!r} names no bucket; write it like s3://bucket/prefix.")
            try:
                return cls(_s3(address, s3 or S3Access()))
            except (BaseError, ValueError) as error:
                raise Unprocessable(f"{address[:200]!r} is no address of a bucket; write it like s3://bucket/prefix.") from error
        path = Path(address).absolute()
        path.mkdir(parents=True, exist_ok=True)
        return cls(LocalStore(path))

    @property
    def signs(self) -> bool:
        """Whether the store itself can sign addresses; a directory and memory cannot."""
        return isinstance(self._backend, S3Store)

    @property
    def keeps_attributes(self) -> bool:
        """Whether the store has a place for content types and metadata; a directory has not."""
        return not isinstance(self._backend, LocalStore)

    def put(
        self,
        key: str,
        content: bytes | bytearray | IO[bytes],
        content_type: str = "application/octet-stream",
        disposition: str = "",
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Store `content`, which may be a file larger than memory, replacing what was there, all or nothing; it is on the disk then.

        `disposition` is the Content-Disposition that a signed address of S3 will answer with, `metadata` the owner's own; `tags` are
        kept by S3 alone.
        """
        try:
            attributes = self._attributes(content_type, disposition, metadata or {})
            # Two parts of 5 MB on their way, and not the twelve that it takes by itself: several uploads come at a time.
            obstore.put(self._backend, _checked(key), content, attributes=attributes, tags=dict(tags or {}) or None, max_concurrency=2)
        except BaseError as error:
            raise _translated(error, key) from error
        self._sync(key)

    def _sync(self, key: str) -> None:
        """Bring an object in a directory to the disk, with the folders that lead to it; a bucket did so before it answered.

        One that is not there is left to whoever reads it.
        """
        root = self._backend.prefix if isinstance(self._backend, LocalStore) else None
        if root is not None:
            path = Path(root, _checked(key))
            for place in (path, *path.parents[: len(path.relative_to(root).parts)]):
                _sync(place)

    def get(self, key: str) -> bytes:
        """The whole content."""
        return bytes(self.view(key))

    def view(self, key: str) -> memoryview:
        """The whole content, where the store put it: a large one is in memory once and not twice."""
        try:
            return memoryview(obstore.get(self._backend, _checked(key)).bytes())
        except (BaseError, FileNotFoundError) as error:
            raise _translated(error, key) from error

    def stream(self, key: str, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The content in chunks of about `chunk_bytes`."""
        try:
            for chunk in obstore.get(self._backend, _checked(key)).stream(min_chunk_size=chunk_bytes):
                yield bytes(chunk)
        except (BaseError, FileNotFoundError) as error:
            raise _translated(error, key) from error

    def exactly(self, info: ObjectInfo, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The content of an object as `describe` found it; raises Conflict where it is another by now, as far as the store can tell."""
        # Not by its version, which needs a right of its own. An entity tag without quotes is not one that the store compares with.
        same: GetOptions | None = {"if_match": info.etag} if info.etag and info.etag.startswith('"') else None
        try:
            for chunk in obstore.get(self._backend, _checked(info.key), options=same).stream(min_chunk_size=chunk_bytes):
                yield bytes(chunk)
        except PreconditionError:
            raise Conflict(f"{info.key[:200]!r} was changed while it was read.") from None
        except (BaseError, FileNotFoundError) as error:
            raise _translated(error, info.key) from error

    def range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer where the object ends before."""
        size = self.head(key).size
        end = min(size, start + length)
        if end <= start:
            return b""
        try:
            return obstore.get_range(self._backend, _checked(key), start=start, end=end).to_bytes()
        except (BaseError, FileNotFoundError) as error:
            if "non-partial" not in str(error):
                raise _translated(error, key) from error
        return self._part_of_whole(key, start, end)  # rclone's server answers a range with all of it

    def _part_of_whole(self, key: str, start: int, end: int) -> bytes:
        """A range, read out of the whole content in constant memory."""
        part, at = bytearray(), 0
        for chunk in self.stream(key):
            part += chunk[max(0, start - at) : max(0, end - at)]
            at += len(chunk)
            if at >= end:
                break
        return bytes(part)

    def head(self, key: str) -> ObjectInfo:
        """Size and entity tag."""
        try:
            meta = obstore.head(self._backend, _checked(key))
        except (BaseError, FileNotFoundError) as error:
            raise _translated(error, key) from error
        return _info(meta)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key begins with the folder `prefix`, page by page."""
        try:
            for page in obstore.list(self._backend, prefix=prefix or None, chunk_size=1000):
                for meta in page:
                    yield _info(meta)
        except BaseError as error:
            raise _translated(error, prefix) from error

    def delete(self, key: str) -> None:
        """Remove the object; that it is gone already is not an error."""
        try:
            obstore.delete(self._backend, _checked(key))
        except (NotFoundError, FileNotFoundError):
            return
        except BaseError as error:
            raise _translated(error, key) from error

    def presign(self, key: str, method: str, seconds: int) -> str:
        """An address that may `GET` or `PUT` this one object for that long; only S3 can."""
        if not isinstance(self._backend, S3Store):
            raise Unprocessable("this object store cannot sign addresses; only s3:// can")
        if method not in ("GET", "PUT"):
            raise Unprocessable(f"method: {method!r} cannot be signed; use GET or PUT")
        return obstore.sign(self._backend, "GET" if method == "GET" else "PUT", _checked(key), timedelta(seconds=seconds))

    def attributes(self, key: str) -> tuple[str | None, dict[str, str]]:
        """An object's content type, and its other attributes by name; neither is kept by a directory."""
        return self.describe(key)[1:]

    def describe(self, key: str) -> tuple[ObjectInfo, str | None, dict[str, str]]:
        """An object as it is at this moment, with its version where the store has versions, and its attributes."""
        try:
            head = obstore.get(self._backend, _checked(key), options={"head": True})
            info, found = _info(head.meta), dict(head.attributes)
        except (BaseError, FileNotFoundError) as error:
            raise _translated(error, key) from error
        content_type = found.pop("Content-Type", None)
        return info, content_type, {str(name): str(value) for name, value in found.items()}

    def _attributes(self, content_type: str, disposition: str, metadata: Mapping[str, str]) -> Any:
        # A directory has nowhere to keep a content type, and object_store refuses rather than drop it.
        if isinstance(self._backend, LocalStore):
            return None
        return dict(metadata) | {"Content-Type": content_type} | ({"Content-Disposition": disposition} if disposition else {})


def _sync(path: Path) -> None:
    try:
        opened = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network drives cannot do it for folders
            raise Unavailable(f"{path.name} could not be brought to the disk: {error.strerror}.") from None
    finally:
        os.close(opened)


def _info(meta: Any) -> ObjectInfo:
    modified = int(meta["last_modified"].timestamp() * 1_000_000)
    return ObjectInfo(meta["path"], meta["size"], meta["e_tag"], modified, meta["version"])


def _s3(address: str, access: S3Access) -> S3Store:
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    # A bucket with an object lock takes nothing without a checksum, and the one of the signature is computed anyway.
    options: dict[str, Any] = {"region": access.region, "virtual_hosted_style_request": False, "checksum_algorithm": "SHA256"}
    if access.endpoint:
        scheme = "" if "://" in access.endpoint else "https://" if access.use_ssl else "http://"
        options["endpoint"] = scheme + access.endpoint
    if access.access_key:
        options |= {"access_key_id": access.access_key, "secret_access_key": access.secret_key}
    plain = options.get("endpoint", "").startswith("http://")
    return S3Store(bucket, prefix=prefix or None, client_options={"allow_http": plain}, **options)


def speakable(key: str) -> bool:
    """Whether an object of that key can be read and written here; a bucket may hold others, such as `a//b` and `a/`."""
    return (
        bool(key)
        and len(key) <= 1000
        and "\\" not in key
        and all(part not in ("", ".", "..") and min(part) >= " " for part in key.split("/"))
    )


def _checked(key: str) -> str:
    if not speakable(key):
        raise Unprocessable(f"key: {key[:120]!r} is not an object key; write it like folder/name.ext")
    return key


def _translated(error: Exception, key: str) -> Exception:
    if isinstance(error, NotFoundError | FileNotFoundError):
        return NotFound(f"There is no object {key[:200]!r}.")
    if "No space left" in str(error) or "os error 28" in str(error):
        return StorageFull("The disk that holds the objects is full; nothing was stored.")
    if isinstance(error, InvalidPathError):
        return UnspeakableKey(f"There is a key that cannot be read: {str(error).splitlines()[0][:200]}.")
    if refused := re.search(r"<Code>(\w{1,80})</Code>", str(error)):
        return Unavailable(f"The object store refuses: {refused[1]}.")
    return Unavailable(f"The object store does not answer: {type(error).__name__}.")
