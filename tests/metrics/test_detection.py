"""Average precision against two reference implementations, on ten thousand random detections (R9)."""

from __future__ import annotations

import functools

import coco_oracle as oracle
import numpy as np
import pytest
import torch

from snellen.core.task import Predictions
from snellen.detection import evaluation
from snellen.detection.protocol import IoUType
from snellen.metrics import detection, iou
from snellen.metrics.matching import AREA_RANGES

KINDS: dict[IoUType, str] = {"boxes": "bbox", "masks": "segm", "keypoints": "keypoints"}


@functools.cache
def ten_thousand_detections() -> Predictions:
    return oracle.random_predictions(270, 100, seed=0)


@pytest.mark.parametrize("module", ["pycocotools", "faster_coco_eval"])
@pytest.mark.parametrize("part", list(KINDS))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_r9_average_precision_equals_the_reference(part: IoUType, module: str) -> None:
    predictions = ten_thousand_detections()
    assert len(predictions["boxes"]) >= 10_000
    truth, results = oracle.coco(predictions, KINDS[part])
    sigmas = iou.keypoint_sigmas(oracle.KEYPOINTS)
    precision, recall = oracle.reference_average_precision(module, truth, results, KINDS[part], sigmas)
    ranges = [size for size in AREA_RANGES if not (part == "keypoints" and size == "small")]
    matches = evaluation.match_detections(predictions, part, oracle.SPEC, ranges)
    for index in range(len(ranges)):
        computed = [figures[0].numpy() for figures in detection.average_precision(matches, size_range=index)]
        for ours, reference in zip(computed, (precision[:, :, index], recall[:, :, index]), strict=True):
            assert np.array_equal(np.isnan(ours), np.isnan(reference))  # undefined for the same classes
            assert np.nanmax(np.abs(ours - reference)) < 1e-9
    assert np.nanmax(precision) > 0.2  # the comparison is not trivial
    metrics = evaluation.measure((part,), predictions, oracle.SPEC)
    headline = metrics["AP"]
    assert headline.value == pytest.approx(np.nanmean(precision[:, :, 0]), abs=1e-9)
    assert headline.low is not None
    assert headline.high is not None
    assert headline.low < headline.value < headline.high
    assert metrics["AP50"].value == pytest.approx(np.nanmean(precision[0, :, 0]), abs=1e-9)
    assert metrics["AP75"].value == pytest.approx(np.nanmean(precision[5, :, 0]), abs=1e-9)
    assert metrics["AR"].value == pytest.approx(np.nanmean(recall[:, :, 0]), abs=1e-9)


def test_an_image_of_weight_two_counts_as_two_copies() -> None:
    predictions = oracle.random_predictions(12, 60, seed=3)
    rows = torch.tensor([0, 0, 0, 1, 5, 6, 6, 9, 11, 11, 4, 4])
    by_weight = evaluation.resampled_headline(("boxes",), predictions, oracle.SPEC)(rows[None])
    matches = evaluation.match_detections(oracle.resampled(predictions, rows.tolist()), "boxes", oracle.SPEC)
    assert float(by_weight[0]) == pytest.approx(float(detection.average_precision(matches)[0].nanmean()), abs=1e-12)


def test_identity_rows_give_the_headline_metric() -> None:
    predictions = ten_thousand_detections()
    headline = evaluation.measure(("boxes",), predictions, oracle.SPEC)["AP"].value
    rows = torch.arange(len(predictions["ids"]))[None]
    assert float(evaluation.resampled_headline(("boxes",), predictions, oracle.SPEC)(rows)[0]) == pytest.approx(
        headline, abs=1e-12
    )


def test_errors_have_the_mean_of_the_headline_up_to_the_jackknife_bias() -> None:
    predictions = oracle.random_predictions(60, 20, seed=1)
    headline = evaluation.measure(("boxes",), predictions, oracle.SPEC)["AP"].value
    assert headline is not None
    errors = evaluation.errors(("boxes",), predictions, oracle.SPEC)
    assert errors.shape == (60,)
    assert 1 - float(errors.mean()) == pytest.approx(headline, abs=0.05)


def test_precision_and_recall_by_hand() -> None:
    """Two objects; the first detection is correct, the second is its duplicate, the third is correct."""
    predictions = oracle.random_predictions(1, 30, seed=0)
    boxes = torch.tensor([[0.0, 0, 10, 10], [50, 50, 70, 70]])
    by_hand = {
        **predictions,
        "num_objects": torch.tensor([2]),
        "truth": boxes,
        "true_labels": torch.zeros(2, dtype=torch.int64),
        "crowd": torch.zeros(2, dtype=torch.bool),
        "ignored": torch.zeros(2, dtype=torch.bool),
        "areas": torch.tensor([100.0, 400.0]),
        "num_detections": torch.tensor([3]),
        "boxes": boxes[[0, 0, 1]],
        "scores": torch.tensor([0.9, 0.8, 0.7]),
        "labels": torch.zeros(3, dtype=torch.int64),
    }
    matches = evaluation.match_detections(by_hand, "boxes", oracle.SPEC)
    recall, precision, score = detection.precision_recall(matches, 0)
    assert recall.tolist() == [0.5, 0.5, 1.0]
    assert precision.tolist() == [1.0, 0.5, pytest.approx(2 / 3)]
    assert score.tolist() == pytest.approx([0.9, 0.8, 0.7])
    # Precision is 1 at the 51 recalls from 0 to 0.5, and two thirds at the other 50.
    ap = float(detection.average_precision(matches)[0][0, 0, 0])
    assert ap == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-12)
    assert all(len(part) == 0 for part in detection.precision_recall(matches, 4))


def test_an_undefined_metric_is_none_with_a_reason() -> None:
    predictions = oracle.random_predictions(6, 20, seed=2)
    without_objects = {
        **predictions,
        "num_objects": torch.zeros(6, dtype=torch.int64),
        **{name: predictions[name][:0] for name in ("truth", "true_labels", "crowd", "ignored", "areas")},
    }
    metrics = evaluation.measure(("boxes",), without_objects, oracle.SPEC)
    assert metrics["AP"].value is None
    assert metrics["AP"].reason
    assert metrics["recall"].value is None
    without_detections = {
        **predictions,
        "num_detections": torch.zeros(6, dtype=torch.int64),
        "boxes": predictions["boxes"][:0],
        "scores": predictions["scores"][:0],
        "labels": predictions["labels"][:0],
    }
    metrics = evaluation.measure(("boxes",), without_detections, oracle.SPEC)
    assert metrics["AP"].value == 0.0
    assert metrics["precision"].value is None
    assert metrics["recall"].value == 0.0


def test_coco_keypoints_have_coco_sigmas() -> None:
    from pycocotools.cocoeval import Params

    sigmas = iou.keypoint_sigmas([name.replace("_", " ") for name in iou.COCO_NAMES])
    assert np.allclose(sigmas, Params(iouType="keypoints").kpt_oks_sigmas, rtol=1e-12)
    assert iou.keypoint_sigmas(["a", "b"]).tolist() == [iou.DEFAULT_SIGMA] * 2
