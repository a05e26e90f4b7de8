"""Row D7 of the lectures: anchors, box encoding, NMS, and the region proposal network, against torchvision."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import box_iou

from snellen.core.detections import GroundTruth
from snellen.nn.detection.anchors import Anchors, quantile_sizes
from snellen.nn.detection.boxes import REGION_WEIGHTS, clip_boxes, decode_boxes, encode_boxes, max_coverage, nms_mask
from snellen.nn.detection.image_batch import ImageBatch
from snellen.nn.detection.rpn import IGNORED, BoxSampling, RegionProposalNetwork, match_and_sample


def random_boxes(count: int, seed: int, side: float = 100.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator, dtype=torch.float64) * side
    size = 1 + torch.rand(count, 2, generator=generator, dtype=torch.float64) * side / 2
    return torch.cat([corner, corner + size], 1)


def ground_truth(boxes: Tensor, crowd: Tensor | None = None) -> GroundTruth:
    no_crowd = torch.zeros(len(boxes), dtype=torch.bool)
    return GroundTruth(
        boxes,
        torch.zeros(len(boxes), dtype=torch.int64),
        no_crowd if crowd is None else crowd,
        no_crowd,
        (boxes[:, 2:] - boxes[:, :2]).prod(1),
    )


corner = st.floats(-500, 500, width=32)
side = st.floats(0.5, 400, width=32)
box = st.tuples(corner, corner, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])


@settings(max_examples=200)
@given(box, box)
def test_d7_decoding_inverts_encoding(one: list[float], anchor: list[float]) -> None:
    a, b = (torch.tensor(values, dtype=torch.float64) for values in (one, anchor))
    width = (a[2:] / 1 - a[:2]) / (b[2:] - b[:2])
    if bool((width > 60).any()):  # decoding clips the growth at 1000/16
        return
    torch.testing.assert_close(
        decode_boxes(encode_boxes(a, b, REGION_WEIGHTS), b, REGION_WEIGHTS), a, rtol=0, atol=1e-9
    )


def test_d7_box_offsets_match_torchvision() -> None:
    boxes, anchors = random_boxes(50, 0), random_boxes(50, 1)
    reference = BoxCoder(REGION_WEIGHTS)
    torch.testing.assert_close(encode_boxes(boxes, anchors, REGION_WEIGHTS), reference.encode_single(boxes, anchors))
    deltas = (
        torch.randn(50, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 8
    )  # some beyond the limit
    torch.testing.assert_close(decode_boxes(deltas, anchors, REGION_WEIGHTS), reference.decode_single(deltas, anchors))


def test_d7_anchors_match_torchvision_in_row_order() -> None:
    maps = [torch.zeros(2, 1, 24, 40), torch.zeros(2, 1, 12, 20)]
    x = torch.zeros(2, 3, 96, 160)
    values = torch.cat(Anchors([[16], [50]], [0.5, 1.0, 2.0])(maps, x))
    reference = AnchorGenerator(((16,), (50,)), ((0.5, 1.0, 2.0),) * 2)(ImageList(x, [(96, 160)] * 2), maps)[0]
    assert torch.equal(values, reference)
    centre = (values[:, :2] + values[:, 2:]) / 2
    for index, (row, column, shape) in enumerate(itertools.product(range(24), range(40), range(3))):
        assert centre[index].tolist() == [4 * column, 4 * row]
        width, height = (values[index, 2:] - values[index, :2]).tolist()
        assert abs(height / width - (0.5, 1.0, 2.0)[shape]) < 0.1 * (0.5, 1.0, 2.0)[shape]  # sides are rounded


def test_d7_anchor_sizes_span_the_box_sizes() -> None:
    sides = torch.logspace(1, 2, 101)  # 10 to 100 pixels
    boxes = torch.stack([torch.zeros(101), torch.zeros(101), sides, sides], 1)
    sizes = quantile_sizes(boxes, 3)
    torch.testing.assert_close(torch.tensor(sizes).log10(), torch.tensor([1.1, 1.5, 1.9]), rtol=0, atol=0.01)


def test_d7_nms_keeps_the_highest_scoring_of_overlapping_boxes() -> None:
    boxes, scores = random_boxes(200, 3), torch.rand(200, generator=torch.Generator().manual_seed(4)).double()
    groups = torch.randint(0, 3, (200,), generator=torch.Generator().manual_seed(5))
    overlap = box_iou(boxes, boxes)
    expected_mask = torch.zeros(200, dtype=torch.bool)
    for k in scores.argsort(descending=True).tolist():  # greedy, by hand
        suppressors = expected_mask & (groups == groups[k]) & (overlap[k] > 0.3)
        expected_mask[k] = not bool(suppressors.any())
    assert torch.equal(nms_mask(boxes, scores, groups, 0.3), expected_mask)
    assert 20 < int(expected_mask.sum()) < 180


def test_d7_boxes_are_clipped_to_their_image() -> None:
    boxes = torch.tensor([[[-5.0, 3, 50, 90]], [[-5.0, 3, 50, 90]]])
    assert clip_boxes(boxes, torch.tensor([[40.0, 60.0], [80.0, 30.0]])).tolist() == [
        [[0, 3, 50, 40]],
        [[0, 3, 30, 80]],
    ]


def test_d7_anchors_inside_a_crowd_are_not_background() -> None:
    true = torch.tensor([[10.0, 10, 30, 30], [50.0, 0, 100, 100]])
    boxes = torch.tensor([[11.0, 10, 30, 30], [60.0, 20, 80, 40], [0.0, 60, 20, 80], [40.0, 0, 60, 20]])
    truth = ground_truth(true, crowd=torch.tensor([False, True]))
    match = match_and_sample(
        boxes, truth, BoxSampling(batch_size_per_image=4, positive_fraction=0.5, foreground_iou=0.5, background_iou=0.5)
    )
    assert match.indices.tolist() == [0, 2, 3]  # the second is inside the crowd, the last only by half
    assert match.objects.tolist() == [0, -1, -1]
    assert IGNORED not in match.objects
    torch.testing.assert_close(max_coverage(boxes, true[1:]), torch.tensor([0.0, 1.0, 0.0, 0.5]))


def rpn_on_maps(channels: int = 4) -> tuple[RegionProposalNetwork, list[Tensor], ImageBatch]:
    generator = torch.Generator().manual_seed(6)
    maps = [torch.randn(2, channels, 8, 12, generator=generator), torch.randn(2, channels, 4, 6, generator=generator)]
    head = RPNHead(channels, 3)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    size = torch.tensor([[64.0, 96.0], [50.0, 80.0]])
    return (
        RegionProposalNetwork(Anchors([[16], [32]]), head),
        maps,
        ImageBatch(torch.zeros(2, 3, 64, 96), size, torch.ones(2, 2)),
    )


def test_d7_the_rpn_loss_has_the_gradient_of_the_complete_head() -> None:
    """Only the cells around the sampled anchors are differentiated: the result equals that of the complete head."""
    rpn, maps, batch = rpn_on_maps()
    truths = [ground_truth(torch.tensor([[5.0, 5, 30, 25], [40, 20, 90, 60]])), ground_truth(torch.zeros(0, 4))]
    inputs = [*[one.requires_grad_() for one in maps], *rpn.head.parameters()]
    torch.manual_seed(0)
    _, losses = rpn.proposals_and_losses(maps, batch, truths)
    values = torch.autograd.grad(losses["objectness"] + losses["proposals"], inputs)
    torch.manual_seed(0)
    anchors = torch.cat(rpn.anchors(maps, batch.x))
    from snellen.nn.detection.rpn import ANCHOR_SAMPLING

    matches = [match_and_sample(anchors, truth, ANCHOR_SAMPLING) for truth in truths]
    outputs = [rpn._flatten(*one) for one in zip(*rpn.head(maps), strict=True)]
    logits, deltas = torch.cat([one for one, _ in outputs], 1), torch.cat([one for _, one in outputs], 1)
    sampled_logits = torch.cat([logits[k, match.indices] for k, match in enumerate(matches)])
    positive = torch.cat([match.objects >= 0 for match in matches])
    first = matches[0]
    foreground = first.objects >= 0
    target = BoxCoder((1.0, 1.0, 1.0, 1.0)).encode_single(
        truths[0].boxes[first.objects[foreground]], anchors[first.indices[foreground]]
    )
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        sampled_logits, positive.float()
    ) + torch.nn.functional.smooth_l1_loss(
        deltas[0, first.indices[foreground]], target, beta=1 / 9, reduction="sum"
    ) / len(sampled_logits)
    torch.testing.assert_close(losses["objectness"] + losses["proposals"], expected)
    for one, other in zip(values, torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_d7_proposals_are_sorted_and_suppressed() -> None:
    rpn, maps, batch = rpn_on_maps()
    with torch.no_grad():
        boxes, scores = rpn(maps, batch)
    for k in range(2):
        positive = scores[k] >= 0
        valid_boxes, valid_scores = boxes[k, positive], scores[k, positive]
        assert (valid_scores.diff() <= 0).all()
        assert (valid_boxes[:, :2] >= 0).all()
        assert (valid_boxes[:, 2:] <= batch.sizes[k].flip(0)).all()
        assert len(valid_boxes) > 10
