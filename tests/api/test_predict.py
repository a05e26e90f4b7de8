"""Predictions for files and tensors, worst samples, annotated images and notebook output of a trained run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from snellen.api import TrainedRun, load, model_building, train
from snellen.core.errors import UsageError
from snellen.data.open_dataset import assemble, dataset
from snellen.data.source import BadSamples
from snellen.data.synthetic.toys import digits
from snellen.report.annotated_images import add_caption, resize_for_display
from snellen.report.view_html import to_pil_image as drawn
from snellen.tasks.classify import display as classify
from snellen.tasks.regress import display as regress


def write_image(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if values.dtype == np.uint8:
        Image.fromarray(values).save(path)
    else:
        tifffile.imwrite(path, values)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    torch.set_num_threads(1)
    return train(assemble(digits(0), "digits", 0, None), "softmax", epochs=2, out=tmp_path_factory.mktemp("run") / "r")


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """Run on 16-bit images with values from 1000 to 1100 (dark) and 1200 to 1300 (light)."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("deep")
    rng = np.random.default_rng(0)
    for name, low in (("dark", 1000), ("light", 1200)):
        for k in range(12):
            write_image(root / "data" / name / f"{k}.tif", rng.integers(low, low + 100, (16, 16)).astype(np.uint16))
    return train(dataset(root / "data"), "softmax", epochs=20, out=root / "r")


def write_digits(folder: Path, count: int) -> list[Path]:
    images = digits(0).source.values[:count, 0].numpy()  # type: ignore[attr-defined]
    return [write_image(folder / f"{k:02d}.png", images[k]) for k in range(count)]


def test_a_file_a_folder_and_a_tensor_get_the_same_predictions(run: TrainedRun, tmp_path: Path) -> None:
    paths = write_digits(tmp_path, 3)
    x = torch.stack([torch.from_numpy(np.asarray(Image.open(path)).copy())[None] for path in paths])
    one, several, batch = run.predict(paths[0]), run.predict(tmp_path), run.predict(x)
    assert isinstance(one, dict)
    assert isinstance(several, list)
    assert [a["input"] for a in (one, *several)] == [str(p) for p in (paths[0], *paths)]
    assert [a["class"] for a in several] == [a["class"] for a in batch]
    single = run.predict(x[0])
    assert isinstance(single, dict)
    for a, b in ((one, several[0]), (single, several[0]), *zip(batch, several, strict=True)):
        assert a["class"] == b["class"]
        assert a["probabilities"] == pytest.approx(b["probabilities"], rel=1e-5)
    assert sum(one["probabilities"].values()) == pytest.approx(1)


def test_worst_samples_are_wrong_and_ordered_by_predicted_probability(run: TrainedRun) -> None:
    worst = run.worst_samples(5)
    assert len(worst) == 5
    confidences = []
    for record in worst:
        assert set(record) == {"name", "truth", "answer"}
        assert record["truth"] != record["answer"]["class"]
        probabilities = record["answer"]["probabilities"]
        confidences.append(probabilities[record["answer"]["class"]])
    assert confidences == sorted(confidences, reverse=True)
    assert len(run.worst_samples(10_000)) == round((1 - run.metrics["accuracy"].value) * run.spec.sizes["test"])  # type: ignore[operator]


def test_worst_samples_of_regression_have_the_largest_errors(tmp_path: Path) -> None:
    run = train("sine", "least-squares", out=tmp_path / "r")
    errors = [abs(r["answer"][name] - value) for r in run.worst_samples(4) for name, value in r["truth"].items()]
    predictions = run.predictions("test")
    assert errors == pytest.approx(
        sorted((predictions["said"] - predictions["truth"]).abs()[:, 0].tolist(), reverse=True)[:4]
    )


def test_readable_files_are_predicted_before_the_error_names_the_others(run: TrainedRun, tmp_path: Path) -> None:
    write_digits(tmp_path, 2)
    for name in ("a.png", "zz.png"):
        (tmp_path / name).write_bytes(b"")
    names: list[str] = []
    with pytest.raises(BadSamples) as caught:
        names.extend(Path(record["input"]).name for record in run.predict_files([tmp_path]))
    assert names == ["00.png", "01.png"]
    assert "a.png" in caught.value.cause
    assert "zz.png" in caught.value.cause


def test_annotated_images_overwrite_no_other_image(run: TrainedRun, tmp_path: Path) -> None:
    paths = [write_digits(tmp_path / "in" / part, 1)[0] for part in ("a", "b")]
    paths.append(tmp_path / "in" / "00.bmp")
    Image.open(paths[0]).save(paths[-1])
    list(run.predict_files(paths, draw=tmp_path / "out"))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["00-2.png", "00-3.png", "00.png"]
    annotated = np.asarray(Image.open(tmp_path / "out" / "00.png").convert("L"))
    first = np.asarray(Image.open(paths[0]))
    assert np.array_equal(annotated[:256:32, ::32], first)  # enlarged 32 times, nearest neighbour
    assert annotated[256:].min() < 60 < 250 < annotated[256:].max()  # black text on a white band
    before = paths[0].read_bytes()
    with pytest.raises(UsageError, match="folder of --draw"):
        list(run.predict_files(paths, draw=tmp_path / "in" / "a"))
    assert paths[0].read_bytes() == before


