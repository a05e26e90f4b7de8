"""Padding never changes a prediction: every learner of inputs of several lengths, alone and in a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learners import flatten_numbers
from torch import Tensor

import snellen
from snellen.api import RunOptions, unsupported_reason
from snellen.core import file_io
from snellen.core.learner import Learner
from snellen.core.settings import resolve
from snellen.core.spec import Classes, Input, Numbers, PixelClasses, PixelNumbers, Several, Spec, Target
from snellen.tasks import LEARNERS

TOLERANCE = 1e-5  # of a prediction, relative to its size or to 1: float32 sums in another order
CLASSES, NUMBERS = Classes(names=("a", "b", "c")), Numbers(names=("u", "v"))
CLASSIFIED, NUMBERED = Classes(names=("a", "b", "c")), Numbers(names=("u", "v"))
TARGETS: dict[str, Target] = {
    "classify": CLASSIFIED,
    "regress": NUMBERED,
    "joint": Several(parts={"kind": CLASSIFIED, "size": NUMBERED}),
    "segment": PixelClasses(names=("a", "b", "c")),
    "dense-regress": PixelNumbers(kind="numbers", names=("u", "v")),
}
INPUTS = {
    "sequence": (Input(modality="sequence", shape=(None, 3)), [9, 30, 1, 17], 1),  # axis of the steps in a batch
    "audio": (Input(modality="audio", shape=(1, None), rate=8000), [5000, 9000, 3000, 4000], 2),
}


def spec_of(task: str, modality: str) -> Spec:
    return Spec(name="x", inputs={modality: INPUTS[modality][0]}, target=TARGETS[task], sizes={"train": 500})


STORES_SAMPLES = ("dtw",)  # predicts nothing before it has samples; see tests/nn/test_dtw.py


def cases() -> list[Any]:
    return [
        pytest.param(learner, modality, id=f"{task}-{modality}-{name}")
        for task in TARGETS
        for name, learner in LEARNERS[task].items()
        for modality in INPUTS
        if not learner.several_inputs
        and name not in STORES_SAMPLES
        and unsupported_reason(learner, spec_of(task, modality)) is None
    ]


def outputs(learner: Learner[Any, Any, Any], model: Any, x: Tensor, spec: Spec) -> list[Tensor]:
    """Numbers of the prediction of each sample: of a task with an answer at every step (K, T), else of any shape."""
    if learner.task.name in ("segment", "dense-regress"):
        method = model.scores if learner.task.name == "segment" else model.predict
        return list(method(x).double())
    predictions = learner.task.predict_batch(model, x, spec)
    return [torch.tensor(flatten_numbers(one), dtype=torch.float64) for one in predictions]


@pytest.mark.parametrize(("learner", "modality"), cases())
def test_a_prediction_is_that_of_the_sample_alone(learner: Learner[Any, Any, Any], modality: str) -> None:
    spec = spec_of(learner.task.name, modality)
    spec_input, lengths, axis = INPUTS[modality]
    torch.manual_seed(0)
    settings, _ = resolve(learner.settings, {}, {})
    model = learner.build(settings, spec).eval()
    width = spec_input.shape[axis % 2] or 1
    parts = [torch.randn(n, width) if axis == 1 else torch.randn(width, n) for n in lengths]
    longest = max(lengths)
    for extra in (0, 37):  # a longer sequence in the batch
        steps = longest + extra
        x = torch.full((len(parts), steps, width) if axis == 1 else (len(parts), width, steps), torch.nan)
        for row, part in zip(x, parts, strict=True):
            row.narrow(axis - 1, 0, part.shape[axis - 1]).copy_(part)
        with torch.no_grad():
            together = outputs(learner, model, x, spec)
            for part, of_batch in zip(parts, together, strict=True):
                (alone,) = outputs(learner, model, part[None], spec)
                of_batch = of_batch[..., : alone.shape[-1]]
                error = (of_batch - alone).abs() / alone.abs().clamp(min=1)
                assert bool((error <= TOLERANCE).all()), float(error.max())


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_what_follows_the_end_of_a_sequence_in_a_file_never_matters(name: str, tmp_path: Path) -> None:
    """Zeros, NaN, infinities and huge values after the ends: the same weights, bit for bit, and the same metrics."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 9, 40)
    y = np.arange(40) % 2
    runs = []
    for k, after in enumerate((0.0, np.nan, np.inf, 3e38)):
        x = np.full((40, 12, 2), after, np.float32)
        values = np.random.default_rng(1)
        for row, length, label in zip(x, lengths, y, strict=True):
            row[:length] = values.normal(size=(length, 2)) + label
        np.savez(tmp_path / f"{k}.npz", x=x, y=y, lengths=lengths)
        options = RunOptions(threads=1, report=False)
        run = snellen.train(str(tmp_path / f"{k}.npz"), name, out=tmp_path / f"run{k}", options=options, epochs=2)
        runs.append(run)
    first = file_io.read_tensors(runs[0].folder / "model.safetensors")[0]
    for run in runs[1:]:
        again = file_io.read_tensors(run.folder / "model.safetensors")[0]
        assert all(torch.equal(first[key], again[key]) for key in first)
        assert run.metrics == runs[0].metrics
