"""S8: what follows a detector: 100 masks laid into a picture of 1080x1440, and average precision of 400 pictures with
40,000 finds.

Masks: ours are cut to where they are and hold a byte a pixel, torchvision's are whole pictures of float32. First both
are compared pixel for pixel. Memory is what one round adds to the process at its highest, told with the output.

Average precision: the whole of it, from flat tensors of boxes to the figure; the reference's rounds begin with COCO's
objects read, as its users have them. First the figures are compared.
"""

from __future__ import annotations

import contextlib
import io
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness import Bar, Bench, Options, Output, Round, main

PICTURE = (1080, 1440)
MASKS, SIDE = 100, 28
PICTURES, FINDS, OBJECTS, CLASSES = 400, 100, 7, 20
SAME_PIXELS = 1e-6  # share of all pixels that may differ


def drawn() -> tuple[Any, Any]:
    """(100, 28, 28) soft blobs, and (100, 4) boxes of 30 to 330 pixels a side in the picture."""
    import torch

    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(MASKS, 1, 5, 5, generator=generator)
    masks = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")[:, 0].clamp(0, 1)
    sides = 30 + 300 * torch.rand(MASKS, 2, generator=generator)
    corner = torch.rand(MASKS, 2, generator=generator) * (torch.tensor([PICTURE[1], PICTURE[0]]) - sides)
    return masks, torch.cat([corner, corner + sides], 1)


def resident() -> int:
    """Bytes that the process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def ours(options: Options) -> Round:
    """Regions, with their runs: all that an answer in COCO's form needs."""
    import torch

    from snellen.core.rle import runs
    from snellen.nn.detection.mask_pasting import regions

    torch.set_num_threads(options.threads)
    masks, boxes = drawn()

    def once() -> Callable[[], Output]:
        found = regions(masks, boxes, PICTURE)

        def told() -> Output:
            held = sum(region.inside.numel() for region in found)
            area = sum(int(region.inside.sum()) for region in found)
            assert area == sum(int(runs(region, PICTURE)[1::2].sum()) for region in found)
            return {"pixels inside": area, "MB held": held / 1e6, "differing share": differing(masks, boxes, found)}

        return told

    return once


def differing(masks: Any, boxes: Any, found: Any) -> float:
    """The share of all pixels that torchvision puts on the other side, a mask at a time."""
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    wrong = sum(
        int(((paste_masks_in_image(mask[None, None], box[None], PICTURE)[0, 0] > 0.5) != region.full(*PICTURE)).sum())
        for mask, box, region in zip(masks, boxes, found, strict=True)
    )
    return wrong / (MASKS * PICTURE[0] * PICTURE[1])


def torchvision_masks(options: Options) -> Round:
    import torch
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    torch.set_num_threads(options.threads)
    masks, boxes = drawn()

    def once() -> Callable[[], Output]:
        whole = paste_masks_in_image(masks[:, None], boxes, PICTURE)
        inside = whole > 0.5
        held = (whole.nbytes + inside.nbytes) / 1e6
        area = int(inside.sum())
        return lambda: {"pixels inside": area, "MB held": held}

    return once


