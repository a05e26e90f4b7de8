"""Write the catalogue of tasks and models, `core/catalog.json`, from the registries, and README's table of it.

python docs/grid.py
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snellen.core import catalog
from snellen.core.learner import FLATTENED, Learner
from snellen.core.settings import Setting, flatten
from snellen.tasks import LEARNERS, TASKS

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- grid -->", "<!-- /grid -->"


def catalogue() -> str:
    """The text of `core/catalog.json`: one line for each setting and each learner.

    The fields of a setting that are the same for all learners stand once, under its name; a second version of them has
    the key `name#2`. A learner lists its defaults by group and key.
    """
    keys: dict[tuple[str, str], str] = {}  # name and fields of a setting -> key
    tasks = []
    for name, task in TASKS.items():
        rows = [f"{_json(other)}: {_json(_learner(learner, keys))}" for other, learner in LEARNERS[name].items()]
        tasks.append(f'{_json(name)}: {{"question": {_json(task.question)}, "learners": {_lines(rows)}}}')
    settings = [f'"{key}": {fields}' for key, fields in sorted((key, fields) for (_, fields), key in keys.items())]
    return f'{{"settings": {_lines(settings)},\n"tasks": {_lines(tasks)}}}\n'


def _lines(entries: list[str]) -> str:
    """A JSON object with one line for each entry."""
    return "{\n" + ",\n".join(entries) + "\n}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _learner(learner: Learner[Any, Any, Any], keys: dict[tuple[str, str], str]) -> dict[str, Any]:
    settings = {}
    for setting in flatten(learner.settings):
        fields = _json(_fields(setting))
        versions = sum(name == setting.name for name, _ in keys)
        new = f"{setting.name}#{versions + 1}" if versions else setting.name
        settings[".".join((*setting.group, keys.setdefault((setting.name, fields), new)))] = setting.default
    groups = {field.name: type(field.default) for field in dataclasses.fields(learner.settings)}
    module = groups["network"].__module__ if "network" in groups else learner.build.__module__
    return {
        "summary": learner.summary,
        "source": learner.source,
        "accepts": sorted(learner.accepts),
        "file": "/".join(module.split(".")[1:]) + ".py",
        "settings": settings,
    }


def _fields(setting: Setting) -> dict[str, Any]:
    """The fields of a setting, without its default and group, as far as they differ from the defaults of `Setting`."""
    fields = dataclasses.asdict(setting)
    if setting.limit is not None:
        fields["limit"] = {bound: value for bound, value in fields["limit"].items() if value is not None}
    return {field: value for field, value in fields.items() if field not in ("name", "default", "group") and value}


def grid() -> str:
    """Markdown tables, one for each group of tasks that share models: a row per model, a column per task.

    A cell names the inputs that the model reads and links to its file.
    """
    return "\n\n".join(table(tasks) for tasks in groups(list(catalog.tasks().values())))


def groups(tasks: list[catalog.TaskEntry]) -> list[list[catalog.TaskEntry]]:
    """Group tasks that share a model besides the baseline; the last group holds tasks that share none."""
    models = {task.name: {entry.name for entry in task.learners} - {"baseline"} for task in tasks}
    groups_of_tasks, single_tasks = [], []
    for task in tasks:
        if any(task in group for group in groups_of_tasks):
            continue
        sharing = [other for other in tasks if models[task.name] & models[other.name]]
        if len(sharing) > 1:
            groups_of_tasks.append(sharing)
        else:
            single_tasks.append(task)
    return [*groups_of_tasks, single_tasks] if single_tasks else groups_of_tasks


def table(tasks: list[catalog.TaskEntry]) -> str:
    """Markdown table of one group of tasks."""
    names = list(dict.fromkeys(entry.name for task in tasks for entry in task.learners))
    entries_by_name = {(entry.name, entry.task): entry for task in tasks for entry in task.learners}
    lines = [
        "| Model | " + " | ".join(f"{task.name}: {task.question}" for task in tasks) + " | In a sentence |",
        "|---" * (len(tasks) + 2) + "|",
    ]
    for name in names:
        entries = [entries_by_name.get((name, task.name)) for task in tasks]
        cells = ["" if e is None else f"[{_inputs(e.accepts)}](src/snellen/{e.file})" for e in entries]
        summaries = dict.fromkeys(e.summary for e in entries if e is not None)
        lines.append(f"| `{name}` | {' | '.join(cells)} | {' '.join(summaries)} |")
    return "\n".join(lines)


def _inputs(accepts: Sequence[str]) -> str:
    """The inputs that a model reads; "any" for all that can be flattened."""
    return "any" if set(accepts) == FLATTENED else ", ".join(accepts)


def filled(text: str) -> str:
    """Replace the text between the markers by the tables.

    Raises:
        ValueError: if a marker is missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{grid()}\n{END}{after}"


if __name__ == "__main__":
    catalog.FILE.write_text(catalogue(), encoding="utf-8")
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
