"""Protocols of detectors: detection for evaluation and prediction, padded outputs for export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from torch import Tensor

from snellen.core.detections import Detections

MAX_DETECTIONS = 100  # per image, as in COCO's evaluation

IoUType = Literal["boxes", "masks", "keypoints"]  # what is matched and scored, as COCO's iouType


class Detector(Protocol):
    """Interface of a detector. It resizes images itself; boxes are in pixels of the images that it is given."""

    threshold: Tensor
    """() float32 buffer: detections with a lower score are not shown to the user. `fit` sets it on validation."""

    def detect(self, images: Sequence[Tensor], /) -> list[Detections]:
        """Detections of images, each (C, H, W) at the bit depth of the source: sorted by score, at most 100 an image,
        including those below the threshold; with masks for `instances`, with keypoints for `keypoints`."""


class PaddedDetector(Protocol):
    """Additional interface for export: a fixed number of detections per image."""

    def detect_padded(self, x: Tensor, /) -> Mapping[str, Tensor]:
        """The detections of `detect` for images of one size, (B, C, H, W), in the same order, as named tensors.

        Returns:
            boxes (B, 100, 4), scores (B, 100), labels (B, 100) int64, count (B,) int64, the number of detections: later
            rows are zeros. With masks also masks (B, 100, S, S), probabilities within the box; with keypoints also
            keypoints (B, 100, K, 3).
        """