def said() -> Any:
    """Predictions of 400 pictures with 100 finds each, of which some lie on the 7 objects."""
    import torch

    generator = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    corner, side = 400 * rand(PICTURES, OBJECTS, 2), 12 + 150 * rand(PICTURES, OBJECTS, 2) ** 2
    truth = torch.cat([corner, corner + side], 2)  # (N, 7, 4)
    labels = torch.randint(CLASSES, (PICTURES, OBJECTS), generator=generator)
    which = torch.randint(OBJECTS, (PICTURES, FINDS), generator=generator)
    boxes = truth.gather(1, which[..., None].expand(-1, -1, 4))
    sides = (boxes[..., 2:] - boxes[..., :2]).repeat(1, 1, 2)
    boxes = boxes + sides * 0.3 * rand(PICTURES, FINDS, 1) * (rand(PICTURES, FINDS, 4) - 0.5)
    away = rand(PICTURES, FINDS) < 0.6
    boxes[away] += 60
    classes = labels.gather(1, which)
    classes[away] = torch.randint(CLASSES, (int(away.sum()),), generator=generator)
    scores = rand(PICTURES, FINDS)
    none = torch.zeros(PICTURES * OBJECTS, dtype=torch.bool)
    flat = truth.flatten(0, 1)
    return {
        "ids": torch.arange(PICTURES),
        "sizes": torch.full((PICTURES, 2), 600),
        "num_detections": torch.full((PICTURES,), FINDS),
        "num_objects": torch.full((PICTURES,), OBJECTS),
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
    """COCO's figures by ten thresholds and four ranges of size."""
    import torch

    from snellen.core.spec import Boxes, Spec
    from snellen.detection.evaluation import matched
    from snellen.metrics.detection import average_precision
    from snellen.metrics.matching import SIZES

    torch.set_num_threads(options.threads)
    spec = Spec(name="drawn", inputs={}, target=Boxes(names=tuple(map(str, range(CLASSES)))))
    predictions = said()

    def once() -> Callable[[], Output]:
        matches = matched(predictions, "boxes", spec, list(SIZES))
        figures = [average_precision(matches, sizes=place) for place in range(len(SIZES))]
        return lambda: {
            "AP": float(figures[0][0].nanmean()),
            "AP small": float(figures[1][0].nanmean()),
            "AR": float(figures[0][1].nanmean()),
        }

    return once


def reference(module: str) -> Callable[[Options], Round]:
    """The same by a reference implementation, from lists that are in memory."""

    def make(options: Options) -> Round:
        if module == "pycocotools":
            from pycocotools.coco import COCO
            from pycocotools.cocoeval import COCOeval
        else:
            from faster_coco_eval import COCO
            from faster_coco_eval import COCOeval_faster as COCOeval
        truth, answers = as_coco(said())

        def once() -> Callable[[], Output]:
            with contextlib.redirect_stdout(io.StringIO()):
                gold = COCO()
                gold.dataset = truth
                gold.createIndex()
                judge = COCOeval(gold, gold.loadRes([dict(answer) for answer in answers]), "bbox")
                judge.evaluate()
                judge.accumulate()
                judge.summarize()
            stats = judge.stats
            return lambda: {"AP": float(stats[0]), "AP small": float(stats[3]), "AR": float(stats[8])}

        return once

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
    answers = [
        {"image_id": k // FINDS + 1, "category_id": label + 1, "bbox": sides(box), "score": score}
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
        "images": [{"id": k + 1, "width": 600, "height": 600} for k in range(PICTURES)],
        "info": {},
        "categories": [{"id": k + 1, "name": str(k)} for k in range(CLASSES)],
        "annotations": annotations,
    }, answers


def same(ours: Output, peer: Output) -> str | None:
    """Pixels may differ by a share of 1e-6, figures by 1e-9."""
    if "AP" in ours:
        worst = max(abs(ours[name] - peer[name]) for name in ours)
        return None if worst <= 1e-9 else f"figures differ by {worst:.2g}"
    share = ours["differing share"]
    return None if share <= SAME_PIXELS else f"a share of {share:.2g} of the pixels differs"


ENTRIES: Mapping[str, Callable[[Options], Round]] = {"masks: snellen": ours, "precision: snellen": precision}

BENCH = Bench(
    name="det_post",
    work=f"{MASKS} masks at {PICTURE[0]}x{PICTURE[1]}; average precision of {PICTURES} pictures with "
    f"{PICTURES * FINDS:,} finds in {CLASSES} classes",
    ours=ENTRIES,
    peers={
        "masks: torchvision": torchvision_masks,
        "precision: faster-coco-eval": reference("faster_coco_eval"),
        "precision: pycocotools": reference("pycocotools"),
    },
    bars=(
        Bar(ours="masks: snellen", peer="masks: torchvision", most=0.05),
        Bar(ours="precision: snellen", peer="precision: faster-coco-eval", most=1.0),
    ),
    same=same,
)

if __name__ == "__main__":
    main(BENCH, __file__)
