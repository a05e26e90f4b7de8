"""Catalogue of tasks and learners: names, summaries and settings, parsed from the source without importing torch.

`--help`, `list` and the grid of the docs use only this; a test holds it equal to the registries.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from snellen.core.settings import Limit, Setting, field_docs, parse_annotation

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class LearnerEntry:
    """A learner as its source file defines it."""

    name: str
    task: str
    summary: str
    source: str
    accepts: tuple[str, ...]
    settings: tuple[Setting, ...]
    file: str


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """A task as its source file defines it."""

    name: str
    question: str
    learners: tuple[LearnerEntry, ...]


@functools.cache
def tasks() -> dict[str, TaskEntry]:
    """All tasks with their learners, simplest first."""
    entries = {}
    for module, _ in _ordered(PACKAGE / "tasks" / "__init__.py", "TASKS"):
        folder = PACKAGE / "tasks" / module
        call = _call(_tree(folder / "task.py"), "TASK")
        name, question = (_text(folder / "task.py", call, word) for word in ("name", "question"))
        entries[name] = TaskEntry(name=name, question=question, learners=tuple(_learners(folder, name)))
    return entries


def _learners(folder: Path, task: str) -> Iterator[LearnerEntry]:
    """Learners of a task: one per file, or one per architecture with the settings that the task adds."""
    for module, constant in _ordered(folder / "__init__.py", "_ORDERED"):
        path = folder / f"{module}.py"
        if constant == "LEARNER":
            yield _entry(path, constant, task)
            continue
        task_settings = _value(_tree(path), "ADDS")
        assert isinstance(task_settings, ast.Name)
        added = tuple(_settings(path, task_settings.id, group=("task",)))
        registry, package = _registry(path)
        for family, name in _ordered(package / "__init__.py", registry):
            entry = _entry(package / f"{family}.py", name, task, ("network",))
            yield replace(entry, settings=entry.settings + added)


def _registry(path: Path) -> tuple[str, Path]:
    """Name and folder of the dict of architectures that a file makes learners of (`... for a in DENSE.values()`)."""
    tree = _tree(path)
    name = next(
        n.value.id
        for n in ast.walk(_value(tree, "LEARNERS"))
        if isinstance(n, ast.Attribute) and n.attr == "values" and isinstance(n.value, ast.Name)
    )
    module = next(
        n.module
        for n in tree.body
        if isinstance(n, ast.ImportFrom) and n.module and any(alias.name == name for alias in n.names)
    )
    return name, PACKAGE.joinpath(*module.split(".")[1:])


def settings_of(model: str) -> dict[str, dict[str, Setting]]:
    """Task -> setting name -> setting, for the learner `model` in every task that has it."""
    return {
        task.name: {s.name: s for s in entry.settings}
        for task in tasks().values()
        for entry in task.learners
        if entry.name == model
    }


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _ordered(path: Path, registry: str) -> list[tuple[str, str]]:
    """Module constants (`lenet.LENET`) in the definition of `registry`, in source order."""
    constants = [
        n for n in ast.walk(_value(_tree(path), registry)) if isinstance(n, ast.Attribute) and n.attr.isupper()
    ]
    constants.sort(key=lambda n: (n.lineno, n.col_offset))
    return [(n.value.id, n.attr) for n in constants if isinstance(n.value, ast.Name)]


def _value(tree: ast.Module, name: str) -> ast.expr:
    """Expression assigned to a name of a module."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == name for t in targets):
                return node.value
    raise LookupError(f"nothing is assigned to {name}")


def _call(tree: ast.Module, name: str) -> ast.Call:
    value = _value(tree, name)
    assert isinstance(value, ast.Call)
    return value


def _argument(call: ast.Call, name: str) -> ast.expr | None:
    return next((k.value for k in call.keywords if k.arg == name), None)


def _text(path: Path, call: ast.Call, name: str) -> str:
    """Text argument of a call: a literal, or the name of a constant of the module."""
    node = _argument(call, name)
    assert node is not None
    return str(ast.literal_eval(_value(_tree(path), node.id) if isinstance(node, ast.Name) else node))


def _entry(path: Path, constant: str, task: str, group: tuple[str, ...] = ()) -> LearnerEntry:
    call = _call(_tree(path), constant)
    accepts = _argument(call, "accepts")
    modalities = ast.literal_eval(accepts.args[0]) if isinstance(accepts, ast.Call) else {"image"}  # frozenset({...})
    settings = _argument(call, "settings")
    assert isinstance(settings, ast.Name)
    name, summary, source = (_text(path, call, key) for key in ("name", "summary", "source"))
    return LearnerEntry(
        name=name,
        task=task,
        summary=summary,
        source=source,
        accepts=tuple(sorted(modalities)),
        settings=tuple(_settings(path, settings.id, group=group)),
        file=str(path.relative_to(PACKAGE)),
    )


_NAMES: dict[str, Any] = {
    "Annotated": Annotated,
    "Literal": Literal,
    "Limit": Limit,
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "tuple": tuple,
}


def _settings(
    path: Path, name: str, defaults: dict[str, Any] | None = None, group: tuple[str, ...] = ()
) -> Iterator[Setting]:
    """Settings of a class and of its groups, in source order; `defaults` replaces defaults of the class."""
    path, tree = _class(path, name)
    docs = field_docs(tree)
    for node in tree.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
            continue
        field = node.target.id
        if isinstance(node.annotation, ast.Name) and node.annotation.id not in _NAMES:
            keywords = node.value.keywords if isinstance(node.value, ast.Call) else []
            group_defaults = {k.arg: ast.literal_eval(k.value) for k in keywords if k.arg}
            yield from _settings(path, node.annotation.id, group_defaults, (*group, field))
            continue
        kind, many, optional, choices, limit = parse_annotation(_annotation(path, node.annotation))
        setting = Setting(
            name=field,
            kind=kind,
            default=ast.literal_eval(node.value),
            many=many,
            optional=optional,
            choices=choices,
            limit=limit,
            help=docs.get(field, ""),
            group=group,
        )
        setting = replace(setting, default=setting.check(setting.default))
        yield replace(setting, default=setting.check(defaults[field])) if defaults and field in defaults else setting


def _annotation(path: Path, node: ast.expr) -> Any:
    """Evaluate an annotation of the package's own source; only the names in `_NAMES` are defined."""
    return eval(compile(ast.Expression(node), str(path), "eval"), {"__builtins__": {}}, _NAMES)


def _class(path: Path, name: str) -> tuple[Path, ast.ClassDef]:
    """File and syntax tree of a settings class, defined in this file or in the one it is imported from."""
    for node in _tree(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return path, node
        if isinstance(node, ast.ImportFrom) and node.module and any(a.name == name for a in node.names):
            parts = node.module.split(".")[1:]
            return _class(PACKAGE.joinpath(*parts).with_suffix(".py"), name)
    raise LookupError(f"{path} neither defines nor imports {name}")
