"""An event's `data`: what is allowed in it, how it is kept, and what is lifted out of it.

The payload is kept as the text that was sent. DuckDB reads JSON numbers as doubles, so a number that a double
cannot hold digit for digit is kept as a string in the copy that is queried, and the text as sent beside it.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from tollhouse.kit import money
from tollhouse.kit.jsonpath import JsonPath

DEEPEST = 32
LARGEST_EXPONENT = 300

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_LONG_NUMBER = re.compile(rb"[0-9][0-9.]{15}|[0-9][eE][+-]?[0-9]{3}")
_EXPONENT = re.compile(r"[eE][+-]?[0-9]{5}")  # of five digits and more, even as zeros
_EXPONENT_3 = re.compile(rb"0e[+-]?000")
_AS_ZEROS = bytes.maketrans(b"0123456789.E", b"0" * 11 + b"e")
_SIXTEEN = b"0" * 16
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')
Members = dict[str, msgspec.Raw]
_object = msgspec.json.Decoder(Members)
_objects = msgspec.json.Decoder(list[Members])
_SPACED_COLONS = (b" :", b"\t:", b"\r:", b"\n:")
_array = msgspec.json.Decoder(list[msgspec.Raw])
_string = msgspec.json.Decoder(str)


class PayloadFault(Exception):
    """Something is wrong in one member of one event: `field`, and `detail` for people."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field, self.detail = field, f"{field}: {detail}"


@dataclass(frozen=True)
class Promotion:
    """The property of an event type that is kept as a number beside the payload."""

    path: JsonPath
    text: str  # the path as the meters write it into their queries
    find: Callable[[bytes], bytes | None]  # the JSON text at the path in a payload
    member: str = ""  # the path, where it is a member of the payload itself

    @classmethod
    def of(cls, path: JsonPath) -> "Promotion":
        """Promote what this path points at."""
        steps = path.steps
        if len(steps) == 1 and isinstance(steps[0], str):
            return cls(path, str(path), _member(steps[0]), steps[0])
        return cls(path, str(path), lambda data: _raw_at(data, steps))


class Kept(NamedTuple):
    """What is stored of one payload."""

    data: str
    original: str | None = None
    job: str | None = None
    path: str | None = None
    value: str | None = None


