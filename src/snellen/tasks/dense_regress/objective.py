"""What learning numbers of pixels by descent needs: the space they are learned in, and what an error costs there."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import PixelNumbers
from snellen.data.dataset import Dataset, Labelled
from snellen.data.scenes import Scenes
from snellen.nn.network import Network
from snellen.nn.tiling import tiled

FOR_STATISTICS = 64  # pictures from which mean and deviation are taken,
PIXELS = 1 << 14  # and pixels of each


@settings
class PixelErrors:
    """What a wrong number costs."""

    loss: Literal["absolute", "squared", "huber", "scale-invariant"] | None = None
    """The loss of an error in standard deviations; auto: absolute, 1 − cosine for normals, balanced cross-entropy for
    edges, the distance of end points for flow."""
    log_depth: bool = True
    """Learn the logarithm of depths, so that errors count by their share."""


class Measured(nn.Module):
    """A network whose outputs are standardised numbers, as numbers in the user's units.

    mean, std: (T,) float64, of the training truth, of its logarithm where `log`.
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
        """(B, C, H, W) raw pictures to (B, T, H, W) standardised numbers; logits for edges."""
        y: Tensor = self.network(x)
        return y

    def predict(self, x: Tensor) -> Tensor:
        y: Tensor = self(x).float()
        if self.kind == "edges":
            return y.sigmoid()
        if self.kind == "normals":
            return nn.functional.normalize(y, dim=1)
        y = y * self.std.float()[:, None, None] + self.mean.float()[:, None, None]
        return y.exp() if self.log else y

    def standard(self, truth: Tensor) -> Tensor:
        """(B, T, H, W) in the user's units to zero mean and unit variance; NaN stays, as do depths without a log."""
        values = torch.where(truth > 0, truth, torch.nan).log() if self.log else truth
        return (values - self.mean.float()[:, None, None]) / self.std.float()[:, None, None]

    def learn(self, data: Dataset[Labelled]) -> None:
        """Takes mean and deviation from training maps. Normals and edges have a scale of their own."""
        if self.kind in ("normals", "edges"):
            return
        values = some_truth(data).double()  # (T, P)
        values = torch.where(values > 0, values, torch.nan).log() if self.log else values
        values = values[:, torch.isfinite(values).all(0)]
        if values.shape[1]:
            std = values.std(1, correction=0)
            self.mean.copy_(values.mean(1))
            self.std.copy_(torch.where(std > 0, std, torch.ones_like(std)))


def some_truth(data: Dataset[Labelled]) -> Tensor:
    """(T, P) float32 of pixels of training maps that have a truth, spread evenly over some of them."""
    scenes = data.scenes("train")
    chosen = torch.linspace(0, len(scenes) - 1, min(len(scenes), FOR_STATISTICS)).round().long().tolist()
    parts = []
    for position in chosen:
        truth = scenes.annotations.of(int(scenes.ids[position]))
        assert isinstance(truth, Tensor)
        flat = truth.flatten(1)
        flat = flat[:, :: max(1, flat.shape[1] // PIXELS)]
        parts.append(flat[:, torch.isfinite(flat).all(0)])
    return torch.cat(parts, 1)


class ByDistance:
    """The error of every pixel that has a truth, as its kind has it.

    Args:
        own: a loss the caller brought, called with (numbers, truth) in the user's units, (B, T, H, W), NaN for none.
    """

    def __init__(self, target: PixelNumbers, errors: PixelErrors, run: Run) -> None:
        self.kind = target.kind
        self.errors = errors
        self.own = run.loss

    def loss(self, model: Measured, x: Tensor, y: Tensor) -> Tensor:
        if self.own is not None:
            return self.own(model.predict(x), y)
        said = model(x).float()  # (B, T, H, W)
        kind = self.errors.loss
        if self.kind == "edges":
            return balanced_cross_entropy(said[:, 0], y[:, 0])
        if self.kind == "normals":
            return cosine(said, y)
        said, true = _known(said, model.standard(y))  # (T, P)
        if self.kind == "flow" and kind is None:
            return ((said - true) * model.std.float()[:, None]).square().sum(0).add(1e-8).sqrt().mean()
        if not true.numel():
            return said.sum() * 0
        if kind == "scale-invariant":
            e = said - true
            return (e.square().mean(1) - 0.5 * e.mean(1).square()).mean()
        if kind == "squared":
            return nn.functional.mse_loss(said, true)
        return nn.functional.huber_loss(said, true) if kind == "huber" else nn.functional.l1_loss(said, true)

    def score(self, model: Measured, scenes: Scenes) -> float:
        """Minus the loss on validation pictures, each counting alike."""
        total = torch.zeros((), dtype=torch.float64)
        for scene in scenes.in_order():
            assert isinstance(scene.truth, Tensor)
            whole = _Said(model, tiled(model, scene.image[None]))
            total += self.loss(whole, scene.image[None], scene.truth[None]).double().cpu()  # type: ignore[arg-type]
        return -float(total) / len(scenes)


class _Said:
    """A model that has said already what it says of one picture."""

    def __init__(self, model: Measured, said: Tensor) -> None:
        self.std, self.standard, self.said = model.std, model.standard, said
        self.predict = model.predict

    def __call__(self, x: Tensor) -> Tensor:
        return self.said


def _known(said: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """(T, P) of the pixels whose every number has a truth; both (B, T, H, W)."""
    there = torch.isfinite(truth).all(1)  # (B, H, W)
    return said.movedim(1, 0)[:, there], truth.movedim(1, 0)[:, there]


def cosine(said: Tensor, truth: Tensor) -> Tensor:
    """1 − the cosine of the angle between two directions, the mean over pixels with a truth."""
    said, truth = _known(said, truth)
    if not truth.numel():
        return said.sum() * 0
    return 1 - nn.functional.cosine_similarity(said, truth, dim=0).mean()


def balanced_cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy in which edges and the rest count alike in sum, however few the edges are.

    Args:
        logits: (B, H, W). truth: (B, H, W), 0 or 1, NaN for none.
    Source: Xie and Tu 2015, "Holistically-nested edge detection", eq. 2.
    """
    there = torch.isfinite(truth)
    true = torch.where(there, truth, 0.0)
    share = (true * there).sum() / there.sum().clamp(min=1)
    weight = torch.where(true > 0.5, 1 - share, share) * there
    each = nn.functional.binary_cross_entropy_with_logits(logits, true, reduction="none")
    return (each * weight).sum() / weight.sum().clamp(min=1e-12)
