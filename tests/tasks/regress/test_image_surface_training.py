"""An image fitted as a surface: snapshots of its training, their resumption, and the views of the report."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import snellen
from snellen.api import RunOptions, TrainedRun
from snellen.core.errors import DataError
from snellen.core.file_io import write_tensors
from snellen.core.snapshots import FILE, MAX_BYTES, Snapshots, read_snapshots
from snellen.core.task import TrainingModel
from snellen.core.views import ImageGrid, Plot
from snellen.report.html_text import escape_name
from snellen.report.training_snapshots import selected_epoch
from snellen.tasks.regress.image_surface import enlarged, fitted_image, total_variation, training_views

SETTINGS = {"hidden": (8,), "batch_size": 64, "lr": 0.01}


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 rows and 16 columns of smooth colours, enlarged by two."""
    y, x = np.mgrid[:12, :16] / 12
    colours = np.stack([x, y, np.hypot(x - 0.5, y - 0.5)], -1) * 180
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(colours.astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def run(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return train(photo, tmp_path_factory.mktemp("run") / "run")


def train(photo: Path, folder: Path, epochs: int = 11, save_every: float = 30.0) -> TrainedRun:
    options = RunOptions(report=False, save_every=save_every)
    return snellen.train(photo, "mlp", task="regress", out=folder, options=options, epochs=epochs, **SETTINGS)


def test_total_variation_equals_sums_of_differences() -> None:
    image = np.random.default_rng(0).normal(size=(3, 7, 5))
    expected = np.abs(np.diff(image, axis=1)).sum() + np.abs(np.diff(image, axis=2)).sum()
    assert total_variation(torch.from_numpy(image)) == pytest.approx(expected, rel=1e-12)
    assert total_variation(torch.ones(1, 4, 4)) == 0


def test_snapshots_are_the_weights_after_epochs_of_powers_of_two(photo: Path, run: TrainedRun, tmp_path: Path) -> None:
    """A snapshot equals the last weights of a run of so many epochs, whose learning rate is constant."""
    snapshots = read_snapshots(run.folder)
    assert list(snapshots) == [1, 2, 4, 8]
    assert "snapshots.safetensors" in run.record.files
    shorter = snellen.train(
        photo,
        "mlp",
        task="regress",
        out=tmp_path / "shorter",
        options=RunOptions(report=False),
        **{**SETTINGS, "epochs": 2, "schedule": "constant", "warmup": 0.0},
    )
    whole = snellen.train(
        photo,
        "mlp",
        task="regress",
        out=tmp_path / "whole",
        options=RunOptions(report=False),
        **{**SETTINGS, "epochs": 5, "schedule": "constant", "warmup": 0.0},
    )
    expected = read_snapshots(shorter.folder)
    found = read_snapshots(whole.folder)
    assert list(expected) == [1, 2]
    for epoch, weights in expected.items():
        assert all(torch.equal(tensor, found[epoch][name]) for name, tensor in weights.items())
    assert any(not torch.equal(tensor, found[4][name]) for name, tensor in expected[2].items())


@pytest.mark.parametrize("epoch", [6, 8])
def test_a_run_that_is_killed_has_the_same_snapshots_and_weights(
    photo: Path, run: TrainedRun, tmp_path: Path, epoch: int
) -> None:
    """SIGKILL at the end of an epoch between two snapshots, and before one is stored."""
    child = os.fork()
    if not child:
        offer = Snapshots.offer

        def kill(self: Snapshots, number: int, model: nn.Module) -> None:
            if number == epoch:
                os.kill(os.getpid(), signal.SIGKILL)
            offer(self, number, model)

        Snapshots.offer = kill  # type: ignore[method-assign]
        try:
            train(photo, tmp_path / "killed", save_every=0)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    resumed = snellen.resume(tmp_path / "killed", options=RunOptions(report=False))
    for name in (FILE, "model.safetensors", "history.jsonl", "predictions/test.safetensors"):
        assert (resumed.folder / name).read_bytes() == (run.folder / name).read_bytes(), name


def test_other_data_and_large_models_have_no_snapshots(tmp_path: Path) -> None:
    other = snellen.train("linear", "mlp", out=tmp_path / "other", epochs=2)
    assert not (other.folder / FILE).exists()
    snapshots = Snapshots()
    side = int((MAX_BYTES / 4) ** 0.5)
    snapshots.offer(1, nn.Linear(side, side))  # the bias exceeds the limit
    assert snapshots.state_dict() == {}
    snapshots.offer(1, nn.Linear(side, side, bias=False))
    for epoch in range(2, 5000):
        snapshots.offer(epoch, nn.Linear(1, 1))
    assert list(snapshots.weights) == [2**k for k in range(12)]


def test_damaged_snapshots_are_refused(tmp_path: Path) -> None:
    for state in ([], {"1": {}}, {1: []}, {1: {"weight": 3}}):
        with pytest.raises(TypeError):
            Snapshots().load_state_dict(state)
    for name in ("0/weight", "1", "x/weight"):
        write_tensors(tmp_path / FILE, {name: torch.zeros(1)})
        with pytest.raises(DataError, match="is damaged"):
            read_snapshots(tmp_path)


def test_views_show_the_image_the_fit_and_the_error(run: TrainedRun) -> None:
    """The panels are the predictions for a table of all positions, and their distances to the truth."""
    (view,) = fitted_image(run.model, run.data, run.spec)
    assert isinstance(view, ImageGrid)
    (original,) = view.items
    fitted, error = original.panels
    y, x = np.mgrid[:12, :16]
    positions = torch.from_numpy(np.stack([(x + 0.5) / 16, (y + 0.5) / 12], -1).reshape(-1, 2)).float()
    colours = np.array([list(one.values()) for one in run.predict_batch(positions)]).reshape(12, 16, 3)
    image = np.asarray(Image.open(run.record.data["data"])).astype(float)  # type: ignore[index]
    for panel, expected in (
        (original, image),
        (fitted, colours),
        (error, np.abs(colours - image).mean(2, keepdims=True)),
    ):
        small = panel.values[:, ::20, ::20].numpy().transpose(1, 2, 0)  # enlarged by 20
        np.testing.assert_allclose(small, expected, rtol=1e-5, atol=1e-4)
    assert (original.low, original.high) == (image.min(), image.max())


def test_views_show_how_the_fit_sharpens(run: TrainedRun) -> None:
    """Snapshots of known surfaces: a constant, then the image itself."""
    truth = run.data.truth.double()  # type: ignore[union-attr]
    by_position = {tuple(p): c for p, c in zip(run.data.source.values.tolist(), truth, strict=True)}  # type: ignore[union-attr]

    class Exact(nn.Module):
        def predict(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([by_position[tuple(p)] for p in x.tolist()])

    class Constant(nn.Module):
        def predict(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((len(x), 3), 50.0)

    models = [TrainingModel("epoch 1", 1, Constant()), TrainingModel("epoch 2", 2, Constant())]
    models.append(TrainingModel("selected: epoch 3", 3, Exact()))
    grid, plot = training_views(models, run.data, run.spec)
    assert isinstance(grid, ImageGrid)
    assert isinstance(plot, Plot)
    error = float((truth[run.data.splits["val"]] - 50).abs().mean())
    assert [item.caption for item in grid.items] == [
        f"epoch 1\nerror {error:.3g} levels\nvariation 0 %",
        f"epoch 2\nerror {error:.3g} levels\nvariation 0 %",
        "selected: epoch 3\nerror 0 levels\nvariation 100 %",
        "the image",
    ]
    assert list(plot.series[0].y) == [0, 0, 100]
    assert torch.equal(grid.items[2].values, grid.items[3].values)
    assert training_views([], run.data, run.spec) == []


def test_small_images_are_enlarged_by_whole_factors() -> None:
    image = torch.arange(6.0).reshape(1, 2, 3)
    assert torch.equal(enlarged(image, 7), torch.from_numpy(np.kron(image[0].numpy(), np.ones((2, 2))))[None].float())
    assert torch.equal(enlarged(image, 2), image)


def test_the_selected_epoch_is_the_last_of_the_best() -> None:
    assert selected_epoch([{"step": 9 * k, "score": s} for k, s in enumerate((-3.0, -1.0, -2.0, -1.0, -4.0))]) == 4
    assert selected_epoch([{"step": 0, "loss": 1.0}]) is None


def test_the_report_shows_every_snapshot(run: TrainedRun) -> None:
    page = run.report().read_text(encoding="utf-8")
    for title in ("The fitted image", "How the fit sharpens in training", "Total variation of the fit"):
        assert f"<h3>{title}</h3>" in page
    for epoch in (1, 2, 4, 8):
        assert escape_name(f"epoch {epoch}") in page
    selected = selected_epoch(run.summary().history)
    assert escape_name(f"selected: epoch {selected}") in page
    assert len(page) < 1 << 20
