"""FCN (Long et al. 2015): fully convolutional network on a classification encoder, pretrained on request.

Source: Long, Shelhamer and Darrell 2015, "Fully convolutional networks for semantic segmentation"; lecture 003.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from snellen.architectures import ARCHITECTURES
from snellen.architectures.architecture import PUBLISHED, Architecture, InitSettings
from snellen.architectures.dense.architecture import DenseArchitecture, channels
from snellen.architectures.efficientnet import EFFICIENTNET_LITE0
from snellen.architectures.pretrained import check_weights, load_preprocessing, read_weights
from snellen.core.errors import UsageError, suggest_name
from snellen.core.run import Run
from snellen.core.settings import Suggestion, make, settings
from snellen.core.spec import PixelClasses, Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.nn.dense.fcn import FCN, FrozenBatchNorm
from snellen.nn.network import Network
from snellen.training.dense import TileSettings
from snellen.training.settings import TrainingSettings

FINE_TUNING_LR = 0.0005  # with published weights
IMAGE_SIZE = 256  # input size for which the encoder is built, so that it keeps the stem for large images


@settings
class FCNSettings:
    """Encoder, output stride, upsampling, pretrained weights, tiles, training and augmentation."""

    encoder: str = "resnet18"
    """Encoder: a classification architecture, such as resnet18, vgg16 or mobilenetv2."""
    stride: Literal["32", "16", "8", "4"] = "8"
    """Output stride in pixels of the finest feature map that is used: FCN-32s, 16s, 8s."""
    upsample: Literal["deconvolution", "nearest", "bilinear", "bicubic"] = "bilinear"
    """Upsampling of scores: deconvolution (learned transposed convolution) or interpolation."""
    frozen_norm: bool = False
    """Frozen batch normalisation: keeps the pretrained statistics, for small batches; needs --pretrained."""
    pretrained: str | None = None
    """Pretrained weights of the encoder: a run folder of a classifier, a weights file, or "published"; none: random;
    auto: published ones of efficientnet-lite0 to segment fewer than 5,000 colour images of 8 bits, else none."""
    from_scratch: bool = False
    """Random initial weights; overrides --pretrained."""
    tiles: TileSettings = TileSettings()
    training: TrainingSettings = TrainingSettings(epochs=20, optimizer="adam", lr=0.001, schedule="one-cycle")
    augment: SceneAugment = SceneAugment(hflip=True, brightness=0.2)

    @property
    def initial_weights(self) -> str | None:
        """Source of the initial weights of the encoder; None for random initialisation."""
        return None if self.from_scratch else self.pretrained


def encoder_of(c: FCNSettings) -> Architecture[Any]:
    """Architecture of the encoder.

    Raises:
        UsageError: if it does not exist or takes no images.
    """
    for_images = {name: a for name, a in ARCHITECTURES.items() if "image" in a.accepts and "vector" not in a.accepts}
    if c.encoder not in for_images:
        raise UsageError(f"Unknown encoder {c.encoder!r}", suggest_name(c.encoder, list(for_images)))
    return for_images[c.encoder]


def body(c: FCNSettings, channels: int, outputs: int) -> nn.Module:
    """Build the FCN.

    Raises:
        UsageError: if no feature maps can be extracted from the encoder.
    """
    architecture = encoder_of(c)
    encoder = architecture.body(make(architecture.settings, {}), (channels, IMAGE_SIZE, IMAGE_SIZE), 1)
    try:
        network: nn.Module = FCN(encoder, channels, outputs, int(c.stride), c.upsample)
    except (torch.fx.proxy.TraceError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"No feature maps can be extracted from {c.encoder}: {error}", "Use --encoder resnet18."
        ) from error
    return FrozenBatchNorm(network) if c.frozen_norm else network


def check_requirements(c: FCNSettings) -> None:
    """Check that the encoder's weights are available and --frozen-norm comes with --pretrained."""
    check_weights(encoder_of(c), InitSettings(pretrained=c.initial_weights))
    if c.frozen_norm and c.initial_weights is None:
        raise UsageError(
            "--frozen-norm without --pretrained would freeze untrained normalisation layers",
            "Give --pretrained, or omit --frozen-norm.",
        )


def load_pretrained(c: FCNSettings, network: Network, run: Run) -> None:
    """Load the encoder's pretrained weights with their preprocessing; a resumed run reads no file."""
    if c.initial_weights is None:
        return

    def load() -> dict[str, Tensor]:
        weights = read_weights(encoder_of(c), c.initial_weights or "")
        fcn = next(module for module in network.modules() if isinstance(module, FCN))
        current = fcn.encoder.state_dict()
        mismatched = [
            name
            for name, tensor in current.items()
            if name not in weights.body or weights.body[name].shape != tensor.shape
        ]
        if mismatched:
            raise UsageError(
                f"{weights.source} does not fit {c.encoder}: {mismatched[0]} is missing or has another shape",
                "Give weights of the same network, trained on images with the same channels and size.",
            )
        fcn.encoder.load_state_dict({name: weights.body[name].to(tensor.dtype) for name, tensor in current.items()})
        run.message(f"Pretrained weights of the encoder loaded from {weights.source}.")
        run.notes["pretrained"] = {"from": weights.source, "new": ["scores"]}
        return dict(weights.standardize)

    known = run.once("preprocessing", load)
    if known:
        load_preprocessing(network, known)


def suggest(spec: Spec) -> dict[str, Suggestion]:
    """Suggest the published weights of EfficientNet-Lite0 for the segmentation of few colour photographs.

    Numbers of every pixel are learned more slowly from frozen statistics: no weights are suggested.
    """
    pretrained = EFFICIENTNET_LITE0.suggestions(spec).get("pretrained")
    if pretrained is None or channels(spec) != 3 or not isinstance(spec.target, PixelClasses):
        return {}

    def applies(others: Mapping[str, Any]) -> bool:
        is_default = others.get("encoder") == EFFICIENTNET_LITE0.name and others.get("pretrained") == PUBLISHED
        return is_default and not others.get("from_scratch")

    fine_tuning = "fine-tuning of pretrained weights"
    values = {
        "encoder": (EFFICIENTNET_LITE0.name, "its published weights are a package"),
        "pretrained": (PUBLISHED, pretrained.reason),
        "stride": ("4", "fine outlines"),
        "frozen_norm": (True, f"{fine_tuning}: batches of few tiles have other statistics"),
        "lr": (FINE_TUNING_LR, fine_tuning),
    }
    return {name: Suggestion(value=value, reason=reason, condition=applies) for name, (value, reason) in values.items()}


FCN_ARCHITECTURE = DenseArchitecture[FCNSettings](
    name="fcn",
    summary="FCN: class scores from several feature maps of any encoder, upsampled and summed.",
    source="Long et al. 2015; lecture 003",
    settings=FCNSettings,
    body=body,
    suggest=suggest,
    load_pretrained=load_pretrained,
    check_requirements=check_requirements,
    default_ladders=frozenset({"segment"}),  # numbers are learned slowly: after few epochs no better than the baseline
)
