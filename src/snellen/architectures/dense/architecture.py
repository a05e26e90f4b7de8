"""Dense architecture: a network with a fixed number of outputs per pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor, nn

from snellen.core.learner import InputSize, no_suggestions, no_views
from snellen.core.run import Run
from snellen.core.settings import Suggestion
from snellen.core.spec import Modality, Preprocessing, Spec
from snellen.core.views import View
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.nn.dense.downscaled import downscaled
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.training.dense import TileSettings, resolve_tile_size, visits_per_epoch
from snellen.training.settings import TrainingSettings

TARGET_TILES = 4000  # tiles per training run: two minutes on two cores; small datasets gain little from more
SMALLEST_DOWNSCALED = 120  # pixels of the shorter side to which a ladder may reduce images


class DenseSettings(Protocol):
    """Setting groups common to all dense architectures."""

    @property
    def tiles(self) -> TileSettings: ...
    @property
    def training(self) -> TrainingSettings: ...
    @property
    def augment(self) -> SceneAugment: ...


C = TypeVar("C")


def load_nothing(settings: Any, network: Network, run: Run) -> None:
    """Default of `load_pretrained`: random initial weights."""


def require_nothing(settings: Any) -> None:
    """Default of `check_requirements`: no requirements."""


@dataclass(frozen=True, kw_only=True)
class DenseArchitecture(Generic[C]):
    """A network for every dense prediction task: segmentation, dense regression.

    Args:
        name, summary, source: as in `Learner`.
        settings: settings class, with the groups `tiles`, `training` and `augment` (see `DenseSettings`).
        body: settings, channels and K to a module (B, C, H, W) -> (B, K, H, W), for any H and W; of other inputs, such
            as (B, T, D) or (B, C, Z, Y, X), to (B, K, *places).
        accepts: the kinds of input that it reads.
        suggest: suggested settings for the data, besides the epochs.
        load_pretrained: loads pretrained weights, if its settings name any.
        check_requirements: raises EnvironmentProblem or UsageError if these are missing.
        model_views: views of a trained model of any task, from raw inputs.
        default_ladders: tasks whose ladder includes it by default.
    """

    name: str
    summary: str
    source: str
    settings: type[C]
    body: Callable[[C, int, int], nn.Module]
    accepts: frozenset[Modality] = frozenset({"image"})
    suggest: Callable[[Spec], Mapping[str, Suggestion]] = no_suggestions
    load_pretrained: Callable[[C, Network, Run], None] = load_nothing
    check_requirements: Callable[[C], None] = require_nothing
    model_views: Callable[[nn.Module, Tensor], list[View]] = no_views
    default_ladders: frozenset[str] = frozenset({"segment", "dense-regress"})

    def suggestions(self, spec: Spec) -> Mapping[str, Suggestion]:
        """Suggest more epochs for small datasets, fewer for large ones."""
        count = spec.sizes.get("train", 0)
        if not count:
            return {}
        tiles_per_epoch = count * visits_per_epoch(resolve_tile_size(TileSettings(), spec), spec)
        epochs = max(8, round(TARGET_TILES / tiles_per_epoch))
        reason = f"an epoch has {tiles_per_epoch:,} tiles of {count:,} images"
        if not spec.input.has_pixels:
            reason = f"an epoch visits {count:,} samples {tiles_per_epoch // count} times"
        return {"epochs": Suggestion(value=epochs, reason=reason), **self.suggest(spec)}

    def build(self, settings: Any, spec: Spec, outputs: int) -> Network:
        """Build the untrained network for the data."""
        body = downscaled(self.body(settings, channels(spec), outputs), settings.tiles.downscale)
        return Network(Standardize(spec.input, channels(spec)), body)

    def input_size(self, settings: Any, spec: Spec) -> InputSize | None:
        """Shorter side of the images, which `downscale` divides."""
        if spec.input.size is None:
            return None
        side, present = min(spec.input.size), settings.tiles.downscale
        smaller = [present * k for k in (2, 4) if side // (present * k) >= SMALLEST_DOWNSCALED]
        return InputSize("downscale", {side // factor: factor for factor in (present, *smaller)})

    def preprocessing_of(self, spec: Spec) -> Preprocessing:
        return dense_preprocessing(spec)


def dense_preprocessing(spec: Spec) -> Preprocessing:
    """Preprocessing that keeps the size; images get one number of channels."""
    return Preprocessing(channels=channels(spec)) if spec.input.has_pixels else Preprocessing()


def channels(spec: Spec) -> int:
    """Number of input channels or features; 3 if the data has greyscale and colour images."""
    return spec.input.shape[spec.input.feature_axis] or 3


class WholeSamples:
    """Mixin of the settings of networks that are trained on whole samples without augmentation: no tiles."""

    @property
    def tiles(self) -> TileSettings:
        return TileSettings()

    @property
    def augment(self) -> SceneAugment:
        return SceneAugment()  # not used for other samples than images
