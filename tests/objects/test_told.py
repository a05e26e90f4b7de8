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
from films import film
from PIL import Image

import snellen
from snellen.cli.predict import _rows
from snellen.core.errors import UsageError
from snellen.core.spec import Classes, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.entry import Machine, Trained
from snellen.look.annotate import Annotated, lines
from snellen.look.marks import marks
from snellen.look.overlay import colour
from snellen.objects.coco import Results, numbers


@pytest.fixture(scope="module")
def data() -> Dataset[Labelled]:
    return blocks.blocks(40, masks=True)


@pytest.fixture(scope="module")
def run(data: Dataset[Labelled], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return snellen.train(data, "baseline", task="instances", out=tmp_path_factory.mktemp("run") / "run",
                         machine=Machine(threads=1, report=False))  # fmt: skip


@pytest.fixture(scope="module")
def folder(data: Dataset[Labelled], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test pictures as files under the numbers of their samples."""
    made = tmp_path_factory.mktemp("pictures")
    for id in data.splits["test"].tolist():
        Image.fromarray(data.picture(id)[0].numpy()).save(made / f"{id:06}.png")
    return made


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_coco_s_evaluation_reads_the_results_and_says_the_same(
    kind: str, run: Trained, data: Dataset[Labelled], folder: Path, tmp_path: Path
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
            annotations.append({"id": len(annotations) + 1, "image_id": scene.id, "iscrowd": 0,
                                "category_id": int(scene.truth.labels[k]) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1],
                                "area": float(scene.truth.areas[k]), "segmentation": short})  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"images": images, "annotations": annotations, "info": {},
                         "categories": [{"id": k + 1, "name": name} for k, name in enumerate(blocks.NAMES)]}
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    ours = run.metrics["mask AP" if kind == "segm" else "box AP"].value
    assert judge.stats[0] == pytest.approx(ours, abs=1e-9)


def test_pictures_are_numbered_by_their_names_where_these_are_numbers() -> None:
    assert numbers(["a/000012.jpg", "b/7.png"]) == [12, 7]
    assert numbers(["a/000012.jpg", "b/12.png"]) == [1, 2]
    assert numbers(["a/12.jpg", "b/x.png"]) == [1, 2]
    assert numbers(["clip.avi#0", "clip.avi#1"]) == [1, 2]


def test_results_are_for_what_finds_objects(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--coco is for models that find objects"):
        Results(tmp_path / "x.json", Spec(name="x", inputs={}, target=Classes(names=("a",))))


def test_results_are_written_for_the_good_where_some_are_bad(run: Trained, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("<html>")
    good = sorted(folder.iterdir())[0]
    with pytest.raises(snellen.core.errors.DataError):
        list(run.answers([good, tmp_path / "bad.png"], coco=tmp_path / "out.json"))
    assert {one["file_name"] for one in json.loads((tmp_path / "out.json").read_text())} == {str(good)}


def test_a_picture_is_drawn_with_what_was_found(run: Trained, folder: Path, tmp_path: Path) -> None:
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


def test_frames_are_drawn_from_their_film(run: Trained, tmp_path: Path) -> None:
    path = film(tmp_path / "clip.avi", 3, (64, 64))
    told = list(run.answers([path], draw=tmp_path / "drawn"))
    assert [record["input"] for record in told] == [f"{path}#{k}" for k in range(3)]
    assert sorted(one.name for one in (tmp_path / "drawn").iterdir()) == [f"clip.avi#{k}.png" for k in range(3)]
    drawn = Annotated(tmp_path / "again", run.spec, run.record.reading)
    for record in told[1:]:
        drawn.write(Path(record["input"]), None, record)


def test_an_object_is_a_row_of_a_table() -> None:
    mask = {"size": [4, 5], "counts": "05"}
    one = {"class": "wide", "score": 0.5, "box": [1.0, 2.0, 3.0, 4.0], "mask": mask, "keypoints": [[1.0, 2.0, 0.9]]}
    (row,) = _rows({"input": "a.png", "objects": [one]})
    assert row == {"input": "a.png", "class": "wide", "score": 0.5, "x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 4.0,
                   "height": 4, "width": 5, "mask": "05", "x[0]": 1.0, "y[0]": 2.0, "sure[0]": 0.9}  # fmt: skip
    assert _rows({"input": "a.png", "objects": []}) == []
    assert _rows({"input": "a.png", "class": "b"}) == [{"input": "a.png", "class": "b"}]
