"""D9: learned jointly, the masks' loss sends a gradient into what the boxes are told from; in stages it sends none."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from snellen.core.detections import Objects
from snellen.core.spec import Boxes, Input, Spec
from snellen.detection.settings import Sight
from snellen.detection.two_stage import Stages, detector

SPEC = Spec(
    name="d9",
    inputs={"image": Input(modality="image", shape=(3, 64, 64), dtype="uint8")},
    target=Boxes(names=("thing",), masks=True),
)


@pytest.mark.parametrize("how", ["joint", "staged"])
def test_d9_the_gradient_of_the_masks_loss(how: Literal["joint", "staged"]) -> None:
    torch.manual_seed(0)
    model = detector(Sight(min_size=64), Stages(), SPEC, {}, masks=how)
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[0, 10:40, 12:50] = True
    none = torch.zeros(1, dtype=torch.bool)
    truth = Objects(
        torch.tensor([[12.0, 10, 50, 40]]), torch.zeros(1, dtype=torch.int64), none, none, torch.tensor([1140.0]), mask
    )
    loss = model.losses([image], [truth])["mask"]
    loss.backward()
    of_masks = {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
    assert {name for name in of_masks if name.startswith("body.masks.")}
    beyond = {name for name in of_masks if not name.startswith("body.masks.")}
    if how == "staged":
        assert not beyond
    else:
        assert "body.backbone.body.stem.0.weight" in beyond
        assert all(name.startswith("body.backbone.") for name in beyond)
