"""Writes the grid of tasks and models into README.md, between its two markers, from the catalogue.

python docs/grid.py
"""

from __future__ import annotations

from pathlib import Path

from snellen.core import catalog

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- grid -->", "<!-- /grid -->"


def grid() -> str:
    """Markdown tables, one for all tasks that share models: a row a model, a column a task; a cell says what the model
    reads and leads to its file.
    """
    return "\n\n".join(table(tasks) for tasks in groups(list(catalog.tasks().values())))


def groups(tasks: list[catalog.TaskEntry]) -> list[list[catalog.TaskEntry]]:
    """Tasks together that share a model besides the baseline; those that share none in a group of their own."""
    models = {task.name: {entry.name for entry in task.learners} - {"baseline"} for task in tasks}
    together, alone = [], []
    for task in tasks:
        if any(task in group for group in together):
            continue
        like = [other for other in tasks if models[task.name] & models[other.name]]
        if len(like) > 1:
            together.append(like)
        else:
            alone.append(task)
    return [*together, alone] if alone else together


def table(tasks: list[catalog.TaskEntry]) -> str:
    names = list(dict.fromkeys(entry.name for task in tasks for entry in task.learners))
    found = {(entry.name, entry.task): entry for task in tasks for entry in task.learners}
    lines = [
        "| Model | " + " | ".join(f"{task.name}: {task.question}" for task in tasks) + " | In a sentence |",
        "|---" * (len(tasks) + 2) + "|",
    ]
    for name in names:
        entries = [found.get((name, task.name)) for task in tasks]
        cells = ["" if e is None else f"[{', '.join(e.accepts)}](src/snellen/{e.file})" for e in entries]
        said = dict.fromkeys(e.summary for e in entries if e is not None)
        lines.append(f"| `{name}` | {' | '.join(cells)} | {' '.join(said)} |")
    return "\n".join(lines)


def filled(text: str) -> str:
    """The text with what stands between the markers replaced by the grid.

    Raises:
        ValueError: where a marker is missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{grid()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
