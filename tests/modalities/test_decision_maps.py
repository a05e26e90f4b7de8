"""Lines of decision maps: contour lines and class boundaries of known functions, on axes of different ranges."""

from __future__ import annotations

import torch
from raw_datasets import classes, seeded

from snellen.core.views import DecisionMap
from snellen.modalities.decision_maps import class_map, surface_map
from snellen.modalities.input_space import InputSpace, input_space


def space() -> InputSpace:
    """Axes of about −3 … 3 and 10 … 190."""
    x = torch.randn(80, 2, generator=seeded()) * torch.tensor([1.0, 30.0]) + torch.tensor([0.0, 100.0])
    data = classes(x, torch.arange(80) % 3, 3)
    result = input_space(None, data, data.spec, "test")
    assert result is not None
    return result


def boundary(view: DecisionMap) -> torch.Tensor:
    """(N, 2) points of its lines."""
    (lines,) = [line for line in view.lines if line.kind == "boundary"]
    return torch.tensor([point for path in lines.paths for point in path], dtype=torch.float64)


def test_contour_lines_are_where_the_surface_has_their_level() -> None:
    def surface(x: torch.Tensor) -> torch.Tensor:
        return x[:, :1] + x[:, 1:] / 50

    drawn = space()
    view = surface_map(drawn, "map", "z", surface, [samples.y.double() for samples in drawn.shown], None)
    assert view.x_range[1] - view.x_range[0] < (view.y_range[1] - view.y_range[0]) / 10
    values = surface(boundary(view))
    levels = torch.tensor(view.levels[1:-1], dtype=torch.float64)
    assert len(levels) > 4
    differences = (values - levels).abs()
    assert float(differences.min(1).values.max()) < 1e-4
    assert float(differences.min(0).values.max()) < 1e-4  # every level has a line


def test_the_boundary_between_every_two_of_three_classes_is_drawn() -> None:
    """Three half-lines that meet in (0, 100): the boundary of the last two classes does not touch the first."""

    def scores(x: torch.Tensor) -> torch.Tensor:
        height = (x[:, 1] - 100) / 30
        return torch.stack([-x[:, 0], height, -height], 1)

    drawn = space()
    view = class_map(drawn, "map", "abc", scores, [samples.y for samples in drawn.shown], None, probabilistic=False)
    points = boundary(view)
    best, order = scores(points).sort(1, descending=True)
    reach = min(abs(view.x_range[0]), view.x_range[1], *(abs(end - 100) / 30 for end in view.y_range))
    assert float((best[:, 0] - best[:, 1]).max()) < 0.1  # two grid cells at the meeting point; elsewhere 0
    assert float((best[:, 0] - best[:, 1]).quantile(0.9)) < 1e-4
    for pair in ([0, 1], [0, 2], [1, 2]):
        along = points[(order[:, :2].sort(1).values == torch.tensor(pair)).all(1), 0].abs().sort().values
        assert along[0] < 0.2
        assert along[-1] > 0.9 * reach
        assert float(along.diff().max()) < 0.2
