"""What the settings of detectors share."""

from __future__ import annotations

from typing import Annotated, Literal

from snellen.core.settings import Limit, settings
from snellen.core.spec import Preprocessing, Spec

PUBLISHED = "published"  # the word for the weights that torchvision gives away
SIDE = 256  # pixels of the shorter side that a small network looks at: a few hundred pictures in a few minutes


@settings
class Sight:
    """The network that makes maps of a picture, and the size of what it sees."""

    backbone: Literal["small", "resnet18", "resnet34", "resnet50", "mobilenet"] = "small"
    """The network that the maps come from."""
    min_size: Annotated[int, Limit(least=32)] | None = None
    """Pixels that the shorter side is scaled to; auto: 256 or that of the pictures, or as published weights learned."""
    max_size: Annotated[int, Limit(least=32)] | None = None
    """Pixels that the longer side may have at most; auto: 5/3 of the shorter."""
    norm: Literal["batch", "group", "frozen"] = "batch"
    """Normalisation: over the batch, over groups of channels, or as it came with the weights (for small batches)."""
    pretrained: str | None = None
    """Weights to begin with: a run, a file, or "published", those that torchvision learned on COCO."""
    from_scratch: bool = False
    """Begin with random weights, whatever there is."""

    @property
    def origin(self) -> str | None:
        """The weights to begin with, or None for random ones."""
        return None if self.from_scratch else self.pretrained

    def sides(self, spec: Spec, published: tuple[int, int] | None = None) -> tuple[int, int]:
        """(shorter, longer) in pixels; auto where published weights were learned, or no larger than the pictures."""
        small = max(32, min(spec.input.size or (SIDE, SIDE)))
        usual, most = published or (min(small, SIDE), min(small, SIDE) * 5 // 3)
        short = self.min_size or usual
        return short, self.max_size or (most if short == usual else short * 5 // 3)


def preprocessing_of(sight: Sight, spec: Spec) -> Preprocessing:
    """Pictures at their own size, in colour where they are not all alike or published weights know colour only."""
    channels = 3 if sight.origin == PUBLISHED else spec.input.shape[0] or 3
    return Preprocessing(channels=channels)
