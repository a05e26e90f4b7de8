"""The public verbs `train`, `resume` and `load`, and what they return."""

from __future__ import annotations

from snellen.entry.finding import command_line, find_learner, find_task, new_folder, newest, refusal
from snellen.entry.machine import Machine, find_device
from snellen.entry.trained import Trained, load
from snellen.entry.training import prepare, resume, train

__all__ = [
    "Machine",
    "Trained",
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
