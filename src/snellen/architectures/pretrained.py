"""Weights to begin with: those that torchvision publishes, a file of them, or any run of Snellen's.

Source: Yosinski, Clune, Bengio and Lipson 2014, "How transferable are features in deep neural networks?".
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snellen.architectures.architecture import PUBLISHED, Architecture, Start
from snellen.core import files
from snellen.core.errors import DataError, EnvironmentProblem, UsageError, first_line, shown
from snellen.core.record import read_record
from snellen.core.run import Run
from snellen.nn.network import Network

BODY, STANDARDIZE = "network.body.", "network.standardize."  # where a run's model keeps them


class MissingWeights(EnvironmentProblem):
    """Published weights that are not on this machine."""


class Weights(NamedTuple):
    """Tensors of a body by name, and the preprocessing that they were learned with (empty where it is not known)."""

    body: Mapping[str, Tensor]
    standardize: Mapping[str, Tensor]
    where: str


def there(architecture: Architecture[Any], start: Start) -> None:
    """Raises unless the weights to begin with are on this machine.

    Raises:
        MissingWeights: with how to fetch them.
        UsageError: where a run or a file is not what can be begun with.
    """
    origin = start.origin
    if origin is None:
        return
    if origin == PUBLISHED:
        published(architecture)
        return
    path = Path(origin)
    if path.is_dir():
        learner = read_record(path).learner
        if learner != architecture.name:
            raise UsageError(
                f"--pretrained {origin} is a run of {learner}, not of {architecture.name}",
                f"Take --model {learner}, or another run.",
            )
        path = path / "model.safetensors"
    if not path.is_file():
        raise UsageError(
            f"--pretrained {origin}: there is no {path}", f'Give a run, a file of weights, or "{PUBLISHED}".'
        )


def begin(architecture: Architecture[Any], start: Start, network: Network, run: Run) -> None:
    """Puts the weights to begin with into a network. What differs in shape, its head, keeps its random weights.

    The preprocessing that the weights were learned with goes with them. A resumed run reads nothing: what it had
    learned is put back by `run.keep`.
    """
    if start.origin is None:
        return

    def take() -> dict[str, Tensor]:
        weights = read(architecture, start.origin or "")
        replaced = fill(network.body, weights, architecture.name)
        head = f"; new: {', '.join(replaced)}" if replaced else ""
        run.say(f"Begun with {weights.where}{head}.")
        run.notes["pretrained"] = {"from": weights.where, "new": replaced}
        return dict(weights.standardize)

    known = run.once("preprocessing", take)
    if known:
        standardize(network, known)


def standardize(network: Network, known: Mapping[str, Tensor]) -> None:
    """The preprocessing that goes with weights, where it is of the same kind; it is not learned anew."""
    own = network.standardize.state_dict()
    if all(name in known and known[name].shape == tensor.shape for name, tensor in own.items()):
        network.standardize.load_state_dict(dict(known))
        network.standardize.known = True


def fill(body: nn.Module, weights: Weights, name: str) -> list[str]:
    """Copies weights into a body; returns the names of its head where that has another shape.

    Raises:
        UsageError: where anything but the head differs, or there is more than the body holds.
    """
    own = body.state_dict()
    more = sorted(weights.body.keys() - own.keys())
    taken_off = {n.rpartition(".")[0] for n in more if _was_head(body, n, weights)}  # a probe has no head
    more = [n for n in more if n.rpartition(".")[0] not in taken_off]
    last = [n for n, m in body.named_modules() if isinstance(m, nn.Linear)][-1:]
    head = {f"{last[0]}.{part}" for part in ("weight", "bias")} if last and not taken_off else set()
    fits = {n: t for n, t in weights.body.items() if n in own and own[n].shape == t.shape}
    missing = [n for n in own if n not in fits]
    if set(missing) - head or (missing and set(missing) != head & set(own)):
        wrong = sorted(set(missing) - head)[0] if set(missing) - head else missing[0]
        has = weights.body.get(wrong)
        shape = "is not in it" if has is None else f"is {tuple(has.shape)} there, {tuple(own[wrong].shape)} here"
        raise UsageError(
            f"{weights.where} does not fit {name}: {wrong} {shape}",
            "Give weights of the same network, learned from pictures of the same channels and size.",
        )
    if more:  # those of a deeper network may hold all that this one has
        raise UsageError(
            f"{weights.where} does not fit {name}, which has no {shown(more[0])}", "Give weights of the same network."
        )
    body.load_state_dict({**own, **{n: t.to(own[n].dtype) for n, t in fits.items()}})
    return missing


def _was_head(body: nn.Module, name: str, weights: Weights) -> bool:
    """Whether a tensor belongs to a linear layer in whose place nothing is now."""
    owner, _, part = name.rpartition(".")
    matrix = weights.body.get(f"{owner}.weight")
    there = dict(body.named_modules()).get(owner)
    return isinstance(there, nn.Identity) and part in ("weight", "bias") and matrix is not None and matrix.ndim == 2


def read(architecture: Architecture[Any], origin: str) -> Weights:
    """The weights that a run, a file or the word "published" stands for."""
    if origin == PUBLISHED:
        path = published(architecture)
        mean, std = (torch.tensor(part, dtype=torch.float64) * 255 for part in architecture.scaled)
        known = {"mean": mean, "std": std, "low": torch.tensor(0.0), "high": torch.tensor(255.0)}
        return Weights(_torch_file(path, architecture), known, f"the published weights {path.name}")
    path = Path(origin)
    if path.is_dir():
        path = path / "model.safetensors"
    if path.suffix != ".safetensors":
        return Weights(_torch_file(path, architecture), {}, str(path))
    tensors, _ = files.read_tensors(path)
    body = {n.removeprefix(BODY): t for n, t in tensors.items() if n.startswith(BODY)}
    known = {n.removeprefix(STANDARDIZE): t for n, t in tensors.items() if n.startswith(STANDARDIZE)}
    return Weights(body or tensors, known, origin)


def published(architecture: Architecture[Any]) -> Path:
    """The file of torchvision's weights in torch's own cache, its name's part of the SHA-256 checked.

    Raises:
        MissingWeights: where it is not there, or not whole.
    """
    name = architecture.weights
    if name is None:
        raise UsageError(f"There are no published weights of {architecture.name}", "Begin with a run, or a file.")
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    from torchvision.models import get_model_weights

    wanted = str(get_model_weights(name).DEFAULT.url).rpartition("/")[2]
    path = cache / wanted
    remedy = f"Fetch them: snellen get {name}; or begin without: --from-scratch"
    if not path.is_file():
        raise MissingWeights(f"The published weights of {architecture.name} are not here ({path})", remedy)
    sum_ = re.search(r"-([0-9a-f]{8,})\.", path.name)
    if sum_ and not files.sha256(path).startswith(sum_[1]):
        raise MissingWeights(
            f"{path} is not what was published: its SHA-256 does not begin with {sum_[1]}", f"Remove it. {remedy}"
        )
    return path


def _torch_file(path: Path, architecture: Architecture[Any]) -> dict[str, Tensor]:
    """Tensors of a file that torch wrote, by their names in the body; read without running what it may name."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
            found = found["state_dict"]
        if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
            raise ValueError("it holds more than tensors by name")
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{path} holds no weights that can be read: {first_line(error)}",
            "Give a .safetensors file, or a state_dict saved by torch.",
        ) from error
    named = {architecture.renamed(str(name).removeprefix("module.")): tensor for name, tensor in found.items()}
    return {name: tensor for name, tensor in named.items() if name is not None}
