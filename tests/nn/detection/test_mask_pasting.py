"""Mask pasting against torchvision's pasting into full images."""

from __future__ import annotations

import torch

from snellen.nn.detection.mask_pasting import MASK_THRESHOLD, paste_masks


def random_boxes(count: int, generator: torch.Generator) -> torch.Tensor:
    """Boxes inside, partly outside and fully outside an image of 60x75, some without width."""
    ends = torch.rand(count, 4, generator=generator) * torch.tensor([110.0, 90.0, 110.0, 90.0]) - 15
    ends[::7, 2] = ends[::7, 0]
    return torch.cat([torch.minimum(ends[:, :2], ends[:, 2:]), torch.maximum(ends[:, :2], ends[:, 2:])], 1)


def test_pasted_masks_equal_torchvisions() -> None:
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    generator = torch.Generator().manual_seed(0)
    boxes = random_boxes(400, generator)
    boxes = boxes[(boxes[:, 0] < 74) & (boxes[:, 1] < 59)]  # torchvision accepts no boxes outside the image
    boxes = boxes[(boxes[:, 2] > 1) & (boxes[:, 3] > 1)]
    masks = torch.rand(len(boxes), 28, 28, generator=generator)
    expected = paste_masks_in_image(masks[:, None], boxes, (60, 75))[:, 0] > MASK_THRESHOLD
    pasted = torch.stack([region.full(60, 75) for region in paste_masks(masks, boxes, (60, 75))])
    assert bool(expected.any())
    assert torch.equal(pasted, expected)


def test_regions_lie_inside_the_image() -> None:
    generator = torch.Generator().manual_seed(1)
    for region in paste_masks(torch.ones(200, 28, 28), random_boxes(200, generator), (60, 75)):
        height, width = region.mask.shape
        assert region.top >= 0
        assert region.left >= 0
        assert region.top + height <= 60
        assert region.left + width <= 75
    assert paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (60, 75)) == []
