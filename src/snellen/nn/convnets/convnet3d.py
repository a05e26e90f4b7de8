"""Convolutional network with convolutions in three dimensions, for clips and volumes.

Source: Ji et al. 2013; Tran et al. 2015, "Learning spatiotemporal features with 3D convolutional networks"; batch
normalisation and global average pooling as in `ConvNet`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

LAST_SIDE = 4  # of each axis before the global average
LARGE = 48  # length of an axis from which the first convolution has stride 2 along it
MAX_STAGES = 5

Strides = tuple[int, int, int]


def halvings(sides: Sequence[int], stages: int | None = None) -> list[Strides]:
    """Strides (3,) of the first convolution, then of the pooling before each further stage.

    An axis is halved while it is longer than `LAST_SIDE`: short clips keep their frames where images are still halved.

    Args:
        sides: lengths of the three axes.
        stages: number of stages; None: until no axis is longer, at most `MAX_STAGES`.
    """
    strides = [_strides(sides, LARGE)]
    sides = [-(-side // by) for side, by in zip(sides, strides[0], strict=True)]
    while len(strides) < (stages or MAX_STAGES) and (stages is not None or max(sides) > LAST_SIDE):
        strides.append(_strides(sides, LAST_SIDE + 1))
        sides = [side // by for side, by in zip(sides, strides[-1], strict=True)]
    return strides


def _strides(sides: Sequence[int], halved_from: int) -> Strides:
    first, second, third = (2 if side >= halved_from else 1 for side in sides)
    return first, second, third


class ConvNet3d(nn.Module):
    """3D ConvNet: blocks of convolution, batch normalisation and ReLU, with max pooling between them; a linear head.

    Args:
        channels: C of the input.
        sides: lengths of the three axes: (T, H, W) of clips, (Z, Y, X) of volumes.
        outputs: K.
        width: channels of the first stage; every further stage has twice as many.
        stages: number of convolutions; None: see `halvings`.
        dropout: fraction of the features that are set to zero before the head.
    """

    def __init__(
        self,
        channels: int,
        sides: Sequence[int],
        outputs: int,
        *,
        width: int = 16,
        stages: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        layers: list[tuple[str, nn.Module]] = []
        for stage, stride in enumerate(halvings(sides, stages)):
            if stage and max(stride) > 1:
                layers.append((f"pool{stage}", nn.MaxPool3d(stride)))
            layers.append((f"stage{stage + 1}", block(channels, width, stride if stage == 0 else (1, 1, 1))))
            channels, width = width, 2 * width
        self.features = nn.Sequential(OrderedDict(layers))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) or (B, C, Z, Y, X) to (B, K)."""
        y: Tensor = self.head(self.dropout(self.features(x).mean((2, 3, 4))))
        return y


def block(channels: int, width: int, stride: Strides) -> nn.Sequential:
    """3x3x3 convolution, batch normalisation, ReLU."""
    convolution = nn.Conv3d(channels, width, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(width), nn.ReLU())
