"""Regression by descent: in the user's units, for tables and pictures, with losses of ours and of the user's."""

from __future__ import annotations

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
from snellen.tasks.regress.objective import ByError, Errors, Scaled


def wave(count: int = 200) -> Dataset[Labelled]:
    """y = 1000 + 50 sin 2πx, so that a model in raw units would first have to learn the offset."""
    x = torch.rand(count, 1, generator=seeded(), dtype=torch.float64)
    y = 1000 + 50 * torch.sin(2 * torch.pi * x) + 2 * torch.randn(count, 1, generator=seeded(1), dtype=torch.float64)
    return numbers(x, y, units=("mm",))


def spots(count: int, side: int, channels: int) -> Dataset[Labelled]:
    """Pictures of one bright spot; the targets are its row and column."""
    place = torch.rand(count, 2, generator=seeded()) * (side - 8) + 4
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    square = (rows - place[:, 0, None, None]) ** 2 + (columns - place[:, 1, None, None]) ** 2  # (N, S, S)
    pictures = (255 * torch.exp(-square / 8)).to(torch.uint8)[:, None].expand(-1, channels, -1, -1).contiguous()
    return numbers(pictures, place, names=("row", "column"), units=("px", "px"))


def scaled(body: nn.Module, inputs: int, targets: int) -> Scaled:
    return Scaled(Network(Standardize(Input(modality="vector", shape=(inputs,))), body), targets)


def test_plain_training_on_a_small_table_follows_the_curve_in_the_users_units(tmp_path: Path) -> None:
    data = wave()
    run = train(data, out=tmp_path / "run")
    assert run.record.learner == "mlp"
    error = run.metrics["mean absolute error"]
    assert error.value is not None
    assert error.unit == "mm"
    assert error.value < 4  # the noise alone costs 2·√(2/π) = 1.6; the baseline 32
    (answer,) = run.ask(torch.tensor([[0.25]], dtype=torch.float64))
    assert answer["y"] == pytest.approx(1050, abs=5)


def test_two_targets_of_a_million_and_a_millionth_are_learned_alike(tmp_path: Path) -> None:
    x = torch.randn(300, 2, generator=seeded(), dtype=torch.float64)
    y = torch.stack([1e6 * (x[:, 0] + 3), 1e-6 * x[:, 1]], dim=1)
    run = train(numbers(x, y, names=("large", "small")), model="mlp", out=tmp_path / "run", epochs=60)
    assert run.headline == "R2"
    said = run.predictions("test")
    for k in range(2):
        spread = said["truth"][:, k].std()
        assert (said["said"][:, k] - said["truth"][:, k]).abs().mean() < 0.1 * spread


def test_lenet_finds_a_spot_in_pixels(tmp_path: Path) -> None:
    run = train(spots(300, 24, 1), out=tmp_path / "run", epochs=25)
    assert run.record.learner == "lenet"
    for name in ("row", "column"):
        value = run.metrics[f"mean absolute error of {name}"].value
        assert value is not None
        assert value < 0.8


def test_resnet18_learns_numbers_from_small_colour_pictures(tmp_path: Path) -> None:
    run = train(spots(64, 12, 3), out=tmp_path / "run", epochs=6)
    assert run.record.learner == "resnet18"
    r2 = run.metrics["R2"].value
    assert r2 is not None
    assert r2 > 0.3


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
def test_losses_are_of_errors_in_standard_deviations(loss: str, tmp_path: Path) -> None:
    model = scaled(nn.Linear(2, 2), 2, 2)
    y = torch.randn(50, 2, generator=seeded(), dtype=torch.float64) * torch.tensor([5.0, 0.1]) + 7
    model.learn(y)
    x = torch.randn(50, 2, generator=seeded(1))
    from snellen.core.run import Run

    scheme = ByError(Errors(loss=loss), Run(tmp_path))  # type: ignore[arg-type]
    found = scheme.loss(model, Labelled(x, y, torch.arange(50)))
    error = (model.predict(x) - y) / y.std(0, correction=0)
    expected = {
        "squared": error.square(),
        "absolute": error.abs(),
        "huber": torch.where(error.abs() < 1, error.square() / 2, error.abs() - 0.5),
    }[loss].mean()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_loss_is_chosen_by_name_and_kept_among_the_settings(tmp_path: Path) -> None:
    run = train(wave(), model="mlp", out=tmp_path / "run", epochs=2, loss="absolute")
    assert run.record.settings["loss"] == "absolute"
    assert run.record.sources["loss"] == "given"
    assert run.record.loss is None
    with pytest.raises(UsageError, match="loss cannot be 'cubic'"):
        train(wave(), model="mlp", out=tmp_path / "other", loss="cubic")


def test_the_absolute_loss_finds_the_median_and_the_squared_loss_the_mean(tmp_path: Path) -> None:
    y = torch.where(torch.arange(400) % 10 < 7, 0.0, 10.0)  # median 0, mean 3
    data = numbers(torch.zeros(400, 1), y)
    said = {}
    for loss in ("absolute", "squared"):
        run = train(data, model="mlp", out=tmp_path / loss, loss=loss, epochs=40, hidden=(8,))
        said[loss] = float(run.predictions("test")["said"].mean())
    assert said["absolute"] == pytest.approx(0, abs=0.3)
    assert said["squared"] == pytest.approx(3, abs=0.5)


