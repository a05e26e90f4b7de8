"""Any image model of timm, by name.

Source: Wightman 2019, "PyTorch image models".
"""

from __future__ import annotations

from typing import cast

from torch import nn

from snellen.architectures.architecture import Architecture, InitSettings, suggest_augmentation
from snellen.core.errors import EnvironmentProblem, UsageError, suggest_name
from snellen.core.settings import settings
from snellen.data.augment.images import Augment
from snellen.training.settings import TrainingSettings


@settings
class TimmSettings:
    """Model name, initial weights, training and augmentation."""

    encoder: str = "resnet10t"
    """Encoder: name of the timm model."""
    init: InitSettings = InitSettings()
    training: TrainingSettings = TrainingSettings(
        epochs=12, batch_size=32, optimizer="adamw", lr=0.001, weight_decay=0.05, warmup=0.1
    )
    augment: Augment = Augment(hflip=True, pad_crop=4)


def body(c: TimmSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Create a timm model.

    Raises:
        EnvironmentProblem: if timm is not installed.
        UsageError: for an unknown model name.
    """
    try:
        import timm
    except ImportError:
        raise EnvironmentProblem(
            "The model timm needs the package timm, which is not installed", 'Run: pip install "snellen[zoo]"'
        ) from None
    if c.encoder not in timm.list_models():
        raise UsageError(f"Unknown encoder {c.encoder!r} of timm", suggest_name(c.encoder, timm.list_models()))
    channels, height, width = shape
    options = {"num_classes": outputs, "in_chans": channels}
    try:
        model = timm.create_model(c.encoder, **options, img_size=(height, width))
    except TypeError:  # most models take images of any size
        model = timm.create_model(c.encoder, **options)
    return cast(nn.Module, model)


TIMM = Architecture[TimmSettings](
    name="timm",
    summary="timm: any of its about 1,000 image models, by name.",
    source="Wightman 2019",
    settings=TimmSettings,
    body=body,
    min_size=32,  # most models halve the resolution five times
    suggest=suggest_augmentation,
    in_default_ladder=False,
)
