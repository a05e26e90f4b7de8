"""Snellen: train, evaluate and compare machine-perception models on a folder of data.

    data = snellen.dataset("photos/")
    run = snellen.train(data, model="resnet18", epochs=20, seed=0)
    run.metrics["accuracy"]; run.predict("cat.jpg"); run.report()

Public names are imported on first use: importing snellen does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snellen.api import RunOptions, TrainedRun, load, resume, train
    from snellen.cli.main import main
    from snellen.core.errors import (
        DataError,
        Diverged,
        EnvironmentProblem,
        SnellenError,
        Stopped,
        UsageError,
    )
    from snellen.core.learner import Learner
    from snellen.core.run import Run
    from snellen.core.settings import Limit, Suggestion, settings
    from snellen.core.spec import Spec
    from snellen.core.task import Task
    from snellen.data.dataset import Dataset, Labelled
    from snellen.data.open_dataset import dataset
    from snellen.model_selection.comparison import compare
    from snellen.model_selection.cross_validation import cross_validate
    from snellen.model_selection.ladder import ladder
    from snellen.model_selection.study import study

_MODULES = {
    "Suggestion": "snellen.core.settings",
    "DataError": "snellen.core.errors",
    "Dataset": "snellen.data.dataset",
    "Diverged": "snellen.core.errors",
    "EnvironmentProblem": "snellen.core.errors",
    "Labelled": "snellen.data.dataset",
    "Learner": "snellen.core.learner",
    "Limit": "snellen.core.settings",
    "RunOptions": "snellen.api",
    "Run": "snellen.core.run",
    "SnellenError": "snellen.core.errors",
    "Spec": "snellen.core.spec",
    "Stopped": "snellen.core.errors",
    "Task": "snellen.core.task",
    "TrainedRun": "snellen.api",
    "UsageError": "snellen.core.errors",
    "compare": "snellen.model_selection.comparison",
    "cross_validate": "snellen.model_selection.cross_validation",
    "dataset": "snellen.data.open_dataset",
    "ladder": "snellen.model_selection.ladder",
    "load": "snellen.api",
    "main": "snellen.cli.main",
    "resume": "snellen.api",
    "settings": "snellen.core.settings",
    "study": "snellen.model_selection.study",
    "train": "snellen.api",
}

__all__ = [
    "DataError",
    "Dataset",
    "Diverged",
    "EnvironmentProblem",
    "Labelled",
    "Learner",
    "Limit",
    "Run",
    "RunOptions",
    "SnellenError",
    "Spec",
    "Stopped",
    "Suggestion",
    "Task",
    "TrainedRun",
    "UsageError",
    "compare",
    "cross_validate",
    "dataset",
    "ladder",
    "load",
    "main",
    "resume",
    "settings",
    "study",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        former = {"Because": "Suggestion", "Machine": "RunOptions", "Trained": "TrainedRun"}
        hint = f": it is now called {former[name]}" if name in former else ""
        raise AttributeError(f"module 'snellen' has no attribute {name!r}{hint}")
    import importlib

    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
