"""Constant baseline of several targets: class frequencies, and the median of each number."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.learner import FLATTENED, Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size
from snellen.tasks.joint.objective import output_columns, output_count
from snellen.tasks.joint.task import TASK, constants


@settings
class BaselineJointSettings:
    """Settings of the baseline (none)."""


class ConstantTargets(nn.Module):
    """The same outputs for every input, (outputs,) of all targets, one after another."""

    constant: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.columns = output_columns(spec)
        self.register_buffer("constant", torch.zeros(output_count(spec), dtype=torch.float64))

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        return {name: self.constant[columns].expand(x.shape[0], -1) for name, columns in self.columns.items()}


def preprocessing_of(c: BaselineJointSettings, spec: Spec) -> Preprocessing:
    """One image size, so that images form batches; the pixels are not used."""
    return fixed_size(spec, max_side=128)


def build(c: BaselineJointSettings, spec: Spec) -> ConstantTargets:
    return ConstantTargets(spec)


def fit(c: BaselineJointSettings, data: Dataset[Labelled], model: ConstantTargets, run: Run) -> None:
    """Set the constant of each target."""
    for name, values in constants(data).items():
        model.constant[model.columns[name]] = values[0].double()
    model.to(run.device)


LEARNER = Learner[BaselineJointSettings, Dataset[Labelled], ConstantTargets](
    name="baseline",
    summary="Constant baseline: class frequencies, and the median of each number.",
    source="the constants with the smallest error of each target",
    task=TASK,
    accepts=FLATTENED,
    settings=BaselineJointSettings,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
)
