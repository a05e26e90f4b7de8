"""S7: one training step of Faster R-CNN (MobileNetV3, 320 pixels) and Mask R-CNN (ResNet-50), beside torchvision's own.

Both have the same weights, pictures, objects and draws. Equal are the losses of the first step; the ratio is that of a
step: forward, backward, update. What differs: RoIAlign as one sum of weighted rows, the region proposals' gradient only
at the anchors that are learned from, masks cut to their box, proposals chosen before they are decoded, channels
last, gradients of weights as matrix products on processors without AVX-512, freed memory kept.

    python bench/det_train.py [--rounds 7] [--threads 1]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext

from harness import Bar, Bench, Options, Output, Round, main

SIDES = {"faster": (320, 640), "mask": (480, 640)}  # shorter and longer, at most; Mask R-CNN's 800 takes minutes a step
OBJECTS = 8
CLASSES = 90
STEPS = {"cpu": 1, "cuda": 10}  # a round


def scene(kind: str):  # type: ignore[no-untyped-def]
    """A picture of noise with eight objects, in both forms."""
    import torch

    from snellen.core.detections import Objects

    drawn = torch.Generator().manual_seed(0)
    height, width = SIDES[kind][0], SIDES[kind][0] * 4 // 3
    image = torch.rand(3, height, width, generator=drawn)
    corner = torch.rand(OBJECTS, 2, generator=drawn) * torch.tensor([width * 0.6, height * 0.6])
    boxes = torch.cat([corner, corner + 32 + torch.rand(OBJECTS, 2, generator=drawn) * height * 0.35], 1)
    labels = torch.randint(0, CLASSES, (OBJECTS,), generator=drawn)
    masks = torch.zeros(OBJECTS, height, width, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    none = torch.zeros(OBJECTS, dtype=torch.bool)
    return image, Objects(boxes, labels, none, none, masks.flatten(1).sum(1).float(), masks)


def torchvisions(kind: str):  # type: ignore[no-untyped-def]
    import torch
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn, maskrcnn_resnet50_fpn

    torch.manual_seed(0)
    make = fasterrcnn_mobilenet_v3_large_320_fpn if kind == "faster" else maskrcnn_resnet50_fpn
    model = make(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, min_size=SIDES[kind][0], max_size=SIDES[kind][1]
    )
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "rpn" in name:  # scores that are apart
            torch.nn.init.normal_(parameter, std=0.05)
    return model.train()


def ours(kind: str, other):  # type: ignore[no-untyped-def]
    import torch
    from torchvision.models.detection.rpn import RPNHead

    from snellen.core.spec import Input
    from snellen.detection.checkpoints import Published
    from snellen.detection.pretrained import renamed
    from snellen.nn.detection.anchors import Anchors
    from snellen.nn.detection.backbones import pyramid
    from snellen.nn.detection.builders import Plan, two_stage
    from snellen.nn.detection.detector import Detector
    from snellen.nn.detection.image_batch import ImageGrid
    from snellen.nn.layers import Standardize

    maps = pyramid("mobilenet" if kind == "faster" else "resnet50", 3, "batch")
    masks = "none" if kind == "faster" else "joint"
    cells = torch.stack([*other.rpn.anchor_generator.cell_anchors])
    anchors = Anchors([[1.0]] * len(maps.strides), fixed=True)
    anchors.cells = cells
    body = two_stage(maps, anchors, Plan(classes=CLASSES, masks=masks, aligned=False))
    body.proposals.head = RPNHead(256, cells.shape[1])
    standardize = Standardize(Input(modality="image", shape=(3, None, None), dtype="float32"))
    known = Published(name="")  # mean and deviation, of values in 0 … 1 here
    standardize.mean.copy_(torch.tensor(known.mean))
    standardize.std.copy_(torch.tensor(known.std))
    standardize.load_state_dict(standardize.state_dict())
    model = Detector(ImageGrid(standardize, *SIDES[kind]), body)
    found = {renamed(name): tensor for name, tensor in other.state_dict().items()}
    unexpected = model.load_state_dict(found, strict=False).unexpected_keys
    assert not unexpected, unexpected
    return model.train().to(memory_format=torch.channels_last)


def step(kind: str, own: bool, half: bool = False) -> Callable[[Options], Round]:
    """Rounds of one step, all from the same weights' first step on."""

    def make(options: Options) -> Round:
        import torch

        from snellen.api.run_options import same_bits
        from snellen.core.allocator import tune
        from snellen.data.scenes import moved_to
        from snellen.training.convolutions import by_products
        from snellen.training.precision import has_bfloat16

        if own:
            tune()  # as `snellen train` does

        torch.set_num_threads(options.threads)
        if half and not has_bfloat16(torch.device(options.device)):
            raise RuntimeError(f"this {options.device} has no bfloat16")  # it would be emulated, at a tenth of the pace
        device = torch.device(options.device)
        other = torchvisions(kind)
        image, truth = scene(kind)
        with torch.no_grad():  # its anchors are made by a first look
            other.rpn.anchor_generator.set_cell_anchors(torch.float32, torch.device("cpu"))
        model = (ours(kind, other) if own else other).to(device)
        image, truth = image.to(device), moved_to(truth, device)
        target = [{"boxes": truth.boxes, "labels": truth.labels + 1, "masks": truth.masks.to(torch.uint8)}]
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-9, momentum=0.9, fused=own)

        def once() -> Callable[[], Output]:
            torch.manual_seed(1)
            if own:
                torch.empty(1).uniform_()  # torchvision draws a size of one
            steps = STEPS[options.device]
            started, burnt = time.perf_counter(), time.process_time()
            with same_bits(options.device) if own else nullcontext():
                for _ in range(steps):
                    with (
                        by_products(model, device) if own else nullcontext(),
                        torch.autocast(options.device, torch.bfloat16, enabled=half),
                    ):
                        losses = model.losses([image], [truth]) if own else model([image], target)
                        total = sum(losses.values())
                    optimizer.zero_grad()
                    total.backward()
                    optimizer.step()
            options.wait()
            seconds, cpu = time.perf_counter() - started, time.process_time() - burnt
            return lambda: {"seconds": seconds / steps, "cpu": cpu / steps, "loss": float(total.detach())}

        return once

    return make


def same(one: Output, other: Output) -> str | None:
    apart = abs(one["loss"] - other["loss"]) / other["loss"]
    return None if apart <= 0.02 else f"loss differs by {apart:.1%}"


BENCH = Bench(
    name="det_train",
    work="A training step of one picture: Faster R-CNN MobileNetV3 at 320x426, Mask R-CNN ResNet-50 at 480x640.",
    ours={
        "faster: snellen": step("faster", own=True),
        "faster: snellen bf16": step("faster", own=True, half=True),
        "mask: snellen": step("mask", own=True),
        "mask: snellen bf16": step("mask", own=True, half=True),
    },
    peers={"faster: torchvision": step("faster", own=False), "mask: torchvision": step("mask", own=False)},
    bars=[
        Bar(ours="faster: snellen", peer="faster: torchvision", most=0.8),
        Bar(ours="mask: snellen", peer="mask: torchvision", most=0.8),
    ],
    same=same,
    unit="s a step",
)

if __name__ == "__main__":
    main(BENCH, __file__)
