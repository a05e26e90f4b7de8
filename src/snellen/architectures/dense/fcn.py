"""Fully convolutional networks on the encoders that also classify, with their weights to begin with.

Source: Long, Shelhamer and Darrell 2015, "Fully convolutional networks for semantic segmentation"; lecture 003.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from snellen.architectures import ARCHITECTURES
from snellen.architectures.architecture import Architecture, Start
from snellen.architectures.dense.architecture import DenseArchitecture
from snellen.architectures.pretrained import read, standardize, there
from snellen.core.errors import UsageError, nearest
from snellen.core.run import Run
from snellen.core.settings import make, settings
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.nn.dense.fcn import FCN, Frozen
from snellen.nn.network import Network
from snellen.training.dense import Sight
from snellen.training.settings import TrainingSettings

PICTURE = 256  # pixels a side for which the encoder is built: one for photographs, not for stamps


@settings
class FCNSettings:
    """Which encoder sees the picture, how fine its maps are taken, and how it learns."""

    encoder: str = "resnet18"
    """A network that also classifies: resnet18, vgg16, mobilenetv2 ..."""
    stride: Literal["32", "16", "8", "4"] = "8"
    """Pixels between the points of the finest map whose scores are added: FCN-32s, 16s, 8s."""
    upsample: Literal["deconvolution", "nearest", "bilinear", "bicubic"] = "bilinear"
    """How scores are enlarged: by a transposed convolution that is learned, or by interpolation."""
    frozen_norm: bool = False
    """Leave batch normalisation as its weights came, for few tiles a step; for --pretrained only."""
    pretrained: str | None = None
    """Weights of the encoder to begin with: a run that classifies, a file, or "published"; none: random ones."""
    sight: Sight = Sight()
    descent: TrainingSettings = TrainingSettings(epochs=20, optimizer="adam", lr=0.001, schedule="one-cycle")
    augment: SceneAugment = SceneAugment(hflip=True, brightness=0.2)


def encoder_of(c: FCNSettings) -> Architecture[Any]:
    """Raises UsageError for a name that is none, or a network that reads no pictures."""
    seeing = {name: a for name, a in ARCHITECTURES.items() if "image" in a.accepts and "vector" not in a.accepts}
    if c.encoder not in seeing:
        raise UsageError(f"No network for pictures is called {c.encoder!r}", nearest(c.encoder, list(seeing)))
    return seeing[c.encoder]


def body(c: FCNSettings, channels: int, outputs: int) -> nn.Module:
    """Raises UsageError where the encoder cannot be taken apart."""
    architecture = encoder_of(c)
    seen = architecture.body(make(architecture.settings, {}), (channels, PICTURE, PICTURE), 1)
    try:
        made: nn.Module = FCN(seen, channels, outputs, int(c.stride), c.upsample)
    except (torch.fx.proxy.TraceError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"{c.encoder} has no maps that could be scored: {error}", "Take --encoder resnet18."
        ) from error
    return Frozen(made) if c.frozen_norm else made


def needs(c: FCNSettings) -> None:
    """Raises where the encoder's weights are missing, or frozen ones were never learned."""
    there(encoder_of(c), Start(pretrained=c.pretrained))
    if c.frozen_norm and c.pretrained is None:
        raise UsageError(
            "--frozen-norm without --pretrained would freeze what was never learned",
            "Give --pretrained, or leave --frozen-norm out.",
        )


def begin(c: FCNSettings, network: Network, run: Run) -> None:
    """Puts the encoder's weights in. What they were learned with goes with them; a resumed run reads nothing."""
    if c.pretrained is None:
        return

    def take() -> dict[str, Tensor]:
        weights = read(encoder_of(c), c.pretrained or "")
        fcn = network.body.body if c.frozen_norm else network.body
        assert isinstance(fcn, FCN)
        own = fcn.encoder.state_dict()
        wrong = [
            name for name, tensor in own.items() if name not in weights.body or weights.body[name].shape != tensor.shape
        ]
        if wrong:
            raise UsageError(
                f"{weights.where} does not fit {c.encoder}: {wrong[0]} is not there, or of another shape",
                "Give weights of the same network, learned from pictures of the same channels and size.",
            )
        fcn.encoder.load_state_dict({name: weights.body[name].to(tensor.dtype) for name, tensor in own.items()})
        run.say(f"The encoder begins with {weights.where}.")
        run.notes["pretrained"] = {"from": weights.where, "new": ["scores"]}
        return dict(weights.standardize)

    known = run.once("preprocessing", take)
    if known:
        standardize(network, known)


FCN_ANY = DenseArchitecture[FCNSettings](
    name="fcn",
    summary="FCN: scores from the maps of any encoder, added up from coarse to fine.",
    source="Long et al. 2015; lecture 003",
    settings=FCNSettings,
    body=body,
    begin=begin,
    needs=needs,
    in_default_ladder=False,
)
