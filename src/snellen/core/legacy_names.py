"""Names of version 0.1.0 and their present names: run folders of schema 1 are read, old flags still answer.

Old flags answer for one release; run folders of schema 1 stay readable.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snellen.core.settings import Setting

MAX_DEPTH = 50  # of nested JSON: a record has fewer than ten levels
TASKS = {"pixels": "dense-regress"}

# A setting with two new names has another one in another learner (R-CNN's crop).
SETTINGS: dict[str, tuple[str, ...]] = {
    "accumulate": ("grad_accum_steps",),
    "act": ("activation",),
    "at": ("centers",),
    "average": ("ema_decay",),
    "bypass": ("residual",),
    "clip": ("clip_grad",),
    "colour": ("channel_scale",),
    "crop": ("pad_crop", "region_size"),
    "cut": ("random_crop",),
    "flip": ("hflip",),
    "growth": ("growth_rate",),
    "hard": ("ohem_fraction",),
    "longer": ("max_size",),
    "most": ("max_proposals",),
    "noise": ("noise_std",),
    "order": ("degree",),
    "passes": ("epochs",),
    "path_width": ("width_per_group",),
    "penalty": ("alpha",),
    "pool": ("roi_pooling",),
    "proposals": ("max_proposals",),
    "rate": ("lr",),
    "regions": ("rois_per_image",),
    "search_side": ("search_size",),
    "shift": ("translate",),
    "shorter": ("min_size",),
    "staged": ("detach_masks",),
    "strength": ("C",),
    "tile": ("tile_size",),
    "turn": ("rot90",),
    "unit": ("residual_unit",),
    "width": ("bandwidth",),
}
VALUES = {"relu-only-before": "relu-only-pre-activation", "all-before": "full-pre-activation", "each": "shuffle"}

DATA_FLAGS = {"--as": "--data-format", "--allow-loss": "--allow-skipped"}
FLAGS: dict[str, dict[str, str]] = {
    "data": {**DATA_FLAGS, "--seed": "--split-seed"},
    "evaluate": DATA_FLAGS,
    "ladder": DATA_FLAGS,
    "predict": {"--like": "--coco-annotations"},
    "serve": {
        "--batch": "--batch-size",
        "--connections": "--max-connections",
        "--most-bytes": "--max-bytes",
        "--most-inputs": "--max-inputs",
        "--most-pixels": "--max-pixels",
        "--patience": "--io-timeout",
        "--queue": "--max-queue",
    },
    "study": {**DATA_FLAGS, "--seed": "--split-seed"},
    "train": {**DATA_FLAGS, "--keep-test-closed": "--skip-test"},
}

_CLASSES = {
    "Asked": "OpenOptions",
    "Measured": "Measurement",
    "Reading": "Preprocessing",
    "Usual": "TypicalSize",
}
_KEYS = {
    "Input": {"usual": "typical_size"},
    "OpenOptions": {"allow_loss": "allow_skipped"},
    "Record": {"reading": "preprocessing", "span": "value_range"},
}
_PREDICTIONS = {"finds": "num_detections", "objects": "num_objects"}


def setting_name(name: str, known: Collection[str]) -> str:
    """The present name of a setting among those that a learner has; `name` itself where there is none."""
    return name if name in known else next((new for new in SETTINGS.get(name, ()) if new in known), name)


def setting_value(text: str, choices: Collection[str]) -> str:
    """The present form of a choice among those that a setting has; `text` itself if there is none."""
    present = VALUES.get(text, text)
    return present if text not in choices and present in choices else text


def upgrade(plain: Any, depth: int = 0) -> Any:
    """JSON of schema 1 with the present names of classes and their fields; what lies deeper than any record stays."""
    if isinstance(plain, list) and depth < MAX_DEPTH:
        return [upgrade(entry, depth + 1) for entry in plain]
    if not isinstance(plain, dict) or depth >= MAX_DEPTH:
        return plain
    kind = plain.get("is")
    kind = _CLASSES.get(kind, kind) if isinstance(kind, str) else kind
    keys = _KEYS.get(kind, {}) if isinstance(kind, str) else {}
    made = {}
    for key, value in plain.items():
        name = keys.get(key, key)
        made[key if name in plain else name] = upgrade(value, depth + 1)  # both names: the old one stays unknown
    return {**made, "is": kind} if "is" in plain else made


def upgrade_record(
    plain: Mapping[str, Any], settings_of: Callable[[str], Mapping[str, Mapping[str, Setting]]]
) -> dict[str, Any]:
    """`run.json` of schema 1 as it is written now; `settings_of` gives a learner's settings by task and name."""
    made: dict[str, Any] = upgrade({"is": "Record", **plain})
    made["schema"] = 2
    task, learner, settings = made.get("task"), made.get("learner"), made.get("settings")
    if isinstance(task, str):
        made["task"] = task = TASKS.get(task, task)
    if isinstance(made.get("data"), dict):
        made["data"] = upgrade_origin(made["data"])
    if made.get("source_hash") is not None:
        # Settings of custom learners are upgraded where the learner is known. The hash of a module covers settings
        # and functions of Snellen, too, whose names have changed.
        if isinstance(settings, dict) and {"accumulate", "average", "clip"} <= set(settings):
            made["source_hash"] = "unknown"
    elif isinstance(task, str) and isinstance(learner, str):
        known = settings_of(learner).get(task, {})
        for part in ("settings", "sources"):
            if isinstance(made.get(part), dict):
                made[part] = upgrade_settings(made[part], known)
    return made


def upgrade_settings(plain: Mapping[str, Any], known: Mapping[str, Setting]) -> dict[str, Any]:
    """Settings of schema 1 by the names and choices that a learner has now; `known` holds its settings by name."""
    made = {}
    for former, value in plain.items():
        name = setting_name(former, known)
        name = former if name in plain else name  # both names: the old one stays unknown
        choices = known[name].choices if name in known else ()
        made[name] = setting_value(value, choices) if isinstance(value, str) else value
    return made


def upgrade_origin(plain: Mapping[str, Any]) -> dict[str, Any]:
    """How data was opened (`Dataset.origin`), as of schema 1."""
    return {"options" if key == "asked" else key: value for key, value in upgrade(dict(plain)).items()}


def upgrade_predictions(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Predictions of schema 1 by their present names."""
    return {_PREDICTIONS.get(name, name): value for name, value in tensors.items()}
