"""B21, lecture 004: an image as a surface I = f(x, y), and the networks that it compares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snellen.core import settings
from snellen.core.spec import Column, Input, Numbers, Spec
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.tasks import LEARNERS


def test_b21_an_image_is_a_function_of_the_position(tmp_path: Path) -> None:
    """The grey level of each pixel is that of the surface which the image was drawn from, at x and y."""

    def surface(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(200 * x * y + 30)

    y, x = np.mgrid[:20, :30]
    levels = surface((x + 0.5) / 30, (y + 0.5) / 20).round().astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "surface.png")
    data = dataset(tmp_path / "surface.png", options=OpenOptions(target=("surface",)))
    positions = data.source.read(np.arange(600), data.preprocessing).double().numpy()
    assert np.abs(surface(*positions.T) - data.truth[:, 0].numpy()).max() <= 0.5 + 1e-4


@pytest.mark.parametrize(
    ("hidden", "weights"),
    [((125,), 501), ((20, 20), 501), ((14, 14, 14), 477), ((15, 15, 15), 541), ((19, 19, 19), 837)],
)
def test_b21_the_networks_of_the_lecture_have_its_numbers_of_weights(hidden: tuple[int, ...], weights: int) -> None:
    position = Input(modality="vector", shape=(2,), columns=(Column(name="x"), Column(name="y")), grid=(96, 128))
    spec = Spec(name="grey", inputs={"position": position}, target=Numbers(names=("grey",)))
    learner = LEARNERS["regress"]["mlp"]
    model = learner.build(settings.make(learner.settings, {"hidden": hidden}), spec)
    assert sum(parameter.numel() for parameter in model.parameters()) == weights
