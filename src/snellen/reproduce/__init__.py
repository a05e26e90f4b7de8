"""Reproduction of published tables: one module per table, measured results in `results/`."""

from __future__ import annotations

from snellen.reproduce import (
    approximation,
    curve_fit,
    depth,
    initialisation,
    mnist,
    mnist_lenet,
    mnist_mlp,
    optimizers,
    parameters,
    resnext,
    roi_align,
    surface,
    units,
)
from snellen.reproduce.table import PublishedTable

TABLES: dict[str, PublishedTable] = {
    table.name: table
    for table in (
        curve_fit.TABLE,
        surface.TABLE,
        approximation.TABLE,
        initialisation.TABLE,
        optimizers.TABLE,
        mnist.TABLE,
        mnist_mlp.TABLE,
        mnist_lenet.TABLE,
        parameters.TABLE,
        depth.TABLE,
        units.TABLE,
        resnext.TABLE,
        roi_align.TABLE,
    )
}
