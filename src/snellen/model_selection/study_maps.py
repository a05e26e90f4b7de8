"""Maps of the cells of a study over one or two inputs, side by side: of each cell the seed or fold in the middle."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from snellen.api import load
from snellen.api.lookup import is_builtin
from snellen.core.errors import SnellenError
from snellen.core.experience import Experience
from snellen.core.views import View
from snellen.model_selection.study_results import CellResult, Training

MAX_MAPS = 12  # cells


def cell_maps(rows: Sequence[CellResult], data: Experience) -> tuple[list[View], str]:
    """The map of each cell, at most MAX_MAPS, and a sentence on which training it shows; none for other inputs.

    Args:
        data: of the study; runs over folds reopen their own.
    """
    maps: list[View] = []
    for row in rows:
        training = middle_training(row)
        if training is None:
            continue
        if len(maps) == MAX_MAPS:
            break
        try:
            view = _map_of(row, training, data)
        except SnellenError:  # the run has been changed or removed since; the study remains
            continue
        if view is None:
            return [], ""
        maps.append(view)
    more = "" if len(maps) < MAX_MAPS else f" At most {MAX_MAPS} cells are shown."
    which = "Each map is of the training run with the median validation result (of an even number, the lower)"
    return maps, f"{which}, with training and validation samples.{more}" if maps else ""


def middle_training(row: CellResult) -> Training | None:
    """The training with the median validation result; of an even number the lower."""
    done = [
        (training.validation.value, k)
        for k, training in enumerate(row.trainings)
        if training.status == "done" and training.validation is not None and training.validation.value is not None
    ]
    return row.trainings[sorted(done)[(len(done) - 1) // 2][1]] if done else None


def _map_of(row: CellResult, training: Training, data: Experience) -> View | None:
    run = load(Path(training.folder), learner=None if is_builtin(row.cell.learner) else row.cell.learner)
    is_seed = training.label.startswith("seed")
    own = dataclasses.replace(data, preprocessing=run.record.preprocessing) if is_seed else run.data
    views = run.learner.task.input_maps(run.model, own, run.record.spec, "val")
    if not views:
        return None
    title = f"{row.cell.label}: {training.validation}, {training.label.replace('-', ' ')}"
    return dataclasses.replace(views[0], title=title)
