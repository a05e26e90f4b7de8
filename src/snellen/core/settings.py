"""Settings: frozen dataclasses with a sentence under each field and limits that are enforced.

    @settings
    class MLPSettings:
        hidden: Annotated[tuple[int, ...], Limit(least=1)] = (120,)
        \"\"\"Units of each hidden layer.\"\"\"
        descent: Descent = Descent(lr=0.1)

A field whose type is another settings class is a group; its fields appear beside the others under their own names,
so that on the command line everything is flat: `--hidden 120 --lr 0.1`. Imports no torch.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, dataclass_transform

from snellen.core.errors import UsageError, nearest, shown

C = TypeVar("C")
Kind = Literal["int", "float", "bool", "text", "choice"]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a number may be: `least` and `most` are allowed themselves, `above` and `below` are not."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        parts = [("at least", self.least), ("at most", self.most), ("above", self.above), ("below", self.below)]
        return " and ".join(f"{word} {bound:g}" for word, bound in parts if bound is not None)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One field as command line, help and docs see it."""

    name: str
    kind: Kind
    default: Any
    many: bool = False
    optional: bool = False
    choices: tuple[str, ...] = ()
    limit: Limit | None = None
    help: str = ""
    group: tuple[str, ...] = ()

    @property
    def describes(self) -> str:
        """What may be given, in words: "a number above 0"."""
        noun = {
            "int": "a whole number",
            "float": "a number",
            "bool": "yes or no",
            "text": "a text",
            "choice": "one of " + ", ".join(self.choices),
        }[self.kind]
        if self.many:
            noun = {"int": "whole numbers", "float": "numbers"}.get(self.kind, noun) + " separated by commas"
        limit = f" {self.limit}" if self.limit else ""
        return noun + limit + (", or auto" if self.optional else "")

    def check(self, value: Any) -> Any:
        """The value in its type, or an error that names setting, value and what may stand there."""
        if value is None and self.optional:
            return None
        if self.many:
            if not isinstance(value, tuple | list):
                value = (value,)
            return tuple(self._check_one(entry) for entry in value)
        return self._check_one(value)

    def _check_one(self, value: Any) -> Any:
        huge = isinstance(value, int) and abs(value) >= 1 << 63  # beyond what a tensor can count, or a float hold
        if self.kind == "float" and isinstance(value, int) and not isinstance(value, bool) and not huge:
            value = float(value)
        wanted: type = {"int": int, "float": float, "bool": bool, "text": str, "choice": str}[self.kind]
        wrong_type = not isinstance(value, wanted) or (isinstance(value, bool) and self.kind != "bool")
        wrong = huge or wrong_type or (self.kind == "choice" and value not in self.choices)
        if not wrong and isinstance(value, int | float):
            wrong = not math.isfinite(value) or (self.limit is not None and value not in self.limit)
        if wrong:
            hint = nearest(value, list(self.choices)) if self.kind == "choice" and isinstance(value, str) else ""
            raise UsageError(f"{self.flag} cannot be {shown(value)}", f"It takes {self.describes}. {hint}".rstrip())
        return value

    def parse(self, text: str) -> Any:
        """The value that a word on the command line stands for."""
        if self.optional and text.lower() in ("none", "auto"):
            return None
        parts = [part for part in text.split(",") if part] if self.many else [text]
        values = tuple(self._parse_one(part) for part in parts)
        return self.check(values if self.many else values[0])

    def _parse_one(self, text: str) -> Any:
        try:
            if self.kind == "int":
                return int(text)
            if self.kind == "float":
                return float(text)
            if self.kind == "bool":
                return {"yes": True, "true": True, "no": False, "false": False}[text.lower()]
        except (ValueError, KeyError):
            raise UsageError(f"{self.flag} cannot be {shown(text)}", f"It takes {self.describes}.") from None
        return text

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A value with the reason for it, as `--explain` shows them.

    Args:
        when: whether it holds beside what else is typed and suggested, by its flat name.
    """

    value: Any
    why: str
    when: Callable[[Mapping[str, Any]], bool] = lambda others: True


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(cls: type[C]) -> type[C]:
    """Makes a frozen, keyword-only dataclass whose limits are enforced when one is made."""

    def enforce(self: Any) -> None:
        for setting in own(cls):
            object.__setattr__(self, setting.name, setting.check(getattr(self, setting.name)))

    cls.__post_init__ = enforce  # type: ignore[attr-defined]
    return dataclass(frozen=True, kw_only=True)(cls)


def annotation(hint: Any) -> tuple[Kind, bool, bool, tuple[str, ...], Limit | None]:
    """(kind, many, optional, choices, limit) of an annotation."""
    limit: Limit | None = None
    optional = many = False
    while True:  # peel Annotated, None and tuple off in whatever order they come
        origin = typing.get_origin(hint)
        if origin is typing.Annotated:
            hint, *extras = typing.get_args(hint)
            limit = next((e for e in extras if isinstance(e, Limit)), limit)
        elif origin in (typing.Union, types.UnionType):
            optional = True
            (hint,) = (a for a in typing.get_args(hint) if a is not types.NoneType)
        elif origin is tuple:
            many = True
            hint = typing.get_args(hint)[0]
        else:
            break
    if typing.get_origin(hint) is Literal:
        return "choice", many, optional, typing.get_args(hint), limit
    names: dict[Any, Kind] = {int: "int", float: "float", bool: "bool", str: "text"}
    if hint not in names:
        raise TypeError(f"a setting cannot be of type {hint}: int, float, bool, str, Literal, tuples and None can")
    return names[hint], many, optional, (), limit


_OWN: dict[type, tuple[Setting, ...]] = {}


def own(cls: type) -> tuple[Setting, ...]:
    """The plain settings of a class, without its groups."""
    if cls not in _OWN:
        found = []
        helps = _sentences(cls)
        for name, hint in typing.get_type_hints(cls, include_extras=True).items():
            if dataclasses.is_dataclass(hint):
                continue
            kind, many, optional, choices, limit = annotation(hint)
            if name not in cls.__dict__:
                raise TypeError(f"{cls.__name__}.{name} needs a default")
            found.append(
                Setting(
                    name=name,
                    kind=kind,
                    default=cls.__dict__[name],
                    many=many,
                    optional=optional,
                    choices=choices,
                    limit=limit,
                    help=helps.get(name, ""),
                )
            )
        _OWN[cls] = tuple(found)
    return _OWN[cls]


def _sentences(cls: type) -> dict[str, str]:
    """The sentence under each field, where the source is at hand."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return {}
    return sentences(tree.body[0]) if isinstance(tree.body[0], ast.ClassDef) else {}


