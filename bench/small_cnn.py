"""S2: training step of small convolutional networks: LeNet on 28x28, batch 64, and ResNet-18 on 32x32, batch 32.

All start from the same weights and use the same images in the same order, so the final losses are equal up to rounding.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import mnist
from harness import Bar, Bench, LossFunction, Options, Output, Round, main
from limits import matrix_products
from reference.mnist import network as reference_network

BATCH = {"lenet": 64, "resnet18": 32}
STEPS = {"cpu": {"lenet": 400, "resnet18": 6}, "cuda": {"lenet": 400, "resnet18": 200}}
MULTIPLY_ADDS = {"lenet": 416_520, "resnet18": 555_422_720}  # of one image, forward
RATE = {"lenet": 0.05, "resnet18": 0.01}


def network(name: str) -> Any:
    import torch

    from snellen.architectures.resnet import resnet
    from snellen.nn.convnets.lenet import LeNet

    torch.manual_seed(0)
    return LeNet(1, (28, 28), 10) if name == "lenet" else resnet(18, (3, 32, 32), 10)


def textbook(name: str) -> Any:
    """The same weights in the network of the plain script, with ReLU before pooling (equivalent)."""
    ours = network(name)
    if name != "lenet":
        return ours
    plain = reference_network("lenet")
    plain.load_state_dict(dict(zip(plain.state_dict(), ours.state_dict().values(), strict=True)))
    return plain


def images(name: str, device: str) -> tuple[Any, Any]:
    """(N, C, H, W) uint8 and (N,) int64: digits of MNIST for LeNet (the speed of pooling depends on branch
    prediction, so noise is unsuitable), smooth random colours for ResNet-18."""
    import torch

    count = BATCH[name] * STEPS[device][name]
    if name == "lenet":
        x, y = map(torch.from_numpy, mnist.images("train"))
        return x[:count, None], y[:count]
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    x = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear")
    return (x * 255).to(torch.uint8), coarse.mean(1).flatten(1)[:, :10].argmax(1)


def snellen(
    name: str, precision: str = "float32", tuned: bool = True, fast_convolutions: bool = True
) -> Callable[[Options], Round]:
    """Our training loop with all features, as in `snellen train`.

    Args:
        fast_convolutions: whether training replaces convolutions by faster ones on CPUs.
    """

    def make(options: Options) -> Round:
        import torch
        from torch import Tensor, nn

        from snellen.api.run_options import deterministic_kernels
        from snellen.core.memory_allocator import tune
        from snellen.core.run import Run
        from snellen.core.spec import Input, Preprocessing
        from snellen.data.batches import Batches
        from snellen.data.dataset import Labelled, Samples
        from snellen.data.source import ArraySource
        from snellen.nn.layers import Standardize
        from snellen.training import loop
        from snellen.training.loop import fit_by_gradient
        from snellen.training.settings import TrainingSettings

        if not fast_convolutions:
            loop._fast_convolutions = lambda model, device: nullcontext()  # type: ignore[assignment]
        if tuned:
            tune()
        torch.set_num_threads(options.threads)
        x, y = images(name, options.device)
        train = Samples(ArraySource(x), torch.arange(len(x)), y, Preprocessing(), x, options.device)
        standardize = Standardize(Input(modality="image", shape=tuple(x.shape[1:]), dtype="uint8"))
        standardize.fit(x)
        settings = TrainingSettings(
            epochs=1, batch_size=BATCH[name], optimizer="sgd", lr=RATE[name], schedule="constant", precision=precision
        )  # type: ignore[arg-type]

        def run_round() -> Callable[[], Output]:
            model = nn.Sequential(standardize, network(name)).to(options.device)
            model.to(memory_format=torch.channels_last)
            losses_seen: list[Tensor] = []

            def loss(batch: Labelled) -> Tensor:
                losses_seen.append(nn.functional.cross_entropy(model(batch.x), batch.y))
                return losses_seen[-1]

            with tempfile.TemporaryDirectory() as folder:
                run = Run(Path(folder), device=options.device)
                started, cpu_started = time.perf_counter(), time.process_time()
                with deterministic_kernels(options.device):
                    fit_by_gradient(model, LossFunction(loss), Batches(train, BATCH[name], 0), run, settings)
                options.wait()
                seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
            return lambda: per_step(len(losses_seen), seconds, cpu, losses_seen)

        return run_round

    return make


def per_step(steps: int, seconds: float, cpu: float, losses: list[Any]) -> Output:
    """Times per step, and the mean loss of the last third."""
    last = losses[-max(1, len(losses) // 3) :]
    loss = sum(float(value.detach()) for value in last) / len(last)
    return {"seconds": seconds / steps, "cpu": cpu / steps, "loss": loss}


def torch_loop(name: str, *, compiled: bool = False, channels_last: bool = False) -> Callable[[Options], Round]:
    """The plain PyTorch loop on float images in memory, with our sample order."""

    def make(options: Options) -> Round:
        import torch
        from torch import nn

        from snellen.core.random import permutation

        torch.set_num_threads(options.threads)
        x, y = images(name, options.device)
        values = x.float()
        x = (values - values.mean((0, 2, 3), keepdim=True)) / values.std((0, 2, 3), keepdim=True, correction=0)
        x, y = x.to(options.device), y.to(options.device)
        order = permutation(len(x), 0, "order", 0).to(options.device).split(BATCH[name])

        def loss_of(model: nn.Module, a: Any, b: Any) -> Any:
            return nn.functional.cross_entropy(model(a), b)

        step = torch.compile(loss_of) if compiled else loss_of

        def run_round() -> Callable[[], Output]:
            model = textbook(name).to(options.device)
            if channels_last:
                model.to(memory_format=torch.channels_last)
            optimizer = torch.optim.SGD(model.parameters(), lr=RATE[name])
            losses_seen = []
            started, cpu_started = time.perf_counter(), time.process_time()
            for batch in order:
                a = x[batch]
                if channels_last:
                    a = a.contiguous(memory_format=torch.channels_last)
                optimizer.zero_grad()
                loss = step(model, a, y[batch])
                loss.backward()
                optimizer.step()
                losses_seen.append(loss)
            options.wait()
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
            return lambda: per_step(len(losses_seen), seconds, cpu, losses_seen)

        return run_round

    return make


def same(ours: Output, peer: Output) -> str | None:
    difference = abs(ours["loss"] - peer["loss"]) / peer["loss"]
    return None if difference <= 0.03 else f"loss differs by {difference:.1%}"


def flops(name: str) -> float:
    """FLOPs of a step: forward pass, and twice as many for the backward pass."""
    return 3 * 2 * MULTIPLY_ADDS[name] * BATCH[name]


BENCH = Bench(
    name="small_cnn",
    work="A training step of LeNet (28x28, batch 64) and ResNet-18 (32x32, batch 32).",
    ours={
        "lenet: snellen": snellen("lenet"),
        "resnet18: snellen": snellen("resnet18"),
        "resnet18: snellen bf16": snellen("resnet18", "bfloat16"),
    },
    peers={
        "lenet: snellen plain": snellen("lenet", fast_convolutions=False),
        "lenet: torch eager": torch_loop("lenet"),
        "lenet: torch channels_last": torch_loop("lenet", channels_last=True),
        "lenet: torch.compile": torch_loop("lenet", compiled=True),
        "lenet: limit": matrix_products(flops("lenet")),
        "resnet18: snellen plain": snellen("resnet18", fast_convolutions=False),
        "resnet18: torch eager": torch_loop("resnet18"),
        "resnet18: torch channels_last": torch_loop("resnet18", channels_last=True),
        "resnet18: limit": matrix_products(flops("resnet18")),
    },
    bars=[
        Bar(ours="lenet: snellen", peer="lenet: torch eager", max_value=0.7),
        Bar(ours="resnet18: snellen", peer="resnet18: torch eager", max_value=0.8),
        Bar(ours="resnet18: snellen bf16", peer="resnet18: torch eager", max_value=0.5),
    ],
    same=same,
    unit="s per step",
)

if __name__ == "__main__":
    main(BENCH, __file__)
