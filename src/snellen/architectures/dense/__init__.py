"""Network architectures for dense prediction, simplest first."""

from __future__ import annotations

from typing import Any

from snellen.architectures.dense import dilated, fcn, recurrent, step_mlp, unet, unet3d
from snellen.architectures.dense.architecture import DenseArchitecture

DENSE: dict[str, DenseArchitecture[Any]] = {
    architecture.name: architecture
    for architecture in (
        step_mlp.STEP_MLP,
        recurrent.STEP_RNN,
        recurrent.STEP_LSTM,
        recurrent.STEP_GRU,
        unet.ENCODER_DECODER,
        unet.UNET,
        dilated.DILATED,
        fcn.FCN_ARCHITECTURE,
        unet3d.UNET_3D,
    )
}
# The default network of each kind of input; others have the baseline only.
DEFAULTS = {"image": unet.UNET.name, "sequence": recurrent.STEP_GRU.name, "volume": unet3d.UNET_3D.name}
