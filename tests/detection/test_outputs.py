"""What is found, on its way out: drawn, as COCO's results, as rows of a table."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import blocks
import numpy as np
import pytest
import torch
from PIL import Image
from videos import film

import snellen
from snellen.api import RunOptions, TrainedRun
from snellen.cli.predict import _rows
from snellen.core.errors import UsageError
from snellen.core.spec import Classes, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.coco_results import Numbers, Results, numbered
from snellen.report.annotated_images import Annotated, lines
from snellen.report.overlay import colour
from snellen.report.prediction_marks import marks


@pytest.fixture(scope="module")
def data() -> Dataset[Labelled]:
    return blocks.blocks(40, masks=True)


@pytest.fixture(scope="module")
def run(data: Dataset[Labelled], tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return snellen.train(
        data,
        "baseline",
        task="instances",
        out=tmp_path_factory.mktemp("run") / "run",
        options=RunOptions(threads=1, report=False),
    )


@pytest.fixture(scope="module")
def folder(data: Dataset[Labelled], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test pictures as files under the numbers of their samples."""
    made = tmp_path_factory.mktemp("pictures")
    for id in data.splits["test"].tolist():
        Image.fromarray(data.picture(id)[0].numpy()).save(made / f"{id:06}.png")
    return made


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_coco_s_evaluation_reads_the_results_and_says_the_same(
    kind: str, run: TrainedRun, data: Dataset[Labelled], folder: Path, tmp_path: Path
) -> None:
    from pycocotools import mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    told = list(run.answers([folder], coco=tmp_path / "out.json"))
    results = json.loads((tmp_path / "out.json").read_text())
    assert {one["image_id"] for one in results} == set(data.splits["test"].tolist())
    assert len(results) > sum(len(one["objects"]) for one in told)  # what is below the threshold, too
    threshold = float(run.model.threshold)
    assert all(one["score"] >= threshold for record in told for one in record["objects"])
    images, annotations = [], []
    for scene in data.scenes("test").in_order():
        images.append({"id": scene.id, "height": 64, "width": 64})
        for k, (x1, y1, x2, y2) in enumerate(scene.truth.boxes.tolist()):
            short = mask.encode(np.asfortranarray(scene.truth.masks[k].numpy().astype(np.uint8)))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": scene.id,
                    "iscrowd": 0,
                    "category_id": int(scene.truth.labels[k]) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(scene.truth.areas[k]),
                    "segmentation": short,
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": images,
            "annotations": annotations,
            "info": {},
            "categories": [{"id": k + 1, "name": name} for k, name in enumerate(blocks.NAMES)],
        }
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    ours = run.metrics["mask AP" if kind == "segm" else "box AP"].value
    assert judge.stats[0] == pytest.approx(ours, abs=1e-9)


def test_pictures_are_numbered_by_their_names_where_these_are_numbers() -> None:
    assert numbered(["a/000012.jpg", "b/7.png"])[0] == [12, 7]
    assert numbered(["a/000012.jpg", "b/12.png"])[0] == [1, 2]
    assert numbered(["a/12.jpg", "b/x.png"])[0] == [1, 2]
    assert numbered(["clip.avi#0", "clip.avi#1"])[0] == [1, 2]


def test_coco_s_evaluation_takes_the_results_with_the_user_s_own_annotations(tmp_path: Path) -> None:
    """Numbers of pictures and classes have gaps, and one class is number 0."""
    root, held = tmp_path / "set", blocks.blocks(60)
    files = {split: told_of(held, split, root) for split in ("train", "val", "test")}
    run = snellen.train(str(root), "baseline", out=tmp_path / "run", options=RunOptions(threads=1, report=False))
    assert run.spec.target.ids == (0, 7)
    again = snellen.load(tmp_path / "run")
    list(again.answers([root / "test"], coco=tmp_path / "out.json"))
    results = json.loads((tmp_path / "out.json").read_text())
    assert {one["category_id"] for one in results} == {0, 7}
    assert {one["image_id"] for one in results} == {3 * id + 1000 for id in held.splits["test"].tolist()}
    # Corners are written in hundredths of a pixel, which moves an overlap by less than 0.01 for sides of 8 pixels: of
    # the finds only those as near as that to a threshold may change their side.
    assert judged(files["test"], results) == pytest.approx(run.metrics["AP"].value, abs=0.005)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    del record["spec"]["target"]["ids"]  # a run of before
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    list(snellen.load(tmp_path / "run").answers([root / "test"], coco=tmp_path / "old.json"))
    assert {one["category_id"] for one in json.loads((tmp_path / "old.json").read_text())} == {1, 2}


def told_of(data: Dataset[Labelled], split: str, root: Path) -> Path:
    """A split as COCO has it, with its pictures."""
    images, annotations = [], []
    for scene in data.scenes(split).in_order():
        number = 3 * scene.id + 1000
        (root / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.image[0].to(torch.uint8).numpy()).save(root / split / f"picture {scene.id}.png")
        images.append({"id": number, "file_name": f"picture {scene.id}.png", "height": 64, "width": 64})
        for k, (x1, y1, x2, y2) in enumerate(scene.truth.boxes.tolist()):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "iscrowd": 0,
                    "category_id": 7 * int(scene.truth.labels[k]),
                    "area": float(scene.truth.areas[k]),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                }
            )
    path = root / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(exist_ok=True)
    categories = [{"id": 7 * k, "name": name} for k, name in enumerate(blocks.NAMES)]
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations, "categories": categories}))
    return path


