"""Object detection: predictions, metrics, error types, score threshold, baseline, diagnosis."""

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
from snellen.core.detections import Detections, GroundTruth
from snellen.core.errors import Diverged
from snellen.core.rle import decode_region
from snellen.core.run import Run
from snellen.core.task import Predictions
from snellen.data.dataset import Dataset, Labelled
from snellen.detection import evaluation, outputs
from snellen.detection.diagnosis import detection_findings
from snellen.detection.error_analysis import (
    BELOW_THRESHOLD,
    ERROR_DESCRIPTIONS,
    ERROR_TYPES,
    TRUE_POSITIVE,
    classify_errors,
)
from snellen.detection.prediction import predict
from snellen.detection.protocol import IoUType
from snellen.detection.score_threshold import (
    best_f1_threshold,
    choose_threshold,
    validation_score,
    validation_subset,
)
from snellen.tasks import FROM_MODULE, TASKS

NO_RUN = Run(Path(), resume=None)


class Oracle(nn.Module):
    """Detector that predicts the ground truth of the images in order, changed by a function of the test."""

    threshold: Tensor

    def __init__(self, data: Dataset[Labelled], split: str = "val", change: object = None) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(0.5))
        self.truths = [scene.truth for scene in data.scenes(split).in_order()]
        self.change = change
        self.position = 0

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        detections = []
        for _ in images:
            truth = self.truths[self.position % len(self.truths)]
            self.position += 1
            assert isinstance(truth, GroundTruth)
            detected = blocks.detections_from_truth(truth, torch.linspace(0.9, 0.6, len(truth.boxes)))
            detections.append(self.change(detected) if callable(self.change) else detected)
        return detections


@pytest.mark.parametrize(
    ("task", "iou_types"),
    [("detect", ("boxes",)), ("instances", ("masks", "boxes")), ("keypoints", ("keypoints", "boxes"))],
)
def test_ground_truth_as_predictions_has_perfect_metrics(task: str, iou_types: tuple[IoUType, ...]) -> None:
    data = blocks.block_dataset(40, masks=task == "instances", keypoints=task == "keypoints")
    assert find_task(None, data.spec).name == task
    predictions = TASKS[task].predict(Oracle(data), data, "val", NO_RUN)
    metrics = TASKS[task].measure(predictions, data.spec)
    assert metrics[TASKS[task].headline(data.spec)].value == 1.0
    assert metrics["F1"].value == 1.0
    assert float(TASKS[task].errors(predictions, data.spec).abs().max()) < 1e-9
    assert len(TASKS[task].worst_samples(predictions, data.spec, 9)) == 0
    assert predictions["ids"].tolist() == data.splits["val"].tolist()


def test_detect_accepts_masks_and_keypoints() -> None:
    for masks, keypoints in ((True, False), (False, True), (True, True)):
        assert find_task("detect", blocks.block_dataset(10, masks=masks, keypoints=keypoints).spec).name == "detect"


def duplicated(predictions: Predictions) -> Predictions:
    """The predictions twice, concatenated as in a comparison of two runs."""
    return {name: torch.cat([value, value]) if value.ndim else value for name, value in predictions.items()}


@pytest.mark.parametrize("task", ["detect", "instances", "keypoints"])
def test_concatenated_predictions_have_the_metrics_of_each(task: str) -> None:
    data = blocks.block_dataset(30, masks=task == "instances", keypoints=task == "keypoints")
    predictions = TASKS[task].predict(Oracle(data, change=_shifted), data, "val", NO_RUN)
    headline = TASKS[task].resampled_headline(duplicated(predictions), data.spec)
    count = len(predictions["ids"])
    rows = torch.stack([torch.arange(count), torch.arange(count) + count])
    first, second = headline(rows).tolist()
    assert first == second
    assert first == pytest.approx(TASKS[task].measure(predictions, data.spec)[TASKS[task].headline(data.spec)].value)
    assert 0 < first < 1


