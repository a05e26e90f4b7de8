"""Every registered learner leaves as ONNX and then says in ONNX Runtime what the run says: tested by registering."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from test_learners import ALL, FAMILY, data_for, numbers, settings_for
from torch import Tensor

import snellen
from snellen.core.learner import Learner
from snellen.entry import Machine

SHORT = {"epochs": 1, "passes": 1}  # what was learned does not matter here


def answers(session: onnxruntime.InferenceSession, x: Tensor) -> list[list[float]]:
    """What the file says, in the order of `ask`: probabilities where it gives any, else scores or numbers."""
    said = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"input": x.numpy()}), strict=True))
    found = said.get("probabilities", said.get("scores", said.get("numbers")))
    return found.tolist()  # type: ignore[no-any-return, union-attr]


OTHERS = [one for one in FAMILY if one.id in {f"classify-{name}" for name in (
    "mobilenetv2", "densenet121", "googlenet", "alexnet", "vgg11", "resnet50", "resnext50", "resnet164")}]  # fmt: skip


@pytest.mark.parametrize("learner", ALL + OTHERS)
def test_it_says_in_onnx_runtime_what_the_run_says(learner: Learner[Any, Any, Any], tmp_path: Path) -> None:
    run = snellen.train(data_for(learner), learner, out=tmp_path / "run", machine=Machine(threads=1, report=False),
                        **{name: SHORT.get(name, value) for name, value in settings_for(learner).items()})  # fmt: skip
    path = run.export("onnx", tmp_path / "away.onnx")
    x = data_for(learner).samples("test").take(torch.arange(20)).x
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    asked = run.ask(x)
    scale = max(abs(number) for answer in asked for number in numbers(answer))
    for size in (20, 1, 7):
        for said, answer in zip(answers(session, x[:size]), asked[:size], strict=True):
            assert said == pytest.approx(numbers(answer), rel=0, abs=1e-4 * scale)
    parity = json.loads(session.get_modelmeta().custom_metadata_map["parity"])
    assert parity["inputs"] == 100
    assert max(parity["relative"].values()) <= parity["allowed"]
