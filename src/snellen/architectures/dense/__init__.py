"""Network architectures for dense prediction, simplest first."""

from __future__ import annotations

from typing import Any

from snellen.architectures.dense import dilated, fcn, unet
from snellen.architectures.dense.architecture import DenseArchitecture

DENSE: dict[str, DenseArchitecture[Any]] = {
    architecture.name: architecture
    for architecture in (
        unet.ENCODER_DECODER,
        unet.UNET,
        dilated.DILATED,
        fcn.FCN_ARCHITECTURE,
    )
}
