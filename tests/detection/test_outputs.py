"""Outputs of detection models: annotated images, COCO results, table rows."""

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
from videos import write_video

import snellen
from snellen.api import RunOptions, TrainedRun
from snellen.cli.predict import _csv_rows
from snellen.core.errors import UsageError
from snellen.core.spec import Classes, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.coco_results import CocoIds, CocoResults, assign_image_ids
from snellen.report.annotated_images import AnnotatedImageWriter
from snellen.report.overlay import class_colour


@pytest.fixture(scope="module")
def data() -> Dataset[Labelled]:
    return blocks.block_dataset(40, masks=True)


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
    """The test images as files named by their sample ids."""
    folder = tmp_path_factory.mktemp("images")
    for id in data.splits["test"].tolist():
        Image.fromarray(data.image(id)[0].numpy()).save(folder / f"{id:06}.png")
    return folder


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_coco_evaluation_of_the_results_equals_the_metrics(
    iou_type: str, run: TrainedRun, data: Dataset[Labelled], folder: Path, tmp_path: Path
) -> None:
    from pycocotools import mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    predictions = list(run.predict_files([folder], coco=tmp_path / "out.json"))
    results = json.loads((tmp_path / "out.json").read_text())
    assert {result["image_id"] for result in results} == set(data.splits["test"].tolist())
    assert len(results) > sum(
        len(record["objects"]) for record in predictions
    )  # includes detections below the threshold
    threshold = float(run.model.threshold)
    assert all(detected["score"] >= threshold for record in predictions for detected in record["objects"])
    images, annotations = [], []
    for scene in data.scenes("test").in_order():
        images.append({"id": scene.id, "height": 64, "width": 64})
        for k, (x1, y1, x2, y2) in enumerate(scene.truth.boxes.tolist()):
            rle = mask.encode(np.asfortranarray(scene.truth.masks[k].numpy().astype(np.uint8)))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": scene.id,
                    "iscrowd": 0,
                    "category_id": int(scene.truth.labels[k]) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(scene.truth.areas[k]),
                    "segmentation": rle,
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
        evaluator = COCOeval(truth, truth.loadRes(results), iou_type)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    ours = run.metrics["mask AP" if iou_type == "segm" else "box AP"].value
    assert evaluator.stats[0] == pytest.approx(ours, abs=1e-9)


def test_image_ids_are_file_names_if_these_are_distinct_numbers() -> None:
    assert assign_image_ids(["a/000012.jpg", "b/7.png"])[0] == [12, 7]
    assert assign_image_ids(["a/000012.jpg", "b/12.png"])[0] == [1, 2]
    assert assign_image_ids(["a/12.jpg", "b/x.png"])[0] == [1, 2]
    assert assign_image_ids(["clip.avi#0", "clip.avi#1"])[0] == [1, 2]


def test_coco_evaluation_of_the_results_with_the_annotations_of_the_user(tmp_path: Path) -> None:
    """Image ids and category ids have gaps, and one category id is 0."""
    root, dataset = tmp_path / "set", blocks.block_dataset(60)
    files = {split: write_coco_split(dataset, split, root) for split in ("train", "val", "test")}
    run = snellen.train(str(root), "baseline", out=tmp_path / "run", options=RunOptions(threads=1, report=False))
    assert run.spec.target.ids == (0, 7)
    loaded = snellen.load(tmp_path / "run")
    list(loaded.predict_files([root / "test"], coco=tmp_path / "out.json"))
    results = json.loads((tmp_path / "out.json").read_text())
    assert {result["category_id"] for result in results} == {0, 7}
    assert {result["image_id"] for result in results} == {3 * id + 1000 for id in dataset.splits["test"].tolist()}
    # Corners are rounded to hundredths of a pixel, which changes the IoU of boxes of 8 pixels by less than 0.01: only
    # detections that close to an IoU threshold may change.
    assert coco_ap(files["test"], results) == pytest.approx(run.metrics["AP"].value, abs=0.005)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    del record["spec"]["target"]["ids"]  # a run of an earlier version
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    list(snellen.load(tmp_path / "run").predict_files([root / "test"], coco=tmp_path / "old.json"))
    assert {result["category_id"] for result in json.loads((tmp_path / "old.json").read_text())} == {1, 2}


def write_coco_split(data: Dataset[Labelled], split: str, root: Path) -> Path:
    """Write a split in COCO format, with its images."""
    images, annotations = [], []
    for scene in data.scenes(split).in_order():
        number = 3 * scene.id + 1000
        (root / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.image[0].to(torch.uint8).numpy()).save(root / split / f"image {scene.id}.png")
        images.append({"id": number, "file_name": f"image {scene.id}.png", "height": 64, "width": 64})
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


