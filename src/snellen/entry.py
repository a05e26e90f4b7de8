"""The public verbs `train` and `load`, and what they return."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from snellen.core import files
from snellen.core import settings as core_settings
from snellen.core.errors import DataError, EnvironmentProblem, UsageError, nearest
from snellen.core.learner import Learner
from snellen.core.plain import from_plain, to_plain
from snellen.core.random import drawing
from snellen.core.record import Record, read_record, versions, write_record
from snellen.core.run import Run, Watch
from snellen.core.spec import Spec
from snellen.core.task import Answer, Predictions, Task
from snellen.core.views import Metric
from snellen.data.dataset import Dataset, Labelled
from snellen.data.formats import Asked
from snellen.data.opening import dataset
from snellen.look.cost import Cost, cost_of
from snellen.tasks import LEARNERS, TASKS

AnyLearner = Learner[Any, Any, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and under which limits a run computes.

    Args:
        device: "auto", "cpu", "cuda", "mps".
        threads: of the CPU; None: chosen by the size of the network.
        save_every: seconds between saves; 0: after every step.
        seconds: how long learning may take; None: as long as the settings say.
        watch: who is told of progress.
        open_test: whether the test split is judged at the end; a ladder opens it once for all.
    """

    device: str = "auto"
    threads: int | None = None
    save_every: float = 30.0
    seconds: float | None = None
    watch: Watch | None = None
    open_test: bool = True


def train(
    data: str | Path | Dataset[Labelled], model: str | nn.Module | AnyLearner | None = None, *,
    task: str | None = None, seed: int = 0, out: str | Path | None = None, loss: Callable[..., Tensor] | None = None,
    machine: Machine = Machine(), command: str = "", **settings: object,
) -> Trained:  # fmt: skip
    """Learns a model from data, judges it, and writes the run's folder with its report.

    Args:
        data: a dataset, a name or a path.
        model: a learner's name, a `Learner`, or a plain module; None: what suits the data.
        task: a task's name; None: what the data asks.
        out: the run's folder; None: a new one under `runs/`.
        loss: a callable (scores or numbers, targets) -> scalar in place of the learner's own.
        settings: any setting of the learner by name.
    Raises:
        UsageError, DataError, EnvironmentProblem, Diverged, Stopped.
    """
    opened = data if isinstance(data, Dataset) else dataset(data, seed=seed)
    asked = find_task(task, opened.spec)
    learner = find_learner(model, asked, opened.spec)
    why_not = refusal(learner, opened.spec)
    if why_not:
        raise UsageError(f"{learner.name} {why_not}", f"Learners of {asked.name}: {', '.join(LEARNERS[asked.name])}.")
    chosen, sources = core_settings.resolve(learner.settings, settings, learner.suggest(opened.spec))
    folder = Path(out) if out is not None else new_folder(f"{learner.name}-{opened.spec.name}")
    if (folder / "run.json").exists():
        raise UsageError(f"{folder} holds a run already", f"Go on with it by --resume {folder}, or give another --out.")
    record = Record(
        learner=learner.name, task=asked.name, settings=to_plain(core_settings.values(chosen)), sources=sources,
        spec=opened.spec, reading=learner.reads(chosen, opened.spec), seed=seed, span=opened.span,
        data=None if opened.origin is None else to_plain(opened.origin), device=find_device(machine.device),
        threads=machine.threads or torch.get_num_threads(), versions=versions(), command=command,
        source_hash=None if is_ours(learner) else source_hash(learner.fit),
        loss=None if loss is None else getattr(loss, "__qualname__", type(loss).__name__),
    )  # fmt: skip
    write_record(folder, record)
    return _learn(folder, record, learner, opened, machine, loss, resume=False)


def resume(
    folder: str | Path, *, learner: AnyLearner | nn.Module | None = None, data: Dataset[Labelled] | None = None,
    loss: Callable[..., Tensor] | None = None, machine: Machine = Machine(),
) -> Trained:  # fmt: skip
    """Goes on with a run where it was stopped or killed: the result has the same bits as if it had not been.

    Args:
        learner, loss: again, where they are the user's own.
        data: again, where it was made in memory.
    """
    folder = Path(folder)
    record = read_record(folder)
    found = learner_of(record, learner)
    if (record.loss is None) != (loss is None):
        raise UsageError(f"{folder} was trained with {record.loss or 'its learner'}", "Give the same loss.")
    opened = data if data is not None else reopen(record)
    if to_plain(opened.spec) != to_plain(record.spec):
        raise DataError(f"The data of {folder} has changed since it was trained on", "Train anew.")
    now = versions()
    different = [f"{k} {v} is now {now.get(k)}" for k, v in record.versions.items() if now.get(k) != v]
    if different and machine.watch is not None:
        machine.watch.say(f"Resuming under other versions ({'; '.join(different)}): the bits may differ.")
    return _learn(folder, record, found, opened, machine, loss, resume=True)


