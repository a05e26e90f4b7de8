"""Masks laid into boxes against torchvision's pasting into whole pictures."""

from __future__ import annotations

import torch

from snellen.nn.detection.mask_pasting import INSIDE, regions


def drawn_boxes(count: int, generator: torch.Generator) -> torch.Tensor:
    """In, partly out of, and wholly out of a picture of 60x75, some of no width."""
    ends = torch.rand(count, 4, generator=generator) * torch.tensor([110.0, 90.0, 110.0, 90.0]) - 15
    ends[::7, 2] = ends[::7, 0]
    return torch.cat([torch.minimum(ends[:, :2], ends[:, 2:]), torch.maximum(ends[:, :2], ends[:, 2:])], 1)


def test_regions_cover_the_pixels_that_torchvision_pastes() -> None:
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    generator = torch.Generator().manual_seed(0)
    boxes = drawn_boxes(400, generator)
    boxes = boxes[(boxes[:, 0] < 74) & (boxes[:, 1] < 59)]  # torchvision takes none that lie outside
    boxes = boxes[(boxes[:, 2] > 1) & (boxes[:, 3] > 1)]
    masks = torch.rand(len(boxes), 28, 28, generator=generator)
    theirs = paste_masks_in_image(masks[:, None], boxes, (60, 75))[:, 0] > INSIDE
    ours = torch.stack([region.full(60, 75) for region in regions(masks, boxes, (60, 75))])
    assert bool(theirs.any())
    assert torch.equal(ours, theirs)


def test_regions_lie_in_the_picture() -> None:
    generator = torch.Generator().manual_seed(1)
    for region in regions(torch.ones(200, 28, 28), drawn_boxes(200, generator), (60, 75)):
        height, width = region.inside.shape
        assert region.top >= 0
        assert region.left >= 0
        assert region.top + height <= 60
        assert region.left + width <= 75
    assert regions(torch.zeros(0, 28, 28), torch.zeros(0, 4), (60, 75)) == []
