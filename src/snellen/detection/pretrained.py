"""Weights for a detector to begin with: those that torchvision learned on COCO, a file of them, or a run.

Source: Lin et al. 2014, "Microsoft COCO"; Yosinski, Clune, Bengio and Lipson 2014.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from snellen.core import files
from snellen.core.errors import DataError, EnvironmentProblem, UsageError, first_line
from snellen.core.record import read_record
from snellen.core.run import Run
from snellen.core.settings import Suggestion
from snellen.core.spec import Spec
from snellen.detection.checkpoints import Known
from snellen.detection.settings import PUBLISHED, Sight
from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.detector import Detector

# The parts of torchvision's detectors by their names here; what tells of classes keeps its random weights.
RENAMED = {
    "rpn.head": "body.proposals.head",
    "roi_heads.box_head": "body.regions.head",
    "roi_heads.box_predictor": "body.regions.predictor",
    "roi_heads.mask_head": "body.masks.head",
    "roi_heads.mask_predictor": "body.masks.predictor",
    "roi_heads.keypoint_head": "body.keypoints.head",
    "roi_heads.keypoint_predictor": "body.keypoints.predictor",
    "backbone": "body.backbone",
    "head": "body.head",
}
TOLD = ("regions.predictor.", "mask_fcn_logits.", "keypoints.predictor.", "classification_head.")  # tells of classes
GENTLE = 0.0002  # a tenth of the rate that suits random weights
UNLEARNED = ("pictures.", "threshold", "anchors.cells", "num_batches_tracked")  # what a file of weights need not hold


def there(sight: Sight, known: Known, learner: str) -> None:
    """Raises unless the weights to begin with are on this machine.

    Args:
        known: the published weights for each backbone that has some.
    Raises:
        EnvironmentProblem: with how to fetch them.
        UsageError: where a run or a file is not what can be begun with, or none are published.
    """
    origin = sight.origin
    if origin is None:
        return
    if origin == PUBLISHED:
        published(sight, known, learner)
        return
    path = Path(origin)
    if path.is_dir():
        other = read_record(path).learner
        if other != learner:
            raise UsageError(
                f"--pretrained {origin} is a run of {other}, not of {learner}", f"Take --model {other}, or another run."
            )
        path = path / "model.safetensors"
    if not path.is_file():
        raise UsageError(
            f"--pretrained {origin}: there is no {path}", f'Give a run, a file of weights, or "{PUBLISHED}".'
        )


def gentle(spec: Spec) -> Mapping[str, Suggestion]:
    """What a detector that begins with weights is suggested: a rate that does not undo them."""
    return {
        "lr": Suggestion(
            value=GENTLE,
            why="a tenth of the usual: the weights are learned already",
            when=lambda others: bool(others.get("pretrained")) and not others.get("from_scratch"),
        )
    }


def published(sight: Sight, known: Known, learner: str) -> Path:
    """The file of torchvision's weights in torch's own cache, its name's part of the SHA-256 checked."""
    if sight.backbone not in known:
        some = " or ".join(known)
        raise UsageError(
            f"There are no published weights of {learner} with the backbone {sight.backbone}",
            f"Take --backbone {some}, or begin without: --from-scratch" if known else "Begin without: --from-scratch",
        )
    from torchvision.models import get_model_weights

    url = str(get_model_weights(known[sight.backbone].name).DEFAULT.url)
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    remedy = f"Fetch them: snellen get {known[sight.backbone].name}; or begin without: --from-scratch"
    if not path.is_file():
        raise EnvironmentProblem(f"The published weights of {learner} are not here ({path})", remedy)
    begins = re.search(r"-([0-9a-f]{8,})\.", path.name)
    if begins and not files.sha256(path).startswith(begins[1]):
        raise EnvironmentProblem(
            f"{path} is not what was published: its SHA-256 does not begin with {begins[1]}", f"Remove it. {remedy}"
        )
    return path


def begin(sight: Sight, known: Known, learner: str, model: Detector, run: Run) -> None:
    """Puts the weights to begin with into a detector, once; what tells of other classes keeps its random weights.

    The scale of values and the anchors that a run learned with go with its weights, and are not fitted anew.
    """
    origin = sight.origin
    if origin is None:
        return

    def take() -> bool:
        path = published(sight, known, learner) if origin == PUBLISHED else Path(origin)
        found = tensors(path)
        new = fill(model, found, str(path))
        head = f"; new: {', '.join(new)}" if new else ""
        run.say(f"Begun with {path}{head}.")
        run.notes["pretrained"] = {"from": str(path), "new": new}
        return "pictures.standardize.mean" in found

    if run.once("pretrained", take):
        model.pictures.standardize.known = True
        for module in model.modules():
            if isinstance(module, Anchors):
                module.known = True


def tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a run or a file, by their names in a detector of ours."""
    path = path / "model.safetensors" if path.is_dir() else path
    if path.suffix == ".safetensors":
        return files.read_tensors(path)[0]
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
            raise ValueError("it holds more than tensors by name")
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise DataError(
            f"{path} holds no weights that can be read: {first_line(error)}",
            "Give a .safetensors file, or a state_dict saved by torch.",
        ) from error
    return {renamed(name): tensor for name, tensor in found.items()}


def renamed(name: str) -> str:
    """A name in torchvision's detectors to that here."""
    for theirs, ours in RENAMED.items():
        if name.startswith(theirs + "."):
            return ours + name[len(theirs) :]
    return name


def fill(model: nn.Module, given: Mapping[str, Tensor], where: str) -> list[str]:
    """Copies what fits, and returns the names of what tells of classes where that has another shape.

    Raises:
        UsageError: where anything else differs.
    """
    own, found = model.state_dict(), modern(model, given)
    fits = {name: tensor for name, tensor in found.items() if name in own and own[name].shape == tensor.shape}
    new = [name for name in own if name not in fits and not any(word in name for word in UNLEARNED)]
    wrong = [name for name in new if name not in found or not any(word in name for word in TOLD)]
    if wrong:
        has = found.get(wrong[0])
        shape = "is not in it" if has is None else f"is {tuple(has.shape)} there, {tuple(own[wrong[0]].shape)} here"
        raise UsageError(f"{where} does not fit: {wrong[0]} {shape}", "Give weights of the same detector.")
    model.load_state_dict({**own, **{name: tensor.to(own[name].dtype) for name, tensor in fits.items()}})
    return new


def modern(model: nn.Module, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by the names that torchvision's parts have today.

    Most of what it publishes was saved under older names. A part knows its own when it is loaded; those that hold
    nothing but other parts only rename, and are asked for that.
    """
    renamed = dict(found)
    for name, part in model.named_modules():
        bare = not part._parameters and not part._buffers
        if bare and type(part)._load_from_state_dict is not nn.Module._load_from_state_dict:
            part._load_from_state_dict(renamed, f"{name}.", {}, False, [], [], [])
    return renamed
