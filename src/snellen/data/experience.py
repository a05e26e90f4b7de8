"""Opening a dataset or a world by name, and what only a dataset has: samples that can be listed and read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import UsageError
from snellen.core.experience import Experience
from snellen.core.spec import Preprocessing
from snellen.core.views import Finding
from snellen.data.check.checks import with_deferred_checks
from snellen.data.dataset import Dataset, Labelled
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.data.synthetic import gridworld
from snellen.data.world import World

WORLDS: Mapping[str, Callable[[int], Any]] = {**gridworld.WORLDS}  # functions of a seed


def open_experience(data: str | Path | Experience, *, seed: int = 0, options: OpenOptions | None = None) -> Experience:
    """Open a dataset or a world by name or path; one that is open already is returned.

    Args:
        seed: of generated splits and built-in data; of the episodes of a world.
        options: of a dataset.
    Raises:
        UsageError: for an option that a world does not have. DataError: see `dataset`.
    """
    if not isinstance(data, str | Path):
        return data
    opener: Callable[..., Experience] = world if str(data) in WORLDS else dataset
    return opener(str(data), seed=seed, options=options)


def world(name: str, *, seed: int = 0, options: OpenOptions | None = None) -> World:
    """Open a built-in world.

    Raises:
        UsageError: for an option of a dataset.
    """
    options = options or OpenOptions()
    default = OpenOptions()
    given = [f.name for f in dataclasses.fields(options) if getattr(options, f.name) != getattr(default, f.name)]
    if given:
        flag = {"format": "data-format"}.get(given[0], given[0].replace("_", "-"))
        raise UsageError(f"{name} is a world, which has no samples: --{flag} does not apply", f"Omit --{flag}.")
    opened: World = WORLDS[name](seed)
    return dataclasses.replace(opened, origin={"data": name, "seed": seed, "options": options})


def samples_of(data: Experience) -> Dataset[Labelled] | None:
    """The dataset, whose samples can be listed and read; None for a world, which has none."""
    return data if isinstance(data, Dataset) else None


def require_samples(data: Experience, purpose: str) -> Dataset[Labelled]:
    """The dataset. Raises UsageError for a world.

    Args:
        purpose: of the samples, as in "to check".
    """
    samples = samples_of(data)
    if samples is None:
        raise UsageError(
            f"{data.spec.name} is a world: it has episodes, and no samples {purpose}",
            f"Train a policy: snellen train {data.spec.name}",
        )
    return samples


def is_annotated(data: Experience) -> bool:
    """Whether the targets are located in images, see `Annotations`."""
    samples = samples_of(data)
    return samples is not None and samples.annotations is not None


def read_inputs(data: Experience, ids: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(B, ...) inputs of samples, or first observations of episodes."""
    samples = samples_of(data)
    if samples is not None:
        return samples.source.read(np.asarray(ids.cpu()), preprocessing)
    episodes = cast(World, data)  # an experience without samples
    return torch.stack([episodes.reset(int(id)).observation for id in ids])


def with_deferred_findings(data: Experience) -> tuple[Experience, list[Finding]]:
    """Run the checks of a dataset that were deferred, see `with_deferred_checks`; a world has none."""
    samples = samples_of(data)
    return (data, []) if samples is None else with_deferred_checks(samples)
