"""Segmentation metrics against scikit-learn; an undefined metric has a reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from raw_datasets import seeded
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from snellen.metrics import segmentation
from snellen.metrics.intervals import statistic_of_sums


@pytest.mark.parametrize("seed", range(20))
def test_metrics_equal_scikit_learns(seed: int) -> None:
    rng = seeded(seed)
    classes = int(torch.randint(2, 7, (1,), generator=rng))
    truth = torch.randint(-1, classes - 1, (5, 13, 9), generator=rng)  # the last class is absent from the truth
    predicted = torch.randint(0, classes - (seed % 2), (5, 13, 9), generator=rng)  # and predicted in half of the cases
    tables = torch.stack([segmentation.confusion_matrix(t, s, classes) for t, s in zip(truth, predicted, strict=True)])
    valid = truth >= 0
    y, z = truth[valid].numpy(), predicted[valid].numpy()
    assert np.array_equal(tables.sum(0).numpy(), confusion_matrix(y, z, labels=range(classes)))
    counts = segmentation.class_counts(tables).sum(0)
    present = sorted(set(y) | set(z))
    assert float(segmentation.mean_iou(counts)) == pytest.approx(jaccard_score(y, z, average="macro"), abs=1e-9)
    each = jaccard_score(y, z, average=None, labels=present)
    assert segmentation.class_ious(counts)[present].tolist() == pytest.approx(each, abs=1e-9)
    assert float(segmentation.pixel_accuracy(counts)) == pytest.approx(accuracy_score(y, z), abs=1e-9)


def test_a_resampled_image_counts_once_per_draw() -> None:
    tables = torch.randint(0, 50, (6, 3, 3), generator=seeded())
    rows = torch.tensor([[0, 0, 3, 5, 5, 5], [1, 2, 3, 4, 5, 0]])
    values = statistic_of_sums(segmentation.class_counts(tables), segmentation.mean_iou)(rows)
    for row, value in zip(rows, values.tolist(), strict=True):
        expected = segmentation.mean_iou(segmentation.class_counts(torch.cat([tables[k : k + 1] for k in row]).sum(0)))
        assert value == pytest.approx(float(expected), abs=1e-12)


def test_an_absent_class_has_no_iou_and_images_without_truth_have_no_metrics() -> None:
    table = torch.tensor([[[5, 1, 0], [2, 3, 0], [0, 0, 0]]])
    missing = segmentation.metric_over_images(table, lambda counts: segmentation.class_ious(counts)[..., 2], "nowhere")
    assert (missing.value, missing.reason) == (None, "nowhere")
    assert segmentation.metric_over_images(table * 0, segmentation.mean_iou, "no truth").reason == "no truth"
    assert segmentation.metric_over_images(table, segmentation.mean_iou, "").value == pytest.approx((5 / 8 + 3 / 6) / 2)
