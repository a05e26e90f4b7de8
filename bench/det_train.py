"""S7: one training step of Faster R-CNN (MobileNetV3, 320 pixels) and Mask R-CNN (ResNet-50), against torchvision.

Both have the same weights, images, objects and random numbers. The losses of the first step are equal; the ratio is
that of a step: forward, backward, update. Differences: RoIAlign as one sum of weighted rows, RPN gradients only at
sampled anchors, masks cropped to their box, proposals selected before decoding, channels last, weight gradients as
matrix products on processors without AVX-512, reuse of freed memory.

    python bench/det_train.py [--rounds 7] [--threads 1]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext

from harness import Bar, Bench, Options, Output, Round, main

SIDES = {"faster": (320, 640), "mask": (480, 640)}  # shorter and longer side; 800 for Mask R-CNN takes minutes per step
OBJECTS = 8
CLASSES = 90
STEPS = {"cpu": 1, "cuda": 10}  # per round


def noise_image(kind: str):  # type: ignore[no-untyped-def]
    """A noise image with eight objects."""
    import torch

    from snellen.core.detections import GroundTruth

    rng = torch.Generator().manual_seed(0)
    height, width = SIDES[kind][0], SIDES[kind][0] * 4 // 3
    image = torch.rand(3, height, width, generator=rng)
    corner = torch.rand(OBJECTS, 2, generator=rng) * torch.tensor([width * 0.6, height * 0.6])
    boxes = torch.cat([corner, corner + 32 + torch.rand(OBJECTS, 2, generator=rng) * height * 0.35], 1)
    labels = torch.randint(0, CLASSES, (OBJECTS,), generator=rng)
    masks = torch.zeros(OBJECTS, height, width, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    none = torch.zeros(OBJECTS, dtype=torch.bool)
    return image, GroundTruth(boxes, labels, none, none, masks.flatten(1).sum(1).float(), masks)


def torchvision_model(kind: str):  # type: ignore[no-untyped-def]
    import torch
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn, maskrcnn_resnet50_fpn

    torch.manual_seed(0)
    make = fasterrcnn_mobilenet_v3_large_320_fpn if kind == "faster" else maskrcnn_resnet50_fpn
    model = make(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, min_size=SIDES[kind][0], max_size=SIDES[kind][1]
    )
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "rpn" in name:  # distinct scores
            torch.nn.init.normal_(parameter, std=0.05)
    return model.train()


def snellen_model(kind: str, other):  # type: ignore[no-untyped-def]
    import torch
    from torchvision.models.detection.rpn import RPNHead

    from snellen.core.spec import Input
    from snellen.detection.checkpoints import DetectorCheckpoint
    from snellen.detection.pretrained import to_snellen_name
    from snellen.nn.detection.anchors import Anchors
    from snellen.nn.detection.backbones import feature_pyramid
    from snellen.nn.detection.builders import DetectorConfig, two_stage
    from snellen.nn.detection.detector import DetectionNetwork
    from snellen.nn.detection.image_batch import DetectorTransform
    from snellen.nn.layers import Standardize

    maps = feature_pyramid("mobilenet" if kind == "faster" else "resnet50", 3, "batch")
    masks = "none" if kind == "faster" else "joint"
    cells = torch.stack([*other.rpn.anchor_generator.cell_anchors])
    anchors = Anchors([[1.0]] * len(maps.strides), fixed=True)
    anchors.cells = cells
    body = two_stage(maps, anchors, DetectorConfig(classes=CLASSES, masks=masks, aligned=False))
    body.proposals.head = RPNHead(256, cells.shape[1])
    standardize = Standardize(Input(modality="image", shape=(3, None, None), dtype="float32"))
    checkpoint = DetectorCheckpoint(name="")  # mean and standard deviation, for values in 0 … 1
    standardize.mean.copy_(torch.tensor(checkpoint.mean))
    standardize.std.copy_(torch.tensor(checkpoint.std))
    standardize.load_state_dict(standardize.state_dict())
    model = DetectionNetwork(DetectorTransform(standardize, *SIDES[kind]), body)
    tensors = {to_snellen_name(name): tensor for name, tensor in other.state_dict().items()}
    unexpected = model.load_state_dict(tensors, strict=False).unexpected_keys
    assert not unexpected, unexpected
    return model.train().to(memory_format=torch.channels_last)


def step(kind: str, use_snellen: bool, bfloat16: bool = False) -> Callable[[Options], Round]:
    """Make rounds of training steps that start from the same weights."""

    def make(options: Options) -> Round:
        import torch

        from snellen.api.run_options import deterministic_kernels
        from snellen.core.memory_allocator import tune
        from snellen.data.scenes import annotation_to
        from snellen.training.convolution_gradients import fast_weight_gradients
        from snellen.training.precision import has_bfloat16

        if use_snellen:
            tune()  # as `snellen train` does

        torch.set_num_threads(options.threads)
        if bfloat16 and not has_bfloat16(torch.device(options.device)):
            raise RuntimeError(f"this {options.device} has no bfloat16")  # its emulation is ten times slower
        device = torch.device(options.device)
        other = torchvision_model(kind)
        image, truth = noise_image(kind)
        with torch.no_grad():  # torchvision creates its anchors lazily
            other.rpn.anchor_generator.set_cell_anchors(torch.float32, torch.device("cpu"))
        model = (snellen_model(kind, other) if use_snellen else other).to(device)
        image, truth = image.to(device), annotation_to(truth, device)
        target = [{"boxes": truth.boxes, "labels": truth.labels + 1, "masks": truth.masks.to(torch.uint8)}]
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-9, momentum=0.9, fused=use_snellen)

        def run_round() -> Callable[[], Output]:
            torch.manual_seed(1)
            if use_snellen:
                torch.empty(1).uniform_()  # torchvision draws one random image size
            steps = STEPS[options.device]
            started, cpu_started = time.perf_counter(), time.process_time()
            with deterministic_kernels(options.device) if use_snellen else nullcontext():
                for _ in range(steps):
                    with (
                        fast_weight_gradients(model, device) if use_snellen else nullcontext(),
                        torch.autocast(options.device, torch.bfloat16, enabled=bfloat16),
                    ):
                        losses = model.losses([image], [truth]) if use_snellen else model([image], target)
                        total = sum(losses.values())
                    optimizer.zero_grad()
                    total.backward()
                    optimizer.step()
            options.wait()
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
            return lambda: {"seconds": seconds / steps, "cpu": cpu / steps, "loss": float(total.detach())}

        return run_round

    return make


def same(one: Output, other: Output) -> str | None:
    apart = abs(one["loss"] - other["loss"]) / other["loss"]
    return None if apart <= 0.02 else f"loss differs by {apart:.1%}"


BENCH = Bench(
    name="det_train",
    work="A training step on one image: Faster R-CNN MobileNetV3 at 320x426, Mask R-CNN ResNet-50 at 480x640.",
    ours={
        "faster: snellen": step("faster", use_snellen=True),
        "faster: snellen bf16": step("faster", use_snellen=True, bfloat16=True),
        "mask: snellen": step("mask", use_snellen=True),
        "mask: snellen bf16": step("mask", use_snellen=True, bfloat16=True),
    },
    peers={
        "faster: torchvision": step("faster", use_snellen=False),
        "mask: torchvision": step("mask", use_snellen=False),
    },
    bars=[
        Bar(ours="faster: snellen", peer="faster: torchvision", max_value=0.8),
        Bar(ours="mask: snellen", peer="mask: torchvision", max_value=0.8),
    ],
    same=same,
    unit="s per step",
)

if __name__ == "__main__":
    main(BENCH, __file__)
