"""Python interface: `train`, `resume` and `load`."""

from __future__ import annotations

from snellen.api.lookup import (
    command_line,
    find_learner,
    find_task,
    for_task,
    new_folder,
    newest_run,
    unsupported_reason,
)
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
    "for_task",
    "load",
    "new_folder",
    "newest_run",
    "prepare",
    "resume",
    "train",
    "unsupported_reason",
]
