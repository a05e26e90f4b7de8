"""The plan of a ladder in its `ladder.json`: a resumed ladder uses the plan that it began with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from snellen.core import file_io
from snellen.core.errors import DataError
from snellen.core.serialization import from_plain

T = TypeVar("T")

MAX_SECONDS = 1e9
_ANEW = "Train the ladder anew in another folder."

# Part: its type. Seconds and image sizes that were measured, seconds of trainings, reasons by setting or model.
PARTS: dict[str, Any] = {
    "needed": Mapping[str, tuple[float, int]],
    "first": Mapping[str, tuple[float, int]],
    "pilots": Mapping[str, float],
    "finals": Mapping[str, float],
    "failures": Mapping[str, str],
    "harmful": Mapping[str, str],
    "harmless": Mapping[str, str],
}


class StoredPlan:
    """The plan in `ladder.json` of a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ladder.json"

    @property
    def parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = file_io.read_json(self._path).get("plan", {})
        return parts

    def get(self, key: str, make: Callable[[], T]) -> T:
        """A part of the plan: that of `ladder.json` if it is there, else a new one, which is stored."""
        parts = self.parts
        return parts[key] if key in parts else self.set(key, make())

    def set(self, key: str, value: T) -> T:
        plain = file_io.read_json(self._path)
        plain.setdefault("plan", {})[key] = value
        file_io.write_json(self._path, plain)
        return value

    def set_spent(self, seconds: float) -> None:
        """Store the seconds of the budget that are spent, so that a killed ladder does not get them again."""
        file_io.write_json(self._path, {**file_io.read_json(self._path), "spent": seconds})


def check_plan(plain: Mapping[str, Any], path: Path) -> None:
    """Check the budget and the plan of a ladder that is resumed. Raises DataError for a value of a wrong type."""
    for name in ("budget", "spent"):
        read_part(float, plain.get(name, 0.0), f"{path}: {name}")
        _check_numbers(plain.get(name, 0.0), f"{path}: {name}")
    plan = plain.get("plan", {})
    if not isinstance(plan, dict):
        raise DataError(f"{path}: plan is not an object", _ANEW)
    for key, value in plan.items():
        kind: Any = tuple[str, int] | None if key.startswith("longer-") else PARTS.get(key)
        if kind is None:
            raise DataError(f"{path}: unknown part of the plan {key!r}", _ANEW)
        read_part(kind, value, f"{path}: plan.{key}")
        _check_numbers(value, f"{path}: plan.{key}")


def read_part(kind: Any, value: Any, where: str) -> Any:
    """A part of `ladder.json`. Raises DataError with a remedy."""
    try:
        return from_plain(kind, value, where)
    except DataError as error:
        raise DataError(error.cause, error.remedy or _ANEW) from error


def _check_numbers(value: Any, where: str) -> None:
    """Raise DataError for a negative or an impossibly large number in a value."""
    if isinstance(value, dict):
        for key, part in value.items():
            _check_numbers(part, f"{where}.{key}")
    elif isinstance(value, list):
        for part in value:
            _check_numbers(part, where)
    elif isinstance(value, int | float) and not 0 <= value <= MAX_SECONDS:
        raise DataError(f"{where} is {value:g}", _ANEW)
