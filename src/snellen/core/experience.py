"""Experience: what a learner learns from and is tested on, the samples of a dataset or the episodes of a world."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from snellen.core.spec import Preprocessing, Spec
from snellen.core.views import Finding


class Experience(Protocol):
    """Samples (`Dataset`) or episodes (`World`) in splits, with their spec.

    A frozen dataclass: `dataclasses.replace` makes a copy with other splits or another preprocessing.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def spec(self) -> Spec:
        """The contract with the model: inputs, target, sizes of the splits."""

    @property
    def splits(self) -> Mapping[str, Tensor]:
        """ "train", "val", "test" to ids of samples, or seeds of episodes, int64."""

    @property
    def origin(self) -> Mapping[str, Any] | None:
        """How it is opened again; None if it was made in memory."""

    @property
    def recognised_as(self) -> str:
        """One sentence: what it was recognised as."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings of the check of the data."""

    @property
    def preprocessing(self) -> Preprocessing:
        """From the source to the inputs of the model."""

    def name(self, id: int) -> str:
        """Name of a sample, or of an episode."""

    def example(self, split: str, device: torch.device | str = "cpu") -> Tensor:
        """(1, ...) first input of a split, preprocessed for the model."""