class Payload:
    """Checks and keeps the payloads of one request; what holds for its whole body is found out once."""

    def __init__(self, body: bytes, data_bytes: int, promoted: Mapping[str, Promotion]) -> None:
        self._limit = data_bytes
        self._promoted = promoted
        escaped = b"\\" in body and b"\\u" in body  # one byte is found many times faster than two
        self.may_hold_nul = escaped and b"\\u0000" in body
        self._may_hold_surrogates = escaped and _SURROGATE.search(body) is not None
        self._may_hold_jobs = b'"job_id"' in body
        self._flat: list[Members] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether nothing in the body needs a closer look."""
        return not (self.may_hold_nul or self._may_hold_surrogates)

    def all_small_and_flat(self, raws: Sequence[bytes]) -> bool:
        """Whether no payload can be over a limit of size or depth, or hold a number that a double cannot or a member twice."""
        limit, together = self._limit, b",".join(raws)
        if _may_hold_long_number(together):  # of the payloads alone: an id often has that many digits
            return False
        if max(map(len, raws)) > limit:
            return False
        self._flat = _held_once(together)
        if self._flat is not None and b"[" not in together:
            return True  # no deeper than an empty object in each member
        if any(raw.count(b"{") + raw.count(b"[") > DEEPEST for raw in raws):
            return False
        return self._flat is not None or all(_repeated_member(raw) is None for raw in raws)

    def promoted_of(self, types: Sequence[str], raws: Sequence[bytes]) -> tuple[list[str | None], list[str | None], list[str | None]]:
        """Jobs, paths and values of many payloads, as `keep` finds them."""
        count = len(raws)
        promotions = [self._promoted.get(type) for type in types] if self._promoted else []
        jobs: list[str | None] = [_job(raw) for raw in raws] if self._may_hold_jobs else [None] * count
        if not any(promotions):
            return jobs, [None] * count, [None] * count
        paths = [None if promotion is None else promotion.text for promotion in promotions]
        if self._flat is not None:  # then each payload's members lie ready
            found = [
                None if one is None else members.get(one.member) if one.member else one.find(raw)
                for one, members, raw in zip(promotions, self._flat, raws, strict=True)
            ]
            return jobs, paths, _numbers([None if raw is None else bytes(raw) for raw in found])
        values = [None if promotion is None else _number(promotion.find(raw)) for promotion, raw in zip(promotions, raws, strict=True)]
        return jobs, paths, values

    def keep(self, type: str, raw: msgspec.Raw) -> Kept:
        """Check one payload and lift out what is promoted; raises PayloadFault."""
        data = bytes(raw)
        self._check(data)
        stored, original = data.decode(), None
        if _LONG_NUMBER.search(data):
            stored, original = _double_safe(stored)
        promotion = self._promoted.get(type)
        if promotion is None and not self._may_hold_jobs:
            return Kept(stored, original)
        job = _job(data) if self._may_hold_jobs else None
        if promotion is None:
            return Kept(stored, original, job)
        return Kept(stored, original, job, promotion.text, _number(promotion.find(data)))

    def _check(self, data: bytes) -> None:
        if len(data) > self._limit:
            raise PayloadFault("data", f"has {len(data)} bytes; send at most {self._limit}")
        if data.count(b"{") + data.count(b"[") > DEEPEST and _depth(data) > DEEPEST:
            raise PayloadFault("data", f"is nested more than {DEEPEST} levels deep; flatten it")
        if (name := _repeated_member(data)) is not None:
            raise PayloadFault("data", f"names the member {name[:40]!r} twice in one object; send it once")
        if self.may_hold_nul and _NUL.search(data):
            raise PayloadFault("data", "holds a NUL character, which cannot be stored; leave it out")
        if self._may_hold_surrogates and not _well_formed(data):
            raise PayloadFault("data", "holds half of a surrogate pair, which is no character; send whole characters")


def _member(name: str) -> Callable[[bytes], bytes | None]:
    """A function that finds one member of an object, without making anything of the others."""
    struct = msgspec.defstruct("Member", [("found", msgspec.Raw, msgspec.Raw())], rename={"found": name}, gc=False)
    decode = msgspec.json.Decoder(struct).decode

    def find(data: bytes) -> bytes | None:
        try:
            return bytes(decode(data).found) or None  # type: ignore[attr-defined]
        except msgspec.ValidationError:
            return None

    return find


_job_id = _member("job_id")


def _job(data: bytes) -> str | None:
    job = _scalar(_job_id(data))
    return job if job is None or len(job) <= 255 else None


def _number(raw: bytes | None) -> str | None:
    if raw is not None and raw[0] in b"-0123456789":  # a number, and not a string that holds one
        short = len(raw) < 18 and b"e" not in raw and b"E" not in raw  # then JSON's grammar and size say all that the rule asks
        return raw.decode() if short else money.value_text(raw.decode())
    text = _scalar(raw)
    return None if text is None else money.value_text(text)


def _numbers(raws: list[bytes | None]) -> list[str | None]:
    """The same of many."""
    if None not in raws:
        together = b",".join(raws)  # type: ignore[arg-type]  # as has just been seen
        if not together.translate(None, b"0123456789.-,") and max(map(len, raws)) < 18:  # type: ignore[arg-type]
            return list(together.decode().split(","))
    return [None if raw is None else _number(raw) for raw in raws]


def _may_hold_long_number(text: bytes) -> bool:
    """Whether there are sixteen digits and dots in a row anywhere, or an exponent of three digits."""
    digits = text.translate(_AS_ZEROS)  # a search for sixteen zeros is many times faster than one for sixteen digits
    return _SIXTEEN in digits or (b"0e" in digits and _EXPONENT_3.search(digits) is not None)


def _held_once(together: bytes) -> list[Members] | None:
    """The members of these payloads, if it is certain at a glance that they are flat objects and none names a member twice."""
    try:
        objects = _objects.decode(b"[" + together + b"]")
    except msgspec.ValidationError:
        return None
    members = sum(map(len, objects))
    if members == together.count(b":"):  # of which there are as many as members sent, or more; one byte is counted fast
        return objects
    if any(pair in together for pair in _SPACED_COLONS):
        return None
    return objects if members == together.count(b'":') else None  # likewise, where there are colons in texts, too


def _repeated_member(data: bytes) -> str | None:
    """The name of a member that an object in the payload has twice: one engine would read the first, another the last."""
    repeated: list[str] = []

    def look(members: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in members]
        if len(set(names)) < len(names):
            repeated.append(next(name for name in names if names.count(name) > 1))

    if b":" in data and _held_once(data) is None:
        json.loads(data, object_pairs_hook=look, parse_int=str)  # an int has a limit of digits of its own
    return repeated[0] if repeated else None


def _depth(data: bytes) -> int:
    deepest = depth = 0
    for token in _BRACKETS.findall(data):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token, 0)
        deepest = max(deepest, depth)
    return deepest


def _well_formed(data: bytes) -> bool:
    try:
        json.dumps(json.loads(data), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _raw_at(data: bytes, steps: tuple[str | int, ...]) -> bytes | None:
    """The JSON text at a path, digits as they were sent, or None."""
    found = data
    for step in steps:
        try:
            if isinstance(step, int):
                items = _array.decode(found)
                if step >= len(items):
                    return None
                found = bytes(items[step])
            else:
                members = _object.decode(found)
                if step not in members:
                    return None
                found = bytes(members[step])
        except msgspec.ValidationError:
            return None
    return found


def _scalar(raw: bytes | None) -> str | None:
    """A JSON string's content or a number's digits; None for everything else."""
    if raw is None or raw[:1] in b"{[tfn":
        return None
    if raw[:1] != b'"':
        return raw.decode()
    return raw[1:-1].decode() if b"\\" not in raw else _string.decode(raw)


class _Digits(str):
    """A JSON number as its text."""


def _double_safe(data: str) -> tuple[str, str | None]:
    """The payload with the numbers that a double cannot hold as strings, and the payload as sent if that differs."""
    changed = False

    def queried(value: Any) -> Any:
        nonlocal changed
        if isinstance(value, _Digits):
            exact = Decimal(value) if _EXPONENT.search(value) is None else None
            if exact is None or (exact and abs(exact.adjusted()) > LARGEST_EXPONENT):
                raise PayloadFault("data", f"the number {value[:40]} is out of range; send at most 300 digits")
            if value.lstrip("-").isdigit() and abs(exact) < 2**63:
                return int(value)
            if Decimal(repr(float(value))) == exact:
                return float(value)
            changed = True
            return str(value)
        if isinstance(value, dict):
            return {name: queried(member) for name, member in value.items()}
        return [queried(member) for member in value] if isinstance(value, list) else value

    copy = queried(json.loads(data, parse_float=_Digits, parse_int=_Digits))
    return (json.dumps(copy, ensure_ascii=False, separators=(",", ":")), data) if changed else (data, None)
