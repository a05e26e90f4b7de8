"""D7: anchors, boxes as offsets from them, suppression, and the region proposal network, beside torchvision's."""

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

from snellen.core.detections import Objects
from snellen.nn.detection.anchors import Anchors, suited
from snellen.nn.detection.boxes import OF_REGIONS, clipped, covered, decoded, encoded, survivors
from snellen.nn.detection.image_batch import Batch
from snellen.nn.detection.rpn import NEUTRAL, Proposals, Share, matched


def drawn_boxes(count: int, seed: int, side: float = 100.0) -> Tensor:
    drawn = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=drawn, dtype=torch.float64) * side
    size = 1 + torch.rand(count, 2, generator=drawn, dtype=torch.float64) * side / 2
    return torch.cat([corner, corner + size], 1)


def objects(boxes: Tensor, crowd: Tensor | None = None) -> Objects:
    none = torch.zeros(len(boxes), dtype=torch.bool)
    return Objects(
        boxes,
        torch.zeros(len(boxes), dtype=torch.int64),
        none if crowd is None else crowd,
        none,
        (boxes[:, 2:] - boxes[:, :2]).prod(1),
    )


corner = st.floats(-500, 500, width=32)
side = st.floats(0.5, 400, width=32)
box = st.tuples(corner, corner, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])


@settings(max_examples=200, deadline=None)
@given(box, box)
def test_d7_a_box_is_found_again_from_its_offsets(one: list[float], anchor: list[float]) -> None:
    a, b = (torch.tensor(values, dtype=torch.float64) for values in (one, anchor))
    width = (a[2:] / 1 - a[:2]) / (b[2:] - b[:2])
    if bool((width > 60).any()):  # beyond what is decoded: growth is cut at 1000/16
        return
    torch.testing.assert_close(decoded(encoded(a, b, OF_REGIONS), b, OF_REGIONS), a, rtol=0, atol=1e-9)


def test_d7_offsets_are_those_of_torchvision() -> None:
    boxes, anchors = drawn_boxes(50, 0), drawn_boxes(50, 1)
    theirs = BoxCoder(OF_REGIONS)
    torch.testing.assert_close(encoded(boxes, anchors, OF_REGIONS), theirs.encode_single(boxes, anchors))
    deltas = torch.randn(50, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 8  # some beyond
    torch.testing.assert_close(decoded(deltas, anchors, OF_REGIONS), theirs.decode_single(deltas, anchors))


def test_d7_anchors_are_those_of_torchvision_and_lie_row_by_row() -> None:
    maps = [torch.zeros(2, 1, 24, 40), torch.zeros(2, 1, 12, 20)]
    x = torch.zeros(2, 3, 96, 160)
    ours = torch.cat(Anchors([[16], [50]], [0.5, 1.0, 2.0])(maps, x))
    theirs = AnchorGenerator(((16,), (50,)), ((0.5, 1.0, 2.0),) * 2)(ImageList(x, [(96, 160)] * 2), maps)[0]
    assert torch.equal(ours, theirs)
    middle = (ours[:, :2] + ours[:, 2:]) / 2
    for place, (row, column, shape) in enumerate(itertools.product(range(24), range(40), range(3))):
        assert middle[place].tolist() == [4 * column, 4 * row]
        width, height = (ours[place, 2:] - ours[place, :2]).tolist()
        assert abs(height / width - (0.5, 1.0, 2.0)[shape]) < 0.1 * (0.5, 1.0, 2.0)[shape]  # sides are whole


def test_d7_sizes_of_anchors_span_those_of_the_boxes() -> None:
    sides = torch.logspace(1, 2, 101)  # 10 to 100 pixels
    boxes = torch.stack([torch.zeros(101), torch.zeros(101), sides, sides], 1)
    sizes = suited(boxes, 3)
    torch.testing.assert_close(torch.tensor(sizes).log10(), torch.tensor([1.1, 1.5, 1.9]), rtol=0, atol=0.01)


def test_d7_of_boxes_that_overlap_the_surest_stays() -> None:
    boxes, scores = drawn_boxes(200, 3), torch.rand(200, generator=torch.Generator().manual_seed(4)).double()
    groups = torch.randint(0, 3, (200,), generator=torch.Generator().manual_seed(5))
    overlap = box_iou(boxes, boxes)
    stays = torch.zeros(200, dtype=torch.bool)
    for k in scores.argsort(descending=True).tolist():  # one after another, by hand
        rivals = stays & (groups == groups[k]) & (overlap[k] > 0.3)
        stays[k] = not bool(rivals.any())
    assert torch.equal(survivors(boxes, scores, groups, 0.3), stays)
    assert 20 < int(stays.sum()) < 180


def test_d7_boxes_are_cut_at_the_border_of_their_own_picture() -> None:
    boxes = torch.tensor([[[-5.0, 3, 50, 90]], [[-5.0, 3, 50, 90]]])
    assert clipped(boxes, torch.tensor([[40.0, 60.0], [80.0, 30.0]])).tolist() == [[[0, 3, 50, 40]], [[0, 3, 30, 80]]]


def test_d7_what_lies_in_a_crowd_is_no_background() -> None:
    true = torch.tensor([[10.0, 10, 30, 30], [50.0, 0, 100, 100]])
    boxes = torch.tensor([[11.0, 10, 30, 30], [60.0, 20, 80, 40], [0.0, 60, 20, 80], [40.0, 0, 60, 20]])
    truth = objects(true, crowd=torch.tensor([False, True]))
    match = matched(boxes, truth, Share(count=4, positive=0.5, high=0.5, low=0.5))
    assert match.places.tolist() == [0, 2, 3]  # the second lies in the crowd; half of the last does, no more
    assert match.objects.tolist() == [0, -1, -1]
    assert NEUTRAL not in match.objects
    torch.testing.assert_close(covered(boxes, true[1:]), torch.tensor([0.0, 1.0, 0.0, 0.5]))


def network(channels: int = 4) -> tuple[Proposals, list[Tensor], Batch]:
    drawn = torch.Generator().manual_seed(6)
    maps = [torch.randn(2, channels, 8, 12, generator=drawn), torch.randn(2, channels, 4, 6, generator=drawn)]
    head = RPNHead(channels, 3)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=drawn)
    size = torch.tensor([[64.0, 96.0], [50.0, 80.0]])
    return Proposals(Anchors([[16], [32]]), head), maps, Batch(torch.zeros(2, 3, 64, 96), size, torch.ones(2, 2))


