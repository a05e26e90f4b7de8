"""PointNet: a network on point clouds whose result depends on neither the order nor the number of the points.

Source: Qi, Su, Mo and Guibas 2017, "PointNet: Deep learning on point sets for 3D classification and segmentation".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from snellen.core.spec import MAX_COORDINATES


class PointNet(nn.Module):
    """PointNet without its transformation networks: one MLP for every point, the maximum over points, and a head.

    Args:
        features: D, of a point: 2 or 3 coordinates, then others.
        hidden: C_1 ... C_L, units of the layers that every point passes.
        head: units of the hidden layer after the maximum.
        outputs: K.
        dropout: fraction of the head's hidden units that is set to zero in training.
        normalize: centre each cloud on the mean of its points, and scale it to radius 1.
        random_rotation: rotate each cloud at random in training, uniformly over all rotations.
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int],
        head: int,
        outputs: int,
        dropout: float = 0.3,
        normalize: bool = True,
        random_rotation: bool = False,
    ) -> None:
        super().__init__()
        self.coordinates = min(features, MAX_COORDINATES)
        self.normalize = normalize
        self.random_rotation = random_rotation
        layers: list[nn.Module] = []
        for inputs, units in zip((features, *hidden), hidden, strict=False):
            layers += [nn.Conv1d(inputs, units, 1, bias=False), nn.BatchNorm1d(units), nn.ReLU()]
        self.layers = nn.Sequential(*layers)  # kernels of one point: a linear layer that all points share
        self.hidden_head = nn.Sequential(
            nn.Linear(hidden[-1], head, bias=False), nn.BatchNorm1d(head), nn.ReLU(), nn.Dropout(dropout)
        )
        self.head = nn.Linear(head, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, P, D), NaN after the end of each cloud, to (B, K). Each cloud has at least one point."""
        y: Tensor = self.head(self.hidden_head(self.point_features(x).amax(2).T))
        return y

    def point_features(self, x: Tensor) -> Tensor:
        """Features of all points, (B, P, D) to (C, B, P); minus infinity after the end of a cloud.

        Only the points with the maximum of a feature, the critical points, decide the result.
        """
        inside = ~x.isnan().any(2)  # (B, P)
        if self.normalize:
            x = to_unit_sphere(x, inside, self.coordinates)
        if self.random_rotation and self.training:
            rotations = random_rotations(len(x), self.coordinates, x)
            x = torch.cat([x[..., : self.coordinates] @ rotations, x[..., self.coordinates :]], 2)
        points = torch.where(inside[..., None], x, 0).flatten(0, 1).T  # (D, B P)
        outside = ~inside.flatten()
        if self.training and bool(outside.any()):  # the statistics of batch normalisation are those of real points
            real = self.layers(points[None, :, ~outside])[0]
            features = real.new_full((len(real), len(outside)), -torch.inf)
            features = features.masked_scatter(~outside, real)
        else:
            features = self.layers(points[None])[0].masked_fill(outside, -torch.inf)  # (C, B P)
        by_cloud: Tensor = features.unflatten(1, inside.shape)
        return by_cloud


def to_unit_sphere(x: Tensor, inside: Tensor, coordinates: int) -> Tensor:
    """Centre clouds on the mean of their points and scale them to radius 1; equal points all become zero.

    Args:
        x: (B, P, D). inside: (B, P), which points exist.
        coordinates: number of leading features that are changed.
    """
    places = torch.where(inside[..., None], x[..., :coordinates], 0)
    count = inside.sum(1)[:, None, None]
    places = places - places.sum(1, keepdim=True) / count
    squares = torch.where(inside, places.square().sum(2), 0)  # (B, P)
    radius = squares.amax(1).sqrt()[:, None, None]
    places = places / torch.where(radius > 0, radius, 1)
    return torch.cat([torch.where(inside[..., None], places, torch.nan), x[..., coordinates:]], 2)


def random_rotations(count: int, dimensions: int, like: Tensor) -> Tensor:
    """Rotations (count, dimensions, dimensions), uniform, from torch's default generator.

    Source: Mezzadri 2007, "How to generate random matrices from the classical compact groups".
    """
    shape = (count, dimensions, dimensions)
    q, r = torch.linalg.qr(torch.randn(shape, dtype=like.dtype, device=like.device))
    q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]
    last = q[..., -1:] * torch.linalg.det(q)[:, None, None]  # no reflection
    return torch.cat([q[..., :-1], last], 2)
