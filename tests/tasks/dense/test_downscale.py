"""Dense prediction on reduced images: shapes, parity of the export, and the sizes that a ladder may choose."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnxruntime
import pytest
import scenes
import torch
from torch import nn
from torchvision.transforms.v2.functional import InterpolationMode, resize

import snellen
from snellen.api import RunOptions
from snellen.core.settings import make
from snellen.nn.dense.downscaled import Downscaled, downscaled
from snellen.tasks import LEARNERS

OPTIONS = RunOptions(threads=1, report=False)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_smooth_image_is_kept_and_the_output_has_its_size(factor: int) -> None:
    x = torch.linspace(0, 1, 24 * 36).view(1, 1, 24, 36)
    y = Downscaled(nn.Identity(), factor)(x)
    small = resize(x, [24 // factor, 36 // factor], antialias=True)
    assert torch.allclose(y, resize(small, [24, 36], InterpolationMode.BILINEAR, antialias=False), atol=0.02)
    for size in ((23, 35), (1, 1), (5, 36)):
        assert Downscaled(nn.Identity(), factor)(torch.zeros(2, 3, *size)).shape == (2, 3, *size)
    body = nn.Identity()
    assert downscaled(body, 1) is body


@pytest.mark.parametrize("task", ["segment", "dense-regress"])
def test_a_network_on_reduced_images_is_trained_resumed_and_exported(task: str, tmp_path: Path) -> None:
    data = {"segment": scenes.segmentation_dataset, "dense-regress": scenes.depth_dataset}[task]()
    settings = {"epochs": 1, "width": 4, "depth": 2, "downscale": 2}
    run = snellen.train(data, LEARNERS[task]["unet"], out=tmp_path / "run", options=OPTIONS, **settings)
    whole = snellen.train(
        data, LEARNERS[task]["unet"], out=tmp_path / "whole", options=OPTIONS, **{**settings, "downscale": 1}
    )
    assert sum(p.numel() for p in run.model.parameters()) == sum(p.numel() for p in whole.model.parameters())
    image = data.scenes("test").image(int(data.splits["test"][0]))[None]
    predicted = snellen.load(tmp_path / "run").predict_batch(image)
    assert predicted == run.predict_batch(image)
    session = onnxruntime.InferenceSession(run.export("onnx", tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    exported = run.task.export(run.model, run.spec)
    for part in (image, image[..., :-3, :-5]):
        with torch.no_grad():
            expected = exported.module(part)
        outputs = dict(
            zip([o.name for o in session.get_outputs()], session.run(None, {"input": part.numpy()}), strict=True)
        )
        for name, values in expected.items():
            scale = float(values.abs().max())
            assert float((torch.from_numpy(outputs[name]) - values).abs().max()) <= 1e-4 * scale


def test_a_ladder_may_reduce_large_images() -> None:
    learner, spec = LEARNERS["segment"]["unet"], scenes.segmentation_dataset().spec
    (image,) = spec.inputs.values()

    def sizes(height: int, width: int, downscale: int = 1) -> dict[int, int]:
        large = dataclasses.replace(spec, inputs={"image": dataclasses.replace(image, shape=(3, height, width))})
        size = learner.input_size(make(learner.settings, {"downscale": downscale}), large)
        assert size is not None
        assert size.setting == "downscale"
        return dict(size.values)

    assert sizes(1000, 2000) == {1000: 1, 500: 2, 250: 4}
    assert sizes(480, 360) == {360: 1, 180: 2}
    assert sizes(1000, 2000, 2) == {500: 2, 250: 4, 125: 8}
    assert sizes(64, 64) == {64: 1}