def sentences(tree: ast.ClassDef) -> dict[str, str]:
    """The string that follows each annotated field of a class."""
    found = {}
    for field, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
            value = after.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[field.target.id] = " ".join(value.value.split())
    return found


def flat(cls: type, base: Any = None, group: tuple[str, ...] = ()) -> Iterator[Setting]:
    """All settings of a class with those of its groups, in the order of their definition."""
    base = cls() if base is None else base
    plain = {setting.name: setting for setting in own(cls)}
    for field in dataclasses.fields(cls):
        value = getattr(base, field.name)
        if field.name in plain:
            yield dataclasses.replace(plain[field.name], default=value, group=group)
        else:
            yield from flat(type(value), value, (*group, field.name))


def joined(name: str, **groups: type) -> type[Any]:
    """A settings class that is nothing but its groups."""
    fields = [(field, group, dataclasses.field(default=group())) for field, group in groups.items()]
    return dataclasses.make_dataclass(name, fields, frozen=True, kw_only=True)


def values(instance: Any) -> dict[str, Any]:
    """Every setting by its flat name."""
    return {setting.name: setting.default for setting in flat(type(instance), instance)}


def make(cls: type[C], given: Mapping[str, Any]) -> C:
    """Settings with the given flat values, and defaults for the rest.

    Raises:
        UsageError: for an unknown name (with the nearest known) or a value outside its limits.
    """
    known = {setting.name: setting for setting in flat(cls)}
    for name in given:
        if name not in known:
            raise UsageError(f"{cls.__name__} has no setting {shown(name)}", nearest(name, sorted(known)))
    return _filled(cls(), given)


def _filled(base: C, given: Mapping[str, Any]) -> C:
    changes: dict[str, Any] = {}
    plain = {setting.name for setting in own(type(base))}
    for field in dataclasses.fields(base):  # type: ignore[arg-type]
        if field.name in plain:
            if field.name in given:
                changes[field.name] = given[field.name]
        else:
            changes[field.name] = _filled(getattr(base, field.name), given)
    return dataclasses.replace(base, **changes)  # type: ignore[type-var]


def resolve(cls: type[C], typed: Mapping[str, Any], suggested: Mapping[str, Suggestion]) -> tuple[C, dict[str, str]]:
    """What was typed wins over what the data suggests, and that over the default. Returns settings and sources."""
    others = {**{name: b.value for name, b in suggested.items()}, **typed}
    suggested = {name: because for name, because in suggested.items() if because.when(others)}
    chosen = make(cls, {**{name: b.value for name, b in suggested.items()}, **typed})
    sources = {}
    for setting in flat(cls):
        if setting.name in typed:
            sources[setting.name] = "given"
        elif setting.name in suggested:
            sources[setting.name] = suggested[setting.name].why
        else:
            sources[setting.name] = "default"
    return chosen, sources
