"""Mean IoU and its parts are scikit-learn's; what is undefined says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from raw_datasets import seeded
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from snellen.metrics import segmentation
from snellen.metrics.intervals import of_sums


@pytest.mark.parametrize("seed", range(20))
def test_it_is_scikit_learns(seed: int) -> None:
    drawn = seeded(seed)
    classes = int(torch.randint(2, 7, (1,), generator=drawn))
    truth = torch.randint(-1, classes - 1, (5, 13, 9), generator=drawn)  # the last class is nowhere
    said = torch.randint(0, classes - (seed % 2), (5, 13, 9), generator=drawn)  # and said in half of the cases
    tables = torch.stack([segmentation.confusion(t, s, classes) for t, s in zip(truth, said, strict=True)])
    there = truth >= 0
    y, z = truth[there].numpy(), said[there].numpy()
    assert np.array_equal(tables.sum(0).numpy(), confusion_matrix(y, z, labels=range(classes)))
    parts = segmentation.sums(tables).sum(0)
    known = sorted(set(y) | set(z))
    assert float(segmentation.mean_iou(parts)) == pytest.approx(jaccard_score(y, z, average="macro"), abs=1e-9)
    each = jaccard_score(y, z, average=None, labels=known)
    assert segmentation.ious(parts)[known].tolist() == pytest.approx(each, abs=1e-9)
    assert float(segmentation.pixel_accuracy(parts)) == pytest.approx(accuracy_score(y, z), abs=1e-9)


def test_resampled_pictures_are_counted_as_often_as_they_are_drawn() -> None:
    tables = torch.randint(0, 50, (6, 3, 3), generator=seeded())
    rows = torch.tensor([[0, 0, 3, 5, 5, 5], [1, 2, 3, 4, 5, 0]])
    said = of_sums(segmentation.sums(tables), segmentation.mean_iou)(rows)
    for row, value in zip(rows, said.tolist(), strict=True):
        expected = segmentation.mean_iou(segmentation.sums(torch.cat([tables[k : k + 1] for k in row]).sum(0)))
        assert value == pytest.approx(float(expected), abs=1e-12)


def test_a_class_that_is_nowhere_has_no_iou_and_pictures_without_truth_have_none_at_all() -> None:
    table = torch.tensor([[[5, 1, 0], [2, 3, 0], [0, 0, 0]]])
    missing = segmentation.measured(table, lambda parts: segmentation.ious(parts)[..., 2], "nowhere")
    assert (missing.value, missing.reason) == (None, "nowhere")
    assert segmentation.measured(table * 0, segmentation.mean_iou, "no truth").reason == "no truth"
    assert segmentation.measured(table, segmentation.mean_iou, "").value == pytest.approx((5 / 8 + 3 / 6) / 2)
