"""Default networks of each kind of input; for images, pretrained for few photographs if its weights are installed."""

from __future__ import annotations

from collections.abc import Mapping

from snellen.architectures.audio import LOG_MEL_CONVNET
from snellen.architectures.convnet3d import CONVNET3D
from snellen.architectures.efficientnet import EFFICIENTNET_LITE0
from snellen.architectures.pointnet import POINTNET
from snellen.architectures.pretrained import has_published_weights
from snellen.architectures.recurrent import GRU_NETWORK
from snellen.core.spec import Modality, Spec

MLP_SIZE = 12  # shorter side in pixels below which convolutions have too little to pool
LENET_SIZE = 32  # longer side in pixels up to which grey images need no larger network

FUSION = "fusion"  # of several inputs
DEFAULTS: Mapping[Modality, str] = {
    "sequence": GRU_NETWORK.name,
    "audio": LOG_MEL_CONVNET.name,
    "clip": CONVNET3D.name,
    "volume": CONVNET3D.name,
    "points": POINTNET.name,
}


def default_for(spec: Spec, of_rows: str = "mlp") -> str:
    """Name of the default model of data with one answer for each sample.

    Args:
        of_rows: that of rows, and of kinds of input that have no network of their own.
    """
    if len(spec.inputs) > 1:
        return FUSION
    return default_network(spec) if spec.input.has_pixels else DEFAULTS.get(spec.modality, of_rows)


def default_network(spec: Spec) -> str:
    """Name of the default network for images."""
    if has_pretrained_default(spec):
        return EFFICIENTNET_LITE0.name
    size = spec.input.size
    if size is None:
        return "resnet18"
    if min(size) < MLP_SIZE:
        return "mlp"
    return "lenet" if spec.input.shape[0] == 1 and max(size) <= LENET_SIZE else "resnet18"


def has_pretrained_default(spec: Spec) -> bool:
    """Whether the data are few photographs, and the weights of EfficientNet-Lite0 are installed."""
    return "pretrained" in EFFICIENTNET_LITE0.suggestions(spec) and has_published_weights(EFFICIENTNET_LITE0)