def _learn(
    folder: Path, record: Record, learner: AnyLearner, data: Dataset[Labelled], machine: Machine,
    loss: Callable[..., Tensor] | None, *, resume: bool,
) -> Trained:  # fmt: skip
    chosen = core_settings.make(learner.settings, read_settings(learner, record.settings))
    data = dataclasses.replace(data, reading=record.reading)
    run = Run(folder, seed=record.seed, device=record.device, resume=resume, save_every=machine.save_every,
              seconds=machine.seconds, watch=machine.watch, loss=loss)  # fmt: skip
    with drawing(record.seed, "build"):
        model = learner.build(chosen, data.spec)
    with threads(record.threads, model), run.listening():
        cost = Cost()
        with cost.watching():
            learner.fit(chosen, data, model, run)
        run.flush()
        model.eval()
        files.write_tensors(folder / "model.safetensors", model.state_dict())
        trained = Trained(folder, record, learner, model, data)
        measured = cost_of(model, learner.task, data, record.spec, cost)
        trained.judge(("val", "test") if machine.open_test else ("val",), run, measured)
    return trained


class Trained:
    """A finished run: its model can be asked, evaluated, looked at.

    Args:
        folder: the run's folder.
        record: what `run.json` says.
        model: in evaluation mode.
        data: the dataset it was trained on, where it is at hand.
    """

    def __init__(self, folder: Path, record: Record, learner: AnyLearner, model: nn.Module,
                 data: Dataset[Labelled] | None = None) -> None:  # fmt: skip
        self.folder = folder
        self.record = record
        self.learner = learner
        self.model = model
        self._data = data

    @property
    def task(self) -> Task[Any, Any]:
        return self.learner.task

    @property
    def spec(self) -> Spec:
        return self.record.spec

    @property
    def data(self) -> Dataset[Labelled]:
        if self._data is None:
            self._data = dataclasses.replace(reopen(self.record), reading=self.record.reading)
        return self._data

    @property
    def headline(self) -> str:
        return self.task.headline(self.spec)

    @property
    def metrics(self) -> dict[str, Metric]:
        """Of the test split, or of validation where the test split has not been opened."""
        plain = files.read_json(self.folder / "metrics.json")
        split = "test" if "test" in plain["splits"] else "val"
        return {name: from_plain(Metric, value, name) for name, value in plain["splits"][split].items()}

    def predictions(self, split: str) -> Predictions:
        """What the model said of a split, as it was kept."""
        return files.read_tensors(self.folder / "predictions" / f"{split}.safetensors")[0]

    def judge(self, splits: Sequence[str], run: Run, cost: Mapping[str, Any] | None = None) -> None:
        """Asks the model of whole splits, keeps what it says, measures, and writes metrics and report."""
        path = self.folder / "metrics.json"
        plain: dict[str, Any] = {"headline": self.headline, "splits": {}, "cost": {}, "notes": {}}
        if path.exists():
            plain = files.read_json(path)
        for split in splits:
            said = self.task.predict(self.model, self.data, split, run)
            files.write_tensors(self.folder / "predictions" / f"{split}.safetensors", said)
            plain["splits"][split] = {n: to_plain(m) for n, m in self.task.measure(said, self.spec).items()}
        if cost is not None:
            plain["cost"] = cost
        plain["notes"] = {**plain["notes"], **run.notes}
        files.write_json(path, plain)
        self._finish()

    def _finish(self) -> None:
        names = ["model.safetensors", "metrics.json", "history.jsonl",
                 *(f"predictions/{p.name}" for p in sorted((self.folder / "predictions").glob("*.safetensors")))]
        hashes = {name: files.sha256(self.folder / name) for name in names if (self.folder / name).exists()}
        self.record = dataclasses.replace(self.record, status="finished", files=hashes)
        write_record(self.folder, self.record)

    def evaluate(self, data: str | Path | Dataset[Labelled] | None = None, split: str = "test") -> dict[str, Metric]:
        """Metrics on a split of the run's data, or of other data with the same classes or targets."""
        opened = self.data if data is None else data if isinstance(data, Dataset) else dataset(data)
        theirs, ours = (getattr(spec.target, "names", None) for spec in (opened.spec, self.spec))
        if theirs != ours:
            raise DataError(f"The targets of {opened.spec.name} are {theirs}, the model's {ours}", "Give data like it.")
        opened = dataclasses.replace(opened, reading=self.record.reading)
        with threads(self.record.threads, self.model):
            run = Run(self.folder, resume=True, device=self.record.device)
            said = self.task.predict(self.model, opened, split, run)
        return self.task.measure(said, opened.spec)

    def ask(self, x: Tensor) -> list[Answer]:
        """(B, ...) raw inputs, read as `record.reading` says, to answers."""
        return self.task.answer(self.model, x.to(self.record.device), self.spec)

    def __repr__(self) -> str:
        figure = f"{self.headline} {self.metrics[self.headline]}"
        return f"<run {self.folder}: {self.record.learner} on {self.spec.name}, {figure}>"


