"""PointNet: invariances, clouds of several lengths, critical points, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from snellen.core.spec import Input
from snellen.nn.layers import Standardize
from snellen.nn.pointnet import PointNet, random_rotations


def network(normalize: bool = True, features: int = 3, dropout: float = 0.0) -> PointNet:
    torch.manual_seed(0)
    net = PointNet(features, (8, 16), 8, 4, dropout, normalize).double()
    net(cloud(6, 20, features))  # in training mode: running statistics unlike 0 and 1
    return net.eval()


def cloud(count: int, points: int, features: int = 3, seed: int = 1) -> Tensor:
    return torch.randn(count, points, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("features", [2, 3, 6])
def test_the_order_of_the_points_does_not_count(features: int) -> None:
    net, x = network(features=features), cloud(5, 30, features)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(net(x[:, order]), net(x), rtol=0, atol=1e-12)


def test_repeated_points_do_not_count() -> None:
    x = cloud(5, 30)
    assert torch.allclose(network()(torch.cat([x, x], 1)), network()(x), rtol=0, atol=1e-12)
    plain = network(normalize=False)  # with the mean of the points as the centre, uneven repetition moves it
    assert torch.allclose(plain(torch.cat([x, x[:, :7]], 1)), plain(x), rtol=0, atol=1e-12)


def test_position_and_size_do_not_count_if_clouds_are_normalised() -> None:
    x = cloud(5, 30)
    moved = 7.5 * x + torch.tensor([100.0, -3.0, 0.1])
    assert torch.allclose(network()(moved), network()(x), rtol=0, atol=1e-10)
    assert not torch.allclose(network(normalize=False)(moved), network(normalize=False)(x), atol=0.1)
    equal = torch.ones(1, 4, 3, dtype=torch.float64)
    assert bool(network()(equal).isfinite().all())


@pytest.mark.parametrize("training", [False, True])
def test_rows_after_the_end_of_a_cloud_are_ignored(training: bool) -> None:
    """Also by the statistics of batch normalisation, and by the gradient."""
    x = cloud(5, 30)
    padded = torch.cat([x, torch.full((5, 9, 3), torch.nan)], 1)
    results, gradients = [], []
    for values in (x, padded):
        net = network().train(training)
        results.append(net(values))
        results[-1].square().sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    assert torch.allclose(results[0], results[1], rtol=0, atol=1e-12)
    for first, second in zip(*gradients, strict=True):
        assert first is not None
        assert second is not None
        assert torch.allclose(first, second, rtol=0, atol=1e-10)


def test_a_cloud_alone_gives_the_result_of_a_batch_of_several_lengths() -> None:
    clouds = [cloud(1, n, seed=n) for n in (3, 17, 1, 40)]
    batch = torch.full((4, 40, 3), torch.nan, dtype=torch.float64)
    for row, one in zip(batch, clouds, strict=True):
        row[: one.shape[1]] = one[0]
    net = network()
    assert torch.allclose(net(batch), torch.cat([net(one) for one in clouds]), rtol=0, atol=1e-12)


def test_only_the_critical_points_decide() -> None:
    """Qi et al. 2017, theorem 2: the points with the maximum of a feature, at most as many as there are features."""
    net, x = network(normalize=False), cloud(3, 200)
    critical = net.point_features(x).argmax(2)  # (C, B)
    for k in range(3):
        chosen = critical[:, k].unique()
        assert len(chosen) <= 16
        assert torch.allclose(net(x[k : k + 1, chosen]), net(x[k : k + 1]), rtol=0, atol=1e-12)
        assert not torch.allclose(net(x[k : k + 1, chosen[1:]]), net(x[k : k + 1]), atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_the_gradient_matches_finite_differences(training: bool) -> None:
    torch.manual_seed(0)
    net = PointNet(3, (4, 5), 3, 2, 0.0).double()
    net(cloud(6, 20))
    net, x = net.train(training), cloud(2, 4).requires_grad_()
    weights = [p for p in net.parameters() if p.ndim > 1]
    assert torch.autograd.gradcheck(lambda *_: net(x), [x, *weights], fast_mode=False)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_rotations_are_uniform_rotations(dimensions: int) -> None:
    """Their moments are those of the Haar measure: E tr R = 0, and E (tr R)² is 1 in space and 2 in the plane."""
    torch.manual_seed(0)
    count = 20_000
    r = random_rotations(count, dimensions, torch.zeros(1, dtype=torch.float64))
    unit = torch.eye(dimensions, dtype=torch.float64)
    assert torch.allclose(r @ r.mT, unit.expand_as(r), atol=1e-12)
    assert torch.allclose(torch.linalg.det(r), torch.ones(count, dtype=torch.float64))
    trace = r.diagonal(dim1=1, dim2=2).sum(1)
    assert abs(float(trace.mean())) < 6 * float(trace.std()) / count**0.5
    squares = trace.square()
    assert abs(float(squares.mean()) - (1 if dimensions == 3 else 2)) < 6 * float(squares.std()) / count**0.5
    assert bool((r.mean(0).abs() < 6 / count**0.5).all())


def test_random_rotations_change_training_only_and_keep_other_numbers() -> None:
    x = cloud(4, 10)
    net = PointNet(3, (8,), 8, 2, 0.0, random_rotation=True).double()
    torch.manual_seed(1)
    first = net.point_features(x)
    torch.manual_seed(1)
    assert torch.equal(net.point_features(x), first)  # a function of the seed of the step
    assert not torch.allclose(net.point_features(x), first)
    net.eval()
    assert torch.equal(net(x), net(x))


def test_coordinates_are_standardised_with_one_scale() -> None:
    x = cloud(50, 20, 5) * torch.tensor([3.0, 1.0, 0.5, 10.0, 0.1]) + torch.tensor([5.0, 0, 0, 1, 2])
    layer = Standardize(Input(modality="points", shape=(20, 5), dtype="float64"))
    layer.fit(x)
    rows = x.reshape(-1, 5).numpy()
    std = rows.std(0)
    expected = [*[np.sqrt((std[:3] ** 2).mean())] * 3, *std[3:]]
    assert np.allclose(layer.mean, rows.mean(0))
    assert np.allclose(layer.std, expected)
    flat = x.clone()
    flat[..., 2] = 7.0  # clouds in a plane: the constant coordinate has the scale of the others
    layer.fit(flat)
    assert layer.std[2] == layer.std[0] > 1
