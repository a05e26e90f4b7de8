"""Models whose answers are of places in a picture: what is served is what `predict` says, at any size."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blocks
import numpy as np
import pytest
import scenes
from process import FORM, form, png

import snellen
from snellen.api import RunOptions, TrainedRun
from snellen.data.dataset import Dataset, Labelled
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.serving.description import example
from snellen.serving.http_errors import Refused
from snellen.serving.inference_queue import Desk
from snellen.serving.limits import limits
from snellen.serving.request import inputs

MODELS: dict[str, tuple[Callable[[], Dataset[Labelled]], dict[str, Any]]] = {
    "unet": (scenes.segmented, {"epochs": 1, "batch_size": 8, "width": 8, "depth": 2}),
    "detect baseline": (blocks.boxes, {}),
    "instances baseline": (blocks.masked, {}),
    "keypoints baseline": (blocks.posed, {}),
    "fcos": (blocks.boxes, {"epochs": 1, "batch_size": 4}),
}
SIZES = [(40, 40), (64, 30), (40, 40), (1, 1), (3, 90)]


@pytest.fixture(scope="module", params=MODELS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    data, settings = MODELS[request.param]
    out = tmp_path_factory.mktemp("places") / "run"
    made = snellen.train(
        data(), model=request.param.split()[-1], out=out, options=RunOptions(threads=1, report=False), **settings
    )
    if hasattr(made.model, "threshold"):  # they have learned too little to be sure of anything
        made.model.threshold.fill_(0.0)  # type: ignore[operator, union-attr]
    return made


def served(trained: TrainedRun, files: list[tuple[str, bytes]], batch: int) -> list[Any]:
    """Each file in a request of its own, all at once."""
    chosen = limits("image", {"batch_size": batch})

    async def ask() -> list[Any]:
        desk = Desk(trained, chosen)
        try:
            asked = [
                functools.partial(inputs, form([file]), FORM, trained.spec, trained.record.preprocessing, chosen)
                for file in files
            ]
            answers = await asyncio.gather(*(desk.ask(each).done for each in asked))
            return [json.loads(answer)["answers"][0] for answer in answers]
        finally:
            desk.close()

    return asyncio.run(asyncio.wait_for(ask(), 60))


def test_what_is_served_is_what_predict_says(trained: TrainedRun, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    channels = trained.spec.input.shape[0]
    shapes = [size if channels == 1 else (*size, 3) for size in SIZES]
    files = [(f"{k}.png", png(draw.integers(0, 256, shape, dtype=np.uint8))) for k, shape in enumerate(shapes)]
    for name, content in files:
        (tmp_path / name).write_bytes(content)
    alone = [json.loads(json.dumps(next(trained.answers([tmp_path / name])))) for name, _ in files]
    said = [{**answer, "input": Path(answer["input"]).name} for answer in alone]
    assert served(trained, files, batch=1) == said
    together = served(trained, files, batch=4)
    assert [list(answer) for answer in together] == [list(answer) for answer in said]
    assert any(answer.get("objects") or answer.get("segments") for answer in said)
    if "baseline" in trained.record.learner:
        assert [len(answer["objects"]) for answer in together] == [len(answer["objects"]) for answer in said]


def test_flow_is_asked_of_two_files(tmp_path: Path) -> None:
    out = tmp_path / "run"
    shapes = dataset("shapes", options=OpenOptions(target=("flow",)))
    few = dataclasses.replace(shapes, splits={name: ids[:4] for name, ids in shapes.splits.items()})
    trained = snellen.train(
        few, out=out, options=RunOptions(threads=1, report=False), epochs=1, batch_size=4, width=4, depth=1
    )
    draw = np.random.default_rng(0)
    files = [(name, png(draw.integers(0, 256, (24, 32, 3), dtype=np.uint8))) for name in ("a.png", "b.png", "c.png")]
    for name, content in files:
        (tmp_path / name).write_bytes(content)
    (alone,) = trained.answers([tmp_path / "a.png", tmp_path / "b.png"])
    chosen = limits("image", {})

    async def ask(some: list[tuple[str, bytes]]) -> list[Any]:
        desk = Desk(trained, chosen)
        try:
            asked = functools.partial(inputs, form(some), FORM, trained.spec, trained.record.preprocessing, chosen)
            return json.loads(await asyncio.wait_for(desk.ask(asked).done, 60))["answers"]  # type: ignore[no-any-return]
        finally:
            desk.close()

    (said,) = asyncio.run(ask(files[:2]))
    assert {**said, "input": str(tmp_path / "a.png")} == json.loads(json.dumps(alone))
    several = asyncio.run(ask([*files[:2], *files[1:]]))
    assert [answer["input"] for answer in several] == ["a.png", "b.png"]
    with pytest.raises(Refused, match=r"c.png has no second frame"):
        asyncio.run(ask(files))
    small = ("d.png", png(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)))
    with pytest.raises(Refused, match=r"a.png is 32x24 pixels, its second frame d.png 8x8"):
        asyncio.run(ask([files[0], small]))
    assert example(trained) == "-F file=@before.png -F file=@after.png"
