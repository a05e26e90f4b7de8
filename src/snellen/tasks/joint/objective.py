"""Joint objective: the sum of the losses of the targets."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Classes, Labels, Numbers, Several, Spec
from snellen.data.dataset import Dataset, Labelled, Samples, truth_of
from snellen.nn.network import Network
from snellen.tasks.joint.task import parts_of


@settings
class JointSettings:
    """Networks of the targets."""

    separate: bool = False
    """Separate networks: one for each target, trained side by side, in place of one network for all."""


def output_count(spec: Spec) -> int:
    """Number of outputs of all targets."""
    return sum(len(part.names) for part in parts_of(spec).values())


def output_columns(spec: Spec) -> dict[str, slice]:
    """Outputs of the network of each target: one for each class, label or number."""
    columns, start = {}, 0
    for name, part in parts_of(spec).items():
        columns[name] = slice(start, start + len(part.names))
        start += len(part.names)
    return columns


class JointNetwork(nn.Module):
    """Predictor of several targets from a network whose outputs are those of all targets, one after another.

    Numbers are standardised in training; mean, std: (outputs,) float64 of the training targets, 0 and 1 for classes.

    Args:
        separate: each target has a copy of the network, and uses its own outputs of it only.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, spec: Spec, separate: bool) -> None:
        super().__init__()
        self.network = network
        self.columns = output_columns(spec)
        self.of_numbers = {name for name, part in parts_of(spec).items() if isinstance(part, Numbers)}
        others = list(self.columns)[1:] if separate else []
        self.others = nn.ModuleDict({str(k): copy.deepcopy(network) for k in range(len(others))})
        self.register_buffer("mean", torch.zeros(output_count(spec), dtype=torch.float64))
        self.register_buffer("std", torch.ones(output_count(spec), dtype=torch.float64))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, ...) raw inputs to the outputs of each target: logits, or standardised numbers."""
        values = [network(x) for network in (self.network, *self.others.values())]
        return {
            name: values[k if self.others else 0][:, columns] for k, (name, columns) in enumerate(self.columns.items())
        }

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """(B, ...) raw inputs to the outputs of each target: logits, or numbers in the user's units."""
        return {
            name: values.double() * self.std[self.columns[name]] + self.mean[self.columns[name]]
            if name in self.of_numbers
            else values
            for name, values in self(x).items()
        }

    def standard(self, name: str, y: Tensor) -> Tensor:
        """(B, T) numbers of a target in the user's units to float32 of zero mean and unit variance."""
        return ((y - self.mean[self.columns[name]]) / self.std[self.columns[name]]).float()


def fit_scaling(model: JointNetwork, data: Dataset[Labelled]) -> None:
    """Standardise the numbers by the training split."""
    target = data.spec.target
    assert isinstance(target, Several)
    train = data.truth[data.splits["train"]]
    for name in model.of_numbers:
        y, columns = truth_of(target, name, train), model.columns[name]
        std = y.std(0, correction=0)
        varies = (y.amax(0) > y.amin(0)) & (std > 0)
        model.mean[columns] = y.mean(0)
        model.std[columns] = torch.where(varies, std, torch.ones_like(std))


class JointObjective:
    """Sum over the targets of their losses: cross-entropy of classes, binary cross-entropy of labels, squared error of
    numbers in standard deviations.

    Args:
        run: `run.loss` is the user's loss, if there is one; called with the outputs and the ground truth of each
            target, by name, numbers in the user's units.
    """

    def __init__(self, spec: Spec, joint: JointSettings, run: Run) -> None:
        assert isinstance(spec.target, Several)
        self.target = spec.target
        self.custom_loss = run.loss

    def loss(self, model: JointNetwork, batch: Labelled) -> Tensor:
        truths = {name: truth_of(self.target, name, batch.y) for name in self.target.names}
        if self.custom_loss is not None:
            return self.custom_loss(model.outputs(batch.x), truths)
        outputs = model(batch.x)
        losses = self.losses(model, outputs, truths)
        return torch.stack(list(losses.values())).sum()

    def losses(
        self, model: JointNetwork, outputs: Mapping[str, Tensor], truths: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Loss of each target."""
        losses = {}
        for name, part in self.target.parts.items():
            if isinstance(part, Classes):
                losses[name] = nn.functional.cross_entropy(outputs[name], truths[name])
            elif isinstance(part, Labels):
                losses[name] = nn.functional.binary_cross_entropy_with_logits(outputs[name], truths[name])
            else:
                losses[name] = nn.functional.mse_loss(outputs[name], model.standard(name, truths[name]))
        return losses

    def score(self, model: JointNetwork, samples: Samples) -> float:
        """Validation score: minus the training loss, so that weights are selected by what they are trained for."""
        total = torch.zeros((), dtype=torch.float64)
        for batch in samples.in_order(512):
            total += self.loss(model, batch).double().cpu() * len(batch.y)
        return -float(total) / len(samples)

    def weights(self, samples: Samples) -> Tensor | None:
        return None
