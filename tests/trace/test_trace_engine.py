"""Engine of `snellen trace`: backward passes against autograd and SciPy's derivative, the check itself, descent."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime
from scipy.stats import binomtest

from snellen.core.errors import Diverged, UsageError
from snellen.nn.layers import activation
from snellen.trace import EXAMPLES, example, mlp, trace_network, train_seeds
from snellen.trace.activations import ACTIVATIONS
from snellen.trace.check import autograd_gradients, check_pass
from snellen.trace.descent import stored_states
from snellen.trace.layers import (
    BatchNormLayer,
    ConvolutionLayer,
    FlattenLayer,
    LinearLayer,
    MaxPoolLayer,
    MeanPoolLayer,
)
from snellen.trace.losses import LOSSES
from snellen.trace.names import ACTIVATION_NAMES, EXAMPLE_SUMMARIES, LOSS_NAMES
from snellen.trace.network import MAX_UNITS, TracedNetwork, TracedPass, run_pass


def traced(network: TracedNetwork) -> TracedPass:
    return run_pass(network.layers, network.inputs, network.targets, network.loss)


def grid_network(seed: int, act: str) -> TracedNetwork:
    """Every kind of layer: two channels, strides, padding, overlapping windows, batch norm, flatten, softmax."""
    rng = np.random.default_rng(seed)
    return TracedNetwork(
        layers=(
            ConvolutionLayer(weight=rng.normal(size=(3, 2, 3, 2)), bias=rng.normal(size=3), padding=1, activation=act),
            BatchNormLayer(scale=rng.normal(size=3), shift=rng.normal(size=3), activation="tanh"),
            MaxPoolLayer(size=3, stride=1),
            MeanPoolLayer(size=2, stride=2, activation=act),
            FlattenLayer(),
            LinearLayer(weight=rng.normal(size=(3, 12)), bias=rng.normal(size=3), activation="softmax"),
        ),
        inputs=rng.normal(size=(2, 2, 6, 5)),
        targets=np.eye(3)[rng.integers(0, 3, 2)],
        loss="cross-entropy",
    )


@pytest.mark.parametrize("act", ["linear", "sigmoid", "tanh", "relu", "leaky-relu"])
def test_every_layer_matches_autograd(act: str) -> None:
    for seed in range(5):
        network = grid_network(seed, act)
        own, other = traced(network).gradients, autograd_gradients(network)
        assert list(own) == list(other)
        for key in own:
            np.testing.assert_allclose(own[key], other[key], rtol=1e-11, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("out", ["linear", "sigmoid", "tanh", "softmax"])
def test_losses_and_output_activations_match_scipys_derivative(loss: str, out: str) -> None:
    if LOSSES[loss].after not in (None, out):
        with pytest.raises(UsageError, match=f"Loss {loss} needs outputs"):
            mlp([[1, 2]], [[0, 1]], (3,), "tanh", out, loss=loss)
        return
    network = mlp([[0.3, -1.2], [0.7, 0.4]], [[0, 1], [1, 0]], (3,), "tanh", out, loss=loss, seed=3)

    def loss_of(weights: np.ndarray[Any, Any]) -> float:
        changed = network.with_parameters({"0.weight": weights.reshape(3, 2)})
        return traced(changed).loss

    expected = approx_fprime(network.parameters["0.weight"].ravel(), loss_of, 1e-7)
    np.testing.assert_allclose(traced(network).gradients["0.weight"].ravel(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "softmax"])
def test_activations_are_those_of_the_networks(name: str) -> None:
    z = np.array([-800.0, -2.0, -0.0, 0.0, 0.5, 800.0])
    np.testing.assert_allclose(ACTIVATIONS[name].value(z), activation(name)(torch.tensor(z)).numpy(), rtol=1e-14)


def test_extreme_outputs_keep_the_loss_finite() -> None:
    network = mlp([[1000.0]], [[0.0]], (), loss="bce", weights=[1.0], bias=False)
    assert traced(network).loss == 1000
    network = mlp([[1000.0]], [[0.0, 1.0]], (), loss="cross-entropy", weights=[1.0, 0.0], bias=False)
    assert traced(network).loss == 1000
    assert traced(network).gradients["0.z"].tolist() == [[1, -1]]


def test_strided_convolution_matches_torch() -> None:
    rng = np.random.default_rng(0)
    layer = ConvolutionLayer(weight=rng.normal(size=(2, 3, 2, 3)), bias=rng.normal(size=2), stride=2, padding=2)
    x, delta = rng.normal(size=(2, 3, 7, 6)), rng.normal(size=(2, 2, 5, 4))
    leaves = [torch.tensor(v, requires_grad=True) for v in (x, layer.weight, layer.bias)]
    out = torch.nn.functional.conv2d(*leaves, stride=2, padding=2)
    np.testing.assert_allclose(layer.forward(x), out.detach().numpy(), atol=1e-12)
    expected = torch.autograd.grad(out, leaves, torch.tensor(delta))
    own, own_x = layer.backward(x, delta)
    for mine, other in zip((own_x, own["weight"], own["bias"]), expected, strict=True):
        np.testing.assert_allclose(mine, other.numpy(), atol=1e-12)
    assert layer.output_shape((3, 7, 6)) == tuple(out.shape[1:])


def test_of_equal_largest_values_the_first_in_row_order_gets_the_gradient_as_in_torch() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 3, size=(2, 2, 6, 6)).astype(float)  # many ties
    for size, stride in ((2, 2), (3, 1), (3, 2)):
        layer = MaxPoolLayer(size=size, stride=stride)
        leaf = torch.tensor(x, requires_grad=True)
        out = torch.nn.functional.max_pool2d(leaf, size, stride)
        delta = rng.normal(size=out.shape)
        (expected,) = torch.autograd.grad(out, leaf, torch.tensor(delta))
        np.testing.assert_allclose(layer.backward(x, delta)[1], expected.numpy(), atol=1e-12)


def test_pooling_of_the_grid_of_the_lecture_and_the_path_of_its_gradient() -> None:
    state = trace_network(example("convolution"), 0).states[0]
    assert state.traced.a[1][0, 0].tolist() == [[4, 9], [5, 7]]
    path = np.argwhere(state.traced.gradients["x"][0, 0]).tolist()
    assert path == [[0, 1], [1, 3], [2, 2], [3, 0]]  # of the two 7s the first
    state = trace_network(example("mean-pool"), 0).states[0]
    assert state.traced.a[0][0, 0].tolist() == [[2, 4.5], [3, 5.75]]
    assert (state.traced.gradients["x"] == 0.25).all()


# -- the check -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_every_example_agrees_with_autograd_and_differences(name: str) -> None:
    trace = trace_network(example(name), 3)
    assert trace.agrees
    assert all(state.check.unsettled == 0 for state in trace.states)
    assert max(state.check.autograd_deviation for state in trace.states) < 1e-12
    assert max(state.check.difference_deviation for state in trace.states) < 1e-7


@pytest.mark.parametrize("key", ["x", "0.z", "0.weight", "0.bias", "1.z", "1.weight"])
def test_the_check_finds_a_wrong_gradient(key: str) -> None:
    """A fault of a hundred thousandth in one number, by either method."""
    network = example("lecture001")
    right = traced(network)
    wrong = {**right.gradients, key: right.gradients[key].copy()}
    wrong[key].flat[0] += 1e-4 * np.abs(wrong[key]).max()
    check = check_pass(network, dataclasses.replace(right, gradients=wrong))
    assert not check.agrees
    assert check.worst == key
    assert check.autograd_deviation > 1e-5
    assert check.difference_deviation > 1e-5


def test_numbers_at_a_kink_have_no_difference_and_are_counted() -> None:
    check = check_pass(example("convolution"), traced(example("convolution")))
    assert np.argwhere(check.kinks["x"][0, 0]).tolist() == [[2, 2], [2, 3]]
    assert np.isnan(check.differences["x"][0, 0, 2, 2])
    assert check.agrees
    # At 0 everywhere the product of several conventions is no slope of either side; autograd still agrees.
    assert trace_network(mlp([[0, 0]], [[1]], (3, 3), "leaky-relu", seed=1), 2).agrees


def test_a_kink_nearby_does_not_disturb_a_difference() -> None:
    network = mlp([[1.0]], [[1.0]], (1,), "relu", bias=False, weights=[1e-5, 1.0])
    check = check_pass(network, traced(network))
    assert not check.kink_count
    assert check.difference_deviation < 1e-6


# -- descent ---------------------------------------------------------------------------------------------------------


def test_descent_is_that_of_autograd() -> None:
    network = mlp([[0, 1], [1, 1]], [[1, 0], [0, 1]], (3,), "tanh", loss="squared", lr=0.1, seed=5)
    parameters = {key: torch.tensor(value, requires_grad=True) for key, value in network.parameters.items()}
    x, t = torch.tensor(network.inputs), torch.tensor(network.targets)
    losses = []
    for _ in range(6):
        hidden = torch.tanh(x @ parameters["0.weight"].T + parameters["0.bias"])
        loss = (hidden @ parameters["1.weight"].T + parameters["1.bias"] - t).square().sum()
        losses.append(float(loss.detach()))
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            for parameter, gradient in zip(parameters.values(), gradients, strict=True):
                parameter -= 0.1 * gradient
    np.testing.assert_allclose(trace_network(network, 5).losses, losses, rtol=1e-12)


def test_states_are_stored_within_the_limits_with_the_first_and_the_last() -> None:
    assert stored_states(5, 10) == [0, 1, 2, 3, 4, 5]
    for numbers in (1, 29, 500, 1000):
        states = stored_states(10_000, numbers)
        assert states[0] == 0
        assert states[-1] == 10_000
        assert len(states) <= max(2, min(61, 5_000 // numbers))
    trace = trace_network(example("xor"), 300, show=[137])
    assert trace.state(137).traced.loss == trace.losses[137]
    with pytest.raises(UsageError, match="after 301 updates"):
        trace_network(example("xor"), 300, show=[301])


def test_a_divergence_names_the_step() -> None:
    network = dataclasses.replace(example("lecture003"), lr=1e6)
    with pytest.raises(Diverged, match=r"diverges at --lr 1e\+06: the loss is not finite after 3 updates"):
        trace_network(network, 50)
    with pytest.raises(Diverged, match="too large for float64"):
        trace_network(mlp([[1e300]], [[0]], (), weights=[1e300], bias=False), 0)


def test_the_outcome_of_a_seed_does_not_depend_on_the_other_seeds() -> None:
    outcomes = train_seeds(example("xor"), 12, 200)
    assert train_seeds(example("xor"), 5, 200).succeeded == outcomes.succeeded[:5]
    for seed in (0, 7, 11):
        alone = trace_network(example("xor", seed), 200)
        assert alone.losses[-1] == pytest.approx(outcomes.losses[seed], rel=1e-6)
    assert outcomes == train_seeds(example("xor"), 12, 200)


def test_a_seed_succeeds_if_every_output_is_on_its_targets_side() -> None:
    """Against a descent by autograd, all seeds at once; some of them have three of the four samples right."""
    seeds, steps = 30, 100
    drawn = [example("xor", seed) for seed in range(seeds)]
    parameters = [
        torch.tensor(np.stack([network.parameters[key] for network in drawn]), requires_grad=True)
        for key in ("0.weight", "0.bias", "1.weight", "1.bias")
    ]
    x, t = torch.tensor(drawn[0].inputs), torch.tensor(drawn[0].targets)

    def outputs() -> torch.Tensor:
        w0, b0, w1, b1 = parameters
        hidden = torch.sigmoid(x @ w0.mT + b0[:, None])
        return torch.sigmoid(hidden @ w1.mT + b1[:, None])

    for _ in range(steps):
        y = outputs()
        loss = -torch.where(t == 1, y, 1 - y).log().sum()
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.data -= drawn[0].lr * gradient
    right = ((outputs() - t).abs() < 0.5)[..., 0].sum(1)
    assert set(right.tolist()) == {2, 3, 4}
    outcomes = train_seeds(drawn[0], seeds, steps)
    assert outcomes.succeeded == tuple((right == 4).tolist())
    assert outcomes.fraction == float((right == 4).double().mean())
    wilson = binomtest(int((right == 4).sum()), seeds).proportion_ci(method="wilson")
    assert (outcomes.low, outcomes.high) == pytest.approx((wilson.low, wilson.high))


def test_limits_are_named() -> None:
    with pytest.raises(UsageError, match=f"at most {MAX_UNITS} units"):
        mlp([[1]], [[1]], (MAX_UNITS + 1,))
    with pytest.raises(UsageError, match="10,001 steps"):
        trace_network(example("lecture003"), 10_001)
    with pytest.raises(UsageError, match="no seed changes them"):
        train_seeds(example("lecture003"), 10, 1)


def test_names_for_help_texts_are_those_of_the_registries() -> None:
    assert list(EXAMPLE_SUMMARIES) == list(EXAMPLES)
    assert list(ACTIVATION_NAMES) == list(ACTIVATIONS)
    assert list(LOSS_NAMES) == list(LOSSES)
