"""ONNX export of every registered learner: ONNX Runtime and the run give the same predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from learners import ALL, FAMILY, SCENES, RunOf, first_inputs, flatten_numbers
from torch import Tensor

import snellen
from snellen.core.learner import Learner
from snellen.export.detection_parity import compare


def onnx_numbers(session: onnxruntime.InferenceSession, x: Tensor) -> list[list[float]]:
    """Outputs of the file, in the order of `predict_batch`: probabilities, else scores, numbers, values or density."""
    outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"input": x.numpy()}), strict=True))
    if "forecast" in outputs:  # (B, H, D), in predictions by feature, of intervals low before high
        low, high = ([v for name, v in outputs.items() if name.startswith(end)] for end in ("low_", "high_"))
        ends = [np.stack(pair, 1).transpose(0, 3, 1, 2) for pair in zip(low, high, strict=True)]  # (B, D, 2, H)
        parts = [outputs["forecast"].swapaxes(1, 2), *ends]
        return np.concatenate([part.reshape(len(x), -1) for part in parts], 1).tolist()  # type: ignore[no-any-return]
    shown = [
        values.reshape(len(x), -1)
        for name, values in outputs.items()
        if name.replace("scores", "probabilities") not in outputs.keys() - {name}
    ]
    return np.concatenate(shown, axis=1).tolist()  # type: ignore[no-any-return]


def assert_parity_at_any_size(run: snellen.TrainedRun, session: onnxruntime.InferenceSession, x: Tensor) -> None:
    """Dense and detection outputs: batches of 1 and 4, of two image sizes; other samples have one size."""
    exported = run.task.export(run.model, run.spec)
    smaller = (x[:1, :, :-3, :-7], x[:4, :, :-3, :-7]) if run.spec.input.has_pixels else ()
    for part in (x[:1], x[:4], *smaller):
        with torch.no_grad():
            expected = exported.module(part)
        outputs = dict(
            zip([o.name for o in session.get_outputs()], session.run(None, {"input": part.numpy()}), strict=True)
        )
        if exported.is_detector:
            onnx_outputs = {name: torch.from_numpy(values) for name, values in outputs.items()}
            assert compare([expected], [onnx_outputs], [part], exported.outputs)["inputs"] == len(part)
            continue
        for name, values in expected.items():
            assert outputs[name].shape == tuple(values.shape)
            scale = float(values.abs().max())
            assert float((torch.from_numpy(outputs[name]) - values).abs().max()) <= 1e-4 * scale


MORE_LEARNERS = [
    parameter
    for parameter in FAMILY
    if parameter.id
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
                "rnn",
                "lstm",
            )
        ),
        "segment-fcn",
        "segment-dilated",
        "detect-fcos",
    }
]
# Each operator of these is in the network of another learner, whose export is tested: Mask R-CNN, ResNeXt-50, AlexNet,
# ResNet-20, the networks of `classify`, and FCOS on EfficientNet-Lite0 (tests/detection).
SIMILAR = (
    {"detect-faster-rcnn", "detect-fcos", "classify-resnet50", "classify-vgg11", "classify-resnet164"}
    | {"forecast-constant-velocity", "forecast-mlp", "dense-regress-gru", "dense-regress-unet3d"}
    | {f"regress-{name}" for name in ("lenet", "convnet", "resnet20", "resnet18", "residual-mlp")}
)


def exported_learners() -> list[Any]:
    return [
        pytest.param(*one.values, id=one.id, marks=[pytest.mark.slow] if one.id in SIMILAR else [])
        for one in ALL + MORE_LEARNERS
        if not one.values[0].several_inputs
    ]


@pytest.mark.parametrize("learner", exported_learners())
def test_onnx_runtime_gives_the_predictions_of_the_run(
    learner: Learner[Any, Any, Any], first_run: RunOf, one_step_run: RunOf, tmp_path: Path
) -> None:
    run = (first_run if learner.in_default_ladder else one_step_run)(learner)
    path = run.export("onnx", tmp_path / "away.onnx")
    x = first_inputs(learner, 20)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    if learner.task.name in SCENES:
        assert_parity_at_any_size(run, session, x)
        return
    predictions = run.predict_batch(x)
    scale = max(abs(number) for prediction in predictions for number in flatten_numbers(prediction))
    for size in (20, 1, 7):
        for outputs, prediction in zip(onnx_numbers(session, x[:size]), predictions[:size], strict=True):
            numbers = flatten_numbers(prediction)[-len(outputs) :]  # the number of the cluster comes before
            assert outputs == pytest.approx(numbers, rel=0, abs=1e-4 * scale)
    parity = json.loads(session.get_modelmeta().custom_metadata_map["parity"])
    assert parity["inputs"] == 100
    assert max(parity["relative"].values()) <= parity["allowed"]
