"""Regression by gradient descent: units, tables and images, built-in and user losses, resuming."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from raw_datasets import numbers, seeded
from torch import Tensor, nn

from snellen.api import RunOptions, load, resume, train
from snellen.core.errors import UsageError
from snellen.core.spec import Input, Numbers, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.regress import LEARNERS, TASK
from snellen.tasks.regress.objective import RegressionLossSettings, RegressionNetwork, RegressionObjective


def sine_dataset(count: int = 200) -> Dataset[Labelled]:
    """y = 1000 + 50 sin 2πx plus noise: without standardised targets a model would first have to learn the offset."""
    x = torch.rand(count, 1, generator=seeded(), dtype=torch.float64)
    y = 1000 + 50 * torch.sin(2 * torch.pi * x) + 2 * torch.randn(count, 1, generator=seeded(1), dtype=torch.float64)
    return numbers(x, y, units=("mm",))


def spot_dataset(count: int, side: int, channels: int) -> Dataset[Labelled]:
    """Images of one bright spot; the targets are its row and column."""
    centre = torch.rand(count, 2, generator=seeded()) * (side - 8) + 4
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    squared_distance = (rows - centre[:, 0, None, None]) ** 2 + (columns - centre[:, 1, None, None]) ** 2  # (N, S, S)
    images = (255 * torch.exp(-squared_distance / 8)).to(torch.uint8)[:, None].expand(-1, channels, -1, -1).contiguous()
    return numbers(images, centre, names=("row", "column"), units=("px", "px"))


def regression_network(body: nn.Module, inputs: int, targets: int) -> RegressionNetwork:
    return RegressionNetwork(Network(Standardize(Input(modality="vector", shape=(inputs,))), body), targets)


@pytest.mark.learning
def test_default_training_on_a_small_table_fits_the_curve_in_the_users_units(
    tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    data = sine_dataset()
    run = train(data, out=tmp_path / "run")
    assert run.record.learner == "mlp"
    error = run.metrics["mean absolute error"]
    assert error.unit == "mm"
    assert_score(error.value, below=4)  # 1.94 to 2.12; 2·√(2/π) = 1.6 from the noise alone, 32 of the baseline
    (prediction,) = run.predict_batch(torch.tensor([[0.25]], dtype=torch.float64))
    assert_score(abs(prediction["y"] - 1050), below=5)  # 0.05 to 0.62


@pytest.mark.learning
def test_targets_of_very_different_scale_are_fitted_equally_well(
    tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    x = torch.randn(300, 2, generator=seeded(), dtype=torch.float64)
    y = torch.stack([1e6 * (x[:, 0] + 3), 1e-6 * x[:, 1]], dim=1)
    run = train(numbers(x, y, names=("large", "small")), model="mlp", out=tmp_path / "run", epochs=60)
    assert run.headline == "R2"
    predicted = run.predictions("test")
    for k in range(2):
        spread = predicted["truth"][:, k].std()
        error = (predicted["said"][:, k] - predicted["truth"][:, k]).abs().mean()
        assert_score(error / spread, below=0.1)  # 0.010 to 0.023


@pytest.mark.learning
def test_lenet_locates_a_spot(tmp_path: Path, assert_score: Callable[..., None]) -> None:
    run = train(spot_dataset(300, 24, 1), out=tmp_path / "run", epochs=25)
    assert run.record.learner == "lenet"
    for name in ("row", "column"):
        assert_score(run.metrics[f"mean absolute error of {name}"].value, below=0.8)  # 0.15 to 0.29


@pytest.mark.learning
def test_resnet18_regresses_small_colour_images(tmp_path: Path, assert_score: Callable[..., None]) -> None:
    run = train(spot_dataset(64, 12, 3), out=tmp_path / "run", epochs=24)
    assert run.record.learner == "resnet18"
    assert_score(run.metrics["R2"].value, above=0.4)  # 0.91 to 0.99; after half the epochs -0.68 to 0.97


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
def test_losses_use_errors_in_standard_deviations(loss: str, tmp_path: Path) -> None:
    model = regression_network(nn.Linear(2, 2), 2, 2)
    y = torch.randn(50, 2, generator=seeded(), dtype=torch.float64) * torch.tensor([5.0, 0.1]) + 7
    model.fit_scaling(y)
    x = torch.randn(50, 2, generator=seeded(1))
    from snellen.core.run import Run

    objective = RegressionObjective(RegressionLossSettings(loss=loss), Run(tmp_path))  # type: ignore[arg-type]
    loss_value = objective.loss(model, Labelled(x, y, torch.arange(50)))
    error = (model.predict(x) - y) / y.std(0, correction=0)
    expected = {
        "squared": error.square(),
        "absolute": error.abs(),
        "huber": torch.where(error.abs() < 1, error.square() / 2, error.abs() - 0.5),
    }[loss].mean()
    assert float(loss_value.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_loss_is_selected_by_name_and_recorded_in_the_settings(tmp_path: Path) -> None:
    run = train(sine_dataset(), model="mlp", out=tmp_path / "run", epochs=2, loss="absolute")
    assert run.record.settings["loss"] == "absolute"
    assert run.record.sources["loss"] == "given"
    assert run.record.loss is None
    with pytest.raises(UsageError, match="loss cannot be 'cubic'"):
        train(sine_dataset(), model="mlp", out=tmp_path / "other", loss="cubic")


@pytest.mark.learning
def test_absolute_loss_predicts_the_median_and_squared_loss_the_mean(
    tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    y = torch.where(torch.arange(400) % 10 < 7, 0.0, 10.0)  # median 0, mean 3
    # The epoch is selected by the headline on the validation split: mean absolute error of one target, R2 of two.
    x, names = torch.zeros(400, 1), ("a", "b")
    one, two = numbers(x, y, same=True), numbers(x, y[:, None].expand(-1, 2), names, same=True)
    predicted = {}
    for loss, data in (("absolute", one), ("squared", two)):
        run = train(data, model="mlp", out=tmp_path / loss, loss=loss, epochs=40, hidden=(8,))
        predicted[loss] = float(run.predictions("test")["said"].mean())
    assert_score(abs(predicted["absolute"]), below=0.1)  # 0.000 to 0.001
    assert_score(abs(predicted["squared"] - 3), below=0.1)  # 0.000 to 0.004


def pinball(predicted: Tensor, truth: Tensor) -> Tensor:
    """Pinball loss of the 90 % quantile."""
    error = truth - predicted
    return torch.maximum(0.9 * error, -0.1 * error).mean()


@pytest.mark.learning
def test_a_users_loss_receives_values_in_the_users_units(tmp_path: Path, assert_score: Callable[..., None]) -> None:
    y = 500 + 10 * torch.rand(600, generator=seeded(), dtype=torch.float64)
    run = train(
        numbers(torch.zeros(600, 1), y), model="mlp", out=tmp_path / "run", loss=pinball, epochs=40, hidden=(8,)
    )
    assert run.record.loss == "pinball"
    assert_score(abs(float(run.predictions("test")["said"].mean()) - 509), below=0.7)  # 0.00 to 0.11


class TwoLayers(nn.Module):
    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.inner = nn.Linear(1, 32)
        self.outer = nn.Linear(32, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.outer(torch.tanh(self.inner(x)))
        return y


@pytest.mark.learning
def test_a_users_module_trains_and_loads(tmp_path: Path, assert_score: Callable[..., None]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = TwoLayers()
    before = module.inner.weight.detach().clone()
    run = train(sine_dataset(), model=module, out=tmp_path / "run", epochs=100, lr=0.01)
    assert torch.equal(module.inner.weight, before)  # the user's module is not changed
    assert_score(run.metrics["mean absolute error"].value, below=10)  # 4.1 to 4.3; 32 of the baseline
    x = torch.linspace(0, 1, 7)[:, None]
    assert load(tmp_path / "run", learner=TwoLayers()).predict_batch(x) == run.predict_batch(x)


def test_a_users_module_with_the_wrong_number_of_outputs_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"returns shape \(2, 3\) for 2 samples, not \(2, 1\)"):
        train(sine_dataset(), model=TwoLayers(3), out=tmp_path / "run")
    flattened = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))
    with pytest.raises(UsageError, match=r"returns shape \(2,\) for 2 samples"):
        train(sine_dataset(), model=flattened, out=tmp_path / "other")


@pytest.mark.learning
def test_a_constant_target_is_predicted_exactly(tmp_path: Path, assert_score: Callable[..., None]) -> None:
    run = train(
        numbers(torch.rand(60, 2, generator=seeded()), torch.full((60,), 42.0)),
        model="mlp",
        out=tmp_path / "run",
        epochs=30,
    )
    assert_score((run.predictions("test")["said"] - 42).abs().max(), below=0.1)  # 0.003 to 0.018; 0.2 untrained
    assert run.metrics["R2"].value is None


def test_loading_and_resuming_a_finished_run_keep_the_predictions(tmp_path: Path) -> None:
    data = sine_dataset()
    run = train(data, model="mlp", out=tmp_path / "run", epochs=3)
    x = torch.linspace(0, 1, 9)[:, None]
    assert load(tmp_path / "run").predict_batch(x) == run.predict_batch(x)
    assert resume(tmp_path / "run", data=data).predict_batch(x) == run.predict_batch(x)


def test_a_lone_last_sample_does_not_break_batch_normalisation(tmp_path: Path) -> None:
    data = sine_dataset(188)  # 132 for training
    count = data.spec.sizes["train"]
    run = train(data, model="mlp", out=tmp_path / "run", epochs=2, batch_norm=True, batch_size=count - 1)
    assert run.metrics["R2"].value is not None
    with pytest.raises(UsageError, match="more than one sample per batch"):
        train(data, model="mlp", out=tmp_path / "other", batch_norm=True, batch_size=1)


def spec(modality: str, shape: tuple[int | None, ...]) -> Spec:
    return Spec(name="s", inputs={"x": Input(modality=modality, shape=shape)}, target=Numbers(names=("y",)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("modality", "shape", "name"),
    [
        ("vector", (5,), "mlp"),
        ("image", (1, 28, 28), "lenet"),
        ("image", (1, 8, 8), "mlp"),
        ("image", (3, 32, 32), "resnet18"),
        ("image", (3, None, None), "resnet18"),
    ],
)
def test_the_default_learner_depends_on_the_data(modality: str, shape: tuple[int | None, ...], name: str) -> None:
    assert TASK.default(spec(modality, shape)) == name
    assert name in LEARNERS


def test_lenet_rejects_images_that_are_too_small() -> None:
    assert (
        LEARNERS["lenet"].unsupported_reason(spec("image", (1, 11, 40)))
        == "needs images of at least 12x12 pixels, these have 40x11"
    )
    assert LEARNERS["lenet"].unsupported_reason(spec("image", (1, 12, 12))) is None


def test_least_squares_with_a_constant_column(tmp_path: Path) -> None:
    x = torch.randn(101, 2, generator=seeded(), dtype=torch.float64)
    x[:, 1] = 0.1  # its mean differs from 0.1 in the last bit
    run = train(numbers(x, 3 * x[:, 0] + 1), model="least-squares", out=tmp_path / "run")
    assert run.metrics["mean absolute error"].value == pytest.approx(0, abs=1e-12)
    (prediction,) = run.predict_batch(torch.tensor([[2.0, 0.1]], dtype=torch.float64))
    assert prediction["y"] == pytest.approx(7, abs=1e-12)


class Crashing:
    """Half the squared error; raises an error at one of its calls to simulate a crash."""

    def __init__(self, at: int | None) -> None:
        self.left = at

    def __call__(self, predicted: Tensor, truth: Tensor) -> Tensor:
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise RuntimeError("simulated crash")
        return (predicted - truth).square().mean() / 2


@pytest.mark.parametrize(
    ("model", "overrides"), [("mlp", {"dropout": 0.2, "batch_norm": True}), ("lenet", {"noise_std": 0.05})]
)
def test_resuming_a_crashed_run_is_bit_identical(model: str, overrides: dict[str, float], tmp_path: Path) -> None:
    data = sine_dataset(60) if model == "mlp" else spot_dataset(60, 12, 1)
    settings: dict[str, object] = {"epochs": 6, "batch_size": 8, "ema_decay": 0.9, **overrides}
    train(data, model=model, out=tmp_path / "whole", loss=Crashing(None), **settings)
    options = RunOptions(save_every=0)
    with pytest.raises(RuntimeError, match="simulated crash"):
        train(data, model=model, out=tmp_path / "cut", loss=Crashing(23), options=options, **settings)
    resume(tmp_path / "cut", data=data, loss=Crashing(None), options=options)
    for name in ("model.safetensors", "history.jsonl", "predictions/test.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
