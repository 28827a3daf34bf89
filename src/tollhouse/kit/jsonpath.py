"""The small part of JSONPath (RFC 9535) that meters use: `$.a.b`, `$."a b"`, `$.list[0]`.

Both stores read exactly this part from a bound parameter, so a path never becomes SQL text.
"""

import re
from dataclasses import dataclass
from typing import Any

from tollhouse.kit.errors import Unprocessable

_STEP = re.compile(r'\.([A-Za-z_][A-Za-z0-9_-]*)|\."([^"\\\x00-\x1f]{1,100})"|\[([0-9]{1,4})\]')


@dataclass(frozen=True)
class JsonPath:
    """A parsed path: `steps` are property names (str) and list positions (int)."""

    steps: tuple[str | int, ...]

    @classmethod
    def parse(cls, text: str, field: str = "path") -> "JsonPath":
        """Read `text`; raises Unprocessable that names `field` if it is not such a path."""
        steps: list[str | int] = []
        at = 1
        while text[:1] == "$" and at < len(text):
            match = _STEP.match(text, at)
            if match is None:
                break
            bare, quoted, position = match.groups()
            steps.append(int(position) if position is not None else bare or quoted)
            at = match.end()
        if not steps or at != len(text) or len(steps) > 8:
            raise Unprocessable(f"{field}: {text[:120]!r} is not a path; write it like $.quantity or $.items[0].size")
        return cls(tuple(steps))

    def __str__(self) -> str:
        return "$" + "".join(f"[{step}]" if isinstance(step, int) else f'."{step}"' for step in self.steps)

    def find(self, value: Any) -> Any:
        """What the path points at inside a decoded JSON value, or None."""
        for step in self.steps:
            if isinstance(step, int):
                if not isinstance(value, list) or step >= len(value):
                    return None
                value = value[step]
            else:
                if not isinstance(value, dict) or step not in value:
                    return None
                value = value[step]
        return value
