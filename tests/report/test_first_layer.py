"""The first layer in the report of a run: which networks have it, what the page shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from raw_datasets import classes, seeded
from scenes import depth_dataset, segmentation_dataset
from torch import Tensor, nn

from snellen.api import RunOptions, TrainedRun, train
from snellen.api.first_layer import first_layer_of
from snellen.core.errors import UsageError
from snellen.core.views import ImageGrid
from snellen.data.dataset import Dataset, Labelled
from snellen.report.first_layer import (
    compare_filters,
    deeper_views,
    filter_table,
    first_layer,
    first_layer_views,
    nearest,
)
from snellen.tasks import FROM_MODULE, LEARNERS


def colour_images(side: int = 32) -> Dataset[Labelled]:
    x = torch.randint(0, 256, (40, 3, side, side), generator=seeded(), dtype=torch.uint8)
    return classes(x, torch.arange(40) % 2, 2)


@pytest.fixture(scope="module")
def lenet_run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    torch.set_num_threads(1)
    x = torch.randint(0, 256, (60, 1, 16, 16), generator=seeded(), dtype=torch.uint8)
    folder = tmp_path_factory.mktemp("runs") / "lenet"
    return train(classes(x, torch.arange(60) % 2, 2), "lenet", out=folder, epochs=1, options=RunOptions())


@pytest.mark.parametrize(
    ("task", "name", "shape"),
    [
        ("classify", "convnet", (32, 3, 3, 3)),
        ("classify", "resnet20", (16, 3, 3, 3)),
        ("classify", "resnet18", (64, 3, 3, 3)),
        ("classify", "alexnet", (64, 3, 3, 3)),  # 11x11 from larger images
        ("segment", "unet", None),
        ("dense-regress", "unet", None),
    ],
)
def test_every_network_that_begins_with_a_convolution_has_it(
    task: str, name: str, shape: tuple[int, ...] | None
) -> None:
    data: Dataset[Labelled] = {
        "classify": lambda: colour_images(),
        "segment": lambda: segmentation_dataset(20),
        "dense-regress": lambda: depth_dataset(20),
    }[task]()
    learner = LEARNERS[task][name]
    model = learner.build(learner.settings(), data.spec).eval()
    x = data.example("train")
    layer = first_layer(learner.task, model, x, data.spec)
    assert layer is not None
    first = next(part for part in model.modules() if isinstance(part, nn.Conv2d))
    assert torch.equal(layer.filters, first.weight.detach())
    assert shape is None or tuple(layer.filters.shape) == shape
    assert layer.maps.shape[0] == len(layer.filters)
    assert not any(part._forward_hooks for part in model.modules())
    views = first_layer_views(learner.task, model, x, data.spec)
    titles = ["Filters of the first layer", "Feature maps of the first layer", "Feature maps of deeper layers"]
    assert [view.title for view in views] == titles
    assert isinstance(views[2], ImageGrid)
    assert 8 <= len(views[2].items) <= 32
    assert isinstance(views[0], ImageGrid)
    assert len(views[0].items) == min(16, len(layer.filters))


def test_the_maps_of_deeper_layers_are_the_outputs_of_the_convolutions() -> None:
    data = colour_images()
    learner = LEARNERS["classify"]["resnet20"]
    model = learner.build(learner.settings(), data.spec).eval()
    x = data.example("train")
    (grid,) = deeper_views(learner.task, model, x, data.spec)
    assert isinstance(grid, ImageGrid)
    outputs: dict[str, Tensor] = {}
    for name, part in model.named_modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda _, __, output, name=name: outputs.update({name: output.detach()[0]}))
    with torch.inference_mode():
        model.scores(x)
    names = dict.fromkeys(item.caption.split("\n")[0] for item in grid.items)
    assert len(names) == 4
    for start, name in zip(range(0, 32, 8), names, strict=True):
        (full,) = (values for key, values in outputs.items() if key.endswith(name))
        for k in range(8):
            assert torch.allclose(grid.items[start + k].values[0], full[k], atol=1e-5)
        assert f"map 1 of {len(full)}, {full.shape[2]}x{full.shape[1]}" in grid.items[start].caption
    assert "4 of 18 further convolutions" in grid.caption


class Scaled(nn.Conv2d):
    """A convolution that does not use its weights as they are."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


