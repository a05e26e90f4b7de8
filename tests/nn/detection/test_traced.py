"""A detector traced by torch.export once: for pictures of every size it finds what it finds untraced."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from snellen.core.spec import Input
from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.backbones import pyramid
from snellen.nn.detection.boxes import largest, survivors
from snellen.nn.detection.builders import Plan, two_stage
from snellen.nn.detection.detector import Detector
from snellen.nn.detection.image_batch import DetectorTransform
from snellen.nn.layers import Standardize

pytestmark = pytest.mark.filterwarnings("ignore:`create_unbacked_symint`:FutureWarning")  # in torchvision's own code


class Padded(nn.Module):
    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.detector.padded(x)


def test_one_program_takes_every_size() -> None:
    torch.manual_seed(0)
    standardize = Standardize(Input(modality="image", shape=(1, None, None), dtype="float32"))
    anchors = Anchors([[16], [32], [64], [96], [128]])
    body = two_stage(pyramid("small", 1, "batch"), anchors, Plan(classes=2, width=32, using=(40, 40)))
    made = Padded(Detector(DetectorTransform(standardize, 64, 100), body)).eval()
    for name, parameter in made.named_parameters():  # far from chance, so that it finds something
        if parameter.ndim > 1 and "predictor" in name:
            nn.init.normal_(parameter, std=0.3)
    axes = ({0: Dim("batch"), 2: Dim("height"), 3: Dim("width")},)
    with torch.no_grad():
        program = export(made, (torch.rand(2, 1, 70, 80),), dynamic_shapes=axes, strict=False).module()
        for size in ((4, 1, 70, 80), (1, 1, 64, 64), (2, 1, 33, 200), (1, 1, 300, 11), (1, 1, 1, 1)):
            x = torch.rand(size)
            expected, found = made(x), program(x)
            assert int(expected["count"].sum()) > 0
            assert torch.equal(found["count"], expected["count"])
            assert torch.equal(found["labels"], expected["labels"])
            torch.testing.assert_close(found["boxes"], expected["boxes"], rtol=0, atol=1e-3 * max(size))
            torch.testing.assert_close(found["scores"], expected["scores"], rtol=0, atol=1e-4)


class Largest(nn.Module):
    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return largest(values, 5)


def test_the_largest_of_few_are_as_many_in_a_program() -> None:
    program = export(Largest(), (torch.rand(2, 9),), dynamic_shapes=({0: Dim("b"), 1: Dim("n")},)).module()
    few, many = torch.tensor([[1.0, 3.0, 2.0]]), torch.arange(24.0).reshape(2, 12)
    assert program(many)[0].tolist() == largest(many, 5)[0].tolist() == [[11, 10, 9, 8, 7], [23, 22, 21, 20, 19]]
    best, place = program(few)
    assert best[0].tolist() == [3, 2, 1, -torch.inf, -torch.inf]
    assert place[0, :3].tolist() == [1, 2, 0]
    assert int(place.max()) < 3
    assert largest(few, 5)[1].tolist() == [[1, 2, 0]]


class Survivors(nn.Module):
    def forward(self, boxes: Tensor, scores: Tensor, groups: Tensor) -> Tensor:
        return survivors(boxes, scores, groups, 0.5)


@pytest.mark.parametrize("groups", [[0, 0, 0], [0, 1, 0]])
def test_a_single_survivor_survives_in_a_program(groups: list[int]) -> None:
    asked = torch.tensor([[0.0, 0.0, 9.0, 9.0]]).repeat(3, 1), torch.tensor([0.4, 0.9, 0.3]), torch.tensor(groups)
    program = export(Survivors(), asked, dynamic_shapes=({0: Dim("n")},) * 3, strict=False).module()
    assert (
        program(*asked).tolist()
        == Survivors()(*asked).tolist()
        == ([False, True, False] if not any(groups) else [True, True, False])
    )
