"""A detector exported once by torch.export gives the same detections for images of every size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from snellen.core.spec import Input
from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.backbones import feature_pyramid
from snellen.nn.detection.boxes import nms_mask, top_k
from snellen.nn.detection.builders import DetectorConfig, two_stage
from snellen.nn.detection.detector import DetectionNetwork
from snellen.nn.detection.image_batch import DetectorTransform
from snellen.nn.layers import Standardize

pytestmark = pytest.mark.filterwarnings("ignore:`create_unbacked_symint`:FutureWarning")  # in torchvision's own code


class PaddedDetector(nn.Module):
    def __init__(self, detector: DetectionNetwork) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.detector.detect_padded(x)


def test_one_program_takes_every_size() -> None:
    torch.manual_seed(0)
    standardize = Standardize(Input(modality="image", shape=(1, None, None), dtype="float32"))
    anchors = Anchors([[16], [32], [64], [96], [128]])
    body = two_stage(
        feature_pyramid("small", 1, "batch"), anchors, DetectorConfig(classes=2, width=32, test_proposals=(40, 40))
    )
    detector = PaddedDetector(DetectionNetwork(DetectorTransform(standardize, 64, 100), body)).eval()
    for name, parameter in detector.named_parameters():  # large weights, so that there are detections
        if parameter.ndim > 1 and "predictor" in name:
            nn.init.normal_(parameter, std=0.3)
    axes = ({0: Dim("batch"), 2: Dim("height"), 3: Dim("width")},)
    with torch.no_grad():
        program = export(detector, (torch.rand(2, 1, 70, 80),), dynamic_shapes=axes, strict=False).module()
        for size in ((4, 1, 70, 80), (1, 1, 64, 64), (2, 1, 33, 200), (1, 1, 300, 11), (1, 1, 1, 1)):
            x = torch.rand(size)
            expected, outputs = detector(x), program(x)
            assert int(expected["count"].sum()) > 0
            assert torch.equal(outputs["count"], expected["count"])
            assert torch.equal(outputs["labels"], expected["labels"])
            torch.testing.assert_close(outputs["boxes"], expected["boxes"], rtol=0, atol=1e-3 * max(size))
            torch.testing.assert_close(outputs["scores"], expected["scores"], rtol=0, atol=1e-4)


class TopK(nn.Module):
    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return top_k(values, 5)


def test_top_k_of_fewer_values_is_padded_in_an_exported_program() -> None:
    program = export(TopK(), (torch.rand(2, 9),), dynamic_shapes=({0: Dim("b"), 1: Dim("n")},)).module()
    short, long = torch.tensor([[1.0, 3.0, 2.0]]), torch.arange(24.0).reshape(2, 12)
    assert program(long)[0].tolist() == top_k(long, 5)[0].tolist() == [[11, 10, 9, 8, 7], [23, 22, 21, 20, 19]]
    best, index = program(short)
    assert best[0].tolist() == [3, 2, 1, -torch.inf, -torch.inf]
    assert index[0, :3].tolist() == [1, 2, 0]
    assert int(index.max()) < 3
    assert top_k(short, 5)[1].tolist() == [[1, 2, 0]]


class NMS(nn.Module):
    def forward(self, boxes: Tensor, scores: Tensor, groups: Tensor) -> Tensor:
        return nms_mask(boxes, scores, groups, 0.5)


@pytest.mark.parametrize("groups", [[0, 0, 0], [0, 1, 0]])
def test_a_single_box_survives_nms_in_an_exported_program(groups: list[int]) -> None:
    inputs = torch.tensor([[0.0, 0.0, 9.0, 9.0]]).repeat(3, 1), torch.tensor([0.4, 0.9, 0.3]), torch.tensor(groups)
    program = export(NMS(), inputs, dynamic_shapes=({0: Dim("n")},) * 3, strict=False).module()
    assert (
        program(*inputs).tolist()
        == NMS()(*inputs).tolist()
        == ([False, True, False] if not any(groups) else [True, True, False])
    )