@pytest.mark.parametrize(
    "body",
    [
        [nn.Flatten(), nn.Linear(3 * 32 * 32, 2)],
        [nn.BatchNorm2d(3), nn.Conv2d(3, 4, 5), nn.Flatten(), nn.LazyLinear(2)],
        [nn.Conv2d(3, 3, 3, groups=3), nn.Flatten(), nn.LazyLinear(2)],
        [nn.Conv2d(3, 4, 1), nn.Flatten(), nn.LazyLinear(2)],
        [Scaled(3, 4, 3), nn.Flatten(), nn.LazyLinear(2)],
        [nn.Conv2d(3, 4, 5).requires_grad_(False), nn.Flatten(), nn.LazyLinear(2)],
    ],
    ids=["linear", "norm", "depthwise", "1x1", "subclass", "frozen"],
)
def test_other_networks_have_none(body: list[nn.Module]) -> None:
    data = colour_images()
    module = nn.Sequential(*body)
    module(torch.zeros(2, 3, 32, 32))
    learner = FROM_MODULE["classify"](module)
    model = learner.build(learner.settings(), data.spec).eval()
    assert first_layer_views(learner.task, model, data.example("train"), data.spec) == []


PIXELS = """img => {
    const canvas = document.createElement('canvas');
    canvas.width = img.naturalWidth; canvas.height = img.naturalHeight;
    const context = canvas.getContext('2d');
    context.drawImage(img, 0, 0);
    return [...context.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, k) => k % 4 === 0);
}"""


def test_the_report_shows_each_filter_beside_its_template_and_is_reproducible(
    lenet_run: TrainedRun, browser: Any
) -> None:
    path = lenet_run.folder / "report.html"
    first = path.read_text()
    assert lenet_run.report().read_text() == first
    layer = first_layer_of(lenet_run)
    expected = compare_filters(layer)
    context = browser.new_context(viewport={"width": 400, "height": 900}, offline=True)
    page = context.new_page()
    page.goto(path.resolve().as_uri())
    grid = page.locator("figure:has(h3:text-is('Filters of the first layer'))")
    items = grid.locator("li.image")
    assert items.count() == 6
    for index in range(6):
        item, one = items.nth(index), expected[index]
        assert item.locator("img").count() == 2
        text = item.inner_text()
        assert text.startswith(f"filter {index + 1}")
        if one.best is None:
            assert "resembles neither" in text
            near = nearest(one)
            assert f"nearest: {near.name}" in text
            assert item.locator("img").nth(1).get_attribute("alt") == f"nearest: {near.name}"
        else:
            assert one.best.name in text
            assert f"r {one.best.correlation:.2f}" in text
        boxes = [item.locator("img").nth(k).bounding_box() for k in (0, 1)]
        assert boxes[0]["width"] == pytest.approx(boxes[0]["height"], abs=1)
        assert boxes[0]["width"] < 120, "two filters a row on a phone"
        assert boxes[1]["x"] > boxes[0]["x"]
        template = item.locator("img").nth(1).evaluate(PIXELS)
        assert len(set(template)) > 1, "a template, of a filter that resembles neither the nearest"
        # The pixels of the picture are the weights: mid-grey is 0, the largest magnitude black or white.
        pixels = item.locator("img").first.evaluate(PIXELS)
        weights = layer.filters[index, 0]
        grey = ((weights / weights.abs().max() + 1) / 2 * 255).round().flatten()
        assert torch.equal(torch.tensor(pixels).float(), grey)
    maps = page.locator("figure:has(h3:text-is('Feature maps of the first layer')) li.image")
    assert maps.count() == 7
    has_percentage = any(one.best is not None for one in expected.values())
    caption = grid.locator("figcaption").inner_text()
    assert ("the percentage" in caption) == has_percentage
    assert ("“nearest: …”" in caption) == any(one.best is None for one in expected.values())
    deeper = page.locator("figure:has(h3:text-is('Feature maps of deeper layers')) li.image")
    assert [text.split("\n")[0] for text in deeper.all_inner_texts()] == ["features.3"] * 8
    assert page.get_by_text("Correlation of neighbouring pixels").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    context.close()


def test_the_table_of_a_run_has_the_numbers_of_the_report(lenet_run: TrainedRun) -> None:
    layer = first_layer_of(lenet_run)
    table = filter_table(layer)
    assert len(table.rows) == 6
    assert table.columns[:4] == ["filter", "resembles", "parameters", "r"]
    assert "6 filters of 5x5 on 1 channel, stride 1, padding (2, 2)" in layer.description
    assert torch.allclose(layer.raw_filters * layer.std.view(1, 1, 1, 1).float(), layer.filters)  # type: ignore[union-attr]


def test_a_run_without_a_convolution_is_an_error(tmp_path: Path) -> None:
    x = torch.randint(0, 256, (40, 1, 8, 8), generator=seeded(), dtype=torch.uint8)
    run = train(classes(x, torch.arange(40) % 2, 2), "softmax", out=tmp_path / "run", epochs=1)
    with pytest.raises(UsageError, match="does not begin with a trained convolution"):
        first_layer_of(run)
    rows = train("rings", "softmax", out=tmp_path / "rows", epochs=1)
    with pytest.raises(UsageError, match="reads vector, not an image"):
        first_layer_of(rows)
