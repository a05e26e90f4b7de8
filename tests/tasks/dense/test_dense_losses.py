"""Losses of dense tasks: against PyTorch, by hand, and by finite differences."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from raw_datasets import seeded

from snellen.core.errors import UsageError
from snellen.core.run import Run
from snellen.core.spec import Input, PixelClasses, Spec
from snellen.data.dataset import Labelled
from snellen.nn.network import Network
from snellen.tasks.dense_regress.objective import balanced_cross_entropy, cosine_loss
from snellen.tasks.segment.objective import (
    SegmentationLossSettings,
    SegmentationNetwork,
    SegmentationObjective,
    check_class_weights,
    cross_entropy,
    dice_loss,
    median_frequency,
)


def scores_and_truth() -> tuple[torch.Tensor, torch.Tensor]:
    generator = seeded()
    y = torch.randint(-1, 3, (2, 5, 4), generator=generator)
    return torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64), y


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)])
def test_cross_entropy_matches_torch_over_pixels_with_ground_truth(weights: torch.Tensor | None) -> None:
    scores, y = scores_and_truth()
    expected = torch.nn.functional.cross_entropy(scores, y, weights, ignore_index=-1)
    assert float(cross_entropy(scores, y, weights)) == pytest.approx(float(expected), rel=1e-12)
    assert float(cross_entropy(scores, torch.full_like(y, -1), weights)) == 0


def test_dice_loss_matches_a_calculation_by_hand() -> None:
    """By hand: of class 0 p = (0.5, 0.25), t = (1, 0); of class 1 p = (0.5, 0.75), t = (0, 1); one pixel ignored."""
    probabilities = torch.tensor([[[[0.5, 0.25, 0.9]], [[0.5, 0.75, 0.1]]]], dtype=torch.float64)
    y = torch.tensor([[[0, 1, -1]]])
    expected = 1 - ((2 * 0.5 / 1.75) + (2 * 0.75 / 2.25)) / 2
    assert float(dice_loss(probabilities, y)) == pytest.approx(expected, rel=1e-12)
    certain = torch.nn.functional.one_hot(y.clamp(min=0), 2).permute(0, 3, 1, 2).double()
    assert float(dice_loss(certain, y)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("loss", [cross_entropy, lambda s, y: dice_loss(s.softmax(1), y)])
def test_gradients_match_finite_differences(loss: object) -> None:
    scores, y = scores_and_truth()
    assert torch.autograd.gradcheck(lambda s: loss(s, y), scores.requires_grad_())  # type: ignore[operator]


def test_median_frequency_balancing() -> None:
    assert median_frequency((100, 400, 50, 0)).tolist() == pytest.approx([1, 0.25, 2, 1])


def test_edge_and_other_pixels_have_equal_total_weight() -> None:
    """One edge among four pixels: each of the others has a third of its weight, so a probability of 1/2 costs log 2."""
    truth = torch.tensor([[[1.0, 0.0, 0.0, 0.0, math.nan]]])
    assert float(balanced_cross_entropy(torch.zeros(1, 1, 5), truth)) == pytest.approx(math.log(2))
    wrong_edge, wrong_rest = torch.tensor([[[-9.0, -9, -9, -9, 9]]]), torch.tensor([[[9.0, 9, 9, 9, 9]]])
    assert float(balanced_cross_entropy(wrong_edge, truth)) == pytest.approx(
        float(balanced_cross_entropy(wrong_rest, truth)), rel=1e-3
    )


def test_cosine_loss_ignores_length_and_pixels_without_ground_truth() -> None:
    truth = torch.tensor([[[[1.0, 0.0, math.nan]], [[0.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]]])
    predicted = torch.tensor([[[[5.0, 1.0, 7.0]], [[0.0, 0.0, 7.0]], [[0.0, 0.0, 7.0]]]])
    assert float(cosine_loss(predicted, truth)) == pytest.approx(0.5)


def test_class_weights_apply_to_cross_entropy_only(tmp_path: Path) -> None:
    scores, y = scores_and_truth()
    target = PixelClasses(names=("a", "b", "c"), counts=(100, 400, 50))
    spec = Spec(name="x", inputs={"image": Input(modality="image", shape=(3, 5, 4), dtype="uint8")}, target=target)
    objective = SegmentationObjective(spec, SegmentationLossSettings(class_weights="balanced"), Run(tmp_path / "run"))
    model = SegmentationNetwork(Network(torch.nn.Identity(), torch.nn.Identity()))
    weights = median_frequency(target.counts)
    expected = cross_entropy(scores.float(), y, weights) + dice_loss(scores.float().softmax(1), y)
    assert float(objective.loss(model, Labelled(scores, y, torch.arange(len(y))))) == pytest.approx(float(expected))


def test_class_weights_without_cross_entropy_are_rejected() -> None:
    check_class_weights(SegmentationLossSettings(loss="dice"))
    check_class_weights(SegmentationLossSettings(loss="ce", class_weights="balanced"))
    with pytest.raises(UsageError, match="--loss dice does not contain"):
        check_class_weights(SegmentationLossSettings(loss="dice", class_weights="balanced"))
