"""Average precision against two reference implementations, on ten thousand random finds (R9)."""

from __future__ import annotations

import functools

import coco_oracle as oracle
import numpy as np
import pytest
import torch

from snellen.core.task import Predictions
from snellen.detection import evaluation
from snellen.detection.protocol import Part
from snellen.metrics import detection, iou
from snellen.metrics.matching import SIZES

KINDS: dict[Part, str] = {"boxes": "bbox", "masks": "segm", "keypoints": "keypoints"}


@functools.cache
def ten_thousand() -> Predictions:
    return oracle.random_said(270, 100, seed=0)


@pytest.mark.parametrize("module", ["pycocotools", "faster_coco_eval"])
@pytest.mark.parametrize("part", list(KINDS))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_r9_average_precision_is_that_of_the_reference(part: Part, module: str) -> None:
    said = ten_thousand()
    assert len(said["boxes"]) >= 10_000
    truth, answers = oracle.coco(said, KINDS[part])
    sigmas = iou.sigmas_of(oracle.KEYPOINTS)
    precision, recall = oracle.asked(module, truth, answers, KINDS[part], sigmas)
    ranges = [size for size in SIZES if not (part == "keypoints" and size == "small")]
    matches = evaluation.matched(said, part, oracle.SPEC, ranges)
    for place in range(len(ranges)):
        ours = [figures[0].numpy() for figures in detection.average_precision(matches, sizes=place)]
        for mine, theirs in zip(ours, (precision[:, :, place], recall[:, :, place]), strict=True):
            assert np.array_equal(np.isnan(mine), np.isnan(theirs))  # undefined for the same classes
            assert np.nanmax(np.abs(mine - theirs)) < 1e-9
    assert np.nanmax(precision) > 0.2  # there is something to agree about
    metrics = evaluation.measure((part,), said, oracle.SPEC)
    headline = metrics["AP"]
    assert headline.value == pytest.approx(np.nanmean(precision[:, :, 0]), abs=1e-9)
    assert headline.low is not None
    assert headline.high is not None
    assert headline.low < headline.value < headline.high
    assert metrics["AP50"].value == pytest.approx(np.nanmean(precision[0, :, 0]), abs=1e-9)
    assert metrics["AP75"].value == pytest.approx(np.nanmean(precision[5, :, 0]), abs=1e-9)
    assert metrics["AR"].value == pytest.approx(np.nanmean(recall[:, :, 0]), abs=1e-9)


def test_a_picture_of_weight_two_counts_as_two_copies() -> None:
    said = oracle.random_said(12, 60, seed=3)
    rows = torch.tensor([0, 0, 0, 1, 5, 6, 6, 9, 11, 11, 4, 4])
    by_weight = evaluation.resampled_headline(("boxes",), said, oracle.SPEC)(rows[None])
    matches = evaluation.matched(oracle.copied(said, rows.tolist()), "boxes", oracle.SPEC)
    assert float(by_weight[0]) == pytest.approx(float(detection.average_precision(matches)[0].nanmean()), abs=1e-12)


def test_identity_rows_give_the_headline() -> None:
    said = ten_thousand()
    whole = evaluation.measure(("boxes",), said, oracle.SPEC)["AP"].value
    rows = torch.arange(len(said["ids"]))[None]
    assert float(evaluation.resampled_headline(("boxes",), said, oracle.SPEC)(rows)[0]) == pytest.approx(
        whole, abs=1e-12
    )


def test_errors_have_the_mean_of_the_headline_but_for_the_jackknife_s_bias() -> None:
    said = oracle.random_said(60, 20, seed=1)
    whole = evaluation.measure(("boxes",), said, oracle.SPEC)["AP"].value
    assert whole is not None
    wrong = evaluation.errors(("boxes",), said, oracle.SPEC)
    assert wrong.shape == (60,)
    assert 1 - float(wrong.mean()) == pytest.approx(whole, abs=0.05)


def test_precision_and_recall_by_hand() -> None:
    """Two objects; the surest find is right, the next is a copy of it, the third is right."""
    said = oracle.random_said(1, 30, seed=0)
    boxes = torch.tensor([[0.0, 0, 10, 10], [50, 50, 70, 70]])
    made = {
        **said,
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
    matches = evaluation.matched(made, "boxes", oracle.SPEC)
    recall, precision, score = detection.precision_recall(matches, 0)
    assert recall.tolist() == [0.5, 0.5, 1.0]
    assert precision.tolist() == [1.0, 0.5, pytest.approx(2 / 3)]
    assert score.tolist() == pytest.approx([0.9, 0.8, 0.7])
    # Precision is 1 at the 51 recalls from 0 to 0.5, and two thirds at the other 50.
    ap = float(detection.average_precision(matches)[0][0, 0, 0])
    assert ap == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-12)
    assert all(len(part) == 0 for part in detection.precision_recall(matches, 4))


def test_what_is_undefined_is_none_with_a_reason() -> None:
    said = oracle.random_said(6, 20, seed=2)
    nothing = {
        **said,
        "num_objects": torch.zeros(6, dtype=torch.int64),
        **{name: said[name][:0] for name in ("truth", "true_labels", "crowd", "ignored", "areas")},
    }
    metrics = evaluation.measure(("boxes",), nothing, oracle.SPEC)
    assert metrics["AP"].value is None
    assert metrics["AP"].reason
    assert metrics["recall"].value is None
    unfound = {
        **said,
        "num_detections": torch.zeros(6, dtype=torch.int64),
        "boxes": said["boxes"][:0],
        "scores": said["scores"][:0],
        "labels": said["labels"][:0],
    }
    metrics = evaluation.measure(("boxes",), unfound, oracle.SPEC)
    assert metrics["AP"].value == 0.0
    assert metrics["precision"].value is None
    assert metrics["recall"].value == 0.0


def test_coco_s_own_keypoints_have_coco_s_own_sigmas() -> None:
    from pycocotools.cocoeval import Params

    ours = iou.sigmas_of([name.replace("_", " ") for name in iou.COCO_NAMES])
    assert np.allclose(ours, Params(iouType="keypoints").kpt_oks_sigmas, rtol=1e-12)
    assert iou.sigmas_of(["a", "b"]).tolist() == [iou.SIGMA] * 2
