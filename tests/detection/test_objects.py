"""What finding boxes, masks and keypoints share: what is kept, told, wrong, and known without looking."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import blocks
import pytest
import torch
from torch import Tensor, nn

import snellen
from snellen.api import RunOptions, find_task
from snellen.core.detections import Detections, Objects
from snellen.core.errors import Diverged
from snellen.core.rle import of_text
from snellen.core.run import Run
from snellen.core.task import Predictions
from snellen.data.dataset import Dataset, Labelled
from snellen.detection import evaluation, outputs
from snellen.detection.error_analysis import KINDS, MEANS, RIGHT, UNTOLD, mistakes
from snellen.detection.prediction import predict
from snellen.detection.protocol import Part
from snellen.detection.score_threshold import best, choose, validation
from snellen.report.detection_diagnosis import amiss
from snellen.tasks import FROM_MODULE, TASKS

NOWHERE = Run(Path(), resume=None)


class Knows(nn.Module):
    """Says the truth of the pictures in their order, with what a test changes of it."""

    threshold: Tensor

    def __init__(self, data: Dataset[Labelled], split: str = "val", change: object = None) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(0.5))
        self.truths = [scene.truth for scene in data.scenes(split).in_order()]
        self.change = change
        self.asked = 0

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        found = []
        for _ in images:
            truth = self.truths[self.asked % len(self.truths)]
            self.asked += 1
            assert isinstance(truth, Objects)
            one = blocks.found_of(truth, torch.linspace(0.9, 0.6, len(truth.boxes)))
            found.append(self.change(one) if callable(self.change) else one)
        return found


@pytest.mark.parametrize(
    ("task", "parts"),
    [("detect", ("boxes",)), ("instances", ("masks", "boxes")), ("keypoints", ("keypoints", "boxes"))],
)
def test_the_truth_itself_has_the_highest_figures(task: str, parts: tuple[Part, ...]) -> None:
    data = blocks.blocks(40, masks=task == "instances", keypoints=task == "keypoints")
    assert find_task(None, data.spec).name == task
    said = TASKS[task].predict(Knows(data), data, "val", NOWHERE)
    figures = TASKS[task].measure(said, data.spec)
    assert figures[TASKS[task].headline(data.spec)].value == 1.0
    assert figures["F1"].value == 1.0
    assert float(TASKS[task].errors(said, data.spec).abs().max()) < 1e-9
    assert len(TASKS[task].worst(said, data.spec, 9)) == 0
    assert said["ids"].tolist() == data.splits["val"].tolist()


def test_any_of_the_three_answers_to_detect() -> None:
    for masks, keypoints in ((True, False), (False, True), (True, True)):
        assert find_task("detect", blocks.blocks(10, masks=masks, keypoints=keypoints).spec).name == "detect"


def two(said: Predictions) -> Predictions:
    """The same twice, as a comparison puts two runs below one another."""
    return {name: torch.cat([value, value]) if value.ndim else value for name, value in said.items()}


@pytest.mark.parametrize("task", ["detect", "instances", "keypoints"])
def test_two_predictions_put_together_are_one_again(task: str) -> None:
    data = blocks.blocks(30, masks=task == "instances", keypoints=task == "keypoints")
    said = TASKS[task].predict(Knows(data, change=_moved), data, "val", NOWHERE)
    headline = TASKS[task].resampled_headline(two(said), data.spec)
    count = len(said["ids"])
    rows = torch.stack([torch.arange(count), torch.arange(count) + count])
    first, second = headline(rows).tolist()
    assert first == second
    assert first == pytest.approx(TASKS[task].measure(said, data.spec)[TASKS[task].headline(data.spec)].value)
    assert 0 < first < 1


def _moved(found: Detections) -> Detections:
    """The surest find of each picture a little beside its place."""
    boxes = found.boxes.clone()
    boxes[:1] += 2
    masks = found.masks and [found.masks[0]._replace(left=2), *found.masks[1:]]
    points = None if found.keypoints is None else torch.cat([found.keypoints[:1] + 0.6, found.keypoints[1:]])
    return found._replace(boxes=boxes, masks=masks, keypoints=points)


@pytest.mark.parametrize("where", ["boxes", "scores"])
def test_r8_what_is_not_finite_never_scores(where: str) -> None:
    def broken(found: Detections) -> Detections:
        values = getattr(found, where).clone()
        values[:1] = torch.nan
        return found._replace(**{where: values})

    data = blocks.blocks(20)
    model = Knows(data, change=broken)
    with pytest.raises(Diverged, match=f"A {where.removesuffix('s').removesuffix('e')}"):
        predict(("boxes",), model, data, "val", NOWHERE)
    with pytest.raises(Diverged):
        outputs.answer(("boxes",), Knows(data, change=broken), torch.zeros(1, 1, 64, 64, dtype=torch.uint8), data.spec)


def made(finds: list[tuple[list[float], int, float]], objects: list[tuple[list[float], int]]) -> Predictions:
    """One picture: (box, class, score) of finds, (box, class) of objects."""
    truth = torch.tensor([box for box, _ in objects])
    none = torch.zeros(len(objects), dtype=torch.bool)
    return {
        "ids": torch.tensor([0]),
        "sizes": torch.tensor([[100, 100]]),
        "num_detections": torch.tensor([len(finds)]),
        "num_objects": torch.tensor([len(objects)]),
        "boxes": torch.tensor([box for box, _, _ in finds]),
        "labels": torch.tensor([label for _, label, _ in finds]),
        "scores": torch.tensor([score for _, _, score in finds]),
        "truth": truth,
        "true_labels": torch.tensor([label for _, label in objects]),
        "crowd": none,
        "ignored": none,
        "areas": blocks.boxes_areas(truth),
        "threshold": torch.tensor(0.5),
    }


def test_mistakes_are_told_apart() -> None:
    box, other = [0.0, 0, 20, 20], [50.0, 50, 70, 70]
    finds = [
        (box, 0, 0.9),
        (box, 0, 0.8),
        (other, 0, 0.8),
        ([0.0, 14, 20, 34], 0, 0.7),
        ([50.0, 60, 70, 90], 0, 0.7),
        ([80.0, 0, 90, 10], 1, 0.6),
        (other, 1, 0.4),
    ]
    spec = blocks.blocks(10).spec
    said = made(finds, [(box, 0), (other, 1)])
    found = mistakes(said, "boxes", spec)
    assert found.kind.tolist() == [RIGHT, 0, 1, 2, 3, 4, UNTOLD]
    assert found.missed.tolist() == [False, True]
    assert found.of_pictures(1).tolist() == [6]
    assert len(KINDS) == len(MEANS)


def test_the_threshold_has_the_highest_f1() -> None:
    box, other = [0.0, 0, 20, 20], [50.0, 50, 70, 70]
    spec = blocks.blocks(10).spec
    finds = [(box, 0, 0.9), ([80.0, 0, 90, 9], 0, 0.8), (other, 1, 0.7), ([30.0, 0, 40, 9], 0, 0.2)]
    score, f1 = best(made(finds, [(box, 0), (other, 1)]), "boxes", spec)
    assert (score, f1) == (pytest.approx(0.7), pytest.approx(0.8))  # two of three right, of two objects both
    tried = [2 * right / (told + 2) for right, told in ((1, 1), (1, 2), (2, 3), (2, 4))]
    assert f1 == pytest.approx(max(tried))
    assert best(made(finds[1:2], [(box, 0)]), "boxes", spec) == (0.5, 0.0)


def test_equal_scores_are_told_together() -> None:
    box, other = [0.0, 0, 20, 20], [50.0, 50, 70, 70]
    finds = [(box, 0, 0.8), *[([80.0, k, 90, k + 9.0], 0, 0.8) for k in range(0, 60, 10)], (other, 1, 0.3)]
    score, f1 = best(made(finds, [(box, 0), (other, 1)]), "boxes", blocks.blocks(10).spec)
    assert (score, f1) == (pytest.approx(0.3), pytest.approx(2 * 2 / (8 + 2)))


def test_choosing_sets_the_model_and_says_so() -> None:
    data = blocks.blocks(40)
    model, run = Knows(data), Run(Path(), resume=None)
    choose("boxes", model, data, run)
    assert float(model.threshold) == pytest.approx(0.6)
    assert run.notes["threshold"] == {"score": 0.6, "f1": 1.0, "split": "val", "pictures": len(data.splits["val"])}
    score = validation("boxes", data, run)
    assert score is not None


def test_answers_are_plain_and_above_the_threshold() -> None:
    data = blocks.blocks(20, masks=True, keypoints=True)
    parts: tuple[Part, ...] = ("masks", "keypoints")
    model = Knows(data)
    model.threshold.fill_(0.7)
    x = torch.stack([scene.image for scene in data.scenes("val").in_order()])
    for told, truth in zip(outputs.answer(parts, model, x, data.spec), model.truths, strict=True):
        assert json.loads(json.dumps(told)) == told
        assert isinstance(truth, Objects)
        kept = [score >= 0.7 for score in torch.linspace(0.9, 0.6, len(truth.boxes)).tolist()]
        assert len(told["objects"]) == sum(kept)
        for k, one in enumerate(told["objects"]):
            assert one["class"] == blocks.NAMES[int(truth.labels[k])]
            assert one["box"] == truth.boxes[k].tolist()
            assert truth.masks is not None
            whole = of_text(one["mask"]["counts"], tuple(one["mask"]["size"])).full(64, 64)
            assert torch.equal(whole, truth.masks[k])
            assert len(one["keypoints"]) == 2


def test_a_baseline_is_trained_told_and_read_back(tmp_path: Path) -> None:
    for task in ("detect", "instances", "keypoints"):
        data = blocks.blocks(40, masks=task != "detect", keypoints=task == "keypoints")
        run = snellen.train(data, "baseline", task=task, out=tmp_path / task, options=RunOptions(threads=1))
        assert "threshold" in json.loads((run.folder / "metrics.json").read_text())["notes"]
        again = snellen.load(run.folder, data=data)
        x = data.example("test")
        assert again.ask(x) == run.ask(x)
        page = (run.folder / "report.html").read_text()
        assert "Which mistakes" in page
        assert "Worst pictures" in page or "Where it fails" in page
        assert run.worst(1)[0]["truth"]["objects"]


def test_the_usual_boxes_lie_where_boxes_lie() -> None:
    data = blocks.blocks(40, masks=True)
    everywhere = dataclasses.replace(data)
    from snellen.detection import baseline

    model = baseline.build(("boxes",), data.spec)
    baseline.fit("boxes", everywhere, model, Run(Path(), resume=None))
    (found,) = model.detect([torch.zeros(1, 64, 64)])
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    assert torch.allclose(sides, torch.tensor([[24.0, 8], [8, 24]])[found.labels], atol=1e-3)
    assert bool((found.scores[:-1] >= found.scores[1:]).all())
    assert bool((found.scores > 0).all())
    (wider,) = model.detect([torch.zeros(1, 64, 128)])
    assert torch.allclose(wider.boxes[:, ::2], 2 * found.boxes[:, ::2])


def test_what_is_amiss_is_said() -> None:
    box, other = [0.0, 0, 40, 40], [50.0, 50, 90, 90]
    spec = blocks.blocks(10).spec
    healthy = made([(box, 0, 0.9), (other, 1, 0.9)], [(box, 0), (other, 1)])
    assert amiss(healthy, spec, 1.0) == []
    unsure = {**healthy, "scores": torch.tensor([0.1, 0.1])}
    assert [finding.kind for finding in amiss(unsure, spec, 0.2)] == ["finds-nothing"]
    alike = {**healthy, "labels": torch.tensor([0, 0])}
    assert [finding.kind for finding in amiss(alike, spec, 0.2)] == ["one-class"]
    many = {**healthy, "true_labels": torch.tensor([0, 1]).repeat_interleave(10)}
    many |= {name: healthy[name].repeat(10) for name in ("crowd", "ignored", "areas")}
    many["scores"] = torch.tensor([0.9, 0.9, 0.1])
    rare = {**many, "labels": torch.tensor([0, 0, 1])}
    common = dataclasses.replace(spec.target, names=("wide", "tall", "round"))
    some = {**many, "labels": torch.tensor([0, 2, 1])}
    assert [finding.kind for finding in amiss(rare, spec, 0.2)] == ["one-class"]
    (never,) = amiss(some, dataclasses.replace(spec, target=common), 0.2)
    assert never.message == "It never says tall, and 50 % of the objects are."
    tiny = made([([0.0, 0, 5, 5], 0, 0.9), ([20.0, 0, 25, 5], 1, 0.9)], [([0.0, 0, 5, 5], 0), ([20.0, 0, 25, 5], 1)])
    assert [finding.kind for finding in amiss(tiny, spec, 0.2)] == ["tiny"]
    assert amiss(tiny, spec, 0.9) == []


def test_a_plain_module_is_refused() -> None:
    with pytest.raises(snellen.core.errors.UsageError, match="cannot be taught to find objects"):
        FROM_MODULE["detect"](nn.Linear(1, 1))


def test_an_empty_split_has_no_figures() -> None:
    data = blocks.blocks(20)
    empty = dataclasses.replace(data, splits={**data.splits, "val": torch.zeros(0, dtype=torch.int64)})
    said = predict(("boxes",), Knows(data, "train"), empty, "val", NOWHERE)
    assert evaluation.measure(("boxes",), said, data.spec)["AP"].reason == "the split is empty"


def test_other_data_of_the_same_classes_is_judged(tmp_path: Path) -> None:
    run = snellen.train(
        blocks.blocks(40, masks=True), "baseline", out=tmp_path / "run", options=RunOptions(threads=1, report=False)
    )
    assert run.task.name == "instances"
    other = blocks.blocks(30, masks=True, seed=7)
    assert run.evaluate(other)["mask AP"].value is not None
    with pytest.raises(snellen.core.errors.DataError, match="have no masks"):
        run.evaluate(blocks.blocks(30))
