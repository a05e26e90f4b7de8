"""Custom learners, and custom modules with a custom loss: from a script outside the package, end to end."""

from __future__ import annotations

import importlib.util
import linecache
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from snellen import api
from snellen.api import RunOptions
from snellen.core.errors import DataError, UsageError

LEARNER = '''
import torch
from torch import nn

from snellen.core.learner import Learner
from snellen.core.settings import settings
from snellen.tasks.classify.task import TASK


@settings
class Mine:
    rate: float = 0.1


class Linear(nn.Module):
    """The protocol of a classifier: scores, here log-probabilities up to a constant."""

    probabilistic = True

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def scores(self, x):
        return self.linear(x.flatten(1).float() / 255 - 0.3)


def build(c, spec):
    return Linear()


def fit(c, data, model, run):
    train = data.samples("train", run.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=c.rate, momentum=0.9)
    run.keep(model=model, optimizer=optimizer)
    for step in run.steps(40):
        batch = train.take(torch.randint(len(train), (32,)))
        loss = nn.functional.cross_entropy(model.scores(batch.x), batch.y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(loss=loss)
        at(step)


def at(step):
    """Hook for tests."""


MINE = Learner(name="mine", summary="A test.", source="me", task=TASK, accepts=frozenset({"image"}), settings=Mine,
               build=build, fit=fit)


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Dropout(0.1), nn.Linear(20, 10))

    def forward(self, x):
        return self.layers(x)


class Margin:
    """A callable loss."""

    def __call__(self, scores, y):
        at(0)
        return nn.functional.multi_margin_loss(scores, y)
'''

SCRIPT = (
    LEARNER
    + '''
import os, signal, sys
from pathlib import Path
from snellen import api
from snellen.core import file_io

torch.set_num_threads(1)
OPTIONS = api.RunOptions(threads=1, save_every=0)
calls = 0


def die_at(number):
    def at(step):
        global calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
    return at


def both(folder, act, custom):
    """Compare an uninterrupted run with one killed after 15 steps and resumed."""
    act(folder / "whole")
    process = os.fork()
    if not process:
        globals()["at"] = die_at(15)
        act(folder / "hurt")
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    trained = api.resume(folder / "hurt", options=OPTIONS, **custom)
    for name in ("model.safetensors", "history.jsonl"):
        assert file_io.sha256(folder / "whole" / name) == file_io.sha256(folder / "hurt" / name), name
    print(trained)


place, seed = Path(sys.argv[1]), int(sys.argv[2])
both(place / "learner", lambda out: api.train("digits", MINE, seed=seed, out=out, options=OPTIONS, rate=0.05),
     {"learner": MINE})
torch.manual_seed(0)
layers, loss = Layers(), Margin()
both(place / "module", lambda out: api.train("digits", layers, out=out, options=OPTIONS, loss=loss, epochs=1),
     {"learner": layers, "loss": loss})
'''
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, training_seed: int) -> Path:
    """Folder with two runs of a script, each also killed and resumed."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, folder / "script.py", folder, str(training_seed)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("on digits, accuracy") == 2
    return folder


def module(folder: Path, source: str = LEARNER) -> Any:
    """Import the file of a user."""
    path = folder / "mine.py"
    path.write_text(source)
    linecache.clearcache()
    spec = importlib.util.spec_from_file_location("mine", path)
    assert spec is not None
    assert spec.loader is not None
    imported = importlib.util.module_from_spec(spec)
    sys.modules["mine"] = imported
    exec(compile(source, str(path), "exec"), imported.__dict__)  # no bytecode cache by modification time
    return imported


@pytest.mark.learning
def test_a_custom_learner_is_loaded_with_its_code(
    place: Path, tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    mine = module(tmp_path)
    trained = api.load(place / "learner" / "hurt", learner=mine.MINE)
    assert trained.record.learner == "mine"
    assert trained.record.settings == {"rate": 0.05}
    accuracy = trained.metrics["accuracy"].value
    assert_score(accuracy, above=0.7)
    assert trained.evaluate()["accuracy"].value == accuracy


def test_a_custom_module_with_a_custom_loss_is_loaded(place: Path, tmp_path: Path) -> None:
    mine = module(tmp_path)
    folder = place / "module" / "hurt"
    trained = api.load(folder, learner=mine.Layers())
    assert trained.record.loss == "Margin"
    x = trained.data.samples("test").take(torch.arange(4)).x
    assert {prediction["class"] for prediction in trained.predict_batch(x)} <= set("0123456789")
    with pytest.raises(UsageError, match="was trained with Margin"):
        api.resume(folder, learner=mine.Layers())


@pytest.mark.parametrize(("run", "name"), [("learner", "mine"), ("module", "Layers")])
def test_without_its_code_the_error_names_what_to_give(run: str, name: str, place: Path) -> None:
    for act in (api.load, api.resume):
        with pytest.raises(UsageError) as caught:
            act(place / run / "hurt")
        assert caught.value.cause == f"The run was trained with '{name}', which is not built in"
        assert caught.value.remedy == "Give the custom model: snellen.load(run, learner=MY_LEARNER)."


def test_another_learner_is_an_error(place: Path, tmp_path: Path) -> None:
    mine = module(tmp_path)
    with pytest.raises(UsageError, match=r"trained with 'mine' \(classify\), not 'Layers'"):
        api.load(place / "learner" / "hurt", learner=mine.Layers())


@pytest.mark.parametrize("change", [("momentum=0.9", "momentum=0.8"), ("rate: float = 0.1", "rate: float = 0.2")])
def test_changed_source_gives_a_warning(change: tuple[str, str], place: Path, tmp_path: Path) -> None:
    mine = module(tmp_path, LEARNER.replace(*change))
    with pytest.warns(UserWarning, match="The source of mine has changed since"):
        api.load(place / "learner" / "hurt", learner=mine.MINE)
    messages: list[str] = []

    class Listener:
        def begin(self, name: str, index: int, total: int) -> None: ...
        def update(self, loop: str, step: int, total: int, scalars: dict[str, float]) -> None: ...
        def message(self, message: str) -> None:
            messages.append(message)

    api.resume(place / "learner" / "hurt", learner=mine.MINE, options=RunOptions(threads=1, progress=Listener()))
    assert [line for line in messages if "source of mine has changed" in line]


def test_changed_layers_are_an_error_with_their_name(place: Path, tmp_path: Path) -> None:
    mine = module(tmp_path, LEARNER.replace("nn.Linear(64, 20)", "nn.Linear(64, 30)").replace("20, 10", "30, 10"))
    with (
        pytest.warns(UserWarning, match="source of Layers has changed"),
        pytest.raises(DataError, match=r"layers.1.bias is torch.float32 \(20,\), not"),
    ):
        api.load(place / "module" / "hurt", learner=mine.Layers())


def test_a_changed_number_of_threads_gives_a_warning(place: Path, tmp_path: Path) -> None:
    mine = module(tmp_path)
    with pytest.warns(UserWarning, match="Resuming with changes .1 threads are now 2"):
        api.resume(place / "learner" / "whole", learner=mine.MINE, options=RunOptions(threads=2))
