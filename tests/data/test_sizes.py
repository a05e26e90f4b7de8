"""Image sizes: the typical size, input sizes of models, and runs stored without a typical size."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from annotation_makers import coco, coco_content
from image_makers import save, scene

import snellen
from snellen.api import RunOptions, find_learner, find_task, prepare, resume, unsupported_reason
from snellen.architectures.architecture import resembles_imagenet
from snellen.core.errors import DataError
from snellen.core.spec import Classes, Input, Preprocessing, Spec, TypicalSize
from snellen.data.image_size import explain_size, fixed_size, input_shape, typical_size
from snellen.data.open_dataset import dataset
from snellen.detection.settings import BackboneSettings
from snellen.model_selection.ladder import ladder
from snellen.training.dense import visits_per_epoch

ONE = RunOptions(device="cpu", threads=1, report=False)


def spec_of(sizes: list[tuple[int, int]], channels: int = 3) -> Spec:
    """Spec of images of these heights and widths."""
    sides = zip(*sizes, strict=True)
    shape = (channels, *(side.pop() if len(side) == 1 else None for side in map(set, sides)))
    image = Input(modality="image", shape=shape, dtype="uint8", typical_size=typical_size(Counter(sizes)))
    return Spec(name="s", inputs={"image": image}, target=Classes(names=("a", "b")), sizes={"train": len(sizes)})


def folder(root: Path, sizes: list[tuple[int, int]], channels: int = 3) -> Path:
    """Images of these widths and heights in two classes."""
    for k, size in enumerate(sizes):
        save(root / "ab"[k % 2] / f"{k:03d}.png", scene(k, size, channels))
    return root


@pytest.fixture
def one_odd(tmp_path: Path) -> Path:
    return folder(tmp_path / "odd", [(32, 32)] * 59 + [(40, 30)], channels=1)


@pytest.mark.parametrize("seed", range(20))
def test_typical_size_is_the_majority_size_else_the_median_of_each_side(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = 2 * int(rng.integers(2, 60)) + 1
    sizes = [(int(h), int(w)) for h, w in rng.integers(1, 9 if seed % 2 else 300, (count, 2))]
    alike = int(rng.integers(0, count))
    sizes[:alike] = [(7, 5)] * alike
    typical = typical_size(Counter(sizes))
    if len(set(sizes)) == 1:
        assert typical is None
        return
    assert typical is not None
    often = [size for size, n in Counter(sizes).items() if n > len(sizes) / 2]
    assert typical.size == (often[0] if often else tuple(np.median(sizes, axis=0)))  # of an odd number: an entry
    assert (typical.alike, typical.count) == (sizes.count(typical.size), len(sizes))
    assert typical.is_majority == bool(often)


def test_equal_sizes_and_no_images_have_no_typical_size() -> None:
    assert typical_size(Counter([(4, 5)] * 3)) is None
    assert typical_size(Counter()) is None
    assert spec_of([(4, 5)] * 3).input.size == (4, 5)


def test_one_odd_picture_does_not_change_how_all_are_read(one_odd: Path, tmp_path: Path) -> None:
    data = dataset(one_odd)
    assert data.spec.input.shape == (1, None, None)
    assert data.spec.input.typical_size == TypicalSize(size=(32, 32), alike=59, count=60)
    assert find_learner(None, find_task(None, data.spec), data.spec).name == "lenet"
    run = snellen.train(data, model="lenet", epochs=1, out=tmp_path / "run", options=ONE)
    assert run.record.preprocessing == Preprocessing(size=(32, 32), channels=1)
    alike = spec_of([(32, 32)] * 60, channels=1)
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
    ("sizes", "max_side", "size"),
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
def test_images_are_read_at_their_typical_size_up_to_the_maximum_of_the_model(
    sizes: list[tuple[int, int]], max_side: int, size: tuple[int, int]
) -> None:
    spec = spec_of(sizes)
    assert fixed_size(spec, max_side) == Preprocessing(size=size, channels=3)
    assert fixed_size(spec, max_side, requested=50) == Preprocessing(size=(50, 50), channels=3)
    assert input_shape(spec, fixed_size(spec, max_side)) == (3, *size)
    assert max(size) <= max_side
    assert max(size) <= max(max(pair) for pair in sizes)


def test_a_folder_of_photographs_of_mixed_sizes_is_read_at_the_maximum(tmp_path: Path) -> None:
    data = dataset(folder(tmp_path / "d", [(150 + 31 * k % 97, 140 + 57 * k % 101) for k in range(24)]))
    assert data.spec.input.typical_size is not None
    assert not data.spec.input.typical_size.is_majority
    for name, max_side in (("resnet18", 128), ("lenet", 64), ("mlp", 64), ("knn", 32), ("baseline", 128)):
        learner = find_learner(name, find_task(None, data.spec), data.spec)
        assert learner.preprocessing_of(learner.settings(), data.spec).size == (max_side, max_side), name
    run = snellen.train(data, model="baseline", out=tmp_path / "run", options=ONE)  # it reads no pixel
    assert run.metrics["accuracy"].value == 0.5


def test_suggestions_follow_the_typical_size() -> None:
    small, large, mixed = (
        spec_of([(24, 28)] * 9 + [(400, 400)]),
        spec_of([(300, 400)] * 9 + [(24, 24)]),
        spec_of([(100 + k, 200 - k) for k in range(9)]),
    )
    task = find_task("classify", small)
    assert find_learner("resnet20", task, small).suggest(small)["pad_crop"].value == 3
    assert "pad_crop" not in find_learner("resnet20", task, large).suggest(large)
    assert [resembles_imagenet(spec) for spec in (small, large, mixed)] == [False, True, True]
    assert [BackboneSettings().min_max_size(spec) for spec in (small, mixed, large)] == [
        (32, 53),
        (104, 173),
        (256, 426),
    ]
    assert BackboneSettings(min_size=200).min_max_size(mixed) == (200, 333)
    assert [task.default(spec) for spec in (spec_of([(10, 12)] * 9 + [(40, 40)]), large)] == ["mlp", "probe"]
    assert visits_per_epoch(100, spec_of([(1000, 500)] * 20 + [(90, 90)])) == 1000 // 21
    assert (
        unsupported_reason(find_learner("vgg16", task, small), small)
        == "needs images of at least 32x32 pixels, these have typically 28x24"
    )


def test_explanations_of_the_size() -> None:
    odd, mixed, alike = (
        spec_of([(32, 40)] * 999 + [(33, 32)]),
        spec_of([(100 + k, 200 - k) for k in range(9)]),
        spec_of([(9, 8)] * 3),
    )
    assert explain_size(odd, fixed_size(odd, 64)) == "999 of 1,000 images are 40x32"
    assert (
        explain_size(odd, fixed_size(odd, 16))
        == "999 of 1,000 images are 40x32: resized to the input size of the model"
    )
    assert explain_size(mixed, fixed_size(mixed, 300)) == "images of many sizes, median 196x104"
    assert explain_size(alike, fixed_size(alike, 64)) == "all images are 8x9"
    assert "its own size" in explain_size(odd, Preprocessing(channels=3))


def test_the_check_reports_several_sizes(one_odd: Path, tmp_path: Path) -> None:
    (size_finding,) = (finding for finding in dataset(one_odd).findings if finding.kind == "sizes")
    assert size_finding.message == "The images have 2 sizes: 59 of 32x32, 1 of 40x30"
    assert (size_finding.where, size_finding.severity) == (("b/059.png",), "note")
    many_sizes = folder(tmp_path / "many", [(30 + k, 60 - 2 * k) for k in range(15)])
    (size_finding,) = (finding for finding in dataset(many_sizes).findings if finding.kind == "sizes")
    assert size_finding.message == "The images have 15 sizes, 44x32 to 30x60; median 37x46"
    alike = folder(tmp_path / "alike", [(32, 32)] * 10)
    assert not [finding for finding in dataset(alike).findings if finding.kind == "sizes"]


def test_scenes_keep_the_size_of_each_image(tmp_path: Path) -> None:
    rows = [{"image_id": 7 * k, "category_id": 0, "bbox": [2, 2, 9, 9]} for k in range(10)]
    size_finding = coco_content([f"{k}.png" for k in range(10)], rows)
    size_finding["images"][9] |= {"width": 60, "height": 50}
    save(tmp_path / "9.png", scene(10, (60, 50)))
    coco(tmp_path, "_annotations.coco.json", size_finding)
    data = dataset(tmp_path)
    assert data.spec.input.typical_size == TypicalSize(size=(40, 48), alike=9, count=10)
    task = find_task(None, data.spec)
    for name in ("faster-rcnn", "retinanet", "baseline"):
        learner = find_learner(name, task, data.spec)
        assert learner.preprocessing_of(learner.settings(), data.spec).size is None
    sizes_read = {tuple(s.image.shape[-2:]) for split in data.splits for s in data.scenes(split).in_order()}
    assert sizes_read == {(40, 48), (50, 60)}
    assert all(not finding.remedy for finding in data.findings if finding.kind == "sizes")


def _remove_typical_size(path: Path, *places: str) -> None:
    """Rewrite a file as if it were written before typical sizes were stored."""
    content = json.loads(path.read_text())
    spec = content
    for place in places:
        spec = spec[place]
    for one in spec["inputs"].values():
        del one["typical_size"]
    path.write_text(json.dumps(content))


def test_runs_without_a_typical_size_load_predict_and_resume_at_their_size(one_odd: Path, tmp_path: Path) -> None:
    data = dataset(one_odd)
    image = dataclasses.replace(data.spec.input, typical_size=None)
    before = dataclasses.replace(data, spec=dataclasses.replace(data.spec, inputs={"image": image}))
    lenet = find_learner("lenet", find_task(None, data.spec), data.spec)
    prepare(before, lenet, {"epochs": 1}, out=tmp_path / "run", options=ONE)
    _remove_typical_size(tmp_path / "run" / "run.json", "spec")
    run = resume(tmp_path / "run", options=ONE)
    assert run.record.preprocessing.size == (64, 64)
    again = snellen.load(tmp_path / "run", device="cpu")
    x = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    assert again.predict_batch(x) == run.predict_batch(x)


def test_a_ladder_without_a_typical_size_is_resumed(one_odd: Path, tmp_path: Path) -> None:
    ladder(one_odd, budget=3600, out=tmp_path / "l", learners=["baseline"], options=ONE)
    _remove_typical_size(tmp_path / "l" / "ladder.json", "data")
    again = ladder(one_odd, budget=3600, out=tmp_path / "l", learners=["baseline"], options=ONE)
    assert again.rung("baseline").status == "done"
    save(one_odd / "a" / "more.png", scene(77, (32, 32), 1))
    with pytest.raises(DataError, match=r"1 are new \(a/more\.png\)"):
        ladder(one_odd, budget=3600, out=tmp_path / "l", learners=["baseline"], options=ONE)


def test_a_study_without_a_typical_size_is_resumed(one_odd: Path, tmp_path: Path) -> None:
    vary = {"model": "lda", "shrinkage": [0.1, 0.5]}
    snellen.study(one_odd, vary, seeds=1, out=tmp_path / "s", options=ONE)
    _remove_typical_size(tmp_path / "s" / "study.json", "about", "spec")
    assert len(snellen.study(one_odd, vary, seeds=1, out=tmp_path / "s", options=ONE).rows) == 2
