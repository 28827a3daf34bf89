"""What S3 knows of a bucket and `obstore` cannot ask: its settings, and the tags of its objects.

Requests are httpx's, signatures httpx-auth's (docs/decisions/0015). Answers are a stranger's: their size is bounded, a document that
declares types or entities is refused, and what is no answer to the question is told from one that is. Some servers ignore what they do not
know in an address, so that a question about a setting lists the bucket, and a change of it would replace an object.
"""

import base64
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

import httpx
from httpx_auth import AWS4Auth

from tollhouse.kit.errors import Conflict, Unavailable
from tollhouse.store.objects import ObjectInfo, S3Access

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
MOST_BYTES = 1 << 20
PAGE = 250  # objects: a key may have a thousand bytes, and three times that where it is quoted
DEEPEST = 20
PASSING = (429, 500, 502, 503, 504)
PAUSES = (0.2, 1.0)


@dataclass(frozen=True)
class Answer:
    """What the server said: its status, the name it gives to an error, and the content, None where that was too much to be read."""

    status: int
    code: str
    content: bytes | None

    @property
    def good(self) -> bool:
        """Whether the server did what was asked."""
        return 200 <= self.status < 300

    @property
    def passing(self) -> bool:
        """Whether it may be well a moment later."""
        return self.status in PASSING

    @property
    def said(self) -> str:
        """The refusal in a few words."""
        return f"{self.status} {self.code}".strip()


class BucketApi:
    """One bucket, for as long as it is entered; several threads may ask at a time."""

    def __init__(self, bucket: str, access: S3Access) -> None:
        self.bucket, self._access = bucket, access
        self._client: httpx.Client | None = None

    def __enter__(self) -> Self:
        access = self._access
        key, secret, token = access.access_key, access.secret_key, None
        if not key:
            key, secret, token = (os.environ.get(f"AWS_{name}", "") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"))
        # Without keys the questions go unsigned, and are refused with the server's own words.
        auth = AWS4Auth(key, secret, access.region, "s3", **{"security_token": token} if token else {}) if key and secret else None
        self._client = httpx.Client(auth=auth, timeout=30, headers={"Accept-Encoding": "identity"})  # so that a small answer stays small
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._client is not None:
            self._client.close()

    def setting(self, query: str) -> Answer:
        """A setting as the server has it."""
        return self._ask("GET", query=query)

    def change(self, query: str, content: bytes) -> Answer:
        """Replace a setting; only for one that the server has been seen to know."""
        # Amazon asks for a checksum of a few of them, and older servers know only this one.
        checksum = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        return self._ask("PUT", query=query, content=content, headers={"Content-MD5": checksum})

    def tags(self, key: str) -> Answer:
        """The tags of an object, by its key in the bucket."""
        return self._ask("GET", quote(key), query="tagging")

    def objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key begins with `prefix`, which is left out, by its key as the server has it: also by those that obstore
        cannot read. Raises Unavailable.
        """
        token = ""
        while True:
            asked = {"continuation-token": token} if token else {}
            asked |= {"encoding-type": "url", "list-type": "2", "max-keys": str(PAGE)} | ({"prefix": prefix} if prefix else {})
            answer = self._ask("GET", query="&".join(f"{name}={quote(value, safe='')}" for name, value in asked.items()))
            try:
                root = parsed(answer.content or b"") if answer.good else None
            except ValueError:
                root = None
            if root is None or root.tag != "ListBucketResult":
                raise Unavailable(f"The object store does not list the bucket {self.bucket}: {answer.said}.")
            encoded = root.findtext("EncodingType") == "url"
            for one in root.iter("Contents"):
                key = one.findtext("Key", "")
                moment = datetime.fromisoformat(one.findtext("LastModified", "").replace("Z", "+00:00"))
                yield ObjectInfo(
                    (unquote_plus(key) if encoded else key).removeprefix(prefix),
                    int(one.findtext("Size", "0")),
                    one.findtext("ETag"),
                    int(moment.timestamp() * 1_000_000),
                )
            token = root.findtext("NextContinuationToken", "")
            if not token:
                return

    def exists(self) -> bool:
        """Whether there is such a bucket, even one that may not be looked into."""
        return self._ask("HEAD").status != 404

    def create(self, lockable: bool) -> None:
        """Make the bucket; an object lock is possible only where it was asked for now. Raises Conflict where the server refuses."""
        region = self._access.region
        place = (
            f'<CreateBucketConfiguration xmlns="{NAMESPACE}"><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>'
        )
        headers = {"x-amz-bucket-object-lock-enabled": "true"} if lockable else {}
        answer = self._ask("PUT", content=place.encode() if region != "us-east-1" else b"", headers=headers)
        if not answer.good:
            raise Conflict(f"The bucket {self.bucket} cannot be made: {answer.said}.")

    def _ask(self, method: str, path: str = "", query: str = "", content: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        address = f"{_endpoint(self._access)}/{quote(self.bucket, safe='')}" + (f"/{path}" if path else "") + (f"?{query}" if query else "")
        for pause in (*PAUSES, None):
            answer = self._once(method, address, content, headers or {})
            if not answer.passing or pause is None:
                break
            time.sleep(pause)
        return answer

    def _once(self, method: str, address: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        if self._client is None:
            raise RuntimeError("ask within `with`")
        try:
            with self._client.stream(method, address, content=content, headers=headers) as response:
                received: bytes | None = b""
                for piece in response.iter_raw():
                    received = (received or b"") + piece
                    if len(received) > MOST_BYTES:
                        received = None
                        break
        except httpx.HTTPError as error:
            raise Unavailable(f"The object store does not answer: {type(error).__name__}.") from error
        return Answer(response.status_code, _code(received) if response.status_code >= 300 else "", received)


def parsed(content: bytes) -> ElementTree.Element:
    """A document of S3's, its names without their namespace; raises ValueError for anything that S3 would not say."""
    try:
        root = ElementTree.XML(content, ElementTree.XMLParser(target=_Plain()))  # noqa: S314 - entities have to be declared, which is refused
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"no XML: {error}") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def tags_in(content: bytes | None) -> dict[str, str] | None:
    """The tags that a document `Tagging` names; None for what is none."""
    try:
        root = parsed(content or b"")
    except ValueError:
        return None
    return {tag.findtext("Key", ""): tag.findtext("Value", "") for tag in root.iter("Tag")} if root.tag == "Tagging" else None


def bucket_and_prefix(address: str) -> tuple[str, str]:
    """The two parts of `s3://bucket/prefix`; the prefix ends with a slash or is empty."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    return bucket, f"{prefix}/" if prefix else ""


class _Plain(ElementTree.TreeBuilder):
    """Builds trees of elements alone, and not deep ones."""

    _depth = 0

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type")

    def start(self, tag: str, attributes: dict[str, str]) -> ElementTree.Element:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError("it is too deep")
        return super().start(tag, {})

    def end(self, tag: str) -> ElementTree.Element:
        self._depth -= 1
        return super().end(tag)


def _code(content: bytes | None) -> str:
    try:
        return parsed(content or b"").findtext("Code", "")[:80]
    except ValueError:
        return ""


def _endpoint(access: S3Access) -> str:
    """Where requests go: the same place as obstore's."""
    given = access.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not given:
        return f"https://s3.{access.region}.amazonaws.com"
    scheme = "" if "://" in given else "https://" if access.use_ssl else "http://"
    return scheme + given.rstrip("/")
