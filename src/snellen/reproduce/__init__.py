"""Published tables and what they give here: one file a table, and what was measured under `results/`."""

from __future__ import annotations

from snellen.reproduce import initialisation, mnist, mnist_mlp, optimizers, parameters
from snellen.reproduce.table import Table

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        initialisation.TABLE,
        optimizers.TABLE,
        mnist.TABLE,
        mnist_mlp.TABLE,
        parameters.TABLE,
    )
}