def judged(truth: Path, results: list[dict[str, object]]) -> float:
    """AP of boxes by COCO's own evaluation."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(truth))
        judge = COCOeval(known, known.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0])


def test_numbers_are_those_of_another_file_by_the_ends_of_paths(run: TrainedRun, folder: Path, tmp_path: Path) -> None:
    paths = sorted(folder.iterdir())
    images = [{"id": f"n{k}", "file_name": f"{folder.name}/{path.name}"} for k, path in enumerate(paths[1:])]
    names = {"categories": [{"id": 5, "name": "tall"}, {"id": "w", "name": "wide"}, {"id": 1, "name": "round"}]}
    like = tmp_path / "like.json"
    like.write_text(json.dumps({"images": images, "annotations": [], **names}))
    said = Said()
    list(run.answers([folder], coco=tmp_path / "out.json", like=like, progress=said))
    results = json.loads((tmp_path / "out.json").read_text())
    expected = {str(path): f"n{k}" for k, path in enumerate(paths[1:])} | {str(paths[0]): 1}
    assert {one["file_name"]: one["image_id"] for one in results} == expected
    assert {(one["category"], one["category_id"]) for one in results} == {("tall", 5), ("wide", "w")}
    assert said.lines == [
        f"1 of {len(paths)} pictures are not in {like}, or came twice, and are numbered anew: {paths[0]}"
    ]
    names["categories"].pop(1)
    like.write_text(json.dumps({"images": images, "annotations": [], **names}))
    with pytest.raises(UsageError, match="has no category 'wide'"):
        list(run.answers([folder], coco=tmp_path / "out.json", like=like))


class Said:
    """Keeps what is told to whoever watches."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_a_picture_that_comes_twice_or_is_not_known_has_a_number_of_its_own(tmp_path: Path) -> None:
    known = Numbers(pictures={"1.png": 40, "a/2.png": 7}, classes={}, told="it")
    assert numbered(["x/1.png", "y/1.png", "a/2.png", "b/2.png"], known) == ([40, 41, 7, 42], ["y/1.png", "b/2.png"])
    assert numbered(["x/3.png", "x/4.png"], known) == ([3, 4], ["x/3.png", "x/4.png"])


def test_results_are_for_what_finds_objects(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--coco is for models that find objects"):
        Results(tmp_path / "x.json", Spec(name="x", inputs={}, target=Classes(names=("a",))))


def test_results_are_written_for_the_good_where_some_are_bad(run: TrainedRun, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("<html>")
    good = sorted(folder.iterdir())[0]
    with pytest.raises(snellen.core.errors.DataError):
        list(run.answers([good, tmp_path / "bad.png"], coco=tmp_path / "out.json"))
    assert {one["file_name"] for one in json.loads((tmp_path / "out.json").read_text())} == {str(good)}


def test_a_picture_is_drawn_with_what_was_found(run: TrainedRun, folder: Path, tmp_path: Path) -> None:
    path = sorted(folder.iterdir())[0]
    (told,) = run.answers([path], draw=tmp_path / "drawn")
    assert told["objects"]
    with Image.open(tmp_path / "drawn" / f"{path.name}.png") as drawn:
        pixels = torch.from_numpy(np.array(drawn.convert("RGB")))
    for one in told["objects"][:3]:
        ink = torch.tensor(colour(blocks.NAMES.index(one["class"])), dtype=torch.uint8)
        assert bool((pixels == ink).all(-1).any())
    assert len(marks(told, run.spec)) == len(told["objects"])
    assert lines(told, run.spec)[0].endswith(("wide", "tall"))
    assert lines({"objects": []}, run.spec) == ["nothing found"]


def test_frames_are_drawn_from_their_film(run: TrainedRun, tmp_path: Path) -> None:
    path = film(tmp_path / "clip.avi", 3, (64, 64))
    told = list(run.answers([path], draw=tmp_path / "drawn"))
    assert [record["input"] for record in told] == [f"{path}#{k}" for k in range(3)]
    assert sorted(one.name for one in (tmp_path / "drawn").iterdir()) == [f"clip.avi#{k}.png" for k in range(3)]
    drawn = Annotated(tmp_path / "again", run.spec, run.record.preprocessing)
    for record in told[1:]:
        drawn.write(Path(record["input"]), None, record)


def test_an_object_is_a_row_of_a_table() -> None:
    mask = {"size": [4, 5], "counts": "05"}
    one = {"class": "wide", "score": 0.5, "box": [1.0, 2.0, 3.0, 4.0], "mask": mask, "keypoints": [[1.0, 2.0, 0.9]]}
    (row,) = _rows({"input": "a.png", "objects": [one]})
    assert row == {
        "input": "a.png",
        "class": "wide",
        "score": 0.5,
        "x1": 1.0,
        "y1": 2.0,
        "x2": 3.0,
        "y2": 4.0,
        "height": 4,
        "width": 5,
        "mask": "05",
        "x[0]": 1.0,
        "y[0]": 2.0,
        "sure[0]": 0.9,
    }
    assert _rows({"input": "a.png", "objects": []}) == []
    assert _rows({"input": "a.png", "class": "b"}) == [{"input": "a.png", "class": "b"}]
