"""The networks of timm, about a thousand of them, by name.

Source: Wightman 2019, "PyTorch image models".
"""

from __future__ import annotations

from typing import cast

from torch import nn

from snellen.architectures.architecture import Architecture, Start, unmirrored_digits
from snellen.core.errors import EnvironmentProblem, UsageError, nearest
from snellen.core.settings import settings
from snellen.data.augment.images import Augment
from snellen.training.settings import TrainingSettings


@settings
class ZooSettings:
    """Which network, where its weights start, and how it learns."""

    encoder: str = "resnet10t"
    """The network, by timm's name."""
    start: Start = Start()
    descent: TrainingSettings = TrainingSettings(
        epochs=12, batch_size=32, optimizer="adamw", lr=0.001, weight_decay=0.05, warmup=0.1
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


def body(c: ZooSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Raises EnvironmentProblem where timm is not installed, UsageError for a name it does not know."""
    try:
        import timm
    except ImportError:
        raise EnvironmentProblem(
            "The learner timm needs timm, which is not installed", 'Type: pip install "snellen[zoo]"'
        ) from None
    if c.encoder not in timm.list_models():
        raise UsageError(f"timm knows no {c.encoder!r}", nearest(c.encoder, timm.list_models()))
    channels, height, width = shape
    how = {"num_classes": outputs, "in_chans": channels}
    try:
        made = timm.create_model(c.encoder, **how, img_size=(height, width))
    except TypeError:  # most take pictures of any size
        made = timm.create_model(c.encoder, **how)
    return cast(nn.Module, made)


TIMM = Architecture[ZooSettings](
    name="timm",
    summary="Any network of timm's thousand, by its name.",
    source="Wightman 2019",
    settings=ZooSettings,
    body=body,
    least=32,  # most of them halve a picture five times
    suggest=unmirrored_digits,
    in_default_ladder=False,
)
