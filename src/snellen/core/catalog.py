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
    for module, _ in _ordered(PACKAGE / "tasks" / "__init__.py", "TASKS"):
        folder = PACKAGE / "tasks" / module
        call = _call(_tree(folder / "task.py"), "TASK")
        name, question = (_text(folder / "task.py", call, word) for word in ("name", "question"))
        found[name] = TaskEntry(name=name, question=question, learners=tuple(_learners(folder, name)))
    return found


def _learners(folder: Path, task: str) -> Iterator[Entry]:
    """The learners of a task: one in a file, or every architecture with the settings that the task adds."""
    for module, constant in _ordered(folder / "__init__.py", "_ORDERED"):
        path = folder / f"{module}.py"
        if constant == "LEARNER":
            yield _entry(path, constant, task)
            continue
        adds = _value(_tree(path), "ADDS")
        assert isinstance(adds, ast.Name)
        added = tuple(_settings(path, adds.id, group=("task",)))
        register, home = _register(path)
        for family, name in _ordered(home / "__init__.py", register):
            entry = _entry(home / f"{family}.py", name, task, ("network",))
            yield replace(entry, settings=entry.settings + added)


def _register(path: Path) -> tuple[str, Path]:
    """The dict of architectures that a file makes learners of (`... for a in DENSE.values()`), and its folder."""
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
    """Task -> flag name -> setting, for the learner `model` in every task that has it."""
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
    """The constants of modules (`lenet.LENET`) that stand in the definition of `registry`, in their order."""
    inside = [n for n in ast.walk(_value(_tree(path), registry)) if isinstance(n, ast.Attribute) and n.attr.isupper()]
    inside.sort(key=lambda n: (n.lineno, n.col_offset))
    return [(n.value.id, n.attr) for n in inside if isinstance(n.value, ast.Name)]


def _value(tree: ast.Module, name: str) -> ast.expr:
    """What is assigned to a name of a module."""
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
    """A text given in a call, as it stands there or as a constant of its module."""
    node = _argument(call, name)
    assert node is not None
    return str(ast.literal_eval(_value(_tree(path), node.id) if isinstance(node, ast.Name) else node))


def _entry(path: Path, constant: str, task: str, group: tuple[str, ...] = ()) -> Entry:
    call = _call(_tree(path), constant)
    accepts = _argument(call, "accepts")
    preprocessing_of = (
        ast.literal_eval(accepts.args[0]) if isinstance(accepts, ast.Call) else {"image"}
    )  # frozenset({...})
    settings = _argument(call, "settings")
    assert isinstance(settings, ast.Name)
    name, summary, source = (_text(path, call, key) for key in ("name", "summary", "source"))
    return Entry(
        name=name,
        task=task,
        summary=summary,
        source=source,
        accepts=tuple(sorted(preprocessing_of)),
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
    path: Path, name: str, changed: dict[str, Any] | None = None, group: tuple[str, ...] = ()
) -> Iterator[Setting]:
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
        setting = Setting(
            name=field,
            kind=kind,
            default=ast.literal_eval(node.value),
            many=many,
            optional=optional,
            choices=choices,
            limit=limit,
            help=helps.get(field, ""),
            group=group,
        )
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
