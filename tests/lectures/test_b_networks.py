"""Rows B1 to B6, B10 to B12 and B24 of the lectures: networks, losses, backpropagation, initialisation, depth."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from raw_datasets import seeded
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.func import functional_call

from snellen.core.run import Run
from snellen.core.spec import Classes, Input, Labels, Spec
from snellen.nn.layers import activation
from snellen.nn.mlp import MLP, ResidualMLP, cross_entropy, initialise
from snellen.tasks.classify.objective import ClassBalanceSettings, CrossEntropyObjective
from snellen.tasks.classify.task import predict_batch

SIZES = [(3, 4), (3, 5, 4), (3, 6, 5, 4), (3, 6, 5, 5, 4)]  # depth 1 to 4
ACTS = ["sigmoid", "tanh", "relu", "leaky-relu", "linear"]


def mlp_with_biases(sizes: tuple[int, ...], act: str = "relu", **options: float) -> MLP:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        mlp = MLP(sizes, act, **options).double()  # type: ignore[arg-type]
        for layer in mlp.layers:
            nn.init.normal_(layer.bias, std=0.3)  # type: ignore[arg-type]
    return mlp


def batch(count: int = 6, inputs: int = 3, outputs: int = 4) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, inputs, generator=seeded(), dtype=torch.float64)
    return x, torch.randint(outputs, (count,), generator=seeded(1))


def parameters(mlp: MLP) -> dict[str, Tensor]:
    return {name: p.detach().clone().requires_grad_() for name, p in mlp.named_parameters()}


@torch.no_grad()
def finite_differences(value: Callable[[], Tensor], parameter: Tensor, step: float = 1e-6) -> Tensor:
    """Central differences of a scalar with respect to every entry of a parameter."""
    gradients = torch.zeros_like(parameter)
    flat, entries = parameter.data.view(-1), gradients.view(-1)
    for i in range(len(flat)):
        before = float(flat[i])
        flat[i] = before + step
        above = float(value())
        flat[i] = before - step
        entries[i] = (above - float(value())) / (2 * step)
        flat[i] = before
    return gradients


# -- B1, B2 ----------------------------------------------------------------------------------------------------------


def linear_mlp(weights: dict[str, list[list[float]]]) -> MLP:
    mlp = MLP((2, 2, 1), "linear").double()
    for layer, weight in zip(mlp.layers, weights.values(), strict=True):
        layer.weight.data = torch.tensor(weight, dtype=torch.float64)  # type: ignore[union-attr]
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return mlp


def test_b1_the_forward_pass_matches_the_lecture() -> None:
    """Lecture 003: i = (2, 3), w1 … w6 = .11 .21 .12 .08 .14 .15, no biases, linear units."""
    mlp = linear_mlp({"hidden": [[0.11, 0.21], [0.12, 0.08]], "output": [[0.14, 0.15]]})
    x = torch.tensor([[2.0, 3.0]], dtype=torch.float64)
    assert torch.allclose(mlp.layers[0](x), torch.tensor([[0.85, 0.48]], dtype=torch.float64), atol=1e-15)
    assert float(mlp(x).detach()) == pytest.approx(0.191, abs=1e-15)


@pytest.mark.parametrize("act", ACTS)
def test_b1_the_forward_pass_is_the_composition_of_its_layers(act: str) -> None:
    functions: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "tanh": np.tanh,
        "relu": lambda z: np.maximum(z, 0),
        "leaky-relu": lambda z: np.maximum(0.1 * z, z),
        "linear": lambda z: z,
    }
    mlp, (x, _) = mlp_with_biases(SIZES[3], act), batch()
    a = x.numpy()
    for depth, layer in enumerate(mlp.layers):
        a = a @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()  # type: ignore[union-attr, operator]
        a = functions[act](a) if depth < 3 else a
    assert np.allclose(mlp(x).detach().numpy(), a, atol=1e-14)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("act", ACTS)
def test_b1_every_parameter_passes_the_gradient_check(sizes: tuple[int, ...], act: str) -> None:
    mlp, (x, _) = mlp_with_biases(sizes, act), batch()
    named = parameters(mlp)
    assert gradcheck(lambda *p: functional_call(mlp, dict(zip(named, p, strict=True)), x), tuple(named.values()))


def test_b2_linear_layers_collapse_into_one() -> None:
    """C = BA, c = Ba + b."""
    mlp, (x, _) = mlp_with_biases(SIZES[3], "linear"), batch()
    C, c = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for layer in mlp.layers:
        C, c = layer.weight @ C, layer.weight @ c + layer.bias  # type: ignore[operator]
    assert torch.allclose(mlp(x), x @ C.T + c, rtol=0, atol=1e-12)


# -- B3, B4, B5 ------------------------------------------------------------------------------------------------------

DERIVATIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda z: torch.sigmoid(z) * (1 - torch.sigmoid(z)),
    "tanh": lambda z: 1 - torch.tanh(z) ** 2,
    "relu": lambda z: (z > 0).double(),  # 0 at 0
    "leaky-relu": lambda z: torch.where(z > 0, 1.0, 0.1).double(),
    "linear": lambda z: torch.ones_like(z),
}


@pytest.mark.parametrize("act", ACTS)
def test_b3_values_ranges_and_derivatives_of_activations(act: str) -> None:
    z = torch.tensor([-1000.0, -3.0, -0.5, 0.0, 0.5, 3.0, 1000.0], dtype=torch.float64, requires_grad=True)
    a = activation(act)(z)
    assert bool(torch.isfinite(a).all())
    (slope,) = torch.autograd.grad(a.sum(), z)
    assert bool(torch.isfinite(slope).all())
    assert torch.allclose(slope, DERIVATIVES[act](z.detach()), atol=1e-15)
    low, high = {
        "sigmoid": (0, 1),
        "tanh": (-1, 1),
        "relu": (0, 1000),
        "leaky-relu": (-100, 1000),
        "linear": (-1000, 1000),
    }[act]
    assert (float(a.detach().min()), float(a.detach().max())) == (low, high)
    expected = {
        "sigmoid": 1 / (1 + math.exp(0.5)),
        "tanh": math.tanh(-0.5),
        "relu": 0,
        "leaky-relu": -0.05,
        "linear": -0.5,
    }[act]
    assert float(a.detach()[2]) == pytest.approx(expected, abs=1e-15)


class IdentityClassifier(nn.Module):
    """Classifier whose scores are its inputs."""

    probabilistic = True

    def scores(self, x: Tensor) -> Tensor:
        return x


def probabilities(scores: list[list[float]]) -> np.ndarray:
    """Probabilities (B, K) from the predictions that `predict` prints."""
    names = tuple(f"{k}" for k in range(len(scores[0])))
    spec = Spec(name="s", inputs={"x": Input(modality="vector", shape=(1,))}, target=Classes(names=names))
    predictions = predict_batch(IdentityClassifier(), torch.tensor(scores, dtype=torch.float64), spec)
    return np.array([list(a["probabilities"].values()) for a in predictions])


def test_b4_softmax_sums_to_one_and_is_shift_invariant() -> None:
    z = torch.randn(20, 5, generator=seeded(), dtype=torch.float64) * 10
    p = probabilities(z.tolist())
    assert np.allclose(p.sum(1), 1, atol=1e-15)  # per sample, not per batch
    assert np.allclose(p, probabilities((z + 123).tolist()), atol=1e-12)


def test_b4_softmax_of_two_is_the_sigmoid_of_the_difference_and_stable() -> None:
    z = torch.randn(20, 2, generator=seeded(), dtype=torch.float64) * 5
    sigmoid = 1 / (1 + np.exp(-(z[:, 0] - z[:, 1]).numpy()))
    assert np.allclose(probabilities(z.tolist())[:, 0], sigmoid, atol=1e-15)
    assert np.array_equal(probabilities([[1000, 0]]), [[1, 0]])
    assert float(nn.functional.cross_entropy(torch.tensor([[1000.0, 0.0]]), torch.tensor([1]))) == 1000


def objective(target: Classes | Labels, folder: Path, **balance: object) -> CrossEntropyObjective:
    spec = Spec(name="s", inputs={"x": Input(modality="vector", shape=(4,))}, target=target, sizes={"train": 30})
    return CrossEntropyObjective(spec, ClassBalanceSettings(**balance), Run(folder))  # type: ignore[arg-type]


def test_b5_cross_entropy_is_minus_log_p_and_its_gradient_p_minus_t(tmp_path: Path) -> None:
    z = torch.randn(7, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    t = torch.randint(4, (7,), generator=seeded(1))
    loss = objective(Classes(names=("a", "b", "c", "d")), tmp_path).loss(IdentityClassifier(), (z, t, t))  # type: ignore[arg-type]
    p = torch.softmax(z.detach(), 1)
    assert float(loss.detach()) == pytest.approx(float(-p[torch.arange(7), t].log().mean()), abs=1e-14)
    (gradient,) = torch.autograd.grad(loss, z)
    assert torch.allclose(gradient, (p - nn.functional.one_hot(t, 4)) / 7, atol=1e-15)
    assert gradcheck(lambda z: nn.functional.cross_entropy(z, t), (z,))


def test_b5_binary_cross_entropy_matches_the_formula_and_passes_the_gradient_check(tmp_path: Path) -> None:
    """−Σ t log σ + (1 − t) log(1 − σ)."""
    z = torch.randn(7, 3, generator=seeded(), dtype=torch.float64, requires_grad=True)
    t = (torch.rand(7, 3, generator=seeded(1)) < 0.4).double()
    objective_ = objective(Labels(names=("a", "b", "c"), counts=(5, 6, 7)), tmp_path)

    def cost(z: Tensor) -> Tensor:
        return objective_.loss(IdentityClassifier(), (z, t, t))  # type: ignore[arg-type]

    sigma = torch.sigmoid(z.detach())
    expected = -(t * sigma.log() + (1 - t) * (1 - sigma).log()).mean()
    assert float(cost(z).detach()) == pytest.approx(float(expected), abs=1e-14)
    assert gradcheck(cost, (z,))


def test_b5_class_weights_are_inverse_class_frequencies(tmp_path: Path) -> None:
    z = torch.randn(6, 2, generator=seeded())
    t = torch.tensor([0, 0, 0, 0, 1, 1])
    objective_ = objective(Classes(names=("a", "b"), counts=(20, 10)), tmp_path, class_weights="balanced")
    losses = nn.functional.cross_entropy(z, t, reduction="none")
    expected = (losses[:4].mean() + losses[4:].mean()) / 2  # both classes have equal weight
    assert float(objective_.loss(IdentityClassifier(), (z, t, t))) == pytest.approx(float(expected), rel=1e-6)  # type: ignore[arg-type]


# -- B6 backpropagation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", SIZES)
def test_b6_the_written_backward_pass_matches_autograd_and_finite_differences(sizes: tuple[int, ...]) -> None:
    mlp, (x, y) = mlp_with_biases(sizes), batch()
    manual = torch.autograd.grad(cross_entropy(mlp, x, y), list(mlp.parameters()))
    automatic = torch.autograd.grad(nn.functional.cross_entropy(mlp(x), y), list(mlp.parameters()))
    assert float(cross_entropy(mlp, x, y).detach()) == pytest.approx(
        float(nn.functional.cross_entropy(mlp(x), y).detach()), abs=1e-14
    )
    for parameter, objective_, reference in zip(mlp.parameters(), manual, automatic, strict=True):
        assert torch.allclose(objective_, reference, atol=1e-14)
        numeric = finite_differences(lambda: cross_entropy(mlp, x, y), parameter)
        assert float((objective_ - numeric).norm() / numeric.norm()) < 1e-5


def test_b6_the_written_backward_pass_scales_with_the_output_gradient() -> None:
    mlp, (x, y) = mlp_with_biases(SIZES[1]), batch()
    once = torch.autograd.grad(cross_entropy(mlp, x, y), list(mlp.parameters()))
    thrice = torch.autograd.grad(3 * cross_entropy(mlp, x, y), list(mlp.parameters()))
    assert all(torch.allclose(3 * a, b) for a, b in zip(once, thrice, strict=True))


def test_b6_the_deltas_of_the_lecture_match_autograd() -> None:
    """δ_j = (y_j − t_j) y_j (1 − y_j), δ_i = y_i (1 − y_i) Σ δ_j w_ji, ∂E/∂w_ji = δ_j y_i for E = ½ Σ (y − t)²."""
    mlp, (x, _) = mlp_with_biases((3, 5, 4), "sigmoid"), batch(1)
    t = torch.rand(1, 4, generator=seeded(2), dtype=torch.float64)
    inner, outer = mlp.layers
    hidden = torch.sigmoid(inner(x))
    y = torch.sigmoid(outer(hidden))
    gradients = torch.autograd.grad(0.5 * (y - t).square().sum(), [inner.weight, outer.weight])  # type: ignore[list-item]
    delta_j = (y - t) * y * (1 - y)
    delta_i = hidden * (1 - hidden) * (delta_j @ outer.weight)
    assert torch.allclose(gradients[1], delta_j.T @ hidden, atol=1e-15)
    assert torch.allclose(gradients[0], delta_i.T @ x, atol=1e-15)


def test_b6_the_written_backward_pass_is_used_for_supported_networks_only() -> None:
    assert MLP((2, 3, 2)).has_manual_backward
    assert not MLP((2, 3, 2), "tanh").has_manual_backward
    assert not MLP((2, 3, 2), dropout=0.5).has_manual_backward
    assert not MLP((2, 3, 2), batch_norm=True).has_manual_backward


# -- B10 initialisation ----------------------------------------------------------------------------------------------


def test_b10_initialisation_has_the_standard_deviation_of_its_rule() -> None:
    for rule, deviation in (("he", math.sqrt(2 / 400)), ("lecun", 1 / math.sqrt(400)), ("small", 0.01)):
        layer = nn.Linear(400, 1000)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            initialise(layer, rule)
        assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.005)
        assert float(layer.weight.detach().mean().abs()) < 0.01 * deviation
        assert not bool(layer.bias.detach().any())


def std_after_layers(factor: float, start: int, layers: int = 10, units: int = 256) -> float:
    """Standard deviation after ReLU layers with weights N(0, 1) · factor, for unit Gaussian input."""
    generator = seeded(start)
    x = torch.randn(1000, units, generator=generator, dtype=torch.float64)
    for _ in range(layers):
        x = (x @ (torch.randn(units, units, generator=generator, dtype=torch.float64) * factor)).relu()
    return float(x.std())


def test_b10_only_he_initialisation_preserves_the_variance_through_ten_relu_layers() -> None:
    """Table of the lecture: ×√(2/n) 0.74, the misprint ÷√(2/n) 9e20, 1/√n 0.029, each for one sample of the weights."""
    n = 256
    for start in range(3):
        he, slip, lecun = (
            std_after_layers(math.sqrt(2 / n), start),
            std_after_layers(math.sqrt(n / 2), start),
            std_after_layers(n**-0.5, start),
        )
        assert 0.5 < he < 1.2
        assert 5e20 < slip < 2e21
        assert 0.015 < lecun < 0.04
        assert lecun == pytest.approx(he / 32, rel=1e-9)  # √2 per layer
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mlp = MLP((n,) * 11, init="he")
    x = torch.randn(1000, n, generator=seeded())
    for layer in mlp.layers:
        x = layer(x).relu()
    assert 0.5 < float(x.detach().std()) < 1.2


def test_b10_the_init_setting_applies_to_every_layer() -> None:
    for rule, deviation in (("he", math.sqrt(2 / 500)), ("lecun", math.sqrt(1 / 500)), ("small", 0.01)):
        for layer in MLP((500, 500, 200), "tanh", init=rule).layers:
            assert float(layer.weight.detach().std()) == pytest.approx(deviation, rel=0.05)  # type: ignore[union-attr, operator]


# -- B11 batch normalisation, B12 dropout ----------------------------------------------------------------------------


def test_b11_batch_normalisation_gives_mean_0_and_variance_1() -> None:
    mlp, (x, _) = mlp_with_biases((3, 6, 4), batch_norm=True), batch(50)
    outputs: list[Tensor] = []
    mlp.norms[0].register_forward_hook(lambda module, inputs, output: outputs.append(output.detach()))
    mlp(5 * x + 3)
    assert torch.allclose(outputs[0].mean(0), torch.zeros(6, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(outputs[0].var(0, correction=0), torch.ones(6, dtype=torch.float64), atol=1e-3)  # ε


def test_b11_evaluation_uses_running_statistics() -> None:
    """α x̂ + β with x̂ = (x − μ) / √(σ² + ε)."""
    mlp, (x, _) = mlp_with_biases((3, 6, 4), batch_norm=True), batch(50)
    norm = mlp.norms[0]
    assert isinstance(norm, nn.BatchNorm1d)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    for _ in range(200):
        mlp(x)
    mlp.eval()
    z = mlp.layers[0](x)
    assert torch.allclose(norm.running_mean, z.mean(0), atol=1e-6)  # type: ignore[arg-type]
    hat = (z - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps)  # type: ignore[operator]
    expected = mlp.layers[1]((norm.weight * hat + norm.bias).relu())
    assert torch.allclose(mlp(x), expected, atol=1e-12)
    assert torch.allclose(mlp(x[:1]), mlp(x)[:1], atol=1e-12)  # the output does not depend on the batch


def test_b11_batch_normalisation_passes_the_gradient_check() -> None:
    mlp, (x, _) = mlp_with_biases((3, 5, 4), "tanh", batch_norm=True), batch()
    named = parameters(mlp)
    assert gradcheck(lambda *p: functional_call(mlp, dict(zip(named, p, strict=True)), x), tuple(named.values()))


def test_b12_dropout_is_the_identity_in_evaluation_and_unbiased_in_training() -> None:
    """Inverted dropout: where the layers above are linear, the mean output in training is that in evaluation."""
    mlp, (x, _) = mlp_with_biases((3, 40, 4), "relu", dropout=0.3), batch(1)
    plain = mlp_with_biases((3, 40, 4), "relu")
    plain.load_state_dict(mlp.state_dict())
    mlp.eval()
    assert torch.equal(mlp(x), plain(x))
    mlp.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        predictions = mlp(x.expand(40_000, -1)).detach()
    error = predictions.std(0) / math.sqrt(len(predictions))
    assert bool(((predictions.mean(0) - plain(x)[0].detach()).abs() < 4 * error).all())


def test_b12_dropout_zeroes_the_given_fraction_of_units() -> None:
    mlp = MLP((1, 10_000, 1), "linear", dropout=0.3)
    nn.init.ones_(mlp.layers[0].weight)  # type: ignore[arg-type]
    nn.init.zeros_(mlp.layers[0].bias)  # type: ignore[arg-type]
    outputs: list[Tensor] = []
    mlp.layers[1].register_forward_pre_hook(lambda module, inputs: outputs.append(inputs[0]))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mlp(torch.ones(1, 1))
    nonzero = outputs[0] != 0
    assert float(nonzero.float().mean()) == pytest.approx(0.7, abs=0.02)
    assert torch.allclose(outputs[0][nonzero], torch.tensor(1 / 0.7))


# -- B24 residual connections ----------------------------------------------------------------------------------------


def test_b24_a_residual_layer_adds_to_its_input() -> None:
    """h ← h + f(W h + b), for three hidden layers."""
    for bypass in (True, False):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = ResidualMLP(3, 5, 3, 4, "tanh", bypass).double()
        (x, _), (first, second, third, last) = batch(), net.layers
        h = first(x).tanh()
        h = h * bypass + second(h).tanh()
        h = h * bypass + third(h).tanh()
        assert torch.allclose(net(x), last(h), atol=1e-12)
        named = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
        predictions = partial(
            lambda net, names, x, *p: functional_call(net, dict(zip(names, p, strict=True)), x), net, named
        )
        assert gradcheck(partial(predictions, x), tuple(named.values()))


@pytest.mark.parametrize("seed", range(3))
def test_b24_twenty_layers_train_with_residual_connections_and_stall_without(seed: int) -> None:
    """Same layers, initial weights and 100 steps; an untrained network has a loss of log 10."""
    images, digits = load_digits(return_X_y=True)
    x, y = torch.from_numpy(images[:400]).float() / 16 - 0.3, torch.from_numpy(digits[:400])
    loss = {}
    for bypass in (True, False):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net = ResidualMLP(64, 32, 20, 10, "relu", bypass)
        optimizer = torch.optim.Adam(net.parameters(), 0.001)
        for _ in range(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        loss[bypass] = float(nn.functional.cross_entropy(net(x), y).detach())
    assert loss[False] > math.log(10) - 0.01
    assert loss[True] < 0.5
