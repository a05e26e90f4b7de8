"""The pages are true: the grid is that of the catalogue, commands name what there is, links lead somewhere."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from snellen.cli.main import VERBS, main
from snellen.core import catalog
from snellen.core.errors import UsageError
from snellen.core.settings import Setting
from snellen.data.names import BUILTIN_NAMES, NAMED

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "guide").glob("*.md")])
README = ROOT / "README.md"


def each(pages: list[Path]) -> list[object]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages]


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every `snellen ...` in a page, fenced or between backticks in a line."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S)
    lines = [line.removeprefix("$ ") for block in fenced for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))
    for line in lines:
        for part in re.split(r"&&|\|", line):
            program, _, rest = part.strip().partition(" ")
            if program in ("snellen", ".venv/bin/snellen"):
                yield shlex.split(rest, comments=True)


def flags_of(verb: str) -> set[str]:
    """The flags that a verb's help names, without the settings of learners."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main([verb, "--help"])
    return {"--debug", *re.findall(r"--[a-z][a-z-]*", out.getvalue())}


def settings(named: str | None) -> dict[str, dict[str, Setting]]:
    """Model -> flag -> setting, of the task that is named; over all tasks for None."""
    found: dict[str, dict[str, Setting]] = {}
    for task in [task for name, task in catalog.tasks().items() if named in (None, name)]:
        for entry in task.learners:
            found.setdefault(entry.name, {}).update({setting.flag: setting for setting in entry.settings})
    return found


def complaint(words: list[str], added: set[str]) -> str | None:
    """What is wrong with a command, or None.

    Args:
        added: models that the page itself brings.
    """
    if not words or words[0] in ("--help", "--version", "VERB"):
        return None
    verb = words[0] if words[0] in VERBS else "ladder"
    data = words[0] in (*BUILTIN_NAMES, *NAMED) or "/" in words[0] or "." in words[0] or words[0].isupper()
    if words[0] not in VERBS and not data:
        return f"{words[0]} is neither a verb nor data"
    given = dict(zip(words, [*words[1:], ""], strict=True))
    models = settings(given["--task"] if given.get("--task") in catalog.tasks() else None)
    model = given.get("--model")
    if model is not None and not model.isupper() and model not in {*models, *added}:
        return f"no model is called {model}"
    known = {flag: s for name, own in models.items() if model in (name, None) for flag, s in own.items()}
    for word in words:
        flag, _, value = word.partition("=")
        name = flag.replace("--no-", "--", 1)
        if not flag.startswith("--") or flag in flags_of(verb):
            continue
        if verb not in ("train", "study") or name not in known or (name != flag and known[name].kind != "bool"):
            return f"{verb} has no {flag}"
        try:
            if known[name].kind != "bool":
                known[name].parse(value or given[word])
        except UsageError as error:
            return error.cause
    return None


def slug(heading: str) -> str:
    """The anchor of a heading as forges make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tree_of_packages_is_that_of_the_source() -> None:
    tree, page = script("tree"), (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert tree.filled(page) == page, "the tree is stale: run python docs/tree.py"


def test_the_grid_of_tasks_and_models_is_that_of_the_catalogue() -> None:
    grid = script("grid")
    text = README.read_text(encoding="utf-8")
    assert grid.filled(text) == text, "the grid is stale: run python docs/grid.py"
    assert grid.catalogue() == catalog.FILE.read_text(encoding="utf-8"), "the catalogue is stale: run the same"
    for task in catalog.tasks().values():
        for entry in task.learners:
            assert f"src/snellen/{entry.file}" in grid.grid()


@pytest.mark.parametrize("page", each(PAGES))
def test_commands_name_verbs_models_and_flags_that_there_are(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    added = set(re.findall(r'^\+? +name="([\w-]+)",$', text, re.M))
    wrong = [(words, what) for words in commands(page) if (what := complaint(words, added))]
    # A page may show what a wrong command says, in the very words.
    assert not [(words, what) for words, what in wrong if f"\nsnellen: {what}\n" not in text]


def test_the_pages_that_show_commands_are_read() -> None:
    shown = {page.name: len(list(commands(page))) for page in PAGES}
    assert shown["README.md"] >= 10
    assert shown["CONTRIBUTING.md"] >= 1
    assert all(shown[page.name] for page in (ROOT / "docs" / "guide").glob("*.md") if page.name != "your-own.md")


@pytest.mark.parametrize(
    "words",
    [
        "play xor",
        "train digits --model mpl",
        "train digits --hiden 3",
        "train digits --model perceptron --hidden 3",
        "digits --epochs 3",
        "evaluate --seeds 3",
        "frobnicate",
        "train digits --no-lr 1",
        "train digits --lr -1",
    ],
)
def test_a_wrong_command_would_be_found(words: str) -> None:
    assert complaint(words.split(), set()) is not None


@pytest.mark.parametrize("page", each(PAGES))
def test_relative_links_and_pictures_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists():
            dead.append(link)
        elif anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
            dead += [link] if anchor not in map(slug, headings) else []
    assert not dead


def test_the_table_of_layers_is_the_one_that_is_enforced() -> None:
    tree = ast.parse((ROOT / "tests" / "test_architecture.py").read_text(encoding="utf-8"))
    (enforced,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "LAYERS"
    )
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = {
        name: int(layer)
        for layer, names in re.findall(r"^\| (\d+) \| ((?:`\w+`(?:, )?)+) \|", page, re.M)
        for name in re.findall(r"`(\w+)`", names)
    }
    assert table == enforced