def test_d7_its_loss_has_the_gradient_of_the_whole_head_gone_through() -> None:
    """Only the cells about the sampled anchors are gone through with a gradient: the numbers are those of all."""
    made, maps, batch = network()
    truths = [objects(torch.tensor([[5.0, 5, 30, 25], [40, 20, 90, 60]])), objects(torch.zeros(0, 4))]
    inputs = [*[one.requires_grad_() for one in maps], *made.head.parameters()]
    torch.manual_seed(0)
    _, losses = made.learn(maps, batch, truths)
    ours = torch.autograd.grad(losses["objectness"] + losses["proposals"], inputs)
    torch.manual_seed(0)
    anchors = torch.cat(made.anchors(maps, batch.x))
    from snellen.nn.detection.rpn import ANCHORS

    matches = [matched(anchors, truth, ANCHORS) for truth in truths]
    said = [made._flat(*one) for one in zip(*made.head(maps), strict=True)]
    logits, deltas = torch.cat([one for one, _ in said], 1), torch.cat([one for _, one in said], 1)
    picked = torch.cat([logits[k, match.places] for k, match in enumerate(matches)])
    there = torch.cat([match.objects >= 0 for match in matches])
    first = matches[0]
    of = first.objects >= 0
    wanted = BoxCoder((1.0, 1.0, 1.0, 1.0)).encode_single(truths[0].boxes[first.objects[of]], anchors[first.places[of]])
    whole = torch.nn.functional.binary_cross_entropy_with_logits(
        picked, there.float()
    ) + torch.nn.functional.smooth_l1_loss(deltas[0, first.places[of]], wanted, beta=1 / 9, reduction="sum") / len(
        picked
    )
    torch.testing.assert_close(losses["objectness"] + losses["proposals"], whole)
    for one, other in zip(ours, torch.autograd.grad(whole, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_d7_proposals_are_the_surest_that_do_not_overlap() -> None:
    made, maps, batch = network()
    with torch.no_grad():
        boxes, scores = made(maps, batch)
    for k in range(2):
        there = scores[k] >= 0
        found, sure = boxes[k, there], scores[k, there]
        assert (sure.diff() <= 0).all()
        assert (found[:, :2] >= 0).all()
        assert (found[:, 2:] <= batch.sizes[k].flip(0)).all()
        assert len(found) > 10
