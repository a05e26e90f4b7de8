"""Vector autoregression: all features from the past of all, by ridge regression on a few principal components."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.forecast import poses
from snellen.tasks.forecast.display import future
from snellen.tasks.forecast.linear import LinearAutoregression, least_squares

COMPONENTS, RIDGE = 10, 0.3
_BATCH = 1024


class VectorAutoregression(nn.Module):
    """Linear autoregression of each feature, plus a linear map of the changes of all features before the last step.

    The changes are those of the joints' positions against the root, if the data is motion with known bones, else of
    the features in units of their typical change; of both the principal components are read.

    unit: (P,) factor of each number that is read. basis: (P, C). w: ((K − 1) · C, H · D). All float64.
    Source: vector autoregression, Sims 1980; direct for each step ahead; on principal components: Stock and Watson
        2002; ridge regression: Hoerl and Kennard 1970.
    """

    unit: Tensor
    basis: Tensor
    w: Tensor

    def __init__(self, spec: Spec, components: int = COMPONENTS) -> None:
        super().__init__()
        target = future(spec)
        features, window = len(target.names), spec.input.shape[0] or 1
        self.skeleton = target.skeleton if target.skeleton is not None and target.skeleton.has_positions else None
        read = features if self.skeleton is None else 3 * len(self.skeleton.joints)
        components = min(components, read)
        self.own = LinearAutoregression(spec, window)
        self.register_buffer("unit", torch.ones(read, dtype=torch.float64))
        self.register_buffer("basis", torch.zeros(read, components, dtype=torch.float64))
        size = ((window - 1) * components, target.steps * features)
        self.register_buffer("w", torch.zeros(size, dtype=torch.float64))

    def changes(self, x: Tensor) -> Tensor:
        """(B, T, D') raw inputs to (B, T − 1, P) changes against the last step."""
        x = x[..., : self.own.w.shape[0]].double()
        if self.skeleton is not None:
            places = poses.positions(x, self.skeleton)
            x = (places - places[..., :1, :]).flatten(2)
        return (x[:, :-1] - x[:, -1:]) * self.unit

    def components(self, x: Tensor) -> Tensor:
        """(B, T, D') raw inputs to the (B, (T − 1) · C) principal components of the changes."""
        return (self.changes(x) @ self.basis).flatten(1)

    def forecast(self, x: Tensor) -> Tensor:
        """(B, T, D') raw inputs to (B, H, D) float64."""
        simple = self.own.forecast(x)
        return simple + (self.components(x) @ self.w).reshape(simple.shape)


def fit_vector(model: VectorAutoregression, data: Dataset[Labelled], ridge: float = RIDGE) -> None:
    """Fit to the training split: least squares for each feature, then ridge regression of what it leaves.

    Args:
        ridge: λ of |A w − r|² + λ m |w|², where A are the components of all windows, r what the autoregression of each
            feature leaves, and m the mean diagonal element of AᵀA.
    """
    least_squares(model.own, data)
    samples = data.samples("train")
    if model.skeleton is None:
        squares = sum((model.changes(b.x).square().sum((0, 1)) for b in samples.in_order(_BATCH)), torch.zeros(()))
        count = len(samples) * max(1, model.own.order - 1)
        scale = (squares / count).sqrt()
        model.unit.copy_(torch.where(scale > 0, 1 / scale, torch.zeros_like(scale)))
    moments = torch.zeros(len(model.unit), len(model.unit), dtype=torch.float64)
    for batch in samples.in_order(_BATCH):
        changes = model.changes(batch.x).flatten(0, 1)
        moments += changes.T @ changes
    model.basis.copy_(torch.linalg.eigh(moments).eigenvectors[:, -model.basis.shape[1] :])
    gram = torch.zeros(len(model.w), len(model.w), dtype=torch.float64)
    products = torch.zeros_like(model.w)
    for batch in samples.in_order(_BATCH):
        a = model.components(batch.x)
        gram += a.T @ a
        products += a.T @ (batch.y.double() - model.own.forecast(batch.x)).flatten(1)
    mean = float(gram.diagonal().mean()) if len(gram) else 0.0
    if mean > 0:
        penalty = ridge * mean * torch.eye(len(gram), dtype=torch.float64)
        model.w.copy_(torch.linalg.lstsq(gram + penalty, products, driver="gelsd").solution)