def load(folder: str | Path, *, learner: AnyLearner | nn.Module | None = None, device: str = "auto") -> Trained:
    """Reads a run back, its weights checked against their SHA-256; nothing in the folder can run code.

    Args:
        learner: again, where it is the user's own.
    """
    folder = Path(folder)
    record = dataclasses.replace(read_record(folder), device=find_device(device))
    found = learner_of(record, learner)
    path = folder / "model.safetensors"
    if not path.exists():
        raise DataError(f"{folder} has no trained model yet", f"Go on with: snellen train --resume {folder}")
    expected = record.files.get("model.safetensors")
    if expected is not None and files.sha256(path) != expected:
        raise DataError(f"{path} is not what was written: its SHA-256 differs", "Restore it, or train again.")
    tensors, _ = files.read_tensors(path)
    chosen = core_settings.make(found.settings, read_settings(found, record.settings))
    with drawing(record.seed, "build"):
        model = found.build(chosen, record.spec)
    files.load_weights(model, tensors, str(path))
    model.to(record.device).eval()
    return Trained(folder, record, found, model)


# -- finding ---------------------------------------------------------------------------------------------------------


def find_task(name: str | None, spec: Spec) -> Task[Any, Any]:
    """The task asked for, or the first that the data asks."""
    if name is not None:
        if name not in TASKS:
            raise UsageError(f"No task is called {name!r}", nearest(name, list(TASKS)))
        return TASKS[name]
    for task in TASKS.values():
        if task.asks(spec):
            return task
    raise DataError(f"{spec.name} has no target that a task asks for", "Name one with --target.")


def find_learner(model: str | nn.Module | AnyLearner | None, task: Task[Any, Any], spec: Spec) -> AnyLearner:
    """The learner asked for, or the one that suits the data."""
    if isinstance(model, Learner):
        return model
    if isinstance(model, nn.Module):
        made: AnyLearner = task.adopt(model)
        return made
    name = model or task.default(spec)
    known = LEARNERS[task.name]
    if name not in known:
        elsewhere = [other for other, learners in LEARNERS.items() if name in learners]
        also = f" (it is one of {elsewhere[0]})" if elsewhere else ""
        raise UsageError(f"No learner of {task.name} is called {name!r}{also}", nearest(name, list(known)))
    return known[name]


def refusal(learner: AnyLearner, spec: Spec) -> str | None:
    """Why a learner cannot learn this data, or None."""
    if spec.modality not in learner.accepts:
        return f"reads {' or '.join(sorted(learner.accepts))}, not {spec.modality}"
    return learner.refuses(spec)


def learner_of(record: Record, given: AnyLearner | nn.Module | None) -> AnyLearner:
    """The learner of a run: by its name among ours, else the one given again."""
    if isinstance(given, nn.Module):
        given = cast(AnyLearner, TASKS[record.task].adopt(given))
    if given is not None:
        if given.name != record.learner:
            raise UsageError(f"The run was learned by {record.learner!r}, not {given.name!r}", "Give that learner.")
        return given
    known = LEARNERS.get(record.task, {})
    if record.learner not in known or record.source_hash is not None:
        raise UsageError(f"The run was learned by {record.learner!r}, which is not one of ours",
                         "Give it again: snellen.load(run, learner=MY_LEARNER).")
    return known[record.learner]


def is_ours(learner: AnyLearner) -> bool:
    return LEARNERS.get(learner.task.name, {}).get(learner.name) is learner


def source_hash(function: Callable[..., Any]) -> str:
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()
    except (OSError, TypeError):
        return "unknown"


def read_settings(learner: AnyLearner, plain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}


def reopen(record: Record) -> Dataset[Labelled]:
    """The data of a run, opened again as it was."""
    if record.data is None:
        raise UsageError("The run's data was made in memory", "Give it again: data=...")
    origin = dict(record.data)
    return dataset(origin["data"], seed=origin["seed"], asked=from_plain(Asked, origin["asked"], "asked"))


def find_device(name: str) -> str:
    """Raises EnvironmentProblem when the device is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return "cuda" if there["cuda"] else "mps" if there["mps"] else "cpu"
    base = name.split(":")[0]
    if base not in there:
        raise UsageError(f"No device is called {name!r}", nearest(name, ["auto", *there]))
    if not there[base]:
        raise EnvironmentProblem(f"There is no {name} on this machine", "Take --device auto.")
    return name


@contextlib.contextmanager
def threads(count: int, model: nn.Module) -> Iterator[None]:
    """So many threads while computing; one for a tiny network, where handing work over costs more than the work."""
    before = torch.get_num_threads()
    tiny = sum(p.numel() for p in model.parameters()) < 20_000
    torch.set_num_threads(1 if tiny else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def new_folder(stem: str) -> Path:
    """The first free `runs/STEM-N`."""
    stem = re.sub(r"[^\w.-]+", "_", stem)
    number = 1
    while Path("runs", f"{stem}-{number}").exists():
        number += 1
    return Path("runs", f"{stem}-{number}")


def newest() -> Path:
    """The run last written under `runs/`."""
    runs = sorted(Path("runs").glob("*/run.json"), key=lambda p: p.stat().st_mtime)
    if not runs:
        raise UsageError("There is no run under runs/", "Train one first: snellen train DATA")
    return runs[-1].parent


def command_line() -> str:
    import shlex

    return shlex.join(["snellen", *sys.argv[1:]])
