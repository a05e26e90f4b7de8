"""Pretrained weights of detectors: torchvision's from COCO, a backbone's from ImageNet, a weights file, or a run.

Source: Lin et al. 2014, "Microsoft COCO"; Yosinski, Clune, Bengio and Lipson 2014.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from snellen.architectures import pretrained
from snellen.architectures.architecture import PUBLISHED
from snellen.architectures.efficientnet import EFFICIENTNET_LITE0
from snellen.core import file_io
from snellen.core.errors import UsageError
from snellen.core.record import read_record
from snellen.core.run import Run
from snellen.core.settings import Suggestion
from snellen.core.spec import Spec
from snellen.core.torch_file import read_state_dict
from snellen.detection.checkpoints import Checkpoints, has_imagenet_backbone
from snellen.detection.settings import BackboneSettings
from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.backbones import FeaturePyramid
from snellen.nn.detection.detector import DetectionNetwork

# Module names in torchvision's detectors to module names here.
TORCHVISION_NAMES = {
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
# Layers whose shape depends on the classes: they keep their random weights for other classes.
CLASS_LAYERS = ("regions.predictor.", "mask_fcn_logits.", "keypoints.predictor.", "classification_head.")
FINE_TUNING_LR = 0.0002  # a tenth of the learning rate for random weights
# Tensors that a weights file may lack.
OPTIONAL_TENSORS = ("pictures.", "threshold", "anchors.cells", "num_batches_tracked")


def check_weights(backbone_settings: BackboneSettings, checkpoints: Checkpoints, learner: str) -> None:
    """Check that the requested pretrained weights are available.

    Args:
        checkpoints: published checkpoints by backbone.
    Raises:
        MissingWeights: if they must be downloaded or installed first; the remedy says how.
        UsageError: if a run or file does not exist or is of another learner, or nothing is published.
    """
    initial_weights = backbone_settings.initial_weights
    if initial_weights is None:
        return
    if initial_weights == PUBLISHED:
        checkpoint_path(backbone_settings, checkpoints, learner)
        return
    path = Path(initial_weights)
    if path.is_dir():
        other_learner = read_record(path).learner
        if other_learner != learner:
            raise UsageError(
                f"--pretrained {initial_weights} is a run of {other_learner}, not of {learner}",
                f"Use --model {other_learner}, or give a run of {learner}.",
            )
        path = path / "model.safetensors"
    if not path.is_file():
        raise UsageError(
            f"--pretrained {initial_weights}: {path} does not exist",
            f'Give a run folder, a weights file, or "{PUBLISHED}".',
        )


def suggest_fine_tuning_lr(spec: Spec) -> Mapping[str, Suggestion]:
    """Suggest a lower learning rate for fine-tuning pretrained weights."""
    return {
        "lr": Suggestion(
            value=FINE_TUNING_LR,
            reason="fine-tuning of pretrained weights: a tenth of the usual learning rate",
            condition=lambda others: bool(others.get("pretrained")) and not others.get("from_scratch"),
        )
    }


def checkpoint_path(backbone_settings: BackboneSettings, checkpoints: Checkpoints, learner: str) -> Path:
    """Path of the published weights: of the backbone in its package, or torchvision's in the torch.hub cache."""
    backbone = backbone_settings.backbone
    if backbone == EFFICIENTNET_LITE0.name:
        return pretrained.checkpoint_path(EFFICIENTNET_LITE0)
    if backbone not in checkpoints:
        available = " or ".join([EFFICIENTNET_LITE0.name, *checkpoints])
        raise UsageError(
            f"There are no published weights of {learner} with the backbone {backbone}",
            f"Use --backbone {available}, or --from-scratch.",
        )
    return pretrained.published_file(checkpoints[backbone].name, learner)