def test_captions_fit_images_of_any_size() -> None:
    for size in ((1, 3, 500), (3, 500, 2), (1, 2000, 2400), (5, 9, 9)):
        image = np.asarray(
            add_caption(resize_for_display(drawn(torch.full(size, 255.0), 0.0, 255.0)), ["a very long name " * 30] * 9)
        )
        assert image.min() < 60
        assert (image[:, -4:] == 255).all()  # no text crosses the edge
        assert (image[-4:] == 255).all()


def test_16_bit_images_are_drawn_in_the_value_range_of_the_model(deep: TrainedRun, tmp_path: Path) -> None:
    assert deep.value_range is not None
    low, high = deep.value_range
    assert 1000 <= low < 1010
    values = np.full((16, 16), round((low + high) / 2), np.uint16)
    values[0, 0] = 40_000  # one bright pixel does not darken the others
    list(deep.predict_files([write_image(tmp_path / "x.tif", values)], draw=tmp_path / "out"))
    annotated = np.asarray(Image.open(tmp_path / "out" / "x.png").convert("L"))
    assert abs(int(annotated[100, 100]) - 127) <= 2


class MessageRecorder:
    """Progress receiver that records messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, name: str, index: int, total: int) -> None: ...

    def update(self, loop: str, step: int, total: int, scalars: dict[str, float]) -> None: ...

    def message(self, message: str) -> None:
        self.lines.append(message)


def test_values_outside_the_training_range_give_one_warning(deep: TrainedRun, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    usual = write_image(tmp_path / "usual.tif", rng.integers(1200, 1300, (16, 16)).astype(np.uint16))
    faint = [write_image(tmp_path / f"faint{k}.png", np.full((16, 16), 80, np.uint8)) for k in range(2)]
    progress = MessageRecorder()
    list(deep.predict_files([usual], progress=progress))
    assert progress.lines == []
    list(deep.predict_files([usual, *faint], progress=progress))
    assert len(progress.lines) == 1
    assert "faint0.png: 100%" in progress.lines[0]
    with pytest.warns(UserWarning, match="range of the training values"):
        deep.predict(faint[0])


def test_prediction_lines_have_units_and_name_missing_labels() -> None:
    from snellen.core.spec import Input, Labels, Numbers, Spec

    inputs = {"image": Input(modality="image", shape=(1, 8, 8))}
    numbers = Spec(name="n", inputs=inputs, target=Numbers(names=("width", "height"), units=("mm", "")))
    assert regress.DISPLAY.lines({"width": 3.14159, "height": 2.0}, numbers) == ["width 3.142 mm", "height 2"]
    labels = dataclasses.replace(numbers, target=Labels(names=("a", "b")))
    assert classify.DISPLAY.lines({"labels": [], "probabilities": {"a": 0.1, "b": 0.2}}, labels) == ["no label"]
    assert classify.DISPLAY.lines({"labels": ["b"], "probabilities": {"a": 0.1, "b": 0.8}}, labels) == ["b (80 %)"]


def test_notebook_output_escapes_names(run: TrainedRun, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    spec = dataclasses.replace(run.spec, name=hostile)
    html = TrainedRun(run.folder, dataclasses.replace(run.record, spec=spec), run.learner, run.model)._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    data = dataclasses.replace(run.data, recognised_as=hostile, spec=dataclasses.replace(spec, sizes={"<b>": 1}))
    assert "<script" not in data._repr_html_()
    assert "<b>" not in data._repr_html_()
    assert load(run.folder)._repr_html_()


def test_little_work_is_predicted_on_one_thread(run: TrainedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored multiply-adds decide; a number of threads that is set takes precedence."""
    threads = list[int]()
    monkeypatch.setattr("snellen.core.cpu_threads.os.cpu_count", lambda: 2)
    torch.set_num_threads(2)
    predicting = TrainedRun(run.folder, run.record, run.learner, run.model)
    monkeypatch.setattr(
        run.model, "scores", lambda x: threads.append(torch.get_num_threads()) or torch.zeros(len(x), 10)
    )
    multiply_adds = json.loads((run.folder / "metrics.json").read_text())["cost"]["multiply_adds"]
    assert multiply_adds == 64 * 10
    monkeypatch.setattr(model_building, "SMALL_BATCH", 3 * multiply_adds)
    x = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    predicting.predict_batch(x[:2])
    predicting.predict_batch(x)
    assert threads == [1, 2]
    predicting.threads = 2
    predicting.predict_batch(x[:2])
    predicting.threads = 1
    predicting.predict_batch(x)
    assert threads == [1, 2, 2, 1]
    assert torch.get_num_threads() == 2
    unknown = TrainedRun(run.folder / "elsewhere", run.record, run.learner, run.model)
    unknown.predict_batch(x[:1])
    assert threads[-1] == 2
