"""Moving shapes: the class is visible in no single frame, and the frames show the motion of the class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom, kstest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from snellen.core.spec import Preprocessing
from snellen.data.open_dataset import dataset
from snellen.data.synthetic.moving_shapes import (
    COUNT,
    FRAMES,
    MOTIONS,
    PIXELS,
    X,
    Y,
    moving_shapes,
    render,
    scenes,
    state,
)
from snellen.geometry.ray_caster import cast_rays, project

ALL = list(range(COUNT))
POINT = np.array([[0.4, 0.3, -0.2]])  # of a solid


def test_every_coordinate_of_every_frame_is_uniform_whatever_the_class() -> None:
    states = np.stack([state(0, id) for id in ALL])  # (N, T, 4)
    for k in range(len(MOTIONS)):
        for frame in (0, FRAMES // 2, FRAMES - 1):
            for coordinate in range(4):
                assert kstest(states[k :: len(MOTIONS), frame, coordinate], "uniform").pvalue > 1e-4


def test_a_classifier_of_one_frame_is_at_chance() -> None:
    x = torch.cat([render(scenes(0, id)[:1])[..., ::2, ::2] for id in ALL]).flatten(1).double().numpy()
    y = np.arange(COUNT) % len(MOTIONS)
    train, test = slice(0, 560), slice(560, COUNT)
    limit = binom.ppf(0.9999, COUNT - 560, 1 / len(MOTIONS)) / (COUNT - 560)  # 0.204
    for model in (KNeighborsClassifier(1), SVC()):
        assert make_pipeline(StandardScaler(), model).fit(x[train], y[train]).score(x[test], y[test]) < limit


@pytest.mark.parametrize(("k", "motion"), list(enumerate(MOTIONS)))
def test_the_solid_moves_as_its_class(k: int, motion: str) -> None:
    """A point of the solid and its centre in the image, between two frames without a new start."""
    for id in range(k, 80, len(MOTIONS)):
        poses = [scene.solids[1] for scene in scenes(3, id)]
        centres = np.stack([project(pose.centre[None])[0] for pose in poses])
        depths = np.array([pose.centre[2] for pose in poses])
        arms = np.stack([project(pose.to_world(POINT))[0] for pose in poses]) - centres
        steps, (before, after) = np.diff(centres, axis=0), (arms[:-1], arms[1:])
        turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]  # y is down: clockwise is positive
        change = {
            "left": -steps[:, 0],
            "right": steps[:, 0],
            "up": -steps[:, 1],
            "down": steps[:, 1],
            "approaching": -np.diff(depths),
            "receding": np.diff(depths),
            "clockwise": turns,
            "anticlockwise": -turns,
        }
        assert (change[motion] > 0).sum() >= FRAMES - 2  # one new start at most
        others = {0: steps[:, 1], 1: steps[:, 0], 2: steps, 3: steps}[MOTIONS[motion][0]]
        assert np.abs(others).max() < 1e-9
        assert MOTIONS[motion][0] == 2 or np.ptp(depths) < 1e-12


def test_a_clip_is_every_frame_rendered_in_full() -> None:
    for id in range(5):
        clip = scenes(1, id)
        for frame, scene in zip(render(clip), clip, strict=True):
            full = cast_rays(scene, X, Y).shade(scene.light).T.reshape(3, PIXELS, PIXELS)
            assert np.array_equal(frame.numpy(), np.rint(full * 255).astype(np.uint8))


def test_a_clip_is_a_function_of_seed_and_id() -> None:
    data, other = dataset("moving-shapes"), moving_shapes(1)
    ids = np.array([7, 3])
    x = data.source.read(ids, Preprocessing())
    assert x.shape == (2, FRAMES, 3, PIXELS, PIXELS)
    assert x.dtype == torch.uint8
    assert torch.equal(x[1], moving_shapes(0).source.read(ids[1:], Preprocessing())[0])
    assert not torch.equal(x, other.source.read(ids, Preprocessing()))
    assert data.spec.modality == "clip"
    assert sum(data.spec.sizes.values()) == COUNT
