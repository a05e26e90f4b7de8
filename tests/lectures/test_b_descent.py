"""Rows B8, B9, B13, B15, B16 and B23 of the lectures: gradient descent, optimizers, weight decay, OHEM, overfitting."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from objectives import LossFunction
from raw_datasets import classes, numbers, seeded
from torch import Tensor, nn

from snellen.api import train
from snellen.core.file_io import sha256
from snellen.core.run import Run
from snellen.core.spec import Classes, Input, Spec
from snellen.data.open_dataset import assemble
from snellen.data.synthetic.toys import digits
from snellen.nn.mlp import MLP
from snellen.tasks.classify.objective import ClassBalanceSettings, CrossEntropyObjective
from snellen.training.loop import fit_by_gradient
from snellen.training.optimizers import optimizer
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import ohem_loss

# -- B8 gradient descent ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_b8_the_same_seed_is_bit_identical_and_another_is_not(rule: str, tmp_path: Path) -> None:
    x = torch.randn(120, 3, generator=seeded())
    data = classes(x, (x[:, 0] * x[:, 1] > 0).long(), 2)
    digests = []
    for name, seed in (("first", 7), ("again", 7), ("other", 8)):
        train(data, model="mlp", out=tmp_path / name, seed=seed, epochs=3, optimizer=rule, dropout=0.2)
        digests.append((sha256(tmp_path / name / "model.safetensors"), sha256(tmp_path / name / "history.jsonl")))
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[2][0]
    assert digests[0][1] != digests[2][1]


class ConstantBatches:
    """Batches of the number 1, `count` per epoch."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def at(self, step: int) -> float:
        return 1.0

    def names(self, step: int) -> str:
        return f"number {step}"


def epochs_and_weight(scores: list[float], patience: int | None, folder: Path) -> tuple[int, float]:
    """Number of epochs, and the selected weight, where each epoch reduces the weight by one."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    remaining = iter(scores)
    validated: list[float] = []

    def score() -> float:
        validated.append(next(remaining))
        return validated[-1]

    objective = LossFunction(lambda batch: model.weight.sum() * batch, score)

    training = TrainingSettings(epochs=len(scores), optimizer="sgd", lr=0.25, schedule="constant", patience=patience)
    fit_by_gradient(model, objective, ConstantBatches(4), Run(folder), training, validation=0)
    return len(validated), float(model.weight.detach())


def test_b8_early_stopping_waits_for_its_patience_and_selects_the_best_weights(tmp_path: Path) -> None:
    scores = [0.1, 0.5, 0.4, 0.3, 0.45, 0.2, 0.9]
    assert epochs_and_weight(scores, 3, tmp_path / "a") == (
        5,
        -2.0,
    )  # three epochs without a better score: stops before the 0.9
    assert epochs_and_weight(scores, 5, tmp_path / "b") == (7, -7.0)
    assert epochs_and_weight(scores, None, tmp_path / "c") == (7, -7.0)


def test_b8_a_constant_score_stops_early(tmp_path: Path) -> None:
    assert epochs_and_weight([0.5] * 9, 3, tmp_path) == (4, -4.0)  # on ties the later weights


def test_b8_full_batch_gradient_descent_matches_the_formula(tmp_path: Path) -> None:
    """θ ← θ − η ∇C, ten steps by hand."""
    x, t = torch.randn(20, 3, generator=seeded()).double(), torch.randn(20, 1, generator=seeded(1)).double()
    model = nn.Linear(3, 1, bias=False).double()
    w = model.weight.detach().clone()
    for _ in range(10):
        w -= 0.1 * (2 / 20) * (x @ w.T - t).T @ x

    fit_by_gradient(
        model,
        LossFunction(lambda batch: (model(x) - t).square().mean()),
        ConstantBatches(1),
        Run(tmp_path),
        TrainingSettings(epochs=10, optimizer="sgd", lr=0.1, schedule="constant"),
    )
    assert torch.allclose(model.weight, w, atol=1e-14)


def test_b8_a_clipped_gradient_has_the_given_norm(tmp_path: Path) -> None:
    x, t = torch.randn(8, 3, generator=seeded()).double(), 100 * torch.ones(8, 1).double()
    model = nn.Linear(3, 1).double()
    before = torch.cat([model.weight.detach().flatten(), model.bias.detach()])
    training = TrainingSettings(epochs=1, optimizer="sgd", lr=1.0, schedule="constant", clip_grad=0.25)
    objective = LossFunction(lambda batch: (model(x) - t).square().mean())
    fit_by_gradient(model, objective, ConstantBatches(1), Run(tmp_path), training)
    after = torch.cat([model.weight.detach().flatten(), model.bias.detach()])
    assert float((after - before).norm()) == pytest.approx(0.25, rel=1e-5)


def test_b8_the_average_of_the_weights_follows_its_formula(tmp_path: Path) -> None:
    """ā ← β ā + (1 − β) w after each step, where w falls by one; the first average is w after the first step."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    training = TrainingSettings(epochs=5, optimizer="sgd", lr=1.0, schedule="constant", ema_decay=0.8)
    fit_by_gradient(model, LossFunction(lambda batch: model.weight.sum()), ConstantBatches(1), Run(tmp_path), training)
    average = -1.0
    for weight in (-2.0, -3.0, -4.0, -5.0):
        average = 0.8 * average + 0.2 * weight
    assert float(model.weight.detach()) == pytest.approx(average)


