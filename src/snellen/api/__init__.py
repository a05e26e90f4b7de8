"""The public verbs `train`, `resume` and `load`, and what they return."""

from __future__ import annotations

from snellen.api.lookup import command_line, find_learner, find_task, new_folder, newest, refusal
from snellen.api.run_options import RunOptions, find_device
from snellen.api.trained_run import TrainedRun, load
from snellen.api.training import prepare, resume, train

__all__ = [
    "RunOptions",
    "TrainedRun",
    "command_line",
    "find_device",
    "find_learner",
    "find_task",
    "load",
    "new_folder",
    "newest",
    "prepare",
    "refusal",
    "resume",
    "train",
]
