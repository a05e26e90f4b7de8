"""What learning to segment by descent needs: the loss, the weights of classes, the validation score."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from snellen.core.errors import UsageError
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import PixelClasses, Spec
from snellen.data.annotations import NO_TRUTH
from snellen.data.scenes import Scenes
from snellen.metrics import segmentation
from snellen.nn.network import Network
from snellen.nn.tiling import tiled


@settings
class Weighting:
    """What a wrong pixel costs."""

    loss: Literal["ce", "dice", "ce+dice"] = "ce+dice"
    """Cross-entropy of pixels, one minus the Dice overlap of classes, or their sum."""
    class_weights: Literal["none", "balanced"] = "none"
    """Let rare classes cost more in cross-entropy: the median of the classes' shares over the class's own."""


def refuse_idle(weighting: Weighting) -> None:
    """Raises UsageError for weights that would weigh nothing."""
    if weighting.loss == "dice" and weighting.class_weights != "none":
        raise UsageError(
            "--class-weights weighs cross-entropy, and --loss dice has none of it",
            "Leave --class-weights out: to Dice every class counts alike. Or take --loss ce+dice.",
        )


class PixelLogits(nn.Module):
    """A network whose outputs are logits of every pixel's classes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) raw pictures to (B, K, H, W)."""
        y: Tensor = self.network(x)
        return y

    def scores(self, x: Tensor) -> Tensor:
        y: Tensor = self(x)
        return y


class ByOverlap:
    """Cross-entropy and Dice; judged by mean IoU.

    Args:
        own: a loss the caller brought, called with ((B, K, H, W) scores, (B, H, W) classes with -1 for none).
    """

    def __init__(self, spec: Spec, weighting: Weighting, run: Run) -> None:
        assert isinstance(spec.target, PixelClasses)
        self.classes = len(spec.target.names)
        self.weighting = weighting
        self.own = run.loss
        balanced = weighting.class_weights == "balanced"
        self.weights = median_frequency(spec.target.counts).to(run.device) if balanced else None

    def loss(self, model: PixelLogits, x: Tensor, y: Tensor) -> Tensor:
        scores = model(x).float()  # (B, K, H, W)
        if self.own is not None:
            return self.own(scores, y)
        kind = self.weighting.loss
        if kind == "ce":
            return cross_entropy(scores, y, self.weights)
        if kind == "dice":
            return dice(scores.softmax(1), y)
        return cross_entropy(scores, y, self.weights) + dice(scores.softmax(1), y)

    def score(self, model: PixelLogits, scenes: Scenes) -> float:
        """Mean IoU over the validation pictures; 0 where none has a truth."""
        table = torch.zeros(self.classes, self.classes, dtype=torch.int64)
        for scene in scenes.in_order():
            assert isinstance(scene.truth, Tensor)
            said = tiled(model.scores, scene.image[None])[0].argmax(0)
            table += segmentation.confusion(scene.truth, said, self.classes).cpu()
        return float(segmentation.mean_iou(segmentation.sums(table)).nan_to_num(nan=0.0))


def median_frequency(counts: tuple[int, ...]) -> Tensor:
    """(K,) the median share of the classes that occur over each class's own; 1 for those that do not.

    Source: Eigen and Fergus 2015, section 6.3.
    """
    share = torch.tensor(counts, dtype=torch.float64)
    there = share > 0
    return torch.where(there, share[there].median() / share.clamp(min=1), 1.0).float()


def cross_entropy(scores: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean over pixels that have a truth, weighted by their classes; 0 where none has.

    Args:
        scores: (B, K, H, W). y: (B, H, W), -1 for no truth. weights: (K,).
    """
    each = nn.functional.cross_entropy(scores, y, weights, ignore_index=NO_TRUTH, reduction="none")
    total = each.sum()  # torch's own sum over places has another order each time on a GPU
    there = y >= 0
    count = there.sum() if weights is None else weights[y[there]].sum()
    return total / count.clamp(min=torch.finfo(torch.float32).tiny)


def dice(shares: Tensor, y: Tensor) -> Tensor:
    """1 − 2 Σ p t / (Σ p + Σ t), the mean over the classes that are in the batch; pixels without a truth left out.

    Every class counts alike, however few its pixels: weights for rare ones would count their rarity twice.

    Args:
        shares: (B, K, H, W), p, adding up to one over classes. y: (B, H, W) classes t, -1 for none.
    Source: Milletari, Navab and Ahmadi 2016, "V-Net" (with p in place of p²); Dice 1945.
    """
    there = (y >= 0)[:, None]
    true = nn.functional.one_hot(y.clamp(min=0), shares.shape[1]).permute(0, 3, 1, 2) * there  # (B, K, H, W)
    shares = shares * there
    both, either = (shares * true).sum((0, 2, 3)), shares.sum((0, 2, 3)) + true.sum((0, 2, 3))  # (K,)
    known = (true.sum((0, 2, 3)) > 0).float()
    lost = 1 - 2 * both / either.clamp(min=torch.finfo(torch.float32).tiny)
    return (lost * known).sum() / known.sum().clamp(min=torch.finfo(torch.float32).tiny)
