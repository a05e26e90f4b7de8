"""Architecture: layering of imports, public names, catalogue equal to registries, start-up without torch."""

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
from snellen.core.settings import flatten
from snellen.data.experience import WORLDS
from snellen.data.formats import formats
from snellen.data.named_datasets import BUILTIN, BUILTIN_SERIES
from snellen.data.names import BUILTIN_NAMES, FORMATS, NAMED, WORLD_NAMES
from snellen.tasks import LEARNERS, TASKS

PACKAGE = Path(snellen.__file__).parent

# A package may import packages of lower layers; packages of one layer do not import each other.
LAYERS = {
    "core": 0,
    "nn": 1,
    "metrics": 1,
    "geometry": 1,
    "filters": 1,
    "trace": 2,
    "data": 2,
    "modalities": 3,
    "training": 4,
    "architectures": 5,
    "detection": 6,
    "tasks": 7,
    "report": 8,
    "export": 8,
    "api": 9,
    "model_selection": 10,
    "serving": 10,
    "reproduce": 11,
    "cli": 12,
}


def modules() -> list[str]:
    names = [m.name for m in pkgutil.walk_packages([str(PACKAGE)], "snellen.")]
    return [name for name in names if name != "snellen.__main__"]


def imports(path: Path) -> set[str]:
    """The snellen modules that a file imports, at top level or in functions, without TYPE_CHECKING blocks."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    known = set(modules())
    return {name for name in imported if name in known}


def file_of(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def package(module: str) -> str:
    return module.split(".")[1]


def test_imports_point_to_lower_layers() -> None:
    violations = []
    for module in modules():
        for other in imports(file_of(module)):
            importer, imported_package = package(module), package(other)
            if importer != imported_package and LAYERS[imported_package] >= LAYERS[importer]:
                violations.append(f"{module} imports {other}")
            tasks = [name.split(".")[2] for name in (module, other) if name.startswith("snellen.tasks.")]
            # A joint task is made of these two.
            is_part = tasks[:1] == ["joint"] and tasks[1:] in (["classify"], ["regress"])
            if importer == imported_package == "tasks" and len(tasks) == 2 and tasks[0] != tasks[1] and not is_part:
                violations.append(f"{module} imports another task: {other}")
    assert not violations


def test_no_circular_imports() -> None:
    graph = {module: imports(file_of(module)) - {module} for module in modules()}
    # A package's __init__ may import its modules; their imports of the package do not count as circular.
    graph = {m: {o for o in others if not m.startswith(o + ".")} for m, others in graph.items()}
    done: set[str] = set()

    def visit(module: str, ancestors: tuple[str, ...]) -> None:
        assert module not in ancestors, " -> ".join([*ancestors, module])
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*ancestors, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_public_names_are_not_shadowed_by_modules() -> None:
    for module in modules():
        importlib.import_module(module)
    for _ in range(2):
        for name in snellen.__all__:
            value = getattr(snellen, name)
            assert type(value).__name__ != "module", f"{name} is shadowed by a module"


def test_public_names_are_listed_and_unknown_names_raise() -> None:
    assert set(snellen._MODULES) == set(snellen.__all__) == set(dir(snellen))
    with pytest.raises(AttributeError):
        snellen.no_such_name  # noqa: B018


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
        assert entry.settings == tuple(flatten(learner.settings))
        assert all(setting.help for setting in entry.settings)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_setting_names_of_a_learner_are_unique(task: str) -> None:
    for learner in LEARNERS[task].values():
        names = [setting.name for setting in flatten(learner.settings)]
        assert len(names) == len(set(names))


def test_names_of_data_and_formats_equal_the_registries() -> None:
    assert set(WORLD_NAMES) == set(WORLDS)
    assert set(BUILTIN_NAMES) == set(BUILTIN) | set(BUILTIN_SERIES) | set(WORLDS)
    assert list(FORMATS) == list(formats())
    assert not set(BUILTIN_NAMES) & set(NAMED)
    assert not (set(BUILTIN_NAMES) | set(NAMED)) & set(VERBS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["train", "--help"],
        ["train", "--model", "mlp", "--help"],
        *([verb, "--help"] for verb in VERBS),
    ],
)
def test_help_and_list_import_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from snellen.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'torchvision', 'sklearn', 'numpy', 'matplotlib', 'rich', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_import_has_no_heavy_dependencies_and_no_side_effects() -> None:
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


def test_files_have_at_most_450_lines() -> None:
    long = {
        str(path.relative_to(PACKAGE)): n
        for path in PACKAGE.rglob("*.py")
        if (n := len(path.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert not long


CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time", "time"}


def assertions_on_a_clock(function: ast.AST) -> set[str]:
    """The expressions asserted in a function that read a clock, directly or by a variable."""

    def reads_clock(node: ast.AST) -> bool:
        return any(
            (isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr in CLOCKS)
            or (isinstance(n, ast.Name) and n.id in names)
            for n in ast.walk(node)
        )

    names: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and reads_clock(node.value):
            names |= {n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return {ast.unparse(n.test) for n in ast.walk(function) if isinstance(n, ast.Assert) and reads_clock(n.test)}


def test_no_test_asserts_a_duration() -> None:
    example = "begun = time.monotonic()\nseconds = time.monotonic() - begun\nassert seconds < 5"
    assert assertions_on_a_clock(ast.parse(example)) == {"seconds < 5"}
    for path in Path(__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.FunctionDef) or not assertions_on_a_clock(node), (path, node.name)


KINDS_OF_TARGET = {"Classes", "Labels", "Numbers", "PixelClasses", "PixelNumbers", "Boxes", "Future", "Actions"}
ABOVE_TASKS = ("report", "export", "api", "model_selection", "serving", "cli")
# Branches on a kind of target or of input that are left above the tasks: this list may only become shorter.
BRANCHES = {
    "api/evaluation_data.py": 1,
    "api/lookup.py": 2,
    "cli/evaluate.py": 1,
    "model_selection/advice.py": 1,
    "model_selection/ladder.py": 1,
    "model_selection/ladder_training.py": 3,
}


def branches_on_kinds(path: Path) -> int:
    """Number of expressions that test the type of a target, or compare the name of a modality."""
    count = 0
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            count += any(isinstance(n, ast.Name) and n.id in KINDS_OF_TARGET for n in ast.walk(node.args[1]))
        elif isinstance(node, ast.Compare):
            count += any(isinstance(n, ast.Attribute) and n.attr == "modality" for n in ast.walk(node))
    return count


def test_reports_and_commands_do_not_branch_on_kinds_of_data() -> None:
    """Tasks say how their predictions are described, drawn and diagnosed, so that a new kind is a new file."""
    files = [path for package in ABOVE_TASKS for path in sorted((PACKAGE / package).rglob("*.py"))]
    counts = {path.relative_to(PACKAGE).as_posix(): branches_on_kinds(path) for path in files}
    assert {name: count for name, count in counts.items() if count} == BRANCHES
