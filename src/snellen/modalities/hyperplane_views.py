"""Table of the signed distances of training samples from the hyperplane of a linear classifier, in raw units."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from snellen.core.views import Cell, Table, Text, View
from snellen.data.dataset import Dataset, Labelled
from snellen.data.formats.table_targets import split_unit
from snellen.geometry.hyperplane import boundary_distance, signed_distance
from snellen.modalities.input_space import InputSpace
from snellen.nn.piecewise_linear import LinearLayers

NUM_ROWS = 5  # nearest, and farthest, samples
MAX_COLUMNS = 4  # whose values are shown
MAX_TERMS = 6  # of the equation of the hyperplane


def distance_view(
    space: InputSpace,
    data: Dataset[Labelled],
    names: Sequence[str],
    truth: Tensor,
    layers: LinearLayers,
) -> View:
    """The nearest and the farthest training samples of a linear classifier.

    Of two classes: the signed distance from the hyperplane, positive on the side of the second class. Of more: the
    distance from the boundary of the predicted class, with the class across it.

    Args:
        names: of the classes. truth: (N,) int64 classes of `space.train`.
        layers: one linear layer to the scores of the classes.
    """
    w, b = layers.weights[0], layers.biases[0]
    x = torch.from_numpy(space.train.coordinates)
    if len(names) == 2:
        normal, offset = w[1] - w[0], b[1] - b[0]
        if float(normal.abs().max()) == 0:
            cause = "All weights are zero: the model has no hyperplane, and predicts one class everywhere."
            return Text(title="Signed distance from the hyperplane", lines=[cause], level="warning")
        distance = signed_distance(normal, offset, x)
        predicted = (distance > 0).long()
        extra, extra_column = [], []
        title = "Signed distance from the hyperplane"
        caption = (
            f"Distance h = (w · x + b) / ‖w‖ in the raw units of the columns, the standardisation of the model folded "
            f"in; positive on the side of {names[1]}. The hyperplane h = 0: {equation(normal, offset, space.names)}."
        )
    else:
        predicted, neighbour, distance = boundary_distance(w, b, x)
        extra_column = ["class across the boundary"]
        extra = [names[k] for k in neighbour.tolist()]
        title = "Distance from the decision boundary"
        caption = (
            "Distance in the raw units of the columns, the standardisation of the model folded in: the smallest of "
            "(s_k − s_j) / ‖w_k − w_j‖ over the other classes j, with k the predicted class and s the scores."
        )
    order = torch.argsort(distance.abs(), stable=True).tolist()
    rows_of = [("nearest", k) for k in order[:NUM_ROWS]]
    rows_of += [("farthest", k) for k in order[max(NUM_ROWS, len(order) - NUM_ROWS) :]]
    shown = space.names[:MAX_COLUMNS]
    rows: list[list[Cell]] = []
    for which, k in rows_of:
        wrong = " (wrong)" if int(predicted[k]) != int(truth[k]) else ""
        rows.append(
            [
                f"{which}: {data.name(int(space.train.ids[k]))}",
                f"{float(distance[k]):.4g}",
                *(f"{v:.5g}" for v in x[k, : len(shown)].tolist()),
                names[int(truth[k])],
                f"{names[int(predicted[k])]}{wrong}",
                *extra[k : k + 1],
            ]
        )
    if len(space.names) > MAX_COLUMNS:
        caption += f" Columns: the first {MAX_COLUMNS} of {len(space.names)}."
    units = {split_unit(name)[1] for name in space.names}
    unit = f" [{units.pop()}]" if len(units) == 1 and units != {""} else ""
    if len(units) > 1:
        caption += " The columns have different units, so a distance has none: it depends on their choice."
    columns = ["training sample", f"distance{unit}", *shown, "true class", "predicted", *extra_column]
    return Table(title=title, columns=columns, rows=rows, caption=caption)


def equation(w: Tensor, b: Tensor, names: Sequence[str]) -> str:
    """The equation w · x + b = 0 with ‖w‖ = 1, such as "0.6 a − 0.8 b + 2 = 0"."""
    norm = torch.linalg.vector_norm(w)
    terms = [(float(v), f" {name}") for v, name in zip(w / norm, names, strict=True)][:MAX_TERMS]
    terms += [(float(b / norm), "")]
    text = " ".join(f"{'−' if v < 0 else '+'} {abs(v):.4g}{name}" for v, name in terms)
    more = " + … " if len(names) > MAX_TERMS else ""
    text = text.removeprefix("+ ") if text.startswith("+") else text.replace("− ", "−", 1)
    return f"{text}{more} = 0"