def pinball(said: Tensor, truth: Tensor) -> Tensor:
    """The loss whose minimum is the 90 % quantile."""
    error = truth - said
    return torch.maximum(0.9 * error, -0.1 * error).mean()


def test_a_loss_of_the_users_is_given_numbers_in_the_users_units(tmp_path: Path) -> None:
    y = 500 + 10 * torch.rand(600, generator=seeded(), dtype=torch.float64)
    run = train(
        numbers(torch.zeros(600, 1), y), model="mlp", out=tmp_path / "run", loss=pinball, epochs=40, hidden=(8,)
    )
    assert run.record.loss == "pinball"
    assert float(run.predictions("test")["said"].mean()) == pytest.approx(509, abs=0.7)


class TwoLayers(nn.Module):
    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.inner = nn.Linear(1, 32)
        self.outer = nn.Linear(32, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.outer(torch.tanh(self.inner(x)))
        return y


def test_a_module_of_the_users_learns_and_loads(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = TwoLayers()
    before = module.inner.weight.detach().clone()
    run = train(wave(), model=module, out=tmp_path / "run", epochs=100, lr=0.01)
    assert torch.equal(module.inner.weight, before)  # the user's own is left as it is
    value = run.metrics["mean absolute error"].value
    assert value is not None
    assert value < 10
    x = torch.linspace(0, 1, 7)[:, None]
    assert load(tmp_path / "run", learner=TwoLayers()).ask(x) == run.ask(x)


def test_a_module_of_the_users_with_the_wrong_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"makes \(2, 3\) of 2 samples, not \(2, 1\)"):
        train(wave(), model=TwoLayers(3), out=tmp_path / "run")
    flat = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))
    with pytest.raises(UsageError, match=r"makes \(2,\) of 2 samples"):
        train(wave(), model=flat, out=tmp_path / "other")


def test_a_constant_target_is_said_as_it_is(tmp_path: Path) -> None:
    run = train(
        numbers(torch.rand(60, 2, generator=seeded()), torch.full((60,), 42.0)),
        model="mlp",
        out=tmp_path / "run",
        epochs=30,
    )
    assert float((run.predictions("test")["said"] - 42).abs().max()) < 0.5
    assert run.metrics["R2"].value is None


def test_loading_gives_the_same_numbers_and_resuming_a_finished_run_changes_none(tmp_path: Path) -> None:
    data = wave()
    run = train(data, model="mlp", out=tmp_path / "run", epochs=3)
    x = torch.linspace(0, 1, 9)[:, None]
    assert load(tmp_path / "run").ask(x) == run.ask(x)
    assert resume(tmp_path / "run", data=data).ask(x) == run.ask(x)


def test_a_lone_last_sample_does_not_break_batch_normalisation(tmp_path: Path) -> None:
    data = wave(188)  # 132 for training
    count = data.spec.sizes["train"]
    run = train(data, model="mlp", out=tmp_path / "run", epochs=2, batch_norm=True, batch_size=count - 1)
    assert run.metrics["R2"].value is not None
    with pytest.raises(UsageError, match="more than one sample a batch"):
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
def test_the_default_suits_the_data(modality: str, shape: tuple[int | None, ...], name: str) -> None:
    assert TASK.default(spec(modality, shape)) == name
    assert name in LEARNERS


def test_lenet_refuses_pictures_that_are_too_small() -> None:
    assert LEARNERS["lenet"].unsupported_reason(spec("image", (1, 11, 40))) == "needs 12 pixels a side, these are 40x11"
    assert LEARNERS["lenet"].unsupported_reason(spec("image", (1, 12, 12))) is None


def test_a_constant_column_does_least_squares_no_harm(tmp_path: Path) -> None:
    x = torch.randn(101, 2, generator=seeded(), dtype=torch.float64)
    x[:, 1] = 0.1  # whose mean is not 0.1 to the last bit
    run = train(numbers(x, 3 * x[:, 0] + 1), model="least-squares", out=tmp_path / "run")
    assert run.metrics["mean absolute error"].value == pytest.approx(0, abs=1e-12)
    (answer,) = run.ask(torch.tensor([[2.0, 0.1]], dtype=torch.float64))
    assert answer["y"] == pytest.approx(7, abs=1e-12)


class Crashing:
    """Half the squared error, until it breaks at one of its calls, as a machine may."""

    def __init__(self, at: int | None) -> None:
        self.left = at

    def __call__(self, said: Tensor, truth: Tensor) -> Tensor:
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise RuntimeError("the power is gone")
        return (said - truth).square().mean() / 2


@pytest.mark.parametrize(
    ("model", "more"), [("mlp", {"dropout": 0.2, "batch_norm": True}), ("lenet", {"noise_std": 0.05})]
)
def test_a_crashed_run_resumes_to_the_same_bits(model: str, more: dict[str, float], tmp_path: Path) -> None:
    data = wave(60) if model == "mlp" else spots(60, 12, 1)
    settings: dict[str, object] = {"epochs": 6, "batch_size": 8, "ema_decay": 0.9, **more}
    train(data, model=model, out=tmp_path / "whole", loss=Crashing(None), **settings)
    options = RunOptions(save_every=0)
    with pytest.raises(RuntimeError, match="the power is gone"):
        train(data, model=model, out=tmp_path / "cut", loss=Crashing(23), options=options, **settings)
    resume(tmp_path / "cut", data=data, loss=Crashing(None), options=options)
    for name in ("model.safetensors", "history.jsonl", "predictions/test.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
