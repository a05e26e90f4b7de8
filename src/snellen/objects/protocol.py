"""What is asked of a model that finds objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from torch import Tensor

from snellen.core.objects import Found

MOST = 100  # finds a picture that are kept and scored: COCO's own number

Part = Literal["boxes", "masks", "keypoints"]  # what of an object is scored

PARTS: dict[str, tuple[Part, ...]] = {  # of each task, the part that is ranked by first
    "detect": ("boxes",), "instances": ("masks", "boxes"), "keypoints": ("keypoints", "boxes"),
}  # fmt: skip


class Detector(Protocol):
    """What a model must answer. It scales pictures inside itself and answers in the pixels it was given."""

    threshold: Tensor
    """() float32, a buffer: finds with a lower score are not told to the user. `fit` chooses it on validation."""

    def detect(self, images: Sequence[Tensor], /) -> list[Found]:
        """Pictures, each (C, H, W) at the depth of the source, to what is found in each: the surest first, at most 100,
        those below the threshold too; with masks where `instances` is asked, with keypoints where `keypoints` is."""
