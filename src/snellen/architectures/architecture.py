"""An architecture: a network that answers whatever a task asks of it with so many numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar

from torch import nn

from snellen.core.errors import UsageError
from snellen.core.learner import nothing_suggested
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Classes, Modality, Preprocessing, Spec
from snellen.data.augment.images import Augment
from snellen.data.image_size import fixed_size
from snellen.training.settings import TrainingSettings

PUBLISHED = "published"  # the word for the weights that its authors, or torchvision, give away
FEW = 5000  # pictures below which published weights are better than a fresh start
SMALL = 64  # pixels of the shorter side up to which a network takes its stem for small pictures
SIDE = 224  # pixels a side that published weights were learned at
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation of 0 … 1, as torchvision has them


@settings
class Start:
    """Where the weights begin, and the size of what they see."""

    image_size: Annotated[int, Limit(least=8)] | None = None
    """Pixels a side that pictures are resized to; auto: their usual size, at most what the network usually sees."""
    pretrained: str | None = None
    """Weights to begin with: a run, a file, or "published"; auto: published for few, large pictures."""
    from_scratch: bool = False
    """Begin with random weights, whatever there is."""

    @property
    def origin(self) -> str | None:
        """The weights to begin with, or None for random ones."""
        return None if self.from_scratch else self.pretrained


class NetworkSettings(Protocol):
    """What the settings of every architecture hold beside its own."""

    @property
    def start(self) -> Start: ...
    @property
    def descent(self) -> TrainingSettings: ...
    @property
    def augment(self) -> Augment: ...


C = TypeVar("C")


@dataclass(frozen=True, kw_only=True)
class Architecture(Generic[C]):
    """A network for every task that asks for numbers of a picture, or of columns.

    Args:
        name, summary, source: as in `Learner`.
        settings: its own beside `start`, `descent` and `augment` (see `NetworkSettings`).
        body: settings, the shape of an input ((C, H, W) or (D,)) and K to a module (B, ...) -> (B, K). Its last
            `nn.Linear` is the head.
        least: pixels of the shorter side that it needs.
        most: pixels a side that larger pictures are resized to.
        suggest: settings for this data.
        weights: torchvision's name of its published weights.
        scaled: mean and deviation of each channel, in 0 … 1, that they were learned with.
        renamed: the name of a tensor in torchvision's file to its name in the body, or None where it has no place.
        climbs: whether the ladder tries it unasked; of a family the smallest does.
    """

    name: str
    summary: str
    source: str
    settings: type[C]
    body: Callable[[C, tuple[int, ...], int], nn.Module]
    accepts: frozenset[Modality] = frozenset({"image"})
    least: int = 1
    most: int = 128
    suggest: Callable[[Spec], Mapping[str, Suggestion]] = nothing_suggested
    weights: str | None = None
    scaled: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    renamed: Callable[[str], str | None] = str
    in_default_ladder: bool = True

    def suggested(self, spec: Spec) -> dict[str, Suggestion]:
        """Its suggestions, and published weights where they are worth having."""
        suggested = dict(self.suggest(spec))
        count = spec.sizes.get("train", 0)
        if self.weights is not None and 0 < count < FEW and large_photographs(spec):
            why = f"{count:,} pictures are few: published weights know what pictures look like"
            suggested["pretrained"] = Suggestion(value=PUBLISHED, why=why)
        return suggested

    def unsupported_reason(self, spec: Spec) -> str | None:
        if spec.modality != "image":
            return None
        size = spec.input.size
        if size is not None and min(size) < self.least:
            usually = "usually " if spec.input.typical_size is not None else ""
            return f"needs {self.least} pixels a side, these are {usually}{size[1]}x{size[0]}"
        return None

    def preprocessing_of(self, start: Start, spec: Spec) -> Preprocessing:
        if start.image_size is not None and start.image_size < self.least:
            raise UsageError(
                f"{self.name} needs {self.least} pixels a side, not {start.image_size}",
                f"Take --image-size {self.least} or more.",
            )
        if start.origin == PUBLISHED:
            side = start.image_size or SIDE
            return Preprocessing(size=(side, side), channels=3)
        return fixed_size(spec, most=self.most, asked=start.image_size)

    def built(self, chosen: Any, spec: Spec, outputs: int) -> nn.Module:
        """The untrained body for this data."""
        preprocessing = self.preprocessing_of(chosen.start, spec)
        if preprocessing.size is None:
            shape = tuple(side or 1 for side in spec.input.shape)
        else:
            assert preprocessing.channels is not None
            shape = (preprocessing.channels, *preprocessing.size)
        return self.body(chosen, shape, outputs)


def large_photographs(spec: Spec) -> bool:
    """Whether pictures are like those that published weights were learned from: 8 bits, larger than a stamp."""
    if spec.modality != "image" or spec.input.dtype != "uint8" or spec.input.shape[0] not in (1, 3, None):
        return False
    return spec.input.size is None or min(spec.input.size) > SMALL


def unmirrored_digits(spec: Spec) -> dict[str, Suggestion]:
    """What suits pictures of digits, and small pictures, where a network is used to photographs."""
    suggested = {}
    if isinstance(spec.target, Classes) and set(spec.target.names) <= set("0123456789"):
        suggested["hflip"] = Suggestion(value=False, why="digits change their meaning in a mirror")
    side = min(spec.input.size or (128, 128))
    if side < 32:
        suggested["pad_crop"] = Suggestion(value=side // 8, why=f"pictures of {side} pixels: shift them less")
    return suggested
