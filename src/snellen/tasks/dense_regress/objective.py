"""Dense regression objective: standardised or log targets, losses of each kind of map, validation score."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import PixelNumbers, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.scenes import Scenes
from snellen.nn.network import Network
from snellen.training.dense import predict_places

STATISTICS_IMAGES = 64  # images that mean and standard deviation are computed from
STATISTICS_PIXELS = 1 << 14  # pixels per image for these statistics


@settings
class DenseRegressionLossSettings:
    """Dense regression loss."""

    loss: Literal["absolute", "squared", "huber", "scale-invariant"] | None = None
    """Loss of an error in standard deviations; auto: 1 − cosine for normals, balanced cross-entropy for edges,
    end-point error for flow, else absolute."""
    log_depth: bool = True
    """Log depth: predict the logarithm of depths, so that relative errors count."""


class DenseRegressionNetwork(nn.Module):
    """Dense regressor in the user's units, from a network whose outputs are standardised numbers.

    mean, std: (T,) float64, of the training ground truth, of its logarithm where `log`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, target: PixelNumbers, log_depth: bool) -> None:
        super().__init__()
        self.network = network
        self.kind = target.kind
        self.log = target.kind == "depth" and log_depth
        self.register_buffer("mean", torch.zeros(len(target.names), dtype=torch.float64))
        self.register_buffer("std", torch.ones(len(target.names), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) raw images to (B, T, H, W) standardised numbers; logits for edges. Others to (B, T, *places)."""
        y: Tensor = self.network(x)
        return y

    def predict(self, x: Tensor) -> Tensor:
        y: Tensor = self(x).float()
        if self.kind == "edges":
            return y.sigmoid()
        if self.kind == "normals":
            return nn.functional.normalize(y, dim=1)
        y = y * _per_place(self.std, y) + _per_place(self.mean, y)
        return y.exp() if self.log else y

    def standard(self, truth: Tensor) -> Tensor:
        """(B, T, H, W) in the user's units to zero mean and unit variance; NaN for no ground truth and depths ≤ 0."""
        values = torch.where(truth > 0, truth, torch.nan).log() if self.log else truth
        return (values - _per_place(self.mean, values)) / _per_place(self.std, values)

    def fit_scaling(self, data: Dataset[Labelled]) -> None:
        """Compute mean and standard deviation of the training maps; normals and edges are not standardised."""
        if self.kind in ("normals", "edges"):
            return
        values = sample_truth(data).double()  # (T, P)
        values = torch.where(values > 0, values, torch.nan).log() if self.log else values
        values = values[:, torch.isfinite(values).all(0)]
        if values.shape[1]:
            std = values.std(1, correction=0)
            self.mean.copy_(values.mean(1))
            self.std.copy_(torch.where(std > 0, std, torch.ones_like(std)))


def _per_place(statistic: Tensor, values: Tensor) -> Tensor:
    """(T,) float64 statistics as float32 that are broadcast over (B, T, *places) values."""
    return statistic.float().view(-1, *(1,) * (values.ndim - 2))


def sample_truth(data: Dataset[Labelled]) -> Tensor:
    """Sample of the ground truth: (T, P) float32 of training pixels, spread evenly over some images."""
    scenes = data.scenes("train")
    positions = torch.linspace(0, len(scenes) - 1, min(len(scenes), STATISTICS_IMAGES)).round().long().tolist()
    parts = []
    for position in positions:
        truth = scenes.annotations.load(int(scenes.ids[position]))
        assert isinstance(truth, Tensor)
        flat = truth.flatten(1)
        flat = flat[:, :: max(1, flat.shape[1] // STATISTICS_PIXELS)]
        parts.append(flat[:, torch.isfinite(flat).all(0)])
    return torch.cat(parts, 1)


class DenseRegressionObjective:
    """Dense regression objective: the loss of the kind of map, over pixels with ground truth.

    Args:
        run: `run.loss` is the user's loss, if there is one; called with (predictions, ground truth) in the user's
            units, (B, T, H, W), NaN for no ground truth.
    """

    def __init__(self, spec: Spec, loss_settings: DenseRegressionLossSettings, run: Run) -> None:
        assert isinstance(spec.target, PixelNumbers)
        self.input = spec.input
        self.kind = spec.target.kind
        self.loss_settings = loss_settings
        self.custom_loss = run.loss

    def loss(self, model: DenseRegressionNetwork, batch: Labelled) -> Tensor:
        x, y, _ = batch
        if self.custom_loss is not None:
            return self.custom_loss(model.predict(x), y)
        predicted = model(x).float()  # (B, T, H, W)
        loss_name = self.loss_settings.loss
        if self.kind == "edges":
            return balanced_cross_entropy(predicted[:, 0], y[:, 0])
        if self.kind == "normals":
            return cosine_loss(predicted, y)
        predicted, true = _valid_pixels(predicted, model.standard(y))  # (T, P)
        if self.kind == "flow" and loss_name is None:
            return ((predicted - true) * model.std.float()[:, None]).square().sum(0).add(1e-8).sqrt().mean()
        if not true.numel():
            return predicted.sum() * 0
        if loss_name == "scale-invariant":
            e = predicted - true
            return (e.square().mean(1) - 0.5 * e.mean(1).square()).mean()
        if loss_name == "squared":
            return nn.functional.mse_loss(predicted, true)
        return (
            nn.functional.huber_loss(predicted, true)
            if loss_name == "huber"
            else nn.functional.l1_loss(predicted, true)
        )

    def score(self, model: DenseRegressionNetwork, scenes: Scenes) -> float:
        """Validation score: minus the loss, averaged over the validation images."""
        total = torch.zeros((), dtype=torch.float64)
        for scene in scenes.in_order():
            assert isinstance(scene.truth, Tensor)
            batch = Labelled(scene.image[None], scene.truth[None], torch.tensor([scene.id]))
            model_output = _CachedPrediction(model, predict_places(model, scene.image, self.input)[None])
            total += self.loss(model_output, batch).double().cpu()  # type: ignore[arg-type]
        return -float(total) / len(scenes)


class _CachedPrediction:
    """Model with a precomputed output for one image."""

    def __init__(self, model: DenseRegressionNetwork, predicted: Tensor) -> None:
        self.std, self.standard, self.predicted = model.std, model.standard, predicted
        self.predict = model.predict

    def __call__(self, x: Tensor) -> Tensor:
        return self.predicted


def _valid_pixels(predicted: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Select the pixels with complete ground truth: (B, T, H, W) predictions and ground truth to (T, P)."""
    valid = torch.isfinite(truth).all(1)  # (B, H, W)
    return predicted.movedim(1, 0)[:, valid], truth.movedim(1, 0)[:, valid]


def cosine_loss(predicted: Tensor, truth: Tensor) -> Tensor:
    """Cosine loss: 1 − cosine of the angle between two directions, the mean over pixels with ground truth."""
    predicted, truth = _valid_pixels(predicted, truth)
    if not truth.numel():
        return predicted.sum() * 0
    return 1 - nn.functional.cosine_similarity(predicted, truth, dim=0).mean()


def balanced_cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Class-balanced cross-entropy of edges: edge and non-edge pixels have equal total weight.

    Args:
        logits: (B, H, W). truth: (B, H, W), 0 or 1, NaN for no ground truth.
    Source: Xie and Tu 2015, "Holistically-nested edge detection", eq. 2.
    """
    valid = torch.isfinite(truth)
    true = torch.where(valid, truth, 0.0)
    edge_fraction = (true * valid).sum() / valid.sum().clamp(min=1)
    weight = torch.where(true > 0.5, 1 - edge_fraction, edge_fraction) * valid
    losses = nn.functional.binary_cross_entropy_with_logits(logits, true, reduction="none")
    return (losses * weight).sum() / weight.sum().clamp(min=1e-12)
