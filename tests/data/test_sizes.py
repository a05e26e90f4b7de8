"""The size that pictures of several sizes are read at: the usual one, so that one odd picture decides nothing."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from annotation_makers import coco, coco_told
from image_makers import save, scene

import snellen
from snellen.api import RunOptions, find_learner, find_task, prepare, refusal, resume
from snellen.architectures.architecture import large_photographs
from snellen.core.errors import UsageError
from snellen.core.spec import Classes, Input, Preprocessing, Spec, TypicalSize
from snellen.data.image_size import fixed_size, read_shape, typical_size, why_size
from snellen.data.open_dataset import dataset
from snellen.detection.settings import Sight
from snellen.model_selection.ladder import ladder
from snellen.training.dense import visits

ONE = RunOptions(device="cpu", threads=1, report=False)


def of(sizes: list[tuple[int, int]], channels: int = 3) -> Spec:
    """The spec of pictures of these heights and widths."""
    sides = zip(*sizes, strict=True)
    shape = (channels, *(side.pop() if len(side) == 1 else None for side in map(set, sides)))
    image = Input(modality="image", shape=shape, dtype="uint8", typical_size=typical_size(Counter(sizes)))
    return Spec(name="s", inputs={"image": image}, target=Classes(names=("a", "b")), sizes={"train": len(sizes)})


def folder(root: Path, sizes: list[tuple[int, int]], channels: int = 3) -> Path:
    """Pictures of these widths and heights in two classes."""
    for k, size in enumerate(sizes):
        save(root / "ab"[k % 2] / f"{k:03d}.png", scene(k, size, channels))
    return root


@pytest.fixture
def one_odd(tmp_path: Path) -> Path:
    return folder(tmp_path / "odd", [(32, 32)] * 59 + [(40, 30)], channels=1)


@pytest.mark.parametrize("seed", range(20))
def test_the_usual_size_is_that_of_most_pictures_else_the_middle_of_either_side(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 2 * int(rng.integers(2, 60)) + 1
    sizes = [(int(h), int(w)) for h, w in rng.integers(1, 9 if seed % 2 else 300, (count, 2))]
    alike = int(rng.integers(0, count))
    sizes[:alike] = [(7, 5)] * alike
    found = typical_size(Counter(sizes))
    if len(set(sizes)) == 1:
        assert found is None
        return
    assert found is not None
    often = [size for size, n in Counter(sizes).items() if n > len(sizes) / 2]
    assert found.size == (often[0] if often else tuple(np.median(sizes, axis=0)))  # of an odd number: an entry
    assert (found.alike, found.count) == (sizes.count(found.size), len(sizes))
    assert found.of_most == bool(often)


def test_pictures_of_one_size_and_none_at_all_have_no_usual_size() -> None:
    assert typical_size(Counter([(4, 5)] * 3)) is None
    assert typical_size(Counter()) is None
    assert of([(4, 5)] * 3).input.size == (4, 5)


def test_one_odd_picture_does_not_change_how_all_are_read(one_odd: Path, tmp_path: Path) -> None:
    data = dataset(one_odd)
    assert data.spec.input.shape == (1, None, None)
    assert data.spec.input.typical_size == TypicalSize(size=(32, 32), alike=59, count=60)
    assert find_learner(None, find_task(None, data.spec), data.spec).name == "lenet"
    run = snellen.train(data, model="lenet", epochs=1, out=tmp_path / "run", options=ONE)
    assert run.record.preprocessing == Preprocessing(size=(32, 32), channels=1)
    alike = of([(32, 32)] * 60, channels=1)
    assert run.model.state_dict().keys() == run.learner.build(run.learner.settings(), alike).state_dict().keys()
    assert all(
        a.shape == b.shape
        for a, b in zip(
            run.model.state_dict().values(),
            run.learner.build(run.learner.settings(), alike).state_dict().values(),
            strict=True,
        )
    )
    odd = run.predict(one_odd / "b" / "059.png")
    assert isinstance(odd, dict)
    assert odd["class"] in ("a", "b")


@pytest.mark.parametrize(
    ("sizes", "most", "size"),
    [
        ([(32, 32)] * 999 + [(33, 32)], 128, (32, 32)),
        ([(32, 32)] * 999 + [(33, 32)], 64, (32, 32)),
        ([(480, 640)] * 5 + [(20, 20)], 128, (128, 128)),
        ([(300 + k, 500 - k) for k in range(101)], 128, (128, 128)),
        ([(40 + k, 90 - k) for k in range(11)], 128, (45, 85)),
        ([(40 + k, 90 - k) for k in range(11)], 64, (64, 64)),
        ([(28, 28)] * 3, 32, (28, 28)),
    ],
)
def test_pictures_are_read_at_their_usual_size_or_at_the_most_that_a_model_takes(
    sizes: list[tuple[int, int]], most: int, size: tuple[int, int]
) -> None:
    spec = of(sizes)
    assert fixed_size(spec, most) == Preprocessing(size=size, channels=3)
    assert fixed_size(spec, most, options=50) == Preprocessing(size=(50, 50), channels=3)
    assert read_shape(spec, fixed_size(spec, most)) == (3, *size)
    assert max(size) <= most
    assert max(size) <= max(max(pair) for pair in sizes)


def test_a_folder_of_photographs_of_all_sizes_is_read_at_the_most(tmp_path: Path) -> None:
    data = dataset(folder(tmp_path / "d", [(150 + 31 * k % 97, 140 + 57 * k % 101) for k in range(24)]))
    assert data.spec.input.typical_size is not None
    assert not data.spec.input.typical_size.of_most
    for name, most in (("resnet18", 128), ("lenet", 64), ("mlp", 64), ("knn", 32), ("baseline", 128)):
        learner = find_learner(name, find_task(None, data.spec), data.spec)
        assert learner.preprocessing_of(learner.settings(), data.spec).size == (most, most), name
    run = snellen.train(data, model="baseline", out=tmp_path / "run", options=ONE)  # which looks at no pixel
    assert run.metrics["accuracy"].value == 0.5


def test_what_is_suggested_follows_the_usual_size() -> None:
    small, large, varied = (
        of([(24, 28)] * 9 + [(400, 400)]),
        of([(300, 400)] * 9 + [(24, 24)]),
        of([(100 + k, 200 - k) for k in range(9)]),
    )
    task = find_task("classify", small)
    assert find_learner("resnet20", task, small).suggest(small)["pad_crop"].value == 3
    assert "pad_crop" not in find_learner("resnet20", task, large).suggest(large)
    assert [large_photographs(spec) for spec in (small, large, varied)] == [False, True, True]
    assert [Sight().sides(spec) for spec in (small, varied, large)] == [(32, 53), (104, 173), (256, 426)]
    assert Sight(min_size=200).sides(varied) == (200, 333)
    assert [task.default(spec) for spec in (of([(10, 12)] * 9 + [(40, 40)]), large)] == ["mlp", "resnet18"]
    assert visits(100, of([(1000, 500)] * 20 + [(90, 90)])) == 1000 // 21
    assert refusal(find_learner("vgg16", task, small), small) == "needs 32 pixels a side, these are usually 28x24"


def test_why_a_size_was_taken_is_told() -> None:
    odd, varied, alike = of([(32, 40)] * 999 + [(33, 32)]), of([(100 + k, 200 - k) for k in range(9)]), of([(9, 8)] * 3)
    assert why_size(odd, fixed_size(odd, 64)) == "999 of 1,000 pictures are 40x32"
    assert why_size(odd, fixed_size(odd, 16)) == "999 of 1,000 pictures are 40x32: scaled to what the model takes"
    assert why_size(varied, fixed_size(varied, 300)) == "pictures of many sizes, 196x104 in the middle"
    assert why_size(alike, fixed_size(alike, 64)) == "all pictures are 8x9"
    assert "in its own size" in why_size(odd, Preprocessing(channels=3))


def test_the_check_tells_which_sizes_there_are(one_odd: Path, tmp_path: Path) -> None:
    (told,) = (finding for finding in dataset(one_odd).findings if finding.kind == "sizes")
    assert told.message == "the pictures have 2 sizes: 59 of 32x32, 1 of 40x30"
    assert (told.where, told.severity) == (("b/059.png",), "note")
    many = folder(tmp_path / "many", [(30 + k, 60 - 2 * k) for k in range(15)])
    (told,) = (finding for finding in dataset(many).findings if finding.kind == "sizes")
    assert told.message == "the pictures have 15 sizes, 44x32 to 30x60; in the middle 37x46"
    alike = folder(tmp_path / "alike", [(32, 32)] * 10)
    assert not [finding for finding in dataset(alike).findings if finding.kind == "sizes"]


def test_scenes_keep_each_picture_at_its_own_size(tmp_path: Path) -> None:
    rows = [{"image_id": 7 * k, "category_id": 0, "bbox": [2, 2, 9, 9]} for k in range(10)]
    told = coco_told([f"{k}.png" for k in range(10)], rows)
    told["images"][9] |= {"width": 60, "height": 50}
    save(tmp_path / "9.png", scene(10, (60, 50)))
    coco(tmp_path, "_annotations.coco.json", told)
    data = dataset(tmp_path)
    assert data.spec.input.typical_size == TypicalSize(size=(40, 48), alike=9, count=10)
    task = find_task(None, data.spec)
    for name in ("faster-rcnn", "retinanet", "baseline"):
        learner = find_learner(name, task, data.spec)
        assert learner.preprocessing_of(learner.settings(), data.spec).size is None
    seen = {tuple(s.image.shape[-2:]) for split in data.splits for s in data.scenes(split).in_order()}
    assert seen == {(40, 48), (50, 60)}
    assert all(not finding.remedy for finding in data.findings if finding.kind == "sizes")


def _aged(path: Path, *places: str) -> None:
    """A file as it was written before anything was said of usual sizes."""
    plain = json.loads(path.read_text())
    spec = plain
    for place in places:
        spec = spec[place]
    for one in spec["inputs"].values():
        del one["usual"]
    path.write_text(json.dumps(plain))


def test_runs_from_before_load_answer_and_go_on_at_the_size_they_had(one_odd: Path, tmp_path: Path) -> None:
    data = dataset(one_odd)
    image = dataclasses.replace(data.spec.input, typical_size=None)
    before = dataclasses.replace(data, spec=dataclasses.replace(data.spec, inputs={"image": image}))
    lenet = find_learner("lenet", find_task(None, data.spec), data.spec)
    prepare(before, lenet, {"epochs": 1}, out=tmp_path / "run", options=ONE)
    _aged(tmp_path / "run" / "run.json", "spec")
    run = resume(tmp_path / "run", options=ONE)
    assert run.record.preprocessing.size == (64, 64)
    again = snellen.load(tmp_path / "run", device="cpu")
    x = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    assert again.ask(x) == run.ask(x)


def test_a_climb_from_before_is_gone_on_with(one_odd: Path, tmp_path: Path) -> None:
    ladder(one_odd, budget=20, out=tmp_path / "l", learners=["baseline"], options=ONE)
    _aged(tmp_path / "l" / "ladder.json", "data")
    again = ladder(one_odd, budget=20, out=tmp_path / "l", learners=["baseline"], options=ONE)
    assert again.rung("baseline").status == "done"
    save(one_odd / "a" / "more.png", scene(77, (32, 32), 1))
    with pytest.raises(UsageError, match="other data"):
        ladder(one_odd, budget=20, out=tmp_path / "l", learners=["baseline"], options=ONE)


def test_a_study_from_before_is_gone_on_with(one_odd: Path, tmp_path: Path) -> None:
    vary = {"model": "lda", "shrinkage": [0.1, 0.5]}
    snellen.study(one_odd, vary, seeds=1, out=tmp_path / "s", options=ONE)
    _aged(tmp_path / "s" / "study.json", "about", "spec")
    assert len(snellen.study(one_odd, vary, seeds=1, out=tmp_path / "s", options=ONE).rows) == 2
