"""Mutation score: the fraction of small faults (tests/reliability/mutants.py) that the tests detect.

    python tests/reliability/mutation_score.py [--count 300] [--seed 0] [--package metrics] [NAME ...]

The sample is drawn from all mutants by the seed alone; names select mutants instead. Each mutant runs in a forked
process with the tests that reach its function without the fault, those of its module and fast ones first, until one
fails. Exceeding the limit of processor time counts as detected. Prints counts by package, and each survivor.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib
import itertools
import json
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import pytest
from mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "snellen"
PACKAGES = {  # modules, tests
    "comparison": (
        "model_selection/comparison.py model_selection/paired_test.py metrics/significance.py metrics/effects.py "
        "metrics/intervals.py",
        "metrics model_selection/test_comparison.py "
        "api/test_changed_data.py::test_runs_on_data_that_changed_in_between_are_not_compared",
    ),
    "metrics": ("metrics/*.py", "metrics"),
    "augmentation": ("data/augment/*.py", "data/augment lectures/test_b14_augmentation.py"),
    "splits": (
        "data/splits.py model_selection/cross_validation.py",
        "data/test_splits.py model_selection/test_cross_validation.py",
    ),
    "duplicates": ("data/check/duplicates.py", "data/check"),
    "files": ("core/file_io.py core/checkpoint.py", "core reliability/test_faults.py"),
}


class Calls(NamedTuple):
    """What one test takes and calls: the file and first line of each function."""

    seconds: float
    functions: list[tuple[str, int]]


class Reach:
    """Plugin that records the functions of some files that each test calls; writes them, and the imported modules.

    What a fixture calls counts for all later tests of its file.
    """

    def __init__(self, paths: list[Path], report: Path) -> None:
        self.paths, self.report, self.tests = {str(path) for path in paths}, report, dict[str, Calls]()
        self.called, self.fixtures = set[tuple[str, int]](), collections.defaultdict[str, set[tuple[str, int]]](set)

    def _trace(self, frame: Any, event: str, argument: object) -> None:
        if frame.f_code.co_filename in self.paths:
            self.called.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        start, self.called = time.perf_counter(), set()
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        result = yield
        sys.settrace(None)
        self.tests[item.nodeid] = Calls(time.perf_counter() - start, [*self.called | self.fixtures[str(item.path)]])
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        result = yield
        self.fixtures[str(item.path)] |= self.called
        return result

    def pytest_sessionfinish(self) -> None:
        files = {name: str(getattr(module, "__file__", "")) for name, module in sys.modules.items()}
        modules = [name for name, file in files.items() if "site-packages" in file]
        self.report.write_text(json.dumps({"tests": self.tests, "modules": modules}), encoding="utf-8")


class Select:
    """Plugin that runs the given tests in the given order."""

    def __init__(self, tests: list[str]) -> None:
        self.rank = {name: k for k, name in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self.rank), key=lambda i: self.rank[i.nodeid])


def fork(arguments: list[str], plugin: object, seconds: float, plant: Callable[[], None]) -> int:
    """Run pytest in a forked process; the wait status of the process."""
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1]
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # no shrinking
        hypothesis.settings.register_profile("mutants", derandomize=True, database=None, phases=phases)
        hypothesis.settings.load_profile("mutants")
        plant()
        with tempfile.TemporaryDirectory() as folder:
            options = ["-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "timeout=60", f"--basetemp={folder}/t"]
            imported = ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
            code = int(pytest.main([*options, *imported, *arguments], [plugin]))
        os._exit(code)
    except BaseException:
        traceback.print_exc()
        os._exit(70)


def reach(package: str, paths: list[Path]) -> dict[str, Calls]:
    """Run the tests of a package without a fault; then import here what they imported, for all forked processes."""
    with tempfile.NamedTemporaryFile() as file:
        tests = [str(ROOT / "tests" / name) for name in PACKAGES[package][1].split()]
        if fork(tests, Reach(paths, Path(file.name)), 3600, lambda: None) != 0:
            raise SystemExit(f"The tests of {package} fail without a fault.")
        measured = json.load(file)
    for name in measured["modules"]:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    return {name: Calls(*calls) for name, calls in measured["tests"].items()}


def outcome(mutant: Mutant, tests: dict[str, Calls]) -> str:
    """One of "detected", "timeout", "survived" and "unreached"."""
    first, last = mutant.lines or (1, sys.maxsize)
    seconds = {
        name: test.seconds
        for name, test in tests.items()
        if any(path == str(mutant.path) and first <= line <= last for path, line in test.functions)
    }
    if not seconds:
        return "unreached"
    by_file = collections.Counter[str]()
    for name, duration in seconds.items():
        by_file[name.partition("::")[0]] += duration  # type: ignore[assignment]
    own = f"test_{mutant.path.stem}.py"
    files = sorted(by_file, key=lambda file: (not file.endswith(own), by_file[file]))
    order = sorted(seconds, key=lambda name: (files.index(name.partition("::")[0]), seconds[name]))
    code, get_code = mutant.code(), SourceFileLoader.get_code

    def plant() -> None:
        SourceFileLoader.get_code = lambda self, name: code if self.path == str(mutant.path) else get_code(self, name)  # type: ignore[method-assign,assignment]

    status = fork([str(ROOT / file) for file in files], Select(order), 20 + 5 * sum(seconds.values()), plant)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        return "timeout"
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) in (4, 5, 70):
        raise SystemExit(f"pytest cannot run the tests of {mutant}")
    return "survived" if status == 0 else "detected"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--package", choices=PACKAGES)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "src"))
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # a forked process has no other threads
    warnings.simplefilter("ignore")
    package_of: dict[Path, str] = {}
    for package, (modules, _) in PACKAGES.items():
        for path in (path for pattern in modules.split() for path in sorted(SOURCE.glob(pattern))):
            package_of.setdefault(path, package)
    every = [mutant for path in package_of for mutant in mutants(path)]
    chosen = set(options.names or (m.name for m in random.Random(options.seed).sample(every, options.count)))
    sample = [m for m in every if m.name in chosen and options.package in (None, package_of[m.path])]
    print(f"{len(sample)} of {len(every)} mutants of {len(package_of)} modules", flush=True)
    results = collections.defaultdict[str, list[str]](list)
    survivors = []
    for package in dict.fromkeys(package_of[m.path] for m in sample):
        tests = reach(package, [path for path in package_of if package_of[path] == package])
        for mutant in (m for m in sample if package_of[m.path] == package):
            start = time.monotonic()
            result = outcome(mutant, tests)
            results[package].append(result)
            print(f"{result:9} {time.monotonic() - start:5.1f} s  {mutant}", flush=True)
            if result in ("survived", "unreached"):
                survivors.append(mutant)
    for package, each in [*results.items(), ("all", [*itertools.chain(*results.values())])]:
        counts = collections.Counter(each)
        score = (counts["detected"] + counts["timeout"]) / max(len(each), 1)
        print(f"{package:13} {len(each):4} mutants, {100 * score:5.1f} % detected: {dict(counts)}")
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{(usage.ru_utime + usage.ru_stime) / 60:.0f} minutes of processor time")
    print(*survivors, sep="\n")


if __name__ == "__main__":
    main()
