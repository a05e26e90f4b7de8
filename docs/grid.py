"""Write the table of tasks and models into README.md, between its two markers, from the catalogue.

python docs/grid.py
"""

from __future__ import annotations

from pathlib import Path

from snellen.core import catalog

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- grid -->", "<!-- /grid -->"


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
        cells = ["" if e is None else f"[{', '.join(e.accepts)}](src/snellen/{e.file})" for e in entries]
        summaries = dict.fromkeys(e.summary for e in entries if e is not None)
        lines.append(f"| `{name}` | {' | '.join(cells)} | {' '.join(summaries)} |")
    return "\n".join(lines)


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
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