def test_b8_gradient_accumulation_equals_one_large_batch(tmp_path: Path) -> None:
    x, t = torch.randn(8, 3, generator=seeded()).double(), torch.randn(8, 1, generator=seeded(1)).double()

    class MicroBatches(ConstantBatches):
        def at(self, step: int) -> float:
            return step

    weights = []
    for count, accumulate in ((2, 1), (8, 4)):
        model = nn.Linear(3, 1).double()
        nn.init.ones_(model.weight)
        nn.init.zeros_(model.bias)
        size = 8 // count

        def loss(step: float, model: nn.Module = model, size: int = size) -> Tensor:
            part = slice(int(step) % (8 // size) * size, (int(step) % (8 // size) + 1) * size)
            mean: Tensor = (model(x[part]) - t[part]).square().mean()
            return mean

        training = TrainingSettings(epochs=3, optimizer="sgd", lr=0.1, schedule="constant", grad_accum_steps=accumulate)
        fit_by_gradient(model, LossFunction(loss), MicroBatches(count), Run(tmp_path / f"{count}"), training)
        weights.append(model.weight.detach())
    assert torch.allclose(weights[0], weights[1], atol=1e-14)


# -- B9 update rules -------------------------------------------------------------------------------------------------

Rule = Callable[[np.ndarray, np.ndarray, dict[str, np.ndarray], int], np.ndarray]
LR = 0.1


def sgd(x: np.ndarray, dx: np.ndarray, state: dict[str, np.ndarray], step: int) -> np.ndarray:
    return x - LR * dx


def momentum(x: np.ndarray, dx: np.ndarray, state: dict[str, np.ndarray], step: int) -> np.ndarray:
    state["v"] = 0.9 * state.get("v", np.zeros_like(x)) - LR * dx
    return x + state["v"]


def nesterov(x: np.ndarray, dx: np.ndarray, state: dict[str, np.ndarray], step: int) -> np.ndarray:
    state["v"] = 0.9 * state.get("v", np.zeros_like(x)) - LR * dx
    return x + 0.9 * state["v"] - LR * dx


def adagrad(x: np.ndarray, dx: np.ndarray, state: dict[str, np.ndarray], step: int) -> np.ndarray:
    state["cache"] = state.get("cache", np.zeros_like(x)) + dx**2
    return x - LR * dx / (np.sqrt(state["cache"]) + 1e-10)


def rmsprop(x: np.ndarray, dx: np.ndarray, state: dict[str, np.ndarray], step: int) -> np.ndarray:
    state["cache"] = 0.99 * state.get("cache", np.zeros_like(x)) + 0.01 * dx**2
    return x - LR * dx / (np.sqrt(state["cache"]) + 1e-8)


def adam(x: np.ndarray, dx: np.ndarray, state: dict[str, np.ndarray], step: int) -> np.ndarray:
    """Adam with β1 and bias correction, which the slide omits."""
    state["m"] = 0.9 * state.get("m", np.zeros_like(x)) + 0.1 * dx
    state["v"] = 0.999 * state.get("v", np.zeros_like(x)) + 0.001 * dx**2
    m, v = state["m"] / (1 - 0.9**step), state["v"] / (1 - 0.999**step)
    return x - LR * m / (np.sqrt(v) + 1e-8)


RULES: dict[str, Rule] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
}


def run_steps(name: str, steps: int, weight_decay: float = 0.0) -> tuple[nn.Linear, np.ndarray]:
    """Linear layer after some steps on ½ Σ c (w − 1)², and its initial weights."""
    model = nn.Linear(3, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.randn(2, 3, generator=seeded()))
    start = model.weight.detach().numpy().copy()
    torch_optimizer = optimizer(name, model, LR, 0.9, weight_decay)
    curvature = torch.tensor([0.1, 1.0, 4.0], dtype=torch.float64)
    for _ in range(steps):
        torch_optimizer.zero_grad()
        (0.5 * curvature * (model.weight - 1).square()).sum().backward()
        torch_optimizer.step()
    return model, start


@pytest.mark.parametrize("name", list(RULES))
def test_b9_update_rules_match_the_lecture(name: str) -> None:
    model, x = run_steps(name, 6)
    state: dict[str, np.ndarray] = {}
    for step in range(1, 7):
        x = RULES[name](x, np.array([0.1, 1.0, 4.0]) * (x - 1), state, step)
    assert np.allclose(model.weight.detach().numpy(), x, rtol=1e-12, atol=1e-12)


def test_b9_the_first_step_of_adam_is_the_learning_rate() -> None:
    """1.0 times the rate with bias correction; without, as on the slide, 0.1 / √0.001 = 3.162 times."""
    model, start = run_steps("adam", 1)
    assert np.allclose(np.abs(model.weight.detach().numpy() - start) / LR, 1.0, atol=1e-6)


# -- B13 weight decay ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*RULES, "adamw"])
def test_b13_weight_decay_adds_lambda_w_to_the_gradient(name: str) -> None:
    decay = 0.05
    model, x = run_steps(name, 4, weight_decay=decay)
    state: dict[str, np.ndarray] = {}
    for step in range(1, 5):
        dx = np.array([0.1, 1.0, 4.0]) * (x - 1)
        if name == "adamw":  # decoupled from the gradient
            x = adam(x * (1 - LR * decay), dx, state, step)
        else:
            x = RULES[name](x, dx + decay * x, state, step)
    assert np.allclose(model.weight.detach().numpy(), x, rtol=1e-10, atol=1e-12)


def test_b13_biases_are_not_decayed() -> None:
    model = nn.Linear(2, 2)
    nn.init.ones_(model.bias)
    torch_optimizer = optimizer("sgd", model, 0.1, 0.9, weight_decay=0.5)
    (0.0 * (model.weight.sum() + model.bias.sum())).backward()
    before = model.weight.detach().clone()
    torch_optimizer.step()
    assert torch.equal(model.bias.detach(), torch.ones(2))
    assert torch.allclose(model.weight.detach(), before * (1 - 0.1 * 0.5))


# -- B15 hard example mining -----------------------------------------------------------------------------------------


def test_b15_ohem_averages_the_largest_losses() -> None:
    losses = torch.tensor([0.1, 5.0, 0.3, 2.0, 0.2, 1.0, 0.0, 0.4], requires_grad=True)
    loss = ohem_loss(losses, 0.375)
    assert float(loss.detach()) == pytest.approx((5 + 2 + 1) / 3)
    (gradient,) = torch.autograd.grad(loss, losses)
    assert torch.allclose(gradient, torch.tensor([0, 1, 0, 1, 0, 1, 0, 0]) / 3)
    assert float(ohem_loss(losses, 1.0).detach()) == pytest.approx(float(losses.detach().mean()))
    assert float(ohem_loss(losses, 0.001).detach()) == 5.0  # at least one sample


def test_b15_ohem_passes_the_gradient_check(tmp_path: Path) -> None:
    spec = Spec(name="s", inputs={"x": Input(modality="vector", shape=(3,))}, target=Classes(names=("a", "b", "c")))
    objective = CrossEntropyObjective(spec, ClassBalanceSettings(ohem_fraction=0.5), Run(tmp_path))
    z = torch.randn(8, 3, generator=seeded(), dtype=torch.float64, requires_grad=True)
    t = torch.randint(3, (8,), generator=seeded(1))

    class Identity(nn.Module):
        def scores(self, x: Tensor) -> Tensor:
            return x

    def cost(z: Tensor) -> Tensor:
        return objective.loss(Identity(), (z, t, t))  # type: ignore[arg-type]

    sorted_losses = np.sort(nn.functional.cross_entropy(z.detach(), t, reduction="none").numpy())
    assert float(cost(z).detach()) == pytest.approx(sorted_losses[4:].mean())
    assert torch.autograd.gradcheck(cost, (z,))


@pytest.mark.learning
def test_b15_ohem_is_a_setting_of_the_learners(tmp_path: Path, assert_score: Callable[..., None]) -> None:
    x = torch.randn(200, 2, generator=seeded())
    run = train(classes(x, (x[:, 0] > 0).long(), 2), model="mlp", out=tmp_path / "run", epochs=20, ohem_fraction=0.25)
    assert run.record.settings["ohem_fraction"] == 0.25
    assert_score(run.metrics["accuracy"].value, above=0.85)  # 0.93 to 1


# -- B16 overfit a batch ---------------------------------------------------------------------------------------------


def last_loss(folder: Path) -> float:
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return float([row["loss"] for row in rows if "loss" in row][-1])


@pytest.mark.learning
@pytest.mark.parametrize("model", ["softmax", "mlp"])
def test_b16_overfit_ten_samples_with_random_labels(
    model: str, tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    x = torch.randn(14, 20, generator=seeded())
    data = classes(x, torch.arange(14) % 2, 2)
    assert data.spec.sizes["train"] == 10
    train(data, model=model, out=tmp_path / "run", overfit=True, lr=0.03)
    assert_score(last_loss(tmp_path / "run"), below=0.01)  # 0.0004 of softmax, 1e-6 of the MLP; ln 2 at chance


@pytest.mark.learning
def test_b16_overfit_ten_images(tmp_path: Path, assert_score: Callable[..., None]) -> None:
    x = torch.randint(256, (14, 1, 12, 12), generator=seeded(), dtype=torch.uint8)
    train(classes(x, torch.arange(14) % 2, 2), model="lenet", out=tmp_path / "run", overfit=True)
    assert_score(last_loss(tmp_path / "run"), below=0.001)  # 0 to 6e-7; ln 2 at chance


@pytest.mark.learning
def test_b16_overfit_ten_numbers(tmp_path: Path, assert_score: Callable[..., None]) -> None:
    x = torch.randn(14, 5, generator=seeded())
    train(numbers(x, torch.randn(14, generator=seeded(1))), model="mlp", out=tmp_path / "run", overfit=True)
    assert_score(last_loss(tmp_path / "run"), below=0.001)  # 5e-15 to 0.0002


# -- B23 an MLP for digits -------------------------------------------------------------------------------------------


def test_b23_the_networks_of_the_lecture_have_its_number_of_weights() -> None:
    """784 → 20 < H < 120 → 10."""
    for hidden, expected in ((20, 15_910), (120, 95_410)):
        assert sum(p.numel() for p in MLP((784, hidden, 10)).parameters()) == expected


@pytest.mark.learning
def test_b23_a_wide_hidden_layer_is_more_accurate_on_digits_than_two_units(
    tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    data = assemble(digits(0), "digits", 0, None)
    weights = {}
    for hidden in (2, 120):
        run = train(data, model="mlp", out=tmp_path / f"{hidden}", hidden=(hidden,), epochs=15)
        value = run.metrics["accuracy"].value
        assert value is not None
        weights[hidden] = value
    assert_score(weights[120], above=0.94)  # 0.959 to 0.985
    assert_score(weights[120] - weights[2], above=0.3)  # 0.55 to 0.78