def _shifted(detections: Detections) -> Detections:
    """Detections with the highest-scoring one of each image shifted."""
    boxes = detections.boxes.clone()
    boxes[:1] += 2
    masks = detections.masks and [detections.masks[0]._replace(left=2), *detections.masks[1:]]
    points = (
        None if detections.keypoints is None else torch.cat([detections.keypoints[:1] + 0.6, detections.keypoints[1:]])
    )
    return detections._replace(boxes=boxes, masks=masks, keypoints=points)


@pytest.mark.parametrize("field", ["boxes", "scores"])
def test_r8_non_finite_predictions_raise_diverged(field: str) -> None:
    def broken(detections: Detections) -> Detections:
        values = getattr(detections, field).clone()
        values[:1] = torch.nan
        return detections._replace(**{field: values})

    data = blocks.block_dataset(20)
    model = Oracle(data, change=broken)
    with pytest.raises(Diverged, match=f"A predicted {field.removesuffix('s').removesuffix('e')}"):
        predict(("boxes",), model, data, "val", NO_RUN)
    with pytest.raises(Diverged):
        outputs.predict_batch(
            ("boxes",), Oracle(data, change=broken), torch.zeros(1, 1, 64, 64, dtype=torch.uint8), data.spec
        )


def make_predictions(
    detections: list[tuple[list[float], int, float]], objects: list[tuple[list[float], int]]
) -> Predictions:
    """Predictions of one image: (box, class, score) of detections, (box, class) of objects."""
    truth = torch.tensor([box for box, _ in objects])
    none = torch.zeros(len(objects), dtype=torch.bool)
    return {
        "ids": torch.tensor([0]),
        "sizes": torch.tensor([[100, 100]]),
        "num_detections": torch.tensor([len(detections)]),
        "num_objects": torch.tensor([len(objects)]),
        "boxes": torch.tensor([box for box, _, _ in detections]),
        "labels": torch.tensor([label for _, label, _ in detections]),
        "scores": torch.tensor([score for _, _, score in detections]),
        "truth": truth,
        "true_labels": torch.tensor([label for _, label in objects]),
        "crowd": none,
        "ignored": none,
        "areas": blocks.box_areas(truth),
        "threshold": torch.tensor(0.5),
    }


def test_error_types() -> None:
    box, other = [0.0, 0, 20, 20], [50.0, 50, 70, 70]
    detections = [
        (box, 0, 0.9),
        (box, 0, 0.8),
        (other, 0, 0.8),
        ([0.0, 14, 20, 34], 0, 0.7),
        ([50.0, 60, 70, 90], 0, 0.7),
        ([80.0, 0, 90, 10], 1, 0.6),
        (other, 1, 0.4),
    ]
    spec = blocks.block_dataset(10).spec
    predictions = make_predictions(detections, [(box, 0), (other, 1)])
    errors = classify_errors(predictions, "boxes", spec)
    assert errors.kind.tolist() == [TRUE_POSITIVE, 0, 1, 2, 3, 4, BELOW_THRESHOLD]
    assert errors.missed.tolist() == [False, True]
    assert errors.per_image(1).tolist() == [6]
    assert len(ERROR_TYPES) == len(ERROR_DESCRIPTIONS)


def test_the_threshold_has_the_highest_f1() -> None:
    box, other = [0.0, 0, 20, 20], [50.0, 50, 70, 70]
    spec = blocks.block_dataset(10).spec
    detections = [(box, 0, 0.9), ([80.0, 0, 90, 9], 0, 0.8), (other, 1, 0.7), ([30.0, 0, 40, 9], 0, 0.2)]
    score, f1 = best_f1_threshold(make_predictions(detections, [(box, 0), (other, 1)]), "boxes", spec)
    assert (score, f1) == (pytest.approx(0.7), pytest.approx(0.8))  # two of three correct, both objects detected
    f1_scores = [2 * correct / (count + 2) for correct, count in ((1, 1), (1, 2), (2, 3), (2, 4))]
    assert f1 == pytest.approx(max(f1_scores))
    assert best_f1_threshold(make_predictions(detections[1:2], [(box, 0)]), "boxes", spec) == (0.5, 0.0)


