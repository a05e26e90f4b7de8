"""What a wrong pixel costs: against torch, by hand, and by finite differences."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from raw_datasets import seeded

from snellen.core.errors import UsageError
from snellen.core.run import Run
from snellen.core.spec import Input, PixelClasses, Spec
from snellen.nn.network import Network
from snellen.tasks.dense_regress.objective import balanced_cross_entropy, cosine
from snellen.tasks.segment.objective import (
    ByOverlap,
    PixelLogits,
    Weighting,
    cross_entropy,
    dice,
    median_frequency,
    refuse_idle,
)


def scores_and_truth() -> tuple[torch.Tensor, torch.Tensor]:
    drawn = seeded()
    y = torch.randint(-1, 3, (2, 5, 4), generator=drawn)
    return torch.randn(2, 3, 5, 4, generator=drawn, dtype=torch.float64), y


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)])
def test_cross_entropy_is_torchs_over_pixels_with_a_truth(weights: torch.Tensor | None) -> None:
    scores, y = scores_and_truth()
    expected = torch.nn.functional.cross_entropy(scores, y, weights, ignore_index=-1)
    assert float(cross_entropy(scores, y, weights)) == pytest.approx(float(expected), rel=1e-12)
    assert float(cross_entropy(scores, torch.full_like(y, -1), weights)) == 0


def test_dice_is_one_minus_twice_the_overlap() -> None:
    """By hand: of class 0 p = (0.5, 0.25), t = (1, 0); of class 1 p = (0.5, 0.75), t = (0, 1); one unknown."""
    shares = torch.tensor([[[[0.5, 0.25, 0.9]], [[0.5, 0.75, 0.1]]]], dtype=torch.float64)
    y = torch.tensor([[[0, 1, -1]]])
    expected = 1 - ((2 * 0.5 / 1.75) + (2 * 0.75 / 2.25)) / 2
    assert float(dice(shares, y)) == pytest.approx(expected, rel=1e-12)
    certain = torch.nn.functional.one_hot(y.clamp(min=0), 2).permute(0, 3, 1, 2).double()
    assert float(dice(certain, y)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("loss", [cross_entropy, lambda s, y: dice(s.softmax(1), y)])
def test_gradients_are_finite_differences(loss: object) -> None:
    scores, y = scores_and_truth()
    assert torch.autograd.gradcheck(lambda s: loss(s, y), scores.requires_grad_())  # type: ignore[operator]


def test_rare_classes_cost_more_by_the_median_of_the_shares() -> None:
    assert median_frequency((100, 400, 50, 0)).tolist() == pytest.approx([1, 0.25, 2, 1])


def test_edges_and_the_rest_count_alike() -> None:
    """One edge among four pixels: each of the others weighs a third of it, so that saying one half costs log 2."""
    truth = torch.tensor([[[1.0, 0.0, 0.0, 0.0, math.nan]]])
    assert float(balanced_cross_entropy(torch.zeros(1, 1, 5), truth)) == pytest.approx(math.log(2))
    wrong_edge, wrong_rest = torch.tensor([[[-9.0, -9, -9, -9, 9]]]), torch.tensor([[[9.0, 9, 9, 9, 9]]])
    assert float(balanced_cross_entropy(wrong_edge, truth)) == pytest.approx(
        float(balanced_cross_entropy(wrong_rest, truth)), rel=1e-3
    )


def test_the_cosine_knows_no_length_and_no_pixel_without_a_truth() -> None:
    truth = torch.tensor([[[[1.0, 0.0, math.nan]], [[0.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]]])
    said = torch.tensor([[[[5.0, 1.0, 7.0]], [[0.0, 0.0, 7.0]], [[0.0, 0.0, 7.0]]]])
    assert float(cosine(said, truth)) == pytest.approx(0.5)


def test_weights_of_classes_weigh_cross_entropy_alone(tmp_path: Path) -> None:
    scores, y = scores_and_truth()
    target = PixelClasses(names=("a", "b", "c"), counts=(100, 400, 50))
    spec = Spec(name="x", inputs={"image": Input(modality="image", shape=(3, 5, 4), dtype="uint8")}, target=target)
    scheme = ByOverlap(spec, Weighting(class_weights="balanced"), Run(tmp_path / "run"))
    model = PixelLogits(Network(torch.nn.Identity(), torch.nn.Identity()))
    weights = median_frequency(target.counts)
    expected = cross_entropy(scores.float(), y, weights) + dice(scores.float().softmax(1), y)
    assert float(scheme.loss(model, scores, y)) == pytest.approx(float(expected))


def test_weights_that_would_weigh_nothing_are_refused() -> None:
    refuse_idle(Weighting(loss="dice"))
    refuse_idle(Weighting(loss="ce", class_weights="balanced"))
    with pytest.raises(UsageError, match="--loss dice has none"):
        refuse_idle(Weighting(loss="dice", class_weights="balanced"))
