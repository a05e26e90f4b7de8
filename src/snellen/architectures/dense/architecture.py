"""A dense architecture: a network that answers every pixel with so many numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from torch import nn

from snellen.core.run import Run
from snellen.core.settings import Suggestion
from snellen.core.spec import Preprocessing, Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.nn.network import Network
from snellen.training.dense import Sight, tile_of, visits
from snellen.training.settings import TrainingSettings

ENOUGH = 4000  # tiles: what two cores look at in two minutes, and few pictures teach little more


class DenseSettings(Protocol):
    """What the settings of every dense architecture hold beside its own."""

    @property
    def sight(self) -> Sight: ...
    @property
    def descent(self) -> TrainingSettings: ...
    @property
    def augment(self) -> SceneAugment: ...


C = TypeVar("C")


def nothing_to_begin_with(settings: Any, network: Network, run: Run) -> None:
    return None


def nothing_missing(settings: Any) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class DenseArchitecture(Generic[C]):
    """A network for every task that asks for numbers of every pixel.

    Args:
        name, summary, source: as in `Learner`.
        settings: its own beside `sight`, `descent` and `augment` (see `DenseSettings`).
        body: settings, channels and K to a module (B, C, H, W) -> (B, K, H, W), for any H and W.
        begin: puts weights to begin with into it, where its settings name any.
        needs: raises EnvironmentProblem or UsageError where these are missing.
        climbs: whether the ladder tries it unasked.
    """

    name: str
    summary: str
    source: str
    settings: type[C]
    body: Callable[[C, int, int], nn.Module]
    begin: Callable[[C, Network, Run], None] = nothing_to_begin_with
    needs: Callable[[C], None] = nothing_missing
    in_default_ladder: bool = True

    def suggested(self, spec: Spec) -> Mapping[str, Suggestion]:
        """So many epochs that few pictures are seen often, and many not too often."""
        count = spec.sizes.get("train", 0)
        if not count:
            return {}
        an_epoch = count * visits(tile_of(Sight(), spec), spec)
        epochs = max(8, round(ENOUGH / an_epoch))
        return {"epochs": Suggestion(value=epochs, why=f"an epoch sees {an_epoch:,} tiles of {count:,} pictures")}

    def preprocessing_of(self, spec: Spec) -> Preprocessing:
        return Preprocessing(channels=channels(spec))


def channels(spec: Spec) -> int:
    """Of the pictures as they are read: grey ones among coloured ones are read as coloured."""
    return spec.input.shape[0] or 3
