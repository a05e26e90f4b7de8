"""Training of LSTM and GRU classifiers on sequences of 10 to 200 steps, and of 100 steps, batch size 64, Adam.

Ours is the learner of `snellen train --model lstm`: each shuffled batch is padded to its longest sequence; "grouped" is
with `--group-by-length`. The plain loop packs the same batches (`pack_padded_sequence`), with the same network and
weights, optimizer and clipping, so the losses of the first steps are equal up to rounding. "torch padded" pads
each batch to its longest sequence and takes the state after the last step.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from harness import Bar, Bench, Options, Output, Round, main

TRAIN, TEST, FEATURES, CLASSES = 960, 500, 8, 4
BATCH, RATE, HIDDEN, CLIP = 64, 0.002, 64, 1.0
LENGTHS = {"10-200": (10, 200), "100": (100, 100)}
EPOCHS = {"10-200": 3, "100": 8}
LOSS_STEP = 8  # whose loss is compared where the batches are the same
Feed = Literal["packed", "padded"]


def sequences(lengths: str) -> tuple[list[np.ndarray], np.ndarray]:
    """TRAIN + TEST sequences (T, D) float32 of noise with a class-dependent drift of two features, and classes."""
    rng = np.random.default_rng(0)
    low, high = LENGTHS[lengths]
    y = rng.integers(0, CLASSES, TRAIN + TEST)
    centres = 0.3 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)
    x = [rng.normal(size=(n, FEATURES)).astype(np.float32) for n in rng.integers(low, high + 1, len(y))]
    for one, label in zip(x, y.tolist(), strict=True):
        one[:, :2] += centres[label]
    return x, y


def snellen(kind: str, lengths: str, grouped: bool = False) -> Callable[[Options], Round]:
    """The learner of `snellen train`, with all features."""

    def make(options: Options) -> Round:
        import torch

        from snellen.core.history import read_history
        from snellen.core.memory_allocator import tune
        from snellen.core.run import Run
        from snellen.data.dataset import Dataset
        from snellen.data.flat_sequences import sequence_source

        tune()
        torch.set_num_threads(options.threads)
        x, y = sequences(lengths)
        ids = torch.arange(len(y))
        data = Dataset(
            spec=spec(lengths),
            source=sequence_source([torch.from_numpy(one) for one in x]),
            truth=torch.from_numpy(y),
            splits={"train": ids[:TRAIN], "val": ids[:0], "test": ids[TRAIN:]},
        )
        test = data.samples("test", options.device)
        learner, settings = learner_of(kind, lengths, grouped)

        def run_round() -> Callable[[], Output]:
            model = initial(kind, lengths).to(options.device)
            with tempfile.TemporaryDirectory() as folder:
                run = Run(Path(folder), device=options.device)
                started, cpu_started = time.perf_counter(), time.process_time()
                learner.fit(settings, data, model, run)
                options.wait()
                seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
                run.flush()
                losses = [row["loss"] for row in read_history(Path(folder) / "history.jsonl") if "loss" in row]

            def output() -> Output:
                with torch.no_grad():
                    right = sum(int((model.scores(b.x).argmax(1) == b.y).sum()) for b in test.in_order())
                return per_step(lengths, seconds, cpu, right, None if grouped else losses[LOSS_STEP])

            return output

        return run_round

    return make


def spec(lengths: str) -> Any:
    from snellen.core.spec import Classes, Input, Spec

    low, high = LENGTHS[lengths]
    shape = (None if low < high else low, FEATURES)
    return Spec(
        name="sequences",
        inputs={"sequence": Input(modality="sequence", shape=shape)},
        target=Classes(names=("a", "b", "c", "d")),
        sizes={"train": TRAIN, "val": 0, "test": TEST},
    )


def learner_of(kind: str, lengths: str, grouped: bool = False) -> tuple[Any, Any]:
    """The learner of `snellen train --model lstm` or gru, and its settings."""
    from snellen.core.settings import resolve
    from snellen.tasks import LEARNERS

    learner = LEARNERS["classify"][kind]
    given = {"epochs": EPOCHS[lengths], "batch_size": BATCH, "lr": RATE, "schedule": "constant", "clip_grad": CLIP}
    return learner, resolve(learner.settings, {**given, "hidden_size": HIDDEN, "group_by_length": grouped}, {})[0]


def initial(kind: str, lengths: str) -> Any:
    """The model with the weights at the start, which are the same for all peers in torch."""
    import torch

    learner, settings = learner_of(kind, lengths)
    torch.manual_seed(0)
    return learner.build(settings, spec(lengths))


def per_step(lengths: str, seconds: float, cpu: float, right: int, loss: float | None = None) -> Output:
    """Times per step, test accuracy in per cent, and the loss of one step."""
    compared = {} if loss is None else {"loss": loss}
    steps = EPOCHS[lengths] * (TRAIN // BATCH)
    return {"seconds": seconds / steps, "cpu": cpu / steps, "accuracy": 100 * right / TEST, **compared}


def standardised(x: list[np.ndarray]) -> list[np.ndarray]:
    """The sequences, with mean 0 and standard deviation 1 of each feature over all steps of the training sequences."""
    steps = np.concatenate(x[:TRAIN]).astype(np.float64)
    return [((one - steps.mean(0)) / steps.std(0)).astype(np.float32) for one in x]


def torch_loop(kind: str, lengths: str, feed: Feed) -> Callable[[Options], Round]:
    """The plain PyTorch loop on standardised sequences in memory."""

    def make(options: Options) -> Round:
        import torch
        from torch import nn
        from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

        from snellen.core.random import permutation

        torch.set_num_threads(options.threads)
        raw, labels = sequences(lengths)
        counts = torch.tensor([len(one) for one in raw])
        x = pad_sequence([torch.from_numpy(one) for one in standardised(raw)], batch_first=True).to(options.device)
        y = torch.from_numpy(labels).to(options.device)

        def order(epoch: int) -> Any:
            return permutation(TRAIN, 0, "order", epoch)

        def run_round() -> Callable[[], Output]:
            body = initial(kind, lengths).network.body.to(options.device)
            rnn, head = body.recurrent, body.head
            optimizer = torch.optim.Adam([*rnn.parameters(), *head.parameters()], RATE)

            def scores(batch: Any) -> Any:
                count = counts[batch]
                values = x[batch, : int(count.max())]
                if feed == "padded":
                    states = rnn(values)[0]
                    return head(states[torch.arange(len(batch)), count - 1])
                state = rnn(pack_padded_sequence(values, count, batch_first=True, enforce_sorted=False))[1]
                return head((state[0] if isinstance(state, tuple) else state)[-1])

            losses = []
            started, cpu_started = time.perf_counter(), time.process_time()
            for epoch in range(EPOCHS[lengths]):
                for batch in order(epoch).split(BATCH):
                    optimizer.zero_grad()
                    loss = nn.functional.cross_entropy(scores(batch), y[batch])
                    loss.backward()
                    nn.utils.clip_grad_norm_([*rnn.parameters(), *head.parameters()], CLIP)
                    optimizer.step()
                    losses.append(loss.detach())
            options.wait()
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started

            def output() -> Output:
                test = torch.arange(TRAIN, TRAIN + TEST)
                with torch.no_grad():
                    right = sum(int((scores(b).argmax(1) == y[b]).sum()) for b in test.split(250))
                return per_step(lengths, seconds, cpu, right, float(losses[LOSS_STEP]))

            return output

        return run_round

    return make


def keras(kind: str, lengths: str) -> Callable[[Options], Round]:
    """Keras on sequences padded with zeros to the longest, and masked; the first call of `fit`, which may compile, is
    the warm-up. The state of the optimizer is kept from round to round."""

    def make(options: Options) -> Round:
        import keras

        if keras.backend.backend() == "torch":
            import torch

            torch.set_num_threads(options.threads)
        raw, y = sequences(lengths)
        x = np.zeros((len(raw), max(map(len, raw)), FEATURES), np.float32)
        for row, one in zip(x, standardised(raw), strict=True):
            row[: len(one)] = one
        layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[kind]
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.layers.Masking(), layer(HIDDEN), keras.layers.Dense(CLASSES)])
        model.compile(
            keras.optimizers.Adam(RATE, global_clipnorm=CLIP),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        model.build(x[:1].shape)
        start = [w.copy() for w in model.get_weights()]

        def run_round() -> Callable[[], Output]:
            model.set_weights(start)
            started, cpu_started = time.perf_counter(), time.process_time()
            model.fit(x[:TRAIN], y[:TRAIN], batch_size=BATCH, epochs=EPOCHS[lengths], verbose=0)
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
            return lambda: per_step(
                lengths, seconds, cpu, int((model.predict(x[TRAIN:], 250, verbose=0).argmax(1) == y[TRAIN:]).sum())
            )

        return run_round

    return make


def same(ours: Output, peer: Output) -> str | None:
    if abs(ours["accuracy"] - peer["accuracy"]) > 8:  # a rounding error changes it: training is chaotic
        return f"accuracy {ours['accuracy']:.1f} and {peer['accuracy']:.1f} %"
    if "loss" in peer and "loss" in ours and abs(ours["loss"] / peer["loss"] - 1) > 1e-4:
        return f"the loss of step {LOSS_STEP} is {ours['loss']:.6f} and {peer['loss']:.6f}"
    return None


CASES = [(kind, lengths) for kind in ("lstm", "gru") for lengths in LENGTHS]

BENCH = Bench(
    name="recurrent",
    work="A training step of an LSTM and a GRU of 64 units on 64 sequences of 8 features, of 10 to 200 steps and of "
    "100 steps.",
    ours={
        **{f"{kind} {lengths}: snellen": snellen(kind, lengths) for kind, lengths in CASES},
        **{f"{kind} 10-200: snellen grouped": snellen(kind, "10-200", grouped=True) for kind in ("lstm", "gru")},
    },
    peers={
        f"{kind} {lengths}: {name}": peer
        for kind, lengths in CASES
        for name, peer in {
            "torch packed": torch_loop(kind, lengths, "packed"),
            "torch padded": torch_loop(kind, lengths, "padded"),
            "keras/torch": keras(kind, lengths),
            "keras/jax": keras(kind, lengths),
        }.items()
    },
    bars=[
        Bar(ours=f"{kind} {lengths}: snellen", peer=f"{kind} {lengths}: torch packed", max_value=1.0)
        for kind, lengths in CASES
    ],
    same=same,
    unit="s per step",
)

if __name__ == "__main__":
    main(BENCH, __file__)
