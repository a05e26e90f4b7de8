"""Views of a Gaussian: its mean, its principal directions and the variance along them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.views import AnnotatedImage, ImageGrid, Plot, Series, View

NUM_DIRECTIONS = 12
EXACT = 512  # values up to which all directions are computed; of more only the first


def principal_directions(covariance: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The directions of the largest variances, largest first.

    Args:
        covariance: (D, D).
    Returns:
        (K,) variances and (K, D) unit vectors, K = min(count, D); the largest component of each is positive.
    """
    size = len(covariance)
    if size <= EXACT:
        variances, vectors = torch.linalg.eigh(covariance)
        variances, directions = variances.flip(0)[:count], vectors.flip(1).T[:count]
    else:
        from scipy.sparse.linalg import eigsh

        start = np.ones(size)  # the default is random
        values, columns = eigsh(covariance.numpy(), k=count, v0=start)
        order = np.argsort(-values)
        variances, directions = torch.from_numpy(values[order]), torch.from_numpy(columns[:, order].T.copy())
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return variances, directions * largest.sign()


def principal_views(mean: Tensor, covariance: Tensor, shape: Sequence[int], dtype: torch.dtype) -> list[View]:
    """The fraction of the variance along each principal direction; of images also the mean and the directions.

    Args:
        mean: (D,). covariance: (D, D). shape: of a sample.
    """
    variances, directions = principal_directions(covariance, NUM_DIRECTIONS)
    fractions = (variances / covariance.trace()).tolist()
    result: list[View] = [
        Plot(
            title="Principal directions",
            x="direction",
            y="variance [%]",
            series=[Series(name="variance", x=range(1, len(fractions) + 1), y=[100 * f for f in fractions])],
            style="bars",
            caption=f"The first {len(fractions)} of {len(mean):,}: {100 * sum(fractions):.3g} % of the variance.",
        )
    ]
    if len(shape) != 3:
        return result
    low, high = (0.0, 255.0) if dtype == torch.uint8 else (float(mean.min()), float(mean.max()))
    items = [AnnotatedImage(values=mean.reshape(tuple(shape)), low=low, high=high, caption="mean")]
    for k, (direction, fraction) in enumerate(zip(directions, fractions, strict=True), 1):
        limit = float(direction.abs().max())
        image = direction.reshape(tuple(shape))
        items.append(AnnotatedImage(values=image, low=-limit, high=limit, caption=f"{k}: {100 * fraction:.2g} %"))
    caption = "The mean, and the directions of largest variance with their fraction of it; grey is zero."
    return [*result, ImageGrid(title="Mean and principal directions", items=items, caption=caption)]
