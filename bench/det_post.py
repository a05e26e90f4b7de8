"""S8: detector post-processing: pasting 100 masks into an image of 1080x1440, and average precision of 400 images with
40,000 detections.

Masks: ours are cropped to their region with one byte per pixel, torchvision's are complete images of float32. Both are
first compared pixel by pixel. Memory is the peak increase of the process in one round, reported with the output.

Average precision: complete, from flat tensors of boxes to the metric; the rounds of the references start with COCO
objects in memory. The metrics are compared first.
"""

from __future__ import annotations

import contextlib
import io
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness import Bar, Bench, Options, Output, Round, main

IMAGE_SIZE = (1080, 1440)
MASKS, SIDE = 100, 28
IMAGES, DETECTIONS, OBJECTS, CLASSES = 400, 100, 7, 20
SAME_PIXELS = 1e-6  # fraction of all pixels that may differ


def sample_masks() -> tuple[Any, Any]:
    """(100, 28, 28) soft blobs, and (100, 4) boxes of 30 to 330 pixels a side in the image."""
    import torch

    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(MASKS, 1, 5, 5, generator=generator)
    masks = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")[:, 0].clamp(0, 1)
    sides = 30 + 300 * torch.rand(MASKS, 2, generator=generator)
    corner = torch.rand(MASKS, 2, generator=generator) * (torch.tensor([IMAGE_SIZE[1], IMAGE_SIZE[0]]) - sides)
    return masks, torch.cat([corner, corner + sides], 1)


