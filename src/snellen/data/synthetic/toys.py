"""Built-in datasets without network or disk: digits and toy datasets, each a function of the seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from snellen.core.random import generator
from snellen.core.spec import Classes, Column, Input, Numbers
from snellen.data.dataset import RawDataset
from snellen.data.source import ArraySource


def digits(seed: int) -> RawDataset:
    """1,797 hand-written digits of 8x8 pixels with 17 grey levels.

    Source: Alpaydin and Kaynak 1998, UCI Optical Recognition of Handwritten Digits, as in scikit-learn.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images)[:, None]
    return RawDataset(
        source=ArraySource((images * 15.9375).round().to(torch.uint8), "digit"),  # 0..16 to 0..255
        inputs={"image": Input(modality="image", shape=(1, 8, 8), dtype="uint8")},
        target=Classes(names=tuple("0123456789")),
        truth=torch.from_numpy(bunch.target).long(),
        recognised_as="the built-in digits of scikit-learn (1,797 of 8x8 pixels)",
    )


def moons(seed: int) -> RawDataset:
    """1,000 points on two half circles of radius 1, (cos t, sin t) and (1 − cos t, ½ − sin t), noise 0.1."""
    rng = generator(seed, "moons")
    y = torch.arange(1000) % 2
    t = math.pi * torch.rand(1000, generator=rng)
    side = 1 - 2 * y
    x = torch.stack([y + side * t.cos(), 0.5 * y + side * t.sin()], 1)
    return _classes("moons", x + 0.1 * torch.randn(1000, 2, generator=rng), y, ("upper", "lower"), moons)


def rings(seed: int) -> RawDataset:
    """1,000 points on two circles about the origin, r (cos t, sin t) with r = 1 and r = 2, noise 0.15."""
    rng = generator(seed, "rings")
    y = torch.arange(1000) % 2
    t = 2 * math.pi * torch.rand(1000, generator=rng)
    x = (1.0 + y)[:, None] * torch.stack([t.cos(), t.sin()], 1)
    return _classes("rings", x + 0.15 * torch.randn(1000, 2, generator=rng), y, ("inner", "outer"), rings)


def spirals(seed: int) -> RawDataset:
    """1,500 points on three spiral arms, t (cos a, sin a) with a = 4t + 2πk/3 and t in 0.1 … 1, noise 0.02."""
    rng = generator(seed, "spirals")
    y = torch.arange(1500) % 3
    t = 0.1 + 0.9 * torch.rand(1500, generator=rng)
    angle = 4 * t + 2 * math.pi / 3 * y
    x = t[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return _classes("spirals", x + 0.02 * torch.randn(1500, 2, generator=rng), y, ("0", "1", "2"), spirals)


def gaussians(seed: int) -> RawDataset:
    """900 points of three round Gaussians, means 3 (cos 2πk/3, sin 2πk/3) and deviation 1."""
    rng = generator(seed, "gaussians")
    y = torch.arange(900) % 3
    angle = 2 * math.pi / 3 * y
    x = 3 * torch.stack([angle.cos(), angle.sin()], 1)
    return _classes("gaussians", x + torch.randn(900, 2, generator=rng), y, ("0", "1", "2"), gaussians)


def xor(seed: int) -> RawDataset:
    """The four points (0, 0), (0, 1), (1, 0), (1, 1); the class is 1 if exactly one of the two is 1."""
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    return _classes("xor", x, torch.tensor([0, 1, 1, 0]), ("0", "1"), xor, same=True)


LINEAR_WEIGHTS = (1.5, -2.0, 0.5)
LINEAR_BIAS = 3.0


def linear(seed: int) -> RawDataset:
    """500 points with y = 1.5 x1 − 2 x2 + 0.5 x3 + 3, inputs of unit Gaussians, noise 0.5."""
    rng = generator(seed, "linear")
    x = torch.randn(500, 3, generator=rng)
    y = x.double() @ torch.tensor(LINEAR_WEIGHTS, dtype=torch.float64) + LINEAR_BIAS
    return _numbers("linear", x, y + 0.5 * torch.randn(500, generator=rng), linear)


def sine(seed: int) -> RawDataset:
    """200 points with y = sin 2πx, x uniform in 0 … 1, noise 0.2.

    Source: Bishop 2006, "Pattern Recognition and Machine Learning", section 1.1 (there ten points, noise 0.3).
    """
    rng = generator(seed, "sine")
    x = torch.rand(200, 1, generator=rng)
    y = torch.sin(2 * math.pi * x[:, 0].double())
    return _numbers("sine", x, y + 0.2 * torch.randn(200, generator=rng), sine)


def rosenbrock(seed: int) -> RawDataset:
    """1,000 points with y = 100 (x2 − x1²)² + (1 − x1)², inputs uniform in −2 … 2, no noise.

    Source: Rosenbrock 1960, "An automatic method for finding the greatest or least value of a function".
    """
    x = 4 * torch.rand(1000, 2, generator=generator(seed, "rosenbrock")) - 2
    return _numbers("rosenbrock", x, rosenbrock_function(x.double()), rosenbrock)


def rosenbrock_function(x: Tensor) -> Tensor:
    """Rosenbrock function of (..., 2) points, 100 (x2 − x1²)² + (1 − x1)²; minimum 0 at (1, 1)."""
    return 100 * (x[..., 1] - x[..., 0] ** 2) ** 2 + (1 - x[..., 0]) ** 2


def _description(name: str, dataset_function: Callable[[int], RawDataset]) -> str:
    sentence, _, _ = (dataset_function.__doc__ or "").partition("\n")
    return f"the toy dataset {name}: {sentence.rstrip('.')}"


def _input(x: Tensor) -> dict[str, Input]:
    columns = tuple(Column(name=f"x{k + 1}") for k in range(x.shape[1])) if x.shape[1] > 1 else (Column(name="x"),)
    return {"vector": Input(modality="vector", shape=(x.shape[1],), dtype="float32", columns=columns)}


def _classes(
    name: str,
    x: Tensor,
    y: Tensor,
    names: Sequence[str],
    dataset_function: Callable[[int], RawDataset],
    same: bool = False,
) -> RawDataset:
    description = _description(name, dataset_function) + (
        "; train, validation and test are the same points" if same else ""
    )
    return RawDataset(
        source=ArraySource(x, "point"),
        inputs=_input(x),
        target=Classes(names=tuple(names)),
        truth=y.long(),
        same_samples=same,
        recognised_as=description,
    )


def _numbers(name: str, x: Tensor, y: Tensor, dataset_function: Callable[[int], RawDataset]) -> RawDataset:
    return RawDataset(
        source=ArraySource(x, "point"),
        inputs=_input(x),
        target=Numbers(names=("y",)),
        truth=y.double()[:, None],
        recognised_as=_description(name, dataset_function),
    )


TOYS: dict[str, Callable[[int], RawDataset]] = {
    "digits": digits,
    "moons": moons,
    "rings": rings,
    "spirals": spirals,
    "gaussians": gaussians,
    "xor": xor,
    "linear": linear,
    "sine": sine,
    "rosenbrock": rosenbrock,
}
