"""Every registered learner leaves as ONNX and then says in ONNX Runtime what the run says: tested by registering."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from test_learners import ALL, FAMILY, SCENES, asked_of, data_for, numbers, settings_for
from torch import Tensor

import snellen
from snellen.api import RunOptions
from snellen.core.learner import Learner
from snellen.export.detection_parity import compare

SHORT = {"epochs": 1}  # what was learned does not matter here


def answers(session: onnxruntime.InferenceSession, x: Tensor) -> list[list[float]]:
    """What the file says, in the order of `ask`: probabilities where it gives any, else scores or numbers."""
    said = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"input": x.numpy()}), strict=True))
    found = said.get("probabilities", said.get("scores", said.get("numbers")))
    return found.tolist()  # type: ignore[no-any-return, union-attr]


def says_of_any_size_what_the_run_says(
    run: snellen.TrainedRun, session: onnxruntime.InferenceSession, x: Tensor
) -> None:
    """Answers about places: batches of 1 and 4, of two sizes."""
    exported = run.task.export(run.model, run.spec)
    for part in (x[:1], x[:4], x[:1, :, :-3, :-7], x[:4, :, :-3, :-7]):
        with torch.no_grad():
            expected = exported.module(part)
        said = dict(
            zip([o.name for o in session.get_outputs()], session.run(None, {"input": part.numpy()}), strict=True)
        )
        if exported.finds:
            together = {name: torch.from_numpy(values) for name, values in said.items()}
            assert compare([expected], [together], [part], exported.outputs)["inputs"] == len(part)
            continue
        for name, values in expected.items():
            assert said[name].shape == tuple(values.shape)
            scale = float(values.abs().max())
            assert float((torch.from_numpy(said[name]) - values).abs().max()) <= 1e-4 * scale


OTHERS = [
    one
    for one in FAMILY
    if one.id
    in {
        *(
            f"classify-{name}"
            for name in (
                "mobilenetv2",
                "densenet121",
                "googlenet",
                "alexnet",
                "vgg11",
                "resnet50",
                "resnext50",
                "resnet164",
            )
        ),
        "segment-fcn",
        "segment-dilated",
        "detect-fcos",
    }
]


@pytest.mark.parametrize("learner", ALL + OTHERS)
def test_it_says_in_onnx_runtime_what_the_run_says(learner: Learner[Any, Any, Any], tmp_path: Path) -> None:
    run = snellen.train(
        data_for(learner),
        learner,
        out=tmp_path / "run",
        options=RunOptions(threads=1, report=False),
        **{name: SHORT.get(name, value) for name, value in settings_for(learner).items()},
    )
    path = run.export("onnx", tmp_path / "away.onnx")
    x = asked_of(learner, 20)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    if learner.task.name in SCENES:
        says_of_any_size_what_the_run_says(run, session, x)
        return
    options = run.ask(x)
    scale = max(abs(number) for answer in options for number in numbers(answer))
    for size in (20, 1, 7):
        for said, answer in zip(answers(session, x[:size]), options[:size], strict=True):
            assert said == pytest.approx(numbers(answer), rel=0, abs=1e-4 * scale)
    parity = json.loads(session.get_modelmeta().custom_metadata_map["parity"])
    assert parity["inputs"] == 100
    assert max(parity["relative"].values()) <= parity["allowed"]
