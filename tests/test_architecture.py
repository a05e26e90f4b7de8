"""Architecture of the package: imports go down, public names work, the catalogue is true, start-up imports no torch."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import snellen
from snellen.cli.main import VERBS
from snellen.core import catalog
from snellen.core.settings import flat
from snellen.data.formats import formats
from snellen.data.named_datasets import BUILTIN
from snellen.data.names import BUILTIN_NAMES, FORMATS, NAMED
from snellen.tasks import LEARNERS, TASKS

PACKAGE = Path(snellen.__file__).parent

# A package may import packages of lower layers; packages of one layer do not import each other.
LAYERS = {
    "core": 0,
    "nn": 1,
    "metrics": 1,
    "geometry": 1,
    "data": 2,
    "training": 3,
    "architectures": 4,
    "detection": 4,
    "tasks": 5,
    "report": 6,
    "export": 6,
    "api": 7,
    "model_selection": 8,
    "serving": 8,
    "reproduce": 9,
    "cli": 10,
}


def modules() -> list[str]:
    names = [m.name for m in pkgutil.walk_packages([str(PACKAGE)], "snellen.")]
    return [name for name in names if name != "snellen.__main__"]


def imports(path: Path) -> set[str]:
    """The modules of ours that a file imports, whether at its top or inside a function; not for types only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    known = set(modules())
    return {name for name in found if name in known}


def file_of(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def package(module: str) -> str:
    return module.split(".")[1]


def test_imports_go_down() -> None:
    wrong = []
    for module in modules():
        for other in imports(file_of(module)):
            here, there = package(module), package(other)
            if here != there and LAYERS[there] >= LAYERS[here]:
                wrong.append(f"{module} imports {other}")
            tasks = [name.split(".")[2] for name in (module, other) if name.startswith("snellen.tasks.")]
            if here == there == "tasks" and len(tasks) == 2 and tasks[0] != tasks[1]:
                wrong.append(f"{module} imports another task: {other}")
    assert not wrong


def test_no_file_imports_in_a_circle() -> None:
    graph = {module: imports(file_of(module)) - {module} for module in modules()}
    # A package's __init__ is a register of its files, which it may list; they do not count as importing it back.
    graph = {m: {o for o in others if not m.startswith(o + ".")} for m, others in graph.items()}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above, module])
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_every_public_word_works_twice_after_importing_every_module() -> None:
    for module in modules():
        importlib.import_module(module)
    for _ in range(2):
        for word in snellen.__all__:
            value = getattr(snellen, word)
            assert type(value).__name__ != "module", f"{word} is shadowed by a module"


def test_public_words_are_listed_and_unknown_ones_refused() -> None:
    assert set(snellen._HOMES) == set(snellen.__all__) == set(dir(snellen))
    with pytest.raises(AttributeError):
        snellen.no_such_word  # noqa: B018


@pytest.mark.parametrize("task", sorted(TASKS))
def test_the_catalogue_equals_the_registries(task: str) -> None:
    entries = catalog.tasks()
    assert list(entries) == list(TASKS) == list(LEARNERS)
    assert entries[task].question == TASKS[task].question
    assert [entry.name for entry in entries[task].learners] == list(LEARNERS[task])
    for entry in entries[task].learners:
        learner = LEARNERS[task][entry.name]
        assert (entry.summary, entry.source) == (learner.summary, learner.source)
        assert set(entry.accepts) == learner.accepts
        assert entry.settings == tuple(flat(learner.settings))
        assert all(setting.help for setting in entry.settings)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_settings_of_a_learner_have_names_of_their_own(task: str) -> None:
    for learner in LEARNERS[task].values():
        names = [setting.name for setting in flat(learner.settings)]
        assert len(names) == len(set(names))


def test_names_and_formats_for_the_command_line_equal_what_there_is() -> None:
    assert set(BUILTIN_NAMES) == set(BUILTIN)
    assert list(FORMATS) == list(formats())
    assert not set(BUILTIN_NAMES) & set(NAMED)
    assert not (set(BUILTIN_NAMES) | set(NAMED)) & set(VERBS)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["train", "--help"],
        ["train", "--model", "mlp", "--help"],
        *([verb, "--help"] for verb in VERBS),
    ],
)
def test_words_that_only_tell_import_no_torch(words: list[str]) -> None:
    code = (
        "import sys; from snellen.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'torchvision', 'sklearn', 'numpy', 'matplotlib', 'rich', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_heavy_and_changes_nothing() -> None:
    code = (
        "import os, sys, signal\n"
        "before = dict(os.environ), signal.getsignal(signal.SIGINT), sorted(os.listdir('.'))\n"
        "import snellen; assert 'torch' not in sys.modules\n"
        "import snellen.api, snellen.cli.main\n"
        "assert 'torchvision' not in sys.modules and 'matplotlib' not in sys.modules\n"
        "assert 'sklearn' not in sys.modules and 'rich' not in sys.modules\n"
        "assert before == (dict(os.environ), signal.getsignal(signal.SIGINT), sorted(os.listdir('.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KMP_INIT_AT_FORK": ""},
    )
    assert done.returncode == 0, done.stderr


def test_every_file_is_read_in_one_sitting() -> None:
    long = {
        str(path.relative_to(PACKAGE)): n
        for path in PACKAGE.rglob("*.py")
        if (n := len(path.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert not long