def load_pretrained(
    backbone_settings: BackboneSettings, checkpoints: Checkpoints, learner: str, model: DetectionNetwork, run: Run
) -> None:
    """Load the pretrained weights into a detector, once; layers for other classes keep their random weights.

    The input statistics and the anchors of a run are loaded with its weights and not fitted again.
    """
    initial_weights = backbone_settings.initial_weights
    if initial_weights is None:
        return

    def load() -> bool:
        if has_imagenet_backbone(backbone_settings):
            load_backbone(model, run)
            return False
        is_published = initial_weights == PUBLISHED
        path = checkpoint_path(backbone_settings, checkpoints, learner) if is_published else Path(initial_weights)
        weights = read_weights(path)
        new = load_weights(model, weights, str(path))
        head = f"; new layers with random weights: {', '.join(new)}" if new else ""
        run.message(f"Pretrained weights loaded from {path}{head}.")
        run.notes["pretrained"] = {"from": str(path), "new": new}
        return "pictures.standardize.mean" in weights

    if run.once("pretrained", load):
        model.pictures.standardize.is_fixed = True
        for module in model.modules():
            if isinstance(module, Anchors):
                module.is_fixed = True


def load_backbone(model: DetectionNetwork, run: Run) -> None:
    """Load the published weights of EfficientNet-Lite0 into the backbone; the other layers keep random weights."""
    weights = pretrained.read_weights(EFFICIENTNET_LITE0, PUBLISHED)
    pyramid = model.body.backbone
    assert isinstance(pyramid, FeaturePyramid)
    pyramid.body.load_state_dict({name: weights.body[name] for name in pyramid.body.state_dict()})
    new = ["fpn", *(name for name, _ in model.body.named_children() if name not in ("backbone", "anchors"))]
    run.message(f"Pretrained weights of the backbone loaded from {weights.source}; random weights: {', '.join(new)}.")
    run.notes["pretrained"] = {"from": weights.source, "new": new}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a run or a weights file, by their names in a Snellen detector."""
    path = path / "model.safetensors" if path.is_dir() else path
    if path.suffix == ".safetensors":
        return file_io.read_tensors(path)[0]
    state_dict = read_state_dict(path)
    return {to_snellen_name(name): tensor for name, tensor in state_dict.items()}


def to_snellen_name(name: str) -> str:
    """Translate a tensor name of torchvision's detectors."""
    for torchvision_prefix, prefix in TORCHVISION_NAMES.items():
        if name.startswith(torchvision_prefix + "."):
            return prefix + name[len(torchvision_prefix) :]
    return name


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> list[str]:
    """Load the tensors of matching shape; return the names of class layers whose shape differs.

    Raises:
        UsageError: if any other layer differs.
    """
    current, available = model.state_dict(), upgrade_names(model, weights)
    matching = {
        name: tensor for name, tensor in available.items() if name in current and current[name].shape == tensor.shape
    }
    new = [name for name in current if name not in matching and not any(part in name for part in OPTIONAL_TENSORS)]
    mismatched = [name for name in new if name not in available or not any(part in name for part in CLASS_LAYERS)]
    if mismatched:
        tensor = available.get(mismatched[0])
        expected = tuple(current[mismatched[0]].shape)
        problem = "is missing" if tensor is None else f"has shape {tuple(tensor.shape)}, the model needs {expected}"
        raise UsageError(f"{source} does not fit: {mismatched[0]} {problem}", "Give weights of the same detector.")
    model.load_state_dict({**current, **{name: tensor.to(current[name].dtype) for name, tensor in matching.items()}})
    return new


def upgrade_names(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors to the module names of today's torchvision.

    Most published files have older names. Modules upgrade their own names in `_load_from_state_dict`; on modules
    without parameters and buffers that call only renames.
    """
    tensors = dict(weights)
    for name, module in model.named_modules():
        is_empty = not module._parameters and not module._buffers
        if is_empty and type(module)._load_from_state_dict is not nn.Module._load_from_state_dict:
            module._load_from_state_dict(tensors, f"{name}.", {}, False, [], [], [])
    return tensors
