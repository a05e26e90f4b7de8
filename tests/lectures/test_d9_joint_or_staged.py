"""Row D9 of the lectures: gradient of the mask loss into the box features, joint or detached."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from snellen.core.detections import GroundTruth
from snellen.core.spec import Boxes, Input, Spec
from snellen.detection.settings import BackboneSettings
from snellen.detection.two_stage import RoISettings, two_stage_detector

SPEC = Spec(
    name="d9",
    inputs={"image": Input(modality="image", shape=(3, 64, 64), dtype="uint8")},
    target=Boxes(names=("thing",), masks=True),
)


@pytest.mark.parametrize("training_mode", ["joint", "staged"])
def test_d9_the_gradient_of_the_mask_loss(training_mode: Literal["joint", "staged"]) -> None:
    torch.manual_seed(0)
    model = two_stage_detector(BackboneSettings(min_size=64), RoISettings(), SPEC, {}, masks=training_mode)
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[0, 10:40, 12:50] = True
    no_crowd = torch.zeros(1, dtype=torch.bool)
    truth = GroundTruth(
        torch.tensor([[12.0, 10, 50, 40]]),
        torch.zeros(1, dtype=torch.int64),
        no_crowd,
        no_crowd,
        torch.tensor([1140.0]),
        mask,
    )
    loss = model.losses([image], [truth])["mask"]
    loss.backward()
    with_gradient = {
        name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)
    }
    assert {name for name in with_gradient if name.startswith("body.masks.")}
    outside_head = {name for name in with_gradient if not name.startswith("body.masks.")}
    if training_mode == "staged":
        assert not outside_head
    else:
        assert "body.backbone.body.stem.0.weight" in outside_head
        assert all(name.startswith("body.backbone.") for name in outside_head)
