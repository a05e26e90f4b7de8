"""Exported detectors: parity of matched detections, in two image sizes, and on an empty image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import blocks
import onnxruntime
import pytest
import torch
from torch import Tensor

import snellen
from snellen.api import RunOptions
from snellen.core.errors import Diverged, Mismatch
from snellen.core.task import Output
from snellen.export.detection_parity import TOLERANCES, compare

OUTPUTS = tuple(Output(name=name, columns=("x",)) for name in ("boxes", "scores", "labels", "count"))
BATCH = torch.zeros(2, 3, 50, 100)


def make_outputs(shift: float = 0.0) -> dict[str, Tensor]:
    """Two detections of nearly equal score in the first image, none in the second."""
    boxes, scores = torch.zeros(2, 100, 4), torch.zeros(2, 100)
    labels = torch.zeros(2, 100, dtype=torch.int64)
    boxes[0, :2] = torch.tensor([[0.0, 0, 20, 20], [50, 10, 80, 40]]) + shift
    scores[0, :2], labels[0, :2] = torch.tensor([0.9, 0.8999]), torch.tensor([1, 2])
    return {"boxes": boxes, "scores": scores, "labels": labels, "count": torch.tensor([2, 0])}


def test_detections_of_nearly_equal_score_may_change_their_order() -> None:
    other = make_outputs(0.05)
    for name in ("boxes", "scores", "labels"):
        other[name][0, :2] = other[name][0, :2].flip(0)
    parity = compare([make_outputs()], [other], [BATCH], OUTPUTS)
    assert (parity["finds"], parity["pictures without finds"]) == (2, 1)
    assert parity["absolute"]["boxes"] == pytest.approx(0.05, rel=1e-3)
    assert parity["relative"]["boxes"] == pytest.approx(0.05 / 100, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("boxes", 20 + 200 * TOLERANCES["boxes"], r"no counterpart at the same place.*box \[0.0, 0.0, 20.0, 20.0\]"),
        ("scores", 0.95, "Detection 1 of the file, score 0.9500.* has no match in the run"),
        ("scores", 0.9 + 1.5 * TOLERANCES["scores"], "scores of the file differ"),
        ("labels", 0, "has no match in the file"),
        ("count", 1, r"Detection 2 of the run, score 0\.8999.*2 detections in the run, 1 in the file"),
    ],
)
def test_differences_raise_mismatch(name: str, value: float, cause: str) -> None:
    other = make_outputs()
    other[name].view(-1)[2 if name == "boxes" else 0] = value
    with pytest.raises(Mismatch, match=cause):
        compare([make_outputs()], [other], [BATCH], OUTPUTS)


def many(boxes: list[list[float]], scores: list[float]) -> dict[str, Tensor]:
    count = len(boxes)
    padded = torch.zeros(1, 100, 4)
    padded[0, :count] = torch.tensor(boxes)
    return {
        "boxes": padded,
        "scores": torch.nn.functional.pad(torch.tensor([scores]), (0, 100 - count)),
        "labels": torch.ones(1, 100, dtype=torch.int64),
        "count": torch.tensor([count]),
    }


FAR = [[10.0 * k, 80.0, 10.0 * k + 8, 88.0] for k in range(20)]
HIGH = [0.9 - 0.01 * k for k in range(20)]


@pytest.mark.parametrize(
    ("run", "file"),
    [
        # Two overlapping boxes of equal score: rounding selects which of them suppresses the other.
        (([*FAR, [50.0, 10, 80, 40]], [*HIGH, 0.5]), ([*FAR, [52.0, 12, 82, 42]], [*HIGH, 0.5001])),
        # A score at the threshold.
        (([*FAR, [50.0, 10, 80, 40]], [*HIGH, 0.0502]), (FAR, HIGH)),
    ],
)
def test_detections_that_rounding_selects_are_ties(run: Any, file: Any) -> None:
    parity = compare([many(*run)], [many(*file)], [BATCH[:1]], OUTPUTS)
    assert parity["finds"] == 20
    assert parity["ties"] == (2 if len(run[0]) == len(file[0]) else 1)
    assert parity["tie displacement"] == (2.0 if parity["ties"] == 2 else 0.0)


def test_detections_beyond_a_full_list_are_ties_only_of_the_lowest_score() -> None:
    grid = [[10.0 * (k % 10), 10.0 * (k // 10), 10.0 * (k % 10) + 8, 10.0 * (k // 10) + 8] for k in range(100)]
    scores = [0.9 - 0.005 * k for k in range(99)] + [0.3]
    other = [*grid[:99], [200.0, 200, 210, 210]]
    assert compare([many(grid, scores)], [many(other, scores)], [BATCH[:1]], OUTPUTS)["ties"] == 2
    early = [*grid[:50], [200.0, 200, 210, 210], *grid[51:]]
    with pytest.raises(Mismatch, match="has no match"):
        compare([many(grid, scores)], [many(early, scores)], [BATCH[:1]], OUTPUTS)


def test_mostly_ties_are_no_parity() -> None:
    first, second = [[50.0, 10, 80, 40]], [[52.0, 12, 82, 42]]
    with pytest.raises(Mismatch, match="2 detections of run or file have no counterpart"):
        compare([many(first, [0.5])], [many(second, [0.5])], [BATCH[:1]], OUTPUTS)


def test_non_finite_outputs_raise_diverged() -> None:
    broken = make_outputs()
    broken["scores"][1, 50] = torch.nan
    with pytest.raises(Diverged, match="scores of the run are not finite"):
        compare([broken], [broken], [BATCH], OUTPUTS)


@pytest.mark.parametrize("task", ["detect", "instances", "keypoints"])
def test_onnx_runtime_has_the_detections_of_the_run(task: str, tmp_path: Path) -> None:
    data = blocks.block_dataset(40, masks=task == "instances", keypoints=task == "keypoints")
    run = snellen.train(data, "baseline", task=task, out=tmp_path / "run", options=RunOptions(threads=1, report=False))
    path = run.export("onnx", tmp_path / "away.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    example = data.example("test")
    for x in (example, example.repeat(3, 1, 1, 2)[..., :48, :96]):
        outputs = dict(
            zip([o.name for o in session.get_outputs()], session.run(None, {"input": x.numpy()}), strict=True)
        )
        for k, prediction in enumerate(run.predict_batch(x)):
            is_shown = outputs["scores"][k] >= float(run.model.threshold)
            assert len(prediction["objects"]) == int(is_shown.sum()) > 0
            for detected, box, label in zip(
                prediction["objects"], outputs["boxes"][k], outputs["labels"][k], strict=False
            ):
                assert detected["class"] == blocks.NAMES[label]
                assert detected["box"] == pytest.approx(box.tolist(), abs=0.011)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["input"])["shape"] == ["batch", example.shape[1], "any", "any"]
    parity = json.loads(metadata["parity"])
    assert parity["inputs"] == 11
    assert parity["batches"] == [1, 4, 1, 4, 1]
    assert parity["sizes"] == [[64, 64]] * 2 + [[64, 48]] * 2 + [[64, 64]]
    expected = {"instances": {"masks"}, "keypoints": {"keypoints"}}.get(task, set())
    assert set(parity["relative"]) == {"boxes", "scores", *expected}
