"""Segmentation objective: cross-entropy and Dice loss, class weights, validation mean IoU."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from snellen.core.errors import UsageError
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import PixelClasses, Spec
from snellen.data.annotations import IGNORE_INDEX
from snellen.data.dataset import Labelled
from snellen.data.scenes import Scenes
from snellen.metrics import segmentation
from snellen.nn.network import Network
from snellen.training.dense import predict_places


@settings
class SegmentationLossSettings:
    """Segmentation loss and class weights."""

    loss: Literal["ce", "dice", "ce+dice"] = "ce+dice"
    """Loss: cross-entropy of pixels (ce), Dice loss of classes (dice), or their sum (ce+dice)."""
    class_weights: Literal["none", "balanced"] = "none"
    """Class weights of the cross-entropy; balanced: median frequency balancing, median / class frequency."""


def check_class_weights(loss_settings: SegmentationLossSettings) -> None:
    """Check that class weights have an effect. Raises UsageError for --class-weights with --loss dice."""
    if loss_settings.loss == "dice" and loss_settings.class_weights != "none":
        raise UsageError(
            "--class-weights applies to cross-entropy, which --loss dice does not contain",
            "Omit --class-weights: Dice weights all classes equally. Or use --loss ce+dice.",
        )


class SegmentationNetwork(nn.Module):
    """Segmenter from a network whose outputs are logits of every pixel."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) raw images to (B, K, H, W) logits."""
        y: Tensor = self.network(x)
        return y

    def scores(self, x: Tensor) -> Tensor:
        y: Tensor = self(x)
        return y


class SegmentationObjective:
    """Segmentation objective: cross-entropy and Dice loss; the validation score is mean IoU.

    Args:
        run: `run.loss` is the user's loss, if there is one; called with ((B, K, H, W) scores, (B, H, W) classes with
            -1 for no ground truth).
    """

    def __init__(self, spec: Spec, loss_settings: SegmentationLossSettings, run: Run) -> None:
        assert isinstance(spec.target, PixelClasses)
        self.input = spec.input
        self.classes = len(spec.target.names)
        self.loss_settings = loss_settings
        self.custom_loss = run.loss
        balanced = loss_settings.class_weights == "balanced"
        self.weights = median_frequency(spec.target.counts).to(run.device) if balanced else None

    def loss(self, model: SegmentationNetwork, batch: Labelled) -> Tensor:
        x, y, _ = batch
        scores = model(x).float()  # (B, K, H, W)
        if self.custom_loss is not None:
            return self.custom_loss(scores, y)
        loss_name = self.loss_settings.loss
        if loss_name == "ce":
            return cross_entropy(scores, y, self.weights)
        if loss_name == "dice":
            return dice_loss(scores.softmax(1), y)
        return cross_entropy(scores, y, self.weights) + dice_loss(scores.softmax(1), y)

    def score(self, model: SegmentationNetwork, scenes: Scenes) -> float:
        """Validation score: mean IoU over the validation images; 0 where none has ground truth."""
        table = torch.zeros(self.classes, self.classes, dtype=torch.int64)
        for scene in scenes.in_order():
            assert isinstance(scene.truth, Tensor)
            predicted = predict_places(model.scores, scene.image, self.input).argmax(0)
            table += segmentation.confusion_matrix(scene.truth, predicted, self.classes).cpu()
        return float(segmentation.mean_iou(segmentation.class_counts(table)).nan_to_num(nan=0.0))


def median_frequency(counts: tuple[int, ...]) -> Tensor:
    """Median frequency balancing: (K,) median class frequency / class frequency; 1 for classes that do not occur.

    Source: Eigen and Fergus 2015, section 6.3.
    """
    frequency = torch.tensor(counts, dtype=torch.float64)
    present = frequency > 0
    return torch.where(present, frequency[present].median() / frequency.clamp(min=1), 1.0).float()


def cross_entropy(scores: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy: the mean over pixels with ground truth, weighted by class; 0 where none has.

    Args:
        scores: (B, K, H, W) or (B, K, *places). y: (B, H, W) or (B, *places), -1 for no ground truth. weights: (K,).
    """
    losses = nn.functional.cross_entropy(scores, y, weights, ignore_index=IGNORE_INDEX, reduction="none")
    total = losses.sum()  # PyTorch's mean reduction over pixels is not deterministic on a GPU
    valid = y >= 0
    count = valid.sum() if weights is None else weights[y[valid]].sum()
    return total / count.clamp(min=torch.finfo(torch.float32).tiny)


def dice_loss(probabilities: Tensor, y: Tensor) -> Tensor:
    """Dice loss: 1 − 2 Σ p t / (Σ p + Σ t), the mean over the classes in the batch, of pixels with ground truth.

    Every class has equal weight, however few its pixels, so class weights do not apply.

    Args:
        probabilities: (B, K, H, W) or (B, K, *places), p, of sum one over classes. y: (B, H, W) or (B, *places)
            classes t, -1 for no ground truth.
    Source: Milletari, Navab and Ahmadi 2016, "V-Net" (with p in place of p²); Dice 1945.
    """
    valid = (y >= 0)[:, None]
    true = nn.functional.one_hot(y.clamp(min=0), probabilities.shape[1]).movedim(-1, 1) * valid  # (B, K, H, W)
    over = (0, *range(2, probabilities.ndim))  # samples and places
    probabilities = probabilities * valid
    intersection, total = (
        (probabilities * true).sum(over),
        probabilities.sum(over) + true.sum(over),
    )  # (K,)
    present = (true.sum(over) > 0).float()
    class_losses = 1 - 2 * intersection / total.clamp(min=torch.finfo(torch.float32).tiny)
    return (class_losses * present).sum() / present.sum().clamp(min=torch.finfo(torch.float32).tiny)
