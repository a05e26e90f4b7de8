"""Settings: frozen dataclasses with a docstring under each field and enforced limits.

    @settings
    class MLPSettings:
        hidden: Annotated[tuple[int, ...], Limit(min=1)] = (120,)
        \"\"\"Units of each hidden layer.\"\"\"
        training: TrainingSettings = TrainingSettings(lr=0.1)

A setting that has an effect only with some values of another one names it:
`Annotated[float, EffectiveIf("bias", (True,))]`. A field whose type is another settings class is a group. The command
line is flat: the fields of groups appear under their own names, `--hidden 120 --lr 0.1`. Imports no torch.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import math
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar, dataclass_transform

from snellen.core.errors import UsageError, short_repr, suggest_name
from snellen.core.legacy_names import setting_name

C = TypeVar("C")
SettingKind = Literal["int", "float", "bool", "text", "choice"]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Bounds of a number: `min` and `max` are inclusive, `above` and `below` exclusive."""

    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.min is None or value >= self.min)
            and (self.max is None or value <= self.max)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        parts = [("at least", self.min), ("at most", self.max), ("above", self.above), ("below", self.below)]
        return " and ".join(f"{word} {bound:g}" for word, bound in parts if bound is not None)


@dataclass(frozen=True)
class EffectiveIf:
    """Condition in the annotation of a setting: it has an effect only if another one has one of these values.

    Args:
        name: the other setting, of the same class.
    """

    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting as command line, help and docs show it."""

    name: str
    kind: SettingKind
    default: Any
    many: bool = False
    optional: bool = False
    choices: tuple[str, ...] = ()
    limit: Limit | None = None
    help: str = ""
    group: tuple[str, ...] = ()
    effective_if: EffectiveIf | None = None

    @property
    def accepted_values(self) -> str:
        """Description of the accepted values: "a number above 0"."""
        noun = {
            "int": "a whole number",
            "float": "a number",
            "bool": "yes or no",
            "text": "text",
            "choice": "one of " + ", ".join(self.choices),
        }[self.kind]
        if self.many:
            noun = "comma-separated " + {"int": "whole numbers", "float": "numbers"}.get(self.kind, noun)
        limit = f"{', each' if self.many else ''} {self.limit}" if self.limit else ""
        return noun + limit + (", or auto" if self.optional else "")

    def check(self, value: Any) -> Any:
        """Returns the value in its type; raises UsageError with the setting, the value and the accepted values."""
        if value is None and self.optional:
            return None
        if self.many:
            if not isinstance(value, tuple | list):
                value = (value,)
            return tuple(self._check_one(element) for element in value)
        return self._check_one(value)

    def _check_one(self, value: Any) -> Any:
        huge = isinstance(value, int) and abs(value) >= 1 << 63  # beyond int64, or what a float represents
        if self.kind == "float" and isinstance(value, int) and not isinstance(value, bool) and not huge:
            value = float(value)
        expected_type: type = {"int": int, "float": float, "bool": bool, "text": str, "choice": str}[self.kind]
        wrong_type = not isinstance(value, expected_type) or (isinstance(value, bool) and self.kind != "bool")
        wrong = huge or wrong_type or (self.kind == "choice" and value not in self.choices)
        if not wrong and isinstance(value, int | float):
            wrong = not math.isfinite(value) or (self.limit is not None and value not in self.limit)
        if wrong:
            hint = suggest_name(value, list(self.choices)) if self.kind == "choice" and isinstance(value, str) else ""
            raise UsageError(
                f"{self.flag} cannot be {short_repr(value)}", f"It takes {self.accepted_values}. {hint}".rstrip()
            )
        return value

    def parse(self, text: str) -> Any:
        """Parse the text of a command-line argument into a value."""
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
            raise UsageError(f"{self.flag} cannot be {short_repr(text)}", f"It takes {self.accepted_values}.") from None
        return text

    @property
    def flag(self) -> str:
        """Flag on the command line."""
        return "--" + self.name.replace("_", "-")

    def argument(self, value: Any) -> str:
        """The argument on the command line that gives a value: "--lr 0.1", "--no-bias"."""
        if self.kind == "bool":
            return self.flag if value else f"--no-{self.flag[2:]}"
        return f"{self.flag} {value}"


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """Suggested value of a setting with its reason, as `--explain` shows them.

    Args:
        condition: takes all typed and suggested values by flat name; returns whether the suggestion applies.
    """

    value: Any
    reason: str
    condition: Callable[[Mapping[str, Any]], bool] = lambda others: True


@dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(cls: type[C]) -> type[C]:
    """Class decorator: a frozen, keyword-only dataclass that checks its limits on construction."""

    def enforce(self: Any) -> None:
        for setting in direct_settings(cls):
            object.__setattr__(self, setting.name, setting.check(getattr(self, setting.name)))

    cls.__post_init__ = enforce  # type: ignore[attr-defined]
    return dataclass(frozen=True, kw_only=True)(cls)


class ParsedAnnotation(NamedTuple):
    """What a type annotation says about a setting."""

    kind: SettingKind
    many: bool
    optional: bool
    choices: tuple[str, ...]
    limit: Limit | None
    effective_if: EffectiveIf | None


def parse_annotation(hint: Any) -> ParsedAnnotation:
    """Parse a type annotation."""
    limit: Limit | None = None
    effective_if: EffectiveIf | None = None
    optional = many = False
    while True:  # unwrap Annotated, None and tuple in any order
        origin = typing.get_origin(hint)
        if origin is typing.Annotated:
            hint, *extras = typing.get_args(hint)
            limit = next((e for e in extras if isinstance(e, Limit)), limit)
            effective_if = next((e for e in extras if isinstance(e, EffectiveIf)), effective_if)
        elif origin in (typing.Union, types.UnionType):
            optional = True
            (hint,) = (a for a in typing.get_args(hint) if a is not types.NoneType)
        elif origin is tuple:
            many = True
            hint = typing.get_args(hint)[0]
        else:
            break
    if typing.get_origin(hint) is Literal:
        return ParsedAnnotation("choice", many, optional, typing.get_args(hint), limit, effective_if)
    names: dict[Any, SettingKind] = {int: "int", float: "float", bool: "bool", str: "text"}
    if hint not in names:
        raise TypeError(f"a setting cannot be of type {hint}: use int, float, bool, str, Literal, tuples or None")
    return ParsedAnnotation(names[hint], many, optional, (), limit, effective_if)


_DIRECT: dict[type, tuple[Setting, ...]] = {}


def direct_settings(cls: type) -> tuple[Setting, ...]:
    """Settings that a class defines itself or inherits, without those of its groups and without help texts."""
    if cls not in _DIRECT:
        settings_list = []
        for name, hint in typing.get_type_hints(cls, include_extras=True).items():
            if dataclasses.is_dataclass(hint):
                continue
            parsed = parse_annotation(hint)
            if not hasattr(cls, name):
                raise TypeError(f"{cls.__name__}.{name} needs a default")
            settings_list.append(Setting(name=name, default=getattr(cls, name), **parsed._asdict()))
        _DIRECT[cls] = tuple(settings_list)
    return _DIRECT[cls]


@functools.cache
def _source_field_docs(cls: type) -> dict[str, str]:
    """Docstring under each field, of the class and those it inherits; empty where the source is not available."""
    docs: dict[str, str] = {}
    for one in reversed(cls.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
        except (OSError, TypeError, SyntaxError):
            continue
        if isinstance(tree.body[0], ast.ClassDef):
            docs |= field_docs(tree.body[0])
    return docs


def field_docs(tree: ast.ClassDef) -> dict[str, str]:
    """Docstring that follows each annotated field of a class, by field name."""
    docs = {}
    for field, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
            value = after.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                docs[field.target.id] = " ".join(value.value.split())
    return docs


def flatten(cls: type, base: Any = None, group: tuple[str, ...] = (), *, help: bool = True) -> Iterator[Setting]:
    """Iterate over all settings of a class and of its groups, in the order of definition.

    Args:
        help: whether they have their help texts, for which the source is parsed.
    """
    docs = _source_field_docs(cls) if help else {}
    base = cls() if base is None else base
    direct = {setting.name: setting for setting in direct_settings(cls)}
    for field in dataclasses.fields(cls):
        value = getattr(base, field.name)
        if field.name in direct:
            yield dataclasses.replace(direct[field.name], default=value, group=group, help=docs.get(field.name, ""))
        else:
            yield from flatten(type(value), value, (*group, field.name), help=help)


def merge_groups(name: str, **groups: type) -> type[Any]:
    """Make a settings class that consists of groups only."""
    fields = [(field, group, dataclasses.field(default=group())) for field, group in groups.items()]
    return dataclasses.make_dataclass(name, fields, frozen=True, kw_only=True)


def values(instance: Any) -> dict[str, Any]:
    """Values of all settings by flat name."""
    return {setting.name: setting.default for setting in flatten(type(instance), instance, help=False)}


def make(cls: type[C], values: Mapping[str, Any]) -> C:
    """Make settings from flat values, with defaults for the rest.

    Raises:
        UsageError: for an unknown name (with similar known names) or a value outside its limits.
    """
    known = {setting.name for setting in flatten(cls, help=False)}
    for name in values:
        if name not in known:
            present = setting_name(name, known)
            hint = f"It is now called {present}." if present != name else suggest_name(name, sorted(known))
            raise UsageError(f"{cls.__name__} has no setting {short_repr(name)}", hint)
    return _replace(cls(), values)


def _replace(base: C, values: Mapping[str, Any]) -> C:
    """Copy of settings with some flat values replaced."""
    changes: dict[str, Any] = {}
    direct = {setting.name for setting in direct_settings(type(base))}
    for field in dataclasses.fields(base):  # type: ignore[arg-type]
        if field.name in direct:
            if field.name in values:
                changes[field.name] = values[field.name]
        else:
            changes[field.name] = _replace(getattr(base, field.name), values)
    return dataclasses.replace(base, **changes)  # type: ignore[type-var]


def resolve(cls: type[C], typed: Mapping[str, Any], suggested: Mapping[str, Suggestion]) -> tuple[C, dict[str, str]]:
    """Resolve settings: typed values take precedence over suggested ones, and these over defaults.

    Returns:
        The settings, and the source of each by flat name: "given", the reason of the suggestion, or "default".
    """
    others = {**{name: s.value for name, s in suggested.items()}, **typed}
    suggested = {name: suggestion for name, suggestion in suggested.items() if suggestion.condition(others)}
    chosen = make(cls, {**{name: s.value for name, s in suggested.items()}, **typed})
    sources = {}
    for setting in flatten(cls, help=False):
        if setting.name in typed:
            sources[setting.name] = "given"
        elif setting.name in suggested:
            sources[setting.name] = suggested[setting.name].reason
        else:
            sources[setting.name] = "default"
    return chosen, sources


def check_effects(chosen: Any, typed: Mapping[str, Any]) -> None:
    """Check that every typed setting has an effect on the model, see `EffectiveIf`.

    Args:
        chosen: the resolved settings.
    Raises:
        UsageError: for the first that has none, with the setting that it depends on.
    """
    known = {setting.name: setting for setting in flatten(type(chosen), chosen, help=False)}
    for name in typed:
        condition = known[name].effective_if if name in known else None
        if condition is None or known[condition.name].default in condition.values:
            continue
        other = known[condition.name]
        needed = " or ".join(other.argument(value) for value in condition.values)
        raise UsageError(
            f"{known[name].flag} has no effect with {other.argument(other.default)}",
            f"Leave out {known[name].flag}, or give {needed}.",
        )
