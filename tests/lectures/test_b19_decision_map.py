"""Row B19 of the lectures: a non-linear classifier in the plane with its decision map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from snellen.api import train
from snellen.core.views import DecisionMap


@pytest.mark.learning
@pytest.mark.parametrize("name", ["moons", "rings"])
def test_b19_an_mlp_classifies_moons_and_rings_and_its_map_shows_its_classes(
    name: str, tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    run = train(name, model="mlp", hidden=(32,), epochs=40, out=tmp_path / "run")
    view = run.learner.task.input_maps(run.model, run.data, run.record.spec, "test")[0]
    assert isinstance(view, DecisionMap)
    x, y = (np.linspace(*ends, len(view.values)) for ends in (view.x_range, view.y_range))
    grid = torch.from_numpy(np.stack(np.meshgrid(x, y), 2).reshape(-1, 2)).float()
    with torch.inference_mode():
        assert torch.equal(run.model.scores(grid).argmax(1).reshape(view.values.shape), view.values)
    assert [points.name for points in view.points] == ["training sample", "test sample"]
    wrong = np.mean(view.points[1].wrong)
    accuracy = run.metrics["accuracy"].value
    assert accuracy is not None
    assert len(view.points[1].x) == run.data.spec.sizes["test"]
    assert 1 - wrong == pytest.approx(accuracy)
    assert_score(accuracy, above=0.98)  # 1.0 for each of 20 seeds
