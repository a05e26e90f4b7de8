"""Serving models of image regions: responses equal those of `predict` at every image size."""

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
from snellen.serving.description import curl_arguments
from snellen.serving.http_errors import HTTPError
from snellen.serving.inference_queue import InferenceQueue
from snellen.serving.limits import limits
from snellen.serving.request import inputs

MODELS: dict[str, tuple[Callable[[], Dataset[Labelled]], dict[str, Any]]] = {
    "unet": (scenes.segmentation_dataset, {"epochs": 1, "batch_size": 8, "width": 8, "depth": 2}),
    "detect baseline": (blocks.box_dataset, {}),
    "instances baseline": (blocks.mask_dataset, {}),
    "keypoints baseline": (blocks.keypoint_dataset, {}),
    "fcos": (blocks.box_dataset, {"epochs": 1, "batch_size": 4}),
}
SIZES = [(40, 40), (64, 30), (40, 40), (1, 1), (3, 90)]


@pytest.fixture(scope="module", params=MODELS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    data, settings = MODELS[request.param]
    out = tmp_path_factory.mktemp("places") / "run"
    run = snellen.train(
        data(), model=request.param.split()[-1], out=out, options=RunOptions(threads=1, report=False), **settings
    )
    if hasattr(run.model, "threshold"):  # trained too little for any score above the threshold
        run.model.threshold.fill_(0.0)  # type: ignore[operator, union-attr]
    return run


def served(trained: TrainedRun, files: list[tuple[str, bytes]], batch: int) -> list[Any]:
    """One request per file, all at once."""
    chosen_limits = limits(trained.spec, {"batch_size": batch})

    async def submit_all() -> list[Any]:
        queue = InferenceQueue(trained, chosen_limits)
        try:
            requests = [
                functools.partial(inputs, form([file]), FORM, trained.spec, trained.record.preprocessing, chosen_limits)
                for file in files
            ]
            answers = await asyncio.gather(*(queue.submit(request).future for request in requests))
            return [json.loads(answer)["answers"][0] for answer in answers]
        finally:
            queue.close()

    return asyncio.run(asyncio.wait_for(submit_all(), 60))


def test_responses_equal_predict(trained: TrainedRun, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    channels = trained.spec.input.shape[0]
    shapes = [size if channels == 1 else (*size, 3) for size in SIZES]
    files = [(f"{k}.png", png(rng.integers(0, 256, shape, dtype=np.uint8))) for k, shape in enumerate(shapes)]
    for name, content in files:
        (tmp_path / name).write_bytes(content)
    predictions = [json.loads(json.dumps(next(trained.predict_files([tmp_path / name])))) for name, _ in files]
    expected = [{**answer, "input": Path(answer["input"]).name} for answer in predictions]
    assert served(trained, files, batch=1) == expected
    together = served(trained, files, batch=4)
    assert [list(answer) for answer in together] == [list(answer) for answer in expected]
    assert any(answer.get("objects") or answer.get("segments") for answer in expected)
    if "baseline" in trained.record.learner:
        assert [len(answer["objects"]) for answer in together] == [len(answer["objects"]) for answer in expected]


def test_optical_flow_needs_two_files(tmp_path: Path) -> None:
    out = tmp_path / "run"
    shapes = dataset("shapes", options=OpenOptions(target=("flow",)))
    subset = dataclasses.replace(shapes, splits={name: ids[:4] for name, ids in shapes.splits.items()})
    trained = snellen.train(
        subset, out=out, options=RunOptions(threads=1, report=False), epochs=1, batch_size=4, width=4, depth=1
    )
    rng = np.random.default_rng(0)
    files = [(name, png(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))) for name in ("a.png", "b.png", "c.png")]
    for name, content in files:
        (tmp_path / name).write_bytes(content)
    (predictions,) = trained.predict_files([tmp_path / "a.png", tmp_path / "b.png"])
    chosen_limits = limits(trained.spec, {})

    async def submit_all(files_of_form: list[tuple[str, bytes]]) -> list[Any]:
        queue = InferenceQueue(trained, chosen_limits)
        try:
            form_inputs = functools.partial(
                inputs, form(files_of_form), FORM, trained.spec, trained.record.preprocessing, chosen_limits
            )
            return json.loads(await asyncio.wait_for(queue.submit(form_inputs).future, 60))["answers"]  # type: ignore[no-any-return]
        finally:
            queue.close()

    (expected,) = asyncio.run(submit_all(files[:2]))
    assert {**expected, "input": str(tmp_path / "a.png")} == json.loads(json.dumps(predictions))
    several = asyncio.run(submit_all([*files[:2], *files[1:]]))
    assert [answer["input"] for answer in several] == ["a.png", "b.png"]
    with pytest.raises(HTTPError, match=r"c.png has no second frame"):
        asyncio.run(submit_all(files))
    small = ("d.png", png(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)))
    with pytest.raises(HTTPError, match=r"a.png is 32x24 pixels, its second frame d.png 8x8"):
        asyncio.run(submit_all([files[0], small]))
    assert curl_arguments(trained) == "-F file=@before.png -F file=@after.png"