def test_a_threshold_does_not_separate_equal_scores() -> None:
    box, other = [0.0, 0, 20, 20], [50.0, 50, 70, 70]
    detections = [(box, 0, 0.8), *[([80.0, k, 90, k + 9.0], 0, 0.8) for k in range(0, 60, 10)], (other, 1, 0.3)]
    score, f1 = best_f1_threshold(
        make_predictions(detections, [(box, 0), (other, 1)]), "boxes", blocks.block_dataset(10).spec
    )
    assert (score, f1) == (pytest.approx(0.3), pytest.approx(2 * 2 / (8 + 2)))


def test_choose_threshold_sets_the_model_and_notes_it() -> None:
    data = blocks.block_dataset(40)
    model, run = Oracle(data), Run(Path(), resume=None)
    choose_threshold("boxes", model, data, run)
    assert float(model.threshold) == pytest.approx(0.6)
    assert run.notes["threshold"] == {"score": 0.6, "f1": 1.0, "split": "val", "pictures": len(data.splits["val"])}
    assert run.validation_predictions is not None
    kept, predicted = run.validation_predictions[0], predict(("boxes",), model, data, "val", run)
    assert kept.keys() == predicted.keys()
    assert all(torch.equal(kept[name], predicted[name]) for name in kept)
    subset = validation_subset(data)
    assert validation_score("boxes", Oracle(subset), subset, run) == pytest.approx(1.0)


def test_predicted_objects_are_json_and_above_the_threshold() -> None:
    data = blocks.block_dataset(20, masks=True, keypoints=True)
    iou_types: tuple[IoUType, ...] = ("masks", "keypoints")
    model = Oracle(data)
    model.threshold.fill_(0.7)
    x = torch.stack([scene.image for scene in data.scenes("val").in_order()])
    for prediction, truth in zip(outputs.predict_batch(iou_types, model, x, data.spec), model.truths, strict=True):
        assert json.loads(json.dumps(prediction)) == prediction
        assert isinstance(truth, GroundTruth)
        is_shown = [score >= 0.7 for score in torch.linspace(0.9, 0.6, len(truth.boxes)).tolist()]
        assert len(prediction["objects"]) == sum(is_shown)
        for k, detected in enumerate(prediction["objects"]):
            assert detected["class"] == blocks.NAMES[int(truth.labels[k])]
            assert detected["box"] == truth.boxes[k].tolist()
            assert truth.masks is not None
            mask = decode_region(detected["mask"]["counts"], tuple(detected["mask"]["size"])).full(64, 64)
            assert torch.equal(mask, truth.masks[k])
            assert len(detected["keypoints"]) == 2


def test_a_baseline_is_trained_reported_and_loaded(tmp_path: Path) -> None:
    for task in ("detect", "instances", "keypoints"):
        data = blocks.block_dataset(40, masks=task != "detect", keypoints=task == "keypoints")
        run = snellen.train(data, "baseline", task=task, out=tmp_path / task, options=RunOptions(threads=1))
        assert "threshold" in json.loads((run.folder / "metrics.json").read_text())["notes"]
        again = snellen.load(run.folder, data=data)
        x = data.example("test")
        assert again.predict_batch(x) == run.predict_batch(x)
        page = (run.folder / "report.html").read_text()
        assert "Error types" in page
        assert "Worst images" in page or "Worst predictions" in page
        assert run.worst_samples(1)[0]["truth"]["objects"]


