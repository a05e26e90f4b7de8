"""Fixtures of all tests: one thread, separate data and cache folders; learning tests; distribution with `-n`."""

from __future__ import annotations

import math
import re
import shutil
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest
import torch

# No test depends on the speed of the machine: neither on the time of an example nor on that of drawing it.
hypothesis.settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any speed")


@pytest.fixture(autouse=True)
def _isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use one thread, which is faster on tiny tensors, and folders separate from those of the user."""
    torch.set_num_threads(1)
    home: Path = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("SNELLEN_DATA", str(home / "data"))
    monkeypatch.setenv("SNELLEN_CACHE", str(home / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; the test is skipped without it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


# -- learning tests: those that train a model and assert a score ------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    seeds = "train in each test marked `learning` with the seeds 0 to N-1, and print the spread of its scores"
    parser.addoption("--seeds", type=int, metavar="N", help=seeds)
    untrained = "optimizers change no weight: every `assert_score` must fail"
    parser.addoption("--untrained", action="store_true", help=untrained)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    seeds = metafunc.config.getoption("seeds")
    if seeds and metafunc.definition.get_closest_marker("learning"):
        names = [f"seed{seed}" for seed in range(seeds)]
        metafunc.parametrize("training_seed", range(seeds), indirect=True, ids=names, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    if config.getoption("untrained"):
        items[:] = [item for item in items if "assert_score" in item.fixturenames]


@pytest.fixture(scope="session", autouse=True)
def training_seed(request: pytest.FixtureRequest) -> Iterator[int]:
    """The seed with which `snellen.train` trains where a test gives none: 0, or each of `--seeds`.

    Without options it writes no report: plots take a second, and most trainings of a test take less.
    """
    from snellen.api import RunOptions
    from snellen.api.training import train

    seed: int = getattr(request, "param", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(train.__kwdefaults__, "seed", seed)  # type: ignore[arg-type]
        patch.setitem(train.__kwdefaults__, "options", RunOptions(report=False))  # type: ignore[arg-type]
        yield seed


@pytest.fixture(autouse=True)
def _untrained(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.config.getoption("untrained"):
        # The loop calls `inspect.unwrap(step)` of its optimizer.
        monkeypatch.setattr(
            "snellen.training.loop.inspect", SimpleNamespace(unwrap=lambda step: lambda optimizer: None)
        )


@pytest.fixture
def assert_score(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Assert that a score lies above or below a limit that every seed keeps and an untrained model does not.

    The comment beside the limit gives the spread over 20 seeds.
    """

    def check(value: float | None, above: float = -math.inf, below: float = math.inf) -> None:
        assert value is not None
        request.node.user_properties.append(("score", (float(value), above, below)))
        if request.config.getoption("untrained"):
            assert not above < value < below, f"an untrained model has {value}"
            pytest.xfail("as an untrained model must")
        assert above < value < below

    return check


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """With `--seeds`: the spread of each score beside its limits; `near`: the margin is below half the spread."""
    if not config.getoption("seeds"):
        return
    scores: dict[tuple[str, int], list[tuple[float, float, float]]] = defaultdict(list)
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        test = re.sub(r"\[seed\d+\]|seed\d+-|-seed\d+(?=\])", "", report.nodeid)
        for k, (_, score) in enumerate(report.user_properties if report.when == "call" else ()):
            scores[test, k].append(score)
    terminalreporter.section("minimum, median and maximum of each score, and its limits")
    for (test, _), found in sorted(scores.items()):
        values, (_, above, below) = sorted(value for value, *_ in found), found[0]
        low, middle, high = values[0], statistics.median(values), values[-1]
        near = min(low - above, below - high) < (high - low) / 2
        limits = f"> {above:.4g}" if math.isfinite(above) else f"< {below:.4g}"
        terminalreporter.line(f"{low:9.4g} {middle:9.4g} {high:9.4g}   {limits:9} {'near' if near else '    '} {test}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`: run tests that share a training in one process.

    Tests of a file stay together, as they share its fixtures; contract tests stay together by learner.
    """
    from xdist.scheduler import LoadScopeScheduling

    class FileScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            return f"contract{test[test.find('[') :]}" if "contract/" in file and "[" in test else file

    return FileScheduling(config, log)
