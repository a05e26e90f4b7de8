"""Small runs shared by the tests of the report."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from snellen.api import RunOptions, TrainedRun, train
from snellen.core.spec import Classes, Input, Labels, Numbers
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.source import ArraySource

REPORT = RunOptions()

HOSTILE_NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "two\nlines\tand\x00more",
    "\u202egnp.exe",
    "$\\frac{1}{",
    "_hidden",
    "שלום & \u65e5\u672c",
    '--><b>]]>\' d="1.23456"',
    "https://example.org/a.png",
    "{x}%s %(y)s",
)


class ParsedPage(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="session")
def hostile_names() -> tuple[str, ...]:
    return HOSTILE_NAMES


@pytest.fixture(scope="session")
def parsed_page() -> type[ParsedPage]:
    return ParsedPage


def hostile_images() -> Dataset[Labelled]:
    """Noise images whose names contain markup and control characters."""
    rng = torch.Generator().manual_seed(0)
    truth = torch.arange(200) % len(HOSTILE_NAMES)
    return assemble(
        RawDataset(
            source=ArraySource(
                torch.randint(0, 256, (200, 3, 8, 8), generator=rng, dtype=torch.uint8),
                [f"{HOSTILE_NAMES[int(k)]}/{i}<i>.png" for i, k in enumerate(truth)],
            ),
            inputs={"image": Input(modality="image", shape=(3, 8, 8), dtype="uint8")},
            target=Classes(names=HOSTILE_NAMES),
            truth=truth,
            recognised_as="images of <b>bold</b> origin",
        ),
        "<img src=y>",
        0,
        None,
    )


def numbers() -> Dataset[Labelled]:
    """Rows with a linear target and little noise."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(300, 3, generator=rng, dtype=torch.float64)
    noise = 0.1 * torch.randn(300, generator=rng, dtype=torch.float64)
    t = (x @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + noise)[:, None]
    return assemble(
        RawDataset(
            source=ArraySource(x, "row"),
            inputs={"row": Input(modality="vector", shape=(3,), dtype="float64")},
            target=Numbers(names=("depth",), units=("mm",)),
            truth=t,
            recognised_as="a table",
        ),
        "wells",
        0,
        None,
    )


def several_labels() -> Dataset[Labelled]:
    """Rows with three labels, each a threshold on one input; the third is rare."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(400, 4, generator=rng, dtype=torch.float64)
    truth = (x[:, :3] > torch.tensor([0.0, 0.5, 1.5], dtype=torch.float64)).float()
    return assemble(
        RawDataset(
            source=ArraySource(x, "row"),
            inputs={"row": Input(modality="vector", shape=(4,), dtype="float64")},
            target=Labels(names=("warm", "wet", "windy")),
            truth=truth,
            recognised_as="a table",
        ),
        "weather",
        0,
        None,
    )


@pytest.fixture(scope="session")
def labels_run(tmp_path_factory: pytest.TempPathFactory, training_seed: int) -> TrainedRun:
    torch.set_num_threads(1)
    return train(
        several_labels(), "softmax", options=REPORT, out=tmp_path_factory.mktemp("runs") / "labels", epochs=60, lr=0.02
    )


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory, training_seed: int) -> TrainedRun:
    """A healthy network on the built-in digits."""
    torch.set_num_threads(1)
    return train("digits", "mlp", options=REPORT, out=tmp_path_factory.mktemp("runs") / "mlp", epochs=30)


@pytest.fixture(scope="session")
def hostile_names_run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    torch.set_num_threads(1)
    return train(hostile_images(), "softmax", options=REPORT, out=tmp_path_factory.mktemp("runs") / "hostile", epochs=2)


@pytest.fixture(scope="session")
def numbers_run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    torch.set_num_threads(1)
    return train(numbers(), "least-squares", options=REPORT, out=tmp_path_factory.mktemp("runs") / "numbers")


@pytest.fixture(scope="session")
def surface_run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """An image as a surface, with snapshots of its training."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs")
    y, x = np.mgrid[:16, :24]
    Image.fromarray((x * 6 + y * 5).astype(np.uint8)).save(folder / "photo.png")
    settings = {"task": "regress", "hidden": (8,), "epochs": 5}
    return train(folder / "photo.png", "mlp", options=REPORT, out=folder / "surface", **settings)
