"""What a run says of files and tables from Python, its worst samples, and its summary in a notebook."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from snellen.api import TrainedRun, load, train
from snellen.core.errors import UsageError
from snellen.data.open_dataset import assemble, dataset
from snellen.data.source import BadSamples
from snellen.data.synthetic.toys import digits
from snellen.report.annotated_images import annotated, lines, sized
from snellen.report.view_html import image as drawn


def picture(path: Path, values: np.ndarray) -> Path:
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
    """A run on 16-bit pictures with values from 1000 to 1100 of dark, 1200 to 1300 of light."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("deep")
    rng = np.random.default_rng(0)
    for name, low in (("dark", 1000), ("light", 1200)):
        for k in range(12):
            picture(root / "data" / name / f"{k}.tif", rng.integers(low, low + 100, (16, 16)).astype(np.uint16))
    return train(dataset(root / "data"), "softmax", epochs=20, out=root / "r")


def of_digits(run: TrainedRun, folder: Path, count: int) -> list[Path]:
    images = digits(0).source.values[:count, 0].numpy()  # type: ignore[attr-defined]
    return [picture(folder / f"{k:02d}.png", images[k]) for k in range(count)]


def test_a_file_a_folder_and_a_tensor_get_the_same_answers(run: TrainedRun, tmp_path: Path) -> None:
    paths = of_digits(run, tmp_path, 3)
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


def test_the_worst_are_wrong_and_the_surest_first(run: TrainedRun) -> None:
    worst = run.worst(5)
    assert len(worst) == 5
    over = []
    for record in worst:
        assert set(record) == {"name", "truth", "answer"}
        assert record["truth"] != record["answer"]["class"]
        sure = record["answer"]["probabilities"]
        over.append(np.log(sure[record["answer"]["class"]] / sure[record["truth"]]))
    assert over == sorted(over, reverse=True)
    assert len(run.worst(10_000)) == round((1 - run.metrics["accuracy"].value) * run.spec.sizes["test"])  # type: ignore[operator]


def test_the_worst_of_numbers_have_the_largest_error(tmp_path: Path) -> None:
    made = train("sine", "least-squares", out=tmp_path / "r")
    errors = [abs(r["answer"][name] - value) for r in made.worst(4) for name, value in r["truth"].items()]
    said = made.predictions("test")
    assert errors == pytest.approx(sorted((said["said"] - said["truth"]).abs()[:, 0].tolist(), reverse=True)[:4])


def test_good_files_are_answered_before_all_bad_ones_are_named(run: TrainedRun, tmp_path: Path) -> None:
    of_digits(run, tmp_path, 2)
    for name in ("a.png", "zz.png"):
        (tmp_path / name).write_bytes(b"")
    answers: list[str] = []
    with pytest.raises(BadSamples) as caught:
        answers.extend(Path(answer["input"]).name for answer in run.answers([tmp_path]))
    assert answers == ["00.png", "01.png"]
    assert "a.png" in caught.value.cause
    assert "zz.png" in caught.value.cause


def test_pictures_are_drawn_with_their_answer_and_none_over_another(run: TrainedRun, tmp_path: Path) -> None:
    paths = [of_digits(run, tmp_path / "in" / part, 1)[0] for part in ("a", "b")]
    list(run.answers(paths, draw=tmp_path / "out"))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["00.png-2.png", "00.png.png"]
    drawn = np.asarray(Image.open(tmp_path / "out" / "00.png.png").convert("L"))
    first = np.asarray(Image.open(paths[0]))
    assert np.array_equal(drawn[:256:32, ::32], first)  # enlarged 32 times in crisp squares
    assert drawn[256:].min() < 60 < 250 < drawn[256:].max()  # black words on a white band
    before = paths[0].read_bytes()
    with pytest.raises(UsageError, match="folder of --draw"):
        list(run.answers(paths, draw=tmp_path / "in" / "a"))
    assert paths[0].read_bytes() == before


def test_words_fit_the_band_of_any_picture() -> None:
    for size in ((1, 3, 500), (3, 500, 2), (1, 2000, 2400), (5, 9, 9)):
        image = np.asarray(annotated(sized(drawn(torch.full(size, 255.0), 0.0, 255.0)), ["a very long name " * 30] * 9))
        assert image.min() < 60
        assert (image[:, -4:] == 255).all()  # no word runs over the edge
        assert (image[-4:] == 255).all()


def test_deep_pictures_are_drawn_in_the_range_of_the_model(deep: TrainedRun, tmp_path: Path) -> None:
    assert deep.value_range is not None
    low, high = deep.value_range
    assert 1000 <= low < 1010
    values = np.full((16, 16), round((low + high) / 2), np.uint16)
    values[0, 0] = 40_000  # one hot pixel does not darken the others
    list(deep.answers([picture(tmp_path / "x.tif", values)], draw=tmp_path / "out"))
    drawn = np.asarray(Image.open(tmp_path / "out" / "x.tif.png").convert("L"))
    assert abs(int(drawn[100, 100]) - 127) <= 2


class Heard:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, name: str) -> None: ...

    def update(self, loop: str, step: int, total: int, scalars: dict[str, float]) -> None: ...

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_values_outside_the_range_of_training_are_said_once(deep: TrainedRun, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    usual = picture(tmp_path / "usual.tif", rng.integers(1200, 1300, (16, 16)).astype(np.uint16))
    faint = [picture(tmp_path / f"faint{k}.png", np.full((16, 16), 80, np.uint8)) for k in range(2)]
    heard = Heard()
    list(deep.answers([usual], progress=heard))
    assert heard.lines == []
    list(deep.answers([usual, *faint], progress=heard))
    assert len(heard.lines) == 1
    assert "faint0.png: 100%" in heard.lines[0]
    with pytest.warns(UserWarning, match="range the model learned from"):
        deep.predict(faint[0])


def test_lines_of_numbers_have_their_unit_and_of_no_label_say_so() -> None:
    from snellen.core.spec import Input, Labels, Numbers, Spec

    inputs = {"image": Input(modality="image", shape=(1, 8, 8))}
    numbers = Spec(name="n", inputs=inputs, target=Numbers(names=("width", "height"), units=("mm", "")))
    assert lines({"width": 3.14159, "height": 2.0}, numbers) == ["width 3.142 mm", "height 2"]
    labels = dataclasses.replace(numbers, target=Labels(names=("a", "b")))
    assert lines({"labels": [], "probabilities": {"a": 0.1, "b": 0.2}}, labels) == ["no label"]
    assert lines({"labels": ["b"], "probabilities": {"a": 0.1, "b": 0.8}}, labels) == ["b (80 %)"]


def test_notebooks_see_names_escaped(run: TrainedRun, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    spec = dataclasses.replace(run.spec, name=hostile)
    shown = TrainedRun(run.folder, dataclasses.replace(run.record, spec=spec), run.learner, run.model)._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script" not in shown
    data = dataclasses.replace(run.data, recognised_as=hostile, spec=dataclasses.replace(spec, sizes={"<b>": 1}))
    assert "<script" not in data._repr_html_()
    assert "<b>" not in data._repr_html_()
    assert load(run.folder)._repr_html_()
