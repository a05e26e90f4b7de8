"""Patterns of file names with fields, "{slide}_*.png", matched in polynomial time for every pattern and name."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WILDCARDS = {"*": ".*", "?": "."}
_MAX_STEPS = 1_000_000  # of the regular expression, which tries all ends of all wildcards


class NamePattern:
    """A pattern: a `{field}` matches as little as possible, "*" anything, "?" one character.

    Raises:
        re.error: a field has an invalid name.
    """

    def __init__(self, pattern: str) -> None:
        self.parts = [part for part in re.split(r"(\{\w+\}|\*|\?)", pattern) if part]
        self.fields = list(dict.fromkeys(part[1:-1] for part in self.parts if re.fullmatch(r"\{\w+\}", part)))
        seen: set[str] = set()
        regex = ""
        for part in self.parts:
            field = part[1:-1]
            if part == f"{{{field}}}" and field in self.fields:
                regex += f"(?P={field})" if field in seen else f"(?P<{field}>.+?)"
                seen.add(field)
            else:
                regex += _WILDCARDS.get(part, re.escape(part))
        self._regex = re.compile(regex, re.DOTALL)
        self._open_ends = len(self.fields) + self.parts.count("*")

    def match(self, name: str) -> tuple[str, ...] | None:
        """The values of the fields, or None."""
        if len(name) ** self._open_ends <= _MAX_STEPS:
            match = self._regex.fullmatch(name)
            return None if match is None else match.groups()
        return _Search(self, name).walk(0, 0, {})


class _Search:
    """The search of the regular expression, which tries no rest of the name twice with the same rest of the pattern."""

    def __init__(self, pattern: NamePattern, name: str) -> None:
        self.parts, self.fields, self.name = pattern.parts, pattern.fields, name
        self.failed: set[tuple[int, int, tuple[str | None, ...]]] = set()
        self.needed = [[f for f in self.fields if f"{{{f}}}" in self.parts[k:]] for k in range(len(self.parts) + 1)]

    def walk(self, part: int, start: int, values: dict[str, str]) -> tuple[str, ...] | None:
        """Match the parts from `part` on with the name from `start` on, given the values of earlier fields."""
        if part == len(self.parts):
            return tuple(values[field] for field in self.fields) if start == len(self.name) else None
        state = (part, start, tuple(values.get(field) for field in self.needed[part]))
        if state in self.failed:
            return None
        field = self.parts[part][1:-1]
        is_field = field in self.fields and self.parts[part] == f"{{{field}}}"
        for end in self._ends(part, start, values.get(field) if is_field else None, is_field):
            new = {**values, field: self.name[start:end]} if is_field else values
            result = self.walk(part + 1, end, new)
            if result is not None:
                return result
        self.failed.add(state)
        return None

    def _ends(self, part: int, start: int, value: str | None, is_field: bool) -> Iterator[int]:
        """Ends of a part that begins at `start`, in the order in which the regular expression tries them."""
        length, text = len(self.name), self.parts[part]
        if is_field and value is None:
            yield from range(start + 1, length + 1)
        elif text == "*":
            yield from range(length, start - 1, -1)
        elif text == "?":
            yield from range(start + 1, min(start + 2, length + 1))
        elif self.name.startswith(value if value is not None else text, start):
            yield start + len(value if value is not None else text)