def resident_bytes() -> int:
    """Resident memory of the process, bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def ours(options: Options) -> Round:
    """Mask regions with run lengths, as needed for COCO results."""
    import torch

    from snellen.core.rle import run_lengths
    from snellen.nn.detection.mask_pasting import paste_masks

    torch.set_num_threads(options.threads)
    masks, boxes = sample_masks()

    def run_round() -> Callable[[], Output]:
        regions = paste_masks(masks, boxes, IMAGE_SIZE)

        def outputs() -> Output:
            stored = sum(region.mask.numel() for region in regions)
            area = sum(int(region.mask.sum()) for region in regions)
            assert area == sum(int(run_lengths(region, IMAGE_SIZE)[1::2].sum()) for region in regions)
            return {
                "pixels inside": area,
                "MB held": stored / 1e6,
                "differing share": differing_fraction(masks, boxes, regions),
            }

        return outputs

    return run_round


def differing_fraction(masks: Any, boxes: Any, regions: Any) -> float:
    """Fraction of all pixels that differ from torchvision."""
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    wrong = sum(
        int(
            (
                (paste_masks_in_image(mask[None, None], box[None], IMAGE_SIZE)[0, 0] > 0.5) != region.full(*IMAGE_SIZE)
            ).sum()
        )
        for mask, box, region in zip(masks, boxes, regions, strict=True)
    )
    return wrong / (MASKS * IMAGE_SIZE[0] * IMAGE_SIZE[1])


def torchvision_masks(options: Options) -> Round:
    import torch
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    torch.set_num_threads(options.threads)
    masks, boxes = sample_masks()

    def run_round() -> Callable[[], Output]:
        whole = paste_masks_in_image(masks[:, None], boxes, IMAGE_SIZE)
        inside = whole > 0.5
        stored = (whole.nbytes + inside.nbytes) / 1e6
        area = int(inside.sum())
        return lambda: {"pixels inside": area, "MB held": stored}

    return run_round


def sample_predictions() -> Any:
    """Predictions for 400 images with 100 detections each, some of them on the 7 objects."""
    import torch

    generator = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    corner, side = 400 * rand(IMAGES, OBJECTS, 2), 12 + 150 * rand(IMAGES, OBJECTS, 2) ** 2
    truth = torch.cat([corner, corner + side], 2)  # (N, 7, 4)
    labels = torch.randint(CLASSES, (IMAGES, OBJECTS), generator=generator)
    matched = torch.randint(OBJECTS, (IMAGES, DETECTIONS), generator=generator)
    boxes = truth.gather(1, matched[..., None].expand(-1, -1, 4))
    sides = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2)
    boxes = boxes + sides * 0.3 * rand(IMAGES, DETECTIONS, 1) * (rand(IMAGES, DETECTIONS, 4) - 0.5)
    away = rand(IMAGES, DETECTIONS) < 0.6
    boxes[away] += 60
    classes = labels.gather(1, matched)
    classes[away] = torch.randint(CLASSES, (int(away.sum()),), generator=generator)
    scores = rand(IMAGES, DETECTIONS)
    none = torch.zeros(IMAGES * OBJECTS, dtype=torch.bool)
    flat = truth.flatten(0, 1)
    return {
        "ids": torch.arange(IMAGES),
        "sizes": torch.full((IMAGES, 2), 600),
        "num_detections": torch.full((IMAGES,), DETECTIONS),
        "num_objects": torch.full((IMAGES,), OBJECTS),
        "boxes": boxes.flatten(0, 1),
        "scores": scores.flatten(),
        "labels": classes.flatten(),
        "truth": flat,
        "true_labels": labels.flatten(),
        "crowd": none,
        "ignored": none,
        "areas": (flat[:, 2:] - flat[:, :2]).prod(1),
        "threshold": torch.tensor(0.5),
    }


def precision(options: Options) -> Round:
    """COCO metrics over ten IoU thresholds and four area ranges."""
    import torch

    from snellen.core.spec import Boxes, Spec
    from snellen.detection.evaluation import match_detections
    from snellen.metrics.detection import average_precision
    from snellen.metrics.matching import AREA_RANGES

    torch.set_num_threads(options.threads)
    spec = Spec(name="drawn", inputs={}, target=Boxes(names=tuple(map(str, range(CLASSES)))))
    predictions = sample_predictions()

    def run_round() -> Callable[[], Output]:
        matches = match_detections(predictions, "boxes", spec, list(AREA_RANGES))
        figures = [average_precision(matches, size_range=place) for place in range(len(AREA_RANGES))]
        return lambda: {
            "AP": float(figures[0][0].nanmean()),
            "AP small": float(figures[1][0].nanmean()),
            "AR": float(figures[0][1].nanmean()),
        }

    return run_round


def reference(module: str) -> Callable[[Options], Round]:
    """COCO metrics by a reference implementation, from lists in memory."""

    def make(options: Options) -> Round:
        if module == "pycocotools":
            from pycocotools.coco import COCO
            from pycocotools.cocoeval import COCOeval
        else:
            from faster_coco_eval import COCO
            from faster_coco_eval import COCOeval_faster as COCOeval
        truth, detections = as_coco(sample_predictions())

        def run_round() -> Callable[[], Output]:
            with contextlib.redirect_stdout(io.StringIO()):
                ground_truth = COCO()
                ground_truth.dataset = truth
                ground_truth.createIndex()
                evaluator = COCOeval(
                    ground_truth, ground_truth.loadRes([dict(answer) for answer in detections]), "bbox"
                )
                evaluator.evaluate()
                evaluator.accumulate()
                evaluator.summarize()
            stats = evaluator.stats
            return lambda: {"AP": float(stats[0]), "AP small": float(stats[3]), "AR": float(stats[8])}

        return run_round

    return make


def as_coco(predictions: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    def sides(box: list[float]) -> list[float]:
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    true = zip(
        predictions["true_labels"].tolist(),
        predictions["truth"].double().tolist(),
        predictions["areas"].double().tolist(),
        strict=True,
    )
    annotations = [
        {
            "id": k + 1,
            "image_id": k // OBJECTS + 1,
            "category_id": label + 1,
            "bbox": sides(box),
            "area": area,
            "iscrowd": 0,
        }
        for k, (label, box, area) in enumerate(true)
    ]
    detections = [
        {"image_id": k // DETECTIONS + 1, "category_id": label + 1, "bbox": sides(box), "score": score}
        for k, (label, box, score) in enumerate(
            zip(
                predictions["labels"].tolist(),
                predictions["boxes"].double().tolist(),
                predictions["scores"].double().tolist(),
                strict=True,
            )
        )
    ]
    return {
        "images": [{"id": k + 1, "width": 600, "height": 600} for k in range(IMAGES)],
        "info": {},
        "categories": [{"id": k + 1, "name": str(k)} for k in range(CLASSES)],
        "annotations": annotations,
    }, detections


def same(ours: Output, peer: Output) -> str | None:
    """Pixels may differ by a fraction of 1e-6, metrics by 1e-9."""
    if "AP" in ours:
        worst = max(abs(ours[name] - peer[name]) for name in ours)
        return None if worst <= 1e-9 else f"metrics differ by {worst:.2g}"
    fraction = ours["differing share"]
    return None if fraction <= SAME_PIXELS else f"a fraction of {fraction:.2g} of the pixels differs"


ENTRIES: Mapping[str, Callable[[Options], Round]] = {"masks: snellen": ours, "precision: snellen": precision}

BENCH = Bench(
    name="det_post",
    work=f"{MASKS} masks at {IMAGE_SIZE[0]}x{IMAGE_SIZE[1]}; average precision of {IMAGES} images with "
    f"{IMAGES * DETECTIONS:,} detections in {CLASSES} classes",
    ours=ENTRIES,
    peers={
        "masks: torchvision": torchvision_masks,
        "precision: faster-coco-eval": reference("faster_coco_eval"),
        "precision: pycocotools": reference("pycocotools"),
    },
    bars=(
        Bar(ours="masks: snellen", peer="masks: torchvision", max_value=0.05),
        Bar(ours="precision: snellen", peer="precision: faster-coco-eval", max_value=1.0),
    ),
    same=same,
)

if __name__ == "__main__":
    main(BENCH, __file__)