def test_typical_boxes_match_the_training_boxes() -> None:
    from snellen.detection import baseline

    data = blocks.block_dataset(40, masks=True)
    model = baseline.build(("boxes",), data.spec)
    baseline.fit("boxes", dataclasses.replace(data), model, Run(Path(), resume=None))
    (detections,) = model.detect([torch.zeros(1, 64, 64)])
    sides = detections.boxes[:, 2:] - detections.boxes[:, :2]
    assert torch.allclose(sides, torch.tensor([[24.0, 8], [8, 24]])[detections.labels], atol=1e-3)
    assert bool((detections.scores[:-1] >= detections.scores[1:]).all())
    assert bool((detections.scores > 0).all())
    (wider,) = model.detect([torch.zeros(1, 64, 128)])
    assert torch.allclose(wider.boxes[:, ::2], 2 * detections.boxes[:, ::2])


def test_diagnosis_of_detectors() -> None:
    box, other = [0.0, 0, 40, 40], [50.0, 50, 90, 90]
    spec = blocks.block_dataset(10).spec
    healthy = make_predictions([(box, 0, 0.9), (other, 1, 0.9)], [(box, 0), (other, 1)])
    assert detection_findings(healthy, spec, 1.0) == []
    unsure = {**healthy, "scores": torch.tensor([0.1, 0.1])}
    assert [finding.kind for finding in detection_findings(unsure, spec, 0.2)] == ["finds-nothing"]
    alike = {**healthy, "labels": torch.tensor([0, 0])}
    assert [finding.kind for finding in detection_findings(alike, spec, 0.2)] == ["one-class"]
    many = {**healthy, "true_labels": torch.tensor([0, 1]).repeat_interleave(10)}
    many |= {name: healthy[name].repeat(10) for name in ("crowd", "ignored", "areas")}
    many["scores"] = torch.tensor([0.9, 0.9, 0.1])
    rare = {**many, "labels": torch.tensor([0, 0, 1])}
    common = dataclasses.replace(spec.target, names=("wide", "tall", "round"))
    two_of_three = {**many, "labels": torch.tensor([0, 2, 1])}
    assert [finding.kind for finding in detection_findings(rare, spec, 0.2)] == ["one-class"]
    (never,) = detection_findings(two_of_three, dataclasses.replace(spec, target=common), 0.2)
    assert never.message == "The model never predicts tall: 50 % of the objects are of this class."
    tiny = make_predictions(
        [([0.0, 0, 5, 5], 0, 0.9), ([20.0, 0, 25, 5], 1, 0.9)], [([0.0, 0, 5, 5], 0), ([20.0, 0, 25, 5], 1)]
    )
    assert [finding.kind for finding in detection_findings(tiny, spec, 0.2)] == ["tiny"]
    assert detection_findings(tiny, spec, 0.9) == []


def test_a_module_cannot_be_trained_as_a_detector() -> None:
    with pytest.raises(snellen.core.errors.UsageError, match="cannot be trained as a detector"):
        FROM_MODULE["detect"](nn.Linear(1, 1))


def test_an_empty_split_has_no_metrics() -> None:
    data = blocks.block_dataset(20)
    empty = dataclasses.replace(data, splits={**data.splits, "val": torch.zeros(0, dtype=torch.int64)})
    predictions = predict(("boxes",), Oracle(data, "train"), empty, "val", NO_RUN)
    assert evaluation.measure(("boxes",), predictions, data.spec)["AP"].reason == "the split is empty"


def test_evaluation_on_other_data_of_the_same_classes(tmp_path: Path) -> None:
    run = snellen.train(
        blocks.block_dataset(40, masks=True),
        "baseline",
        out=tmp_path / "run",
        options=RunOptions(threads=1, report=False),
    )
    assert run.task.name == "instances"
    other = blocks.block_dataset(30, masks=True, seed=7)
    assert run.evaluate(other)["mask AP"].value is not None
    with pytest.raises(snellen.core.errors.DataError, match="have no masks"):
        run.evaluate(blocks.block_dataset(30))
