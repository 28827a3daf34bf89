"""The settings of a bucket: read as far as its server tells them, compared, and put back.

They are kept as S3 writes them, documents in XML and the policy in JSON, so that what is put back is what was there. What a server
does not know, or does not tell these keys, is named and fails nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree

from tollhouse.kit.errors import Conflict, Damaged, TollhouseError
from tollhouse.store.bucket_api import NAMESPACE, Answer, BucketApi, parsed

Difference = Literal["create", "overwrite", "identical", "unable"]
# Notes of a server beside the settings, which it takes back from nobody, or not without a second factor.
_NOTES = ("MfaDelete", "ExpiryUpdatedAt")
NO_TAGS = ("NoSuchTagSet", "NoSuchTagSetError")
_UNKNOWN = ("NotImplemented", "MethodNotAllowed", "UnsupportedOperation")


@dataclass(frozen=True)
class Setting:
    """One setting: how it is asked for, what its document is called (`` for JSON), and how a server says that there is none."""

    name: str
    query: str
    root: str
    absent: tuple[str, ...] = ()


# In this order they are put back: what restricts who may do what comes last.
SETTINGS = (
    Setting("versioning", "versioning", "VersioningConfiguration"),
    Setting("object lock", "object-lock", "ObjectLockConfiguration", ("ObjectLockConfigurationNotFoundError",)),
    Setting("encryption", "encryption", "ServerSideEncryptionConfiguration", ("ServerSideEncryptionConfigurationNotFoundError",)),
    Setting("tags", "tagging", "Tagging", NO_TAGS),
    Setting("cors", "cors", "CORSConfiguration", ("NoSuchCORSConfiguration",)),
    Setting("lifecycle", "lifecycle", "LifecycleConfiguration", ("NoSuchLifecycleConfiguration",)),
    Setting("ownership", "ownershipControls", "OwnershipControls", ("OwnershipControlsNotFoundError",)),
    Setting("public access", "publicAccessBlock", "PublicAccessBlockConfiguration", ("NoSuchPublicAccessBlockConfiguration",)),
    Setting("policy", "policy", "", ("NoSuchBucketPolicy",)),
)
_BY_NAME = {one.name: one for one in SETTINGS}


class Unread(Exception):
    """A setting could not be read."""


class Unknown(Unread):
    """The server does not have such a setting."""


def read(api: BucketApi) -> dict[str, Any]:
    """All of them: `settings` by name, which are `unset`, which the server does not know, and why others were `unreadable`."""
    settings: dict[str, str] = {}
    unset: list[str] = []
    unknown: list[str] = []
    unreadable: dict[str, str] = {}
    for one in SETTINGS:
        try:
            value = _read(api, one)
        except Unknown:
            unknown.append(one.name)
        except Unread as error:
            unreadable[one.name] = str(error)
        except TollhouseError as error:
            unreadable |= {rest.name: error.detail for rest in SETTINGS[SETTINGS.index(one) :]}
            break
        else:
            if value is None:
                unset.append(one.name)
            else:
                settings[one.name] = value
    return {"bucket": api.bucket, "settings": settings, "unset": unset, "unknown": unknown, "unreadable": unreadable}


def knows_tags(api: BucketApi) -> bool:
    """Whether the server knows what tags are."""
    try:
        _read(api, _BY_NAME["tags"])
    except Unread as error:
        return not isinstance(error, Unknown)
    except TollhouseError:
        return False
    return True


def compare(api: BucketApi, wanted: Mapping[str, str]) -> dict[str, Difference]:
    """What putting settings back would do to each of them."""
    here = read(api)
    differences: dict[str, Difference] = {}
    for one in SETTINGS:
        if one.name not in wanted:
            continue
        if one.name in here["unset"]:
            differences[one.name] = "create"
        elif one.name not in here["settings"]:
            differences[one.name] = "unable"
        else:
            differences[one.name] = "identical" if _same(here["settings"][one.name], wanted[one.name]) else "overwrite"
    return differences


def put(api: BucketApi, name: str, value: str) -> None:
    """Put one back and read it again; raises Conflict where the server refuses, and Damaged where it did not do what it said."""
    setting = _BY_NAME[name]
    answer = api.change(setting.query, value.encode())
    if not answer.good:
        raise Conflict(f"the server refuses it: {answer.said}")
    try:
        here = _read(api, setting)
    except Unread as error:
        raise Damaged(f"it was put back, and cannot be read: {error}") from None
    if here is None or not _same(here, value):
        raise Damaged("it reads back differently from what was put there")


def said(value: str) -> str:
    """A setting in a line for people."""
    return value if value.startswith("{") else _said(parsed(value.encode()))


def _read(api: BucketApi, setting: Setting) -> str | None:
    """As it is there; None where it is not set. Raises Unread."""
    answer = api.setting(setting.query)
    if answer.good:
        return _policy(answer) if not setting.root else _document(answer, setting)
    if answer.code in setting.absent:
        return None
    if answer.status == 501 or answer.code in _UNKNOWN:
        raise Unknown
    raise Unread(answer.said)


def _policy(answer: Answer) -> str | None:
    text = (answer.content or b"").decode(errors="replace")
    if text.lstrip().startswith("<"):
        raise Unknown
    try:
        policy = json.loads(text)
    except (ValueError, RecursionError):
        raise Unread("the answer is no policy") from None
    if not isinstance(policy, dict):
        raise Unread("the answer is no policy")
    return json.dumps(policy, ensure_ascii=False) if policy else None


def _document(answer: Answer, setting: Setting) -> str | None:
    try:
        root = parsed(answer.content or b"")
    except ValueError as error:
        raise Unread(f"the answer is no document of S3: {error}") from None
    # The tests' server calls one document after the question.
    if root.tag not in (setting.root, f"GetBucket{setting.root.removesuffix('Configuration')}Response"):
        raise Unknown
    for element in root.iter():
        for note in [child for child in element if child.tag in _NOTES]:
            element.remove(note)
        element.text = element.text if len(element) == 0 else None
        element.tail = None
    if not any((element.text or "").strip() for element in root.iter()):
        return None
    root.tag = setting.root
    root.set("xmlns", NAMESPACE)
    return ElementTree.tostring(root, "unicode")


def _same(one: str, other: str) -> bool:
    """Whether two say the same; servers put rules and tags in an order of their own."""
    if one.startswith("{") or other.startswith("{"):
        return bool(one.startswith("{") and other.startswith("{") and json.loads(one) == json.loads(other))
    return _form(parsed(one.encode())) == _form(parsed(other.encode()))


def _form(element: ElementTree.Element) -> tuple[str, str, list[Any]]:
    return element.tag, (element.text or "").strip(), sorted(_form(child) for child in element)


def _said(element: ElementTree.Element) -> str:
    if len(element) == 0:
        return (element.text or "").strip()
    if element.tag == "Tag":
        return f"{element.findtext('Key', '')}={element.findtext('Value', '')}"
    parts = [_said(child) if child.tag in ("Tag", "TagSet") else f"{child.tag} {_said(child)}" for child in element]
    return ", ".join(f"({part})" if "," in part and len(parts) > 1 else part for part in parts)
