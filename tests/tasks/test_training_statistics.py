"""What is computed from targets before training is computed from the training split only."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import scenes
import torch

import snellen
from snellen.api import RunOptions
from snellen.data.annotations import MapAnnotations
from snellen.data.dataset import Dataset, Labelled
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.tasks.dense_regress.objective import sample_truth

QUIET = RunOptions(threads=1, report=False)


def rows(folder: Path, *target: str) -> Dataset[Labelled]:
    path = folder / "rows.csv"
    lines = [f"{k * 7 % 13},{'ab'[k % 2]},{k % 17}" for k in range(80)]
    path.write_text("\n".join(["x,kind,size", *lines]))
    return dataset(path, options=OpenOptions(target=target))


@pytest.mark.parametrize("target", [("size:numbers",), ("kind", "size:numbers")])
@pytest.mark.parametrize("model", ["baseline", "residual-mlp"])
def test_a_model_does_not_depend_on_the_targets_of_the_test_split(
    target: tuple[str, ...], model: str, tmp_path: Path
) -> None:
    data = rows(tmp_path, *target)
    changed = data.truth.clone()
    changed[data.splits["test"], -1] += 1000
    other = dataclasses.replace(data, truth=changed)
    settings = {} if model == "baseline" else {"epochs": 1}
    first = snellen.train(data, model, out=tmp_path / "a", options=QUIET, **settings)
    second = snellen.train(other, model, out=tmp_path / "b", options=QUIET, **settings)
    for name, values in first.model.state_dict().items():
        assert torch.equal(values, second.model.state_dict()[name])
    predictions = first.predictions("test"), second.predictions("test")
    for name in (key for key in predictions[0] if key.startswith("baseline")):
        assert torch.equal(predictions[0][name], predictions[1][name])


def test_statistics_of_maps_are_those_of_training_maps() -> None:
    data = scenes.depth_dataset()
    held_out = set(torch.cat([data.splits["val"], data.splits["test"]]).tolist())
    assert data.annotations is not None
    load = data.annotations.load

    def read(id: int) -> torch.Tensor:
        loaded = load(id)
        assert isinstance(loaded, torch.Tensor)
        return loaded + 1000 if id in held_out else loaded

    changed = dataclasses.replace(data, annotations=MapAnnotations(read, range(len(data.source))))
    assert torch.equal(sample_truth(changed), sample_truth(data))