def coco_ap(truth: Path, results: list[dict[str, object]]) -> float:
    """Box AP by COCO's evaluation."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco_ids = COCO(str(truth))
        evaluator = COCOeval(coco_ids, coco_ids.loadRes(results), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return float(evaluator.stats[0])


def test_ids_of_an_annotation_file_are_matched_by_path_suffix(run: TrainedRun, folder: Path, tmp_path: Path) -> None:
    paths = sorted(folder.iterdir())
    images = [{"id": f"n{k}", "file_name": f"{folder.name}/{path.name}"} for k, path in enumerate(paths[1:])]
    names = {"categories": [{"id": 5, "name": "tall"}, {"id": "w", "name": "wide"}, {"id": 1, "name": "round"}]}
    annotation_file = tmp_path / "annotations.json"
    annotation_file.write_text(json.dumps({"images": images, "annotations": [], **names}))
    recorded = RecordedProgress()
    list(run.predict_files([folder], coco=tmp_path / "out.json", coco_annotations=annotation_file, progress=recorded))
    results = json.loads((tmp_path / "out.json").read_text())
    expected = {str(path): f"n{k}" for k, path in enumerate(paths[1:])} | {str(paths[0]): 1}
    assert {result["file_name"]: result["image_id"] for result in results} == expected
    assert {(result["category"], result["category_id"]) for result in results} == {("tall", 5), ("wide", "w")}
    assert recorded.lines == [
        f"1 of {len(paths)} images are not in {annotation_file}, or are duplicates, and get new ids: {paths[0]}"
    ]
    names["categories"].pop(1)
    annotation_file.write_text(json.dumps({"images": images, "annotations": [], **names}))
    with pytest.raises(UsageError, match="has no category 'wide'"):
        list(run.predict_files([folder], coco=tmp_path / "out.json", coco_annotations=annotation_file))


class RecordedProgress:
    """Progress that stores its messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, message: str) -> None:
        self.lines.append(message)


def test_duplicate_and_unknown_images_get_new_ids(tmp_path: Path) -> None:
    coco_ids = CocoIds(images={"1.png": 40, "a/2.png": 7}, classes={}, source="it")
    assert assign_image_ids(["x/1.png", "y/1.png", "a/2.png", "b/2.png"], coco_ids) == (
        [40, 41, 7, 42],
        ["y/1.png", "b/2.png"],
    )
    assert assign_image_ids(["x/3.png", "x/4.png"], coco_ids) == ([3, 4], ["x/3.png", "x/4.png"])


def test_coco_results_need_a_detection_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--coco needs a detection model"):
        CocoResults(tmp_path / "x.json", Spec(name="x", inputs={}, target=Classes(names=("a",))))


def test_results_of_readable_images_are_written_if_others_fail(run: TrainedRun, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("<html>")
    good = sorted(folder.iterdir())[0]
    with pytest.raises(snellen.core.errors.DataError):
        list(run.predict_files([good, tmp_path / "bad.png"], coco=tmp_path / "out.json"))
    assert {result["file_name"] for result in json.loads((tmp_path / "out.json").read_text())} == {str(good)}


def test_detections_are_drawn_on_the_image(run: TrainedRun, folder: Path, tmp_path: Path) -> None:
    path = sorted(folder.iterdir())[0]
    (predictions,) = run.predict_files([path], draw=tmp_path / "annotated")
    assert predictions["objects"]
    with Image.open(tmp_path / "annotated" / f"{path.stem}.png") as annotated:
        pixels = torch.from_numpy(np.array(annotated.convert("RGB")))
    for detected in predictions["objects"][:3]:
        colour = torch.tensor(class_colour(blocks.NAMES.index(detected["class"])), dtype=torch.uint8)
        assert bool((pixels == colour).all(-1).any())
    assert len(run.task.display.marks(predictions, run.spec)) == len(predictions["objects"])
    assert run.task.display.lines(predictions, run.spec)[0].endswith(("wide", "tall"))
    assert run.task.display.lines({"objects": []}, run.spec) == ["no detections"]


def test_detections_are_drawn_on_video_frames(run: TrainedRun, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", 3, (64, 64))
    predictions = list(run.predict_files([path], draw=tmp_path / "annotated"))
    assert [record["input"] for record in predictions] == [f"{path}#{k}" for k in range(3)]
    assert sorted(path.name for path in (tmp_path / "annotated").iterdir()) == [f"clip.avi#{k}.png" for k in range(3)]
    writer = AnnotatedImageWriter(tmp_path / "again", run.task, run.spec, run.record.preprocessing)
    for record in predictions[1:]:
        writer.write(Path(record["input"]), None, record)


def test_an_object_is_a_table_row() -> None:
    mask = {"size": [4, 5], "counts": "05"}
    detected = {
        "class": "wide",
        "score": 0.5,
        "box": [1.0, 2.0, 3.0, 4.0],
        "mask": mask,
        "keypoints": [[1.0, 2.0, 0.9]],
    }
    (row,) = _csv_rows({"input": "a.png", "objects": [detected]})
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
    assert _csv_rows({"input": "a.png", "objects": []}) == []
    assert _csv_rows({"input": "a.png", "class": "b"}) == [{"input": "a.png", "class": "b"}]
