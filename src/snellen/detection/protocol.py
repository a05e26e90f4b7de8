"""What is asked of a model that finds objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from torch import Tensor

from snellen.core.detections import Detections

MOST = 100  # finds a picture that are kept and scored: COCO's own number

Part = Literal["boxes", "masks", "keypoints"]  # what of an object is scored


class Detector(Protocol):
    """What a model must answer. It scales pictures inside itself and answers in the pixels it was given."""

    threshold: Tensor
    """() float32, a buffer: finds with a lower score are not told to the user. `fit` chooses it on validation."""

    def detect(self, images: Sequence[Tensor], /) -> list[Detections]:
        """Pictures, each (C, H, W) at the depth of the source, to what is found in each: the surest first, at most 100,
        those below the threshold too; with masks where `instances` is asked, with keypoints where `keypoints` is."""


class Padded(Protocol):
    """What a model must answer besides to be exported: as many finds for every picture."""

    def padded(self, x: Tensor, /) -> Mapping[str, Tensor]:
        """Pictures of one size, (B, C, H, W), to the same finds as `detect`, in its order and in named tensors.

        Returns:
            boxes (B, 100, 4), scores (B, 100), labels (B, 100) int64, count (B,) int64, how many are finds: those after
            them are zeros. With masks also masks (B, 100, S, S), probabilities within the box; with keypoints also
            keypoints (B, 100, K, 3).
        """
