"""What there is, read from the source as text: names, summaries and settings, without importing torch.

`--help`, `list` and the docs' grid use only this; a test holds it equal to the registries.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from snellen.core.settings import Limit, Setting, annotation, sentences

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A learner as its file tells of it."""

    name: str
    task: str
    summary: str
    source: str
    accepts: tuple[str, ...]
    settings: tuple[Setting, ...]
    file: str


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """A task as its file tells of it."""

    name: str
    question: str
    learners: tuple[Entry, ...]


@functools.cache
def tasks() -> dict[str, TaskEntry]:
    """All tasks with their learners, simplest first."""
    found = {}
    for module in _ordered(PACKAGE / "tasks" / "__init__.py", "TASKS", "TASK"):
        folder = PACKAGE / "tasks" / module
        question = _text(_call(_tree(folder / "task.py"), "TASK"), "question")
        learners = tuple(_entry(folder / f"{name}.py", module) for name in
                         _ordered(folder / "__init__.py", "LEARNERS", "LEARNER"))
        found[module] = TaskEntry(name=module, question=question, learners=learners)
    return found


def settings_of(model: str) -> dict[str, dict[str, Setting]]:
    """Task -> flag name -> setting, for the learner `model` in every task that has it."""
    return {task.name: {s.name: s for s in entry.settings}
            for task in tasks().values() for entry in task.learners if entry.name == model}


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _ordered(path: Path, registry: str, attribute: str) -> list[str]:
    """The modules whose `attribute` stands in the definition of `registry`, in their order."""
    for node in _tree(path).body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == registry and isinstance(node, ast.AnnAssign) and node.value:
            inside = [n for n in ast.walk(node.value) if isinstance(n, ast.Attribute) and n.attr == attribute]
            inside.sort(key=lambda n: (n.lineno, n.col_offset))
            return [n.value.id for n in inside if isinstance(n.value, ast.Name)]
    raise LookupError(f"{path} defines no {registry}")


def _call(tree: ast.Module, name: str) -> ast.Call:
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == name for t in targets):
                return node.value
    raise LookupError(f"no call is assigned to {name}")


def _argument(call: ast.Call, name: str) -> ast.expr:
    return next(k.value for k in call.keywords if k.arg == name)


def _text(call: ast.Call, name: str) -> str:
    return str(ast.literal_eval(_argument(call, name)))


def _entry(path: Path, task: str) -> Entry:
    call = _call(_tree(path), "LEARNER")
    accepts = _argument(call, "accepts")
    assert isinstance(accepts, ast.Call)  # frozenset({...})
    settings = _argument(call, "settings")
    assert isinstance(settings, ast.Name)
    return Entry(name=_text(call, "name"), task=task, summary=_text(call, "summary"), source=_text(call, "source"),
                 accepts=tuple(sorted(ast.literal_eval(accepts.args[0]))),
                 settings=tuple(_settings(path, settings.id)), file=str(path.relative_to(PACKAGE)))


_NAMES: dict[str, Any] = {"Annotated": Annotated, "Literal": Literal, "Limit": Limit, "int": int, "float": float,
                          "bool": bool, "str": str, "tuple": tuple}  # fmt: skip


def _settings(path: Path, name: str, changed: dict[str, Any] | None = None,
              group: tuple[str, ...] = ()) -> Iterator[Setting]:  # fmt: skip
    """The settings of a class, with those of its groups in the place where they stand."""
    home, tree = _class(path, name)
    helps = sentences(tree)
    for node in tree.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
            continue
        field = node.target.id
        if isinstance(node.annotation, ast.Name) and node.annotation.id not in _NAMES:
            given = node.value.keywords if isinstance(node.value, ast.Call) else []
            defaults = {k.arg: ast.literal_eval(k.value) for k in given if k.arg}
            yield from _settings(home, node.annotation.id, defaults, (*group, field))
            continue
        kind, many, optional, choices, limit = annotation(_annotation(home, node.annotation))
        setting = Setting(name=field, kind=kind, default=ast.literal_eval(node.value), many=many, optional=optional,
                          choices=choices, limit=limit, help=helps.get(field, ""), group=group)
        setting = replace(setting, default=setting.check(setting.default))
        yield replace(setting, default=setting.check(changed[field])) if changed and field in changed else setting


def _annotation(path: Path, node: ast.expr) -> Any:
    """The type an annotation of our own source stands for: only the names above are known to it."""
    return eval(compile(ast.Expression(node), str(path), "eval"), {"__builtins__": {}}, _NAMES)


def _class(path: Path, name: str) -> tuple[Path, ast.ClassDef]:
    """Where a settings class is defined: in this file, or in the one it is imported from."""
    for node in _tree(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return path, node
        if isinstance(node, ast.ImportFrom) and node.module and any(a.name == name for a in node.names):
            parts = node.module.split(".")[1:]
            return _class(PACKAGE.joinpath(*parts).with_suffix(".py"), name)
    raise LookupError(f"{path} neither defines nor imports {name}")
