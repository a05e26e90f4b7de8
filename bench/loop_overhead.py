"""S11: overhead of the training loop with all features, compared with a bare loop: a null model, and LeNet.

Times are seconds per step. The bare loop of LeNet has the same allocator settings and memory format, so that only the
loop differs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import small_cnn
from harness import Bar, Bench, LossFunction, Options, Output, Round, main

STEPS, BATCH = 6000, 16


def rows() -> tuple[Any, Any]:
    import torch

    return torch.zeros(STEPS * BATCH, 4), torch.zeros(STEPS * BATCH, dtype=torch.int64)


def make_null_model() -> Any:
    """A null model: its loss is its only weight."""
    import torch
    from torch import nn

    class Nothing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x: Any) -> Any:
            return self.weight.sum()

    return Nothing()


def per_step(seconds: float, cpu: float, model: Any) -> Output:
    return {"seconds": seconds / STEPS, "cpu": cpu / STEPS, "weight": float(model.weight.detach())}


def snellen(options: Options) -> Round:
    """Our loop: sample order, schedule, log, history, reseeding, checkpoints, signals."""
    import torch

    from snellen.core.run import Run
    from snellen.core.spec import Preprocessing
    from snellen.data.batches import Batches
    from snellen.data.dataset import Samples
    from snellen.data.source import ArraySource
    from snellen.training.loop import fit_by_gradient
    from snellen.training.settings import TrainingSettings

    torch.set_num_threads(options.threads)
    x, y = rows()
    train = Samples(ArraySource(x), torch.arange(len(x)), y, Preprocessing(), x)
    training_settings = TrainingSettings(epochs=1, batch_size=BATCH, optimizer="sgd", lr=1e-6, schedule="cosine")

    def run_round() -> Callable[[], Output]:
        model = make_null_model()

        with tempfile.TemporaryDirectory() as folder:
            run = Run(Path(folder))
            with run.handle_signals():
                started, cpu_started = time.perf_counter(), time.process_time()
                fit_by_gradient(
                    model, LossFunction(lambda batch: model(batch.x)), Batches(train, BATCH, 0), run, training_settings
                )
                seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
        return lambda: per_step(seconds, cpu, model)

    return run_round


def bare(options: Options) -> Round:
    import torch

    torch.set_num_threads(options.threads)
    x, _ = rows()

    def run_round() -> Callable[[], Output]:
        model = make_null_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
        started, cpu_started = time.perf_counter(), time.process_time()
        for step in range(STEPS):
            batch = x[step * BATCH : (step + 1) * BATCH]
            optimizer.zero_grad()
            model(batch).backward()
            optimizer.step()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
        return lambda: per_step(seconds, cpu, model)

    return run_round


def lightning(options: Options) -> Round:
    import logging
    import warnings

    import lightning
    import torch

    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    x, _ = rows()

    class Model(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = make_null_model()

        def training_step(self, batch: Any, index: int) -> Any:
            loss = self.net(batch)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=1e-6)

    def run_round() -> Callable[[], Output]:
        model = Model()
        batches = list(x.split(BATCH))
        with tempfile.TemporaryDirectory() as folder:
            trainer = lightning.Trainer(
                max_epochs=1,
                accelerator="cpu",
                devices=1,
                default_root_dir=folder,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            started, cpu_started = time.perf_counter(), time.process_time()
            trainer.fit(model, batches)
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
        return lambda: per_step(seconds, cpu, model.net)

    return run_round


def lenet_bare(options: Options) -> Round:
    from snellen.core.memory_allocator import tune

    tune()
    return small_cnn.torch_loop("lenet", channels_last=True)(options)


def same(ours: Output, peer: Output) -> str | None:
    if "loss" in ours:
        return small_cnn.same(ours, peer)
    return None if abs(ours["weight"] - peer["weight"]) < 0.02 else "the weight differs"


BENCH = Bench(
    name="loop_overhead",
    work="A step of a null model and of LeNet (batch 64) with all features, compared with a bare loop.",
    ours={"nothing: snellen": snellen, "lenet: snellen": small_cnn.snellen("lenet")},
    peers={"nothing: bare loop": bare, "nothing: lightning": lightning, "lenet: bare loop": lenet_bare},
    bars=[
        Bar(ours="nothing: snellen", peer="nothing: bare loop", max_value=10e-6, kind="difference", of="cpu"),
        Bar(ours="lenet: snellen", peer="lenet: bare loop", max_value=1.05),
    ],
    same=same,
    unit="s per step",
)

if __name__ == "__main__":
    main(BENCH, __file__)
