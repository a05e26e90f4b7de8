"""Exported detectors: compared find by find, in two sizes, and with a picture in which nothing is."""

from __future__ import annotations

import json
from pathlib import Path

import blocks
import onnxruntime
import pytest
import torch
from torch import Tensor

import snellen
from snellen.api import RunOptions
from snellen.core.errors import Diverged, Mismatch
from snellen.core.task import Output
from snellen.export.detection_parity import ALLOWED, compare

OUTPUTS = tuple(Output(name=name, columns=("x",)) for name in ("boxes", "scores", "labels", "count"))
BATCH = torch.zeros(2, 3, 50, 100)


def said(shift: float = 0.0) -> dict[str, Tensor]:
    """Two finds of nearly one score in the first picture, none in the second."""
    boxes, scores = torch.zeros(2, 100, 4), torch.zeros(2, 100)
    labels = torch.zeros(2, 100, dtype=torch.int64)
    boxes[0, :2] = torch.tensor([[0.0, 0, 20, 20], [50, 10, 80, 40]]) + shift
    scores[0, :2], labels[0, :2] = torch.tensor([0.9, 0.8999]), torch.tensor([1, 2])
    return {"boxes": boxes, "scores": scores, "labels": labels, "count": torch.tensor([2, 0])}


def test_the_same_finds_may_change_places_where_their_scores_are_alike() -> None:
    other = said(0.05)
    for name in ("boxes", "scores", "labels"):
        other[name][0, :2] = other[name][0, :2].flip(0)
    found = compare([said()], [other], [BATCH], OUTPUTS)
    assert (found["finds"], found["pictures without finds"]) == (2, 1)
    assert found["absolute"]["boxes"] == pytest.approx(0.05, rel=1e-3)
    assert found["relative"]["boxes"] == pytest.approx(0.05 / 100, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("boxes", 20 + 200 * ALLOWED["boxes"], "boxes of the file differ"),
        ("scores", 0.95, "is none of the file's"),
        ("scores", 0.9 + 1.5 * ALLOWED["scores"], "scores of the file differ"),
        ("labels", 0, "is none of the file's"),
        ("count", 1, "finds 1 objects in a picture, the run 2"),
    ],
)
def test_what_differs_is_refused(name: str, value: float, cause: str) -> None:
    other = said()
    other[name].view(-1)[2 if name == "boxes" else 0] = value
    with pytest.raises(Mismatch, match=cause):
        compare([said()], [other], [BATCH], OUTPUTS)


def test_what_is_not_finite_is_refused() -> None:
    broken = said()
    broken["scores"][1, 50] = torch.nan
    with pytest.raises(Diverged, match="scores of the run are not finite"):
        compare([broken], [broken], [BATCH], OUTPUTS)


@pytest.mark.parametrize("task", ["detect", "instances", "keypoints"])
def test_a_detector_says_in_onnx_runtime_what_the_run_says(task: str, tmp_path: Path) -> None:
    data = blocks.blocks(40, masks=task == "instances", keypoints=task == "keypoints")
    run = snellen.train(data, "baseline", task=task, out=tmp_path / "run", options=RunOptions(threads=1, report=False))
    path = run.export("onnx", tmp_path / "away.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    example = data.example("test")
    for x in (example, example.repeat(3, 1, 1, 2)[..., :48, :96]):
        asked = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"input": x.numpy()}), strict=True))
        for k, answer in enumerate(run.ask(x)):
            kept = asked["scores"][k] >= float(run.model.threshold)
            assert len(answer["objects"]) == int(kept.sum()) > 0
            for one, box, label in zip(answer["objects"], asked["boxes"][k], asked["labels"][k], strict=False):
                assert one["class"] == blocks.NAMES[label]
                assert one["box"] == pytest.approx(box.tolist(), abs=0.011)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["input"])["shape"] == ["batch", example.shape[1], "any", "any"]
    parity = json.loads(about["parity"])
    assert parity["inputs"] == 11
    assert parity["batches"] == [1, 4, 1, 4, 1]
    assert parity["sizes"] == [[64, 64]] * 2 + [[64, 48]] * 2 + [[64, 64]]
    wanted = {"instances": {"masks"}, "keypoints": {"keypoints"}}.get(task, set())
    assert set(parity["relative"]) == {"boxes", "scores", *wanted}
