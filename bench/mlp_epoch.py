"""S1: one epoch of an MLP 784-100-10 on the 60,000 images of MNIST, batch size 64, SGD with learning rate 0.1."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from harness import Bar, Bench, LossFunction, Options, Output, Round, main
from limits import matrix_products
from mnist import images, standardised

BATCH, RATE, HIDDEN = 64, 0.1, 100
STEPS = -(-60_000 // BATCH)
FLOPS = 60_000 * 2 * (2 * 784 * HIDDEN + 3 * HIDDEN * 10)  # two products of the first layer, three of the second


# -- ours ------------------------------------------------------------------------------------------------------------


def snellen(explicit: bool) -> Callable[[Options], Round]:
    """`fit_by_gradient` with all features: uint8 in memory, standardisation, schedule, log, history, checkpoints."""

    def make(options: Options) -> Round:
        import torch
        from torch import Tensor, nn

        from snellen.core.memory_allocator import tune
        from snellen.core.run import Run
        from snellen.core.spec import Input, Preprocessing
        from snellen.data.batches import Batches
        from snellen.data.dataset import Labelled, Samples
        from snellen.data.source import ArraySource
        from snellen.nn.layers import Standardize
        from snellen.nn.mlp import MLP, backpropagate
        from snellen.training.loop import fit_by_gradient
        from snellen.training.settings import TrainingSettings

        tune()
        torch.set_num_threads(options.threads)

        def samples(split: str) -> Samples:
            x, y = images(split)
            values = torch.from_numpy(x)[:, None]
            return Samples(
                ArraySource(values), torch.arange(len(x)), torch.from_numpy(y), Preprocessing(), values, options.device
            )

        train, test = samples("train"), samples("t10k")
        settings = TrainingSettings(epochs=1, batch_size=BATCH, optimizer="sgd", lr=RATE, schedule="constant")
        seeds = iter(range(1000))
        standardize = Standardize(Input(modality="image", shape=(1, 28, 28), dtype="uint8"))
        standardize.fit(train.values[::12])  # type: ignore[index]

        def run_round() -> Callable[[], Output]:
            seed = next(seeds)
            torch.manual_seed(seed)
            mlp = MLP((784, HIDDEN, 10))
            model = nn.Sequential(standardize, mlp).to(options.device)

            def loss(batch: Labelled) -> Tensor:
                return nn.functional.cross_entropy(model(batch.x), batch.y)

            def gradients(batch: Labelled) -> Tensor:
                return backpropagate(mlp, standardize(batch.x), batch.y)

            with tempfile.TemporaryDirectory() as folder:
                run = Run(Path(folder), seed=seed, device=options.device)
                fit_by_gradient(
                    model,
                    LossFunction(loss),
                    Batches(train, BATCH, seed),
                    run,
                    settings,
                    compute_gradients=gradients if explicit else None,
                )
            return lambda: {"accuracy": _accuracy(model, test.values, test.y)}

        return run_round

    return make


def _accuracy(model: Any, x: Any, y: Any) -> float:
    import torch

    with torch.inference_mode():
        return 100 * float((model.eval()(x).argmax(1) == y).float().mean())


# -- peers -----------------------------------------------------------------------------------------------------------


def torch_loop(order: str, compiled: bool = False) -> Callable[[Options], Round]:
    """The usual PyTorch training loop, on standardised float images in memory."""

    def make(options: Options) -> Round:
        import torch
        from torch import nn

        torch.set_num_threads(options.threads)
        x, y, test_x, test_y = tensors(options)
        seeds = iter(range(1000))
        rows = torch.utils.data.TensorDataset(x, y)

        def batches() -> Iterable[Any]:
            if order == "loader":
                return torch.utils.data.DataLoader(rows, BATCH, shuffle=True)
            shuffled = torch.randperm(len(x), device=x.device).split(BATCH)
            return ((x[indices], y[indices]) for indices in shuffled)

        def loss_of(model: nn.Module, a: Any, b: Any) -> Any:
            return nn.functional.cross_entropy(model(a), b)

        step = torch.compile(loss_of) if compiled else loss_of

        def run_round() -> Callable[[], Output]:
            torch.manual_seed(next(seeds))
            model = nn.Sequential(nn.Flatten(), nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10)).to(x.device)
            optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
            for a, b in batches():
                optimizer.zero_grad()
                step(model, a, b).backward()
                optimizer.step()
            return lambda: {"accuracy": _accuracy(model, test_x, test_y)}

        return run_round

    return make


def tensors(options: Options) -> tuple[Any, ...]:
    import torch

    arrays = [*standardised("train"), *standardised("t10k")]
    return tuple(torch.from_numpy(a).to(options.device) for a in arrays)


def scikit_learn(options: Options) -> Round:
    import warnings

    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")  # ConvergenceWarning after one epoch
    x, y = standardised("train")
    test_x, test_y = standardised("t10k")
    x, test_x = x.reshape(-1, 784), test_x.reshape(-1, 784)
    seeds = iter(range(1000))

    def run_round() -> Callable[[], Output]:
        model = MLPClassifier(
            (HIDDEN,),
            solver="sgd",
            alpha=0.0,
            batch_size=BATCH,
            learning_rate_init=RATE,
            momentum=0.0,
            nesterovs_momentum=False,
            max_iter=1,
            random_state=next(seeds),
        )
        model.fit(x, y)
        return lambda: {"accuracy": 100 * model.score(test_x, test_y)}

    return run_round


def lightning(options: Options) -> Round:
    import logging
    import warnings

    import lightning
    import torch
    from torch import nn

    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    x, y, test_x, test_y = tensors(options)

    class Model(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))

        def training_step(self, batch: Any, index: int) -> Any:
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=RATE)

    def run_round() -> Callable[[], Output]:
        model = Model()
        with tempfile.TemporaryDirectory() as folder:
            trainer = lightning.Trainer(
                max_epochs=1,
                accelerator=options.device,
                devices=1,
                default_root_dir=folder,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(model, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), BATCH, shuffle=True))
        return lambda: {"accuracy": _accuracy(model.net.to(x.device), test_x, test_y)}

    return run_round


def fastai(options: Options) -> Round:
    import fastai.callback.progress  # noqa: F401 (gives the learner its no_bar)
    import torch
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Learner
    from fastai.optimizer import SGD
    from torch import nn

    torch.set_num_threads(options.threads)
    x, y, test_x, test_y = tensors(options)
    rows = torch.utils.data.TensorDataset(x, y)

    def run_round() -> Callable[[], Output]:
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
        data = DataLoaders(DataLoader(rows, bs=BATCH, shuffle=True), DataLoader(rows, bs=BATCH), device=options.device)
        learner = Learner(data, model, loss_func=nn.CrossEntropyLoss(), opt_func=SGD, lr=RATE, train_bn=False)
        learner.recorder.train_metrics = False
        with learner.no_bar(), learner.no_logging():
            learner._do_epoch_validate = lambda *_: None  # no other peer validates
            learner.fit(1, lr=RATE)
        return lambda: {"accuracy": _accuracy(model, test_x, test_y)}

    return run_round


def keras(options: Options) -> Round:
    import keras

    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(options.threads)
    x, y = standardised("train")
    test_x, test_y = standardised("t10k")

    def run_round() -> Callable[[], Output]:
        model = keras.Sequential(
            [keras.layers.Flatten(), keras.layers.Dense(HIDDEN, activation="relu"), keras.layers.Dense(10)]
        )
        model.compile(keras.optimizers.SGD(RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)
        return lambda: {"accuracy": 100 * float((model.predict(test_x, 1000, verbose=0).argmax(1) == test_y).mean())}

    return run_round


def jax(options: Options) -> Round:
    """The epoch as one compiled scan: minimal framework overhead."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    x, y = standardised("train")
    test_x, test_y = standardised("t10k")
    x, y = jnp.asarray(x.reshape(-1, 784)), jnp.asarray(y)
    n_samples = 60_000 // BATCH * BATCH  # a scan needs batches of equal size: the last 32 images are omitted

    def loss(w: Any, a: Any, b: Any) -> Any:
        z = jax.nn.relu(a @ w[0] + w[1]) @ w[2] + w[3]
        return -jnp.take_along_axis(jax.nn.log_softmax(z), b[:, None], 1).mean()

    def step(w: Any, indices: Any) -> Any:
        value, g = jax.value_and_grad(loss)(w, x[indices], y[indices])
        return [p - RATE * d for p, d in zip(w, g, strict=True)], value

    def _right(scores: Any) -> Any:
        return (scores.argmax(1) == test_y).mean()

    epoch = jax.jit(lambda w, order: jax.lax.scan(step, w, order))
    seeds = iter(range(1000))

    def run_round() -> Callable[[], Output]:
        draw = np.random.default_rng(next(seeds))
        w = [
            jnp.asarray(draw.normal(0, (2 / 784) ** 0.5, (784, HIDDEN)), jnp.float32),
            jnp.zeros(HIDDEN),
            jnp.asarray(draw.normal(0, 0.1, (HIDDEN, 10)), jnp.float32),
            jnp.zeros(10),
        ]
        order = jnp.asarray(draw.permutation(60_000)[:n_samples].reshape(-1, BATCH))
        w, values = epoch(w, order)
        values.block_until_ready()
        a, b, c, d = map(np.asarray, w)
        return lambda: {"accuracy": 100 * float(_right(np.maximum(test_x.reshape(-1, 784) @ a + b, 0) @ c + d))}

    return run_round


def same(ours: Output, peer: Output) -> str | None:
    """Accuracy after an epoch, mean over the rounds; one round has a standard deviation of 0.3 points."""
    difference = abs(ours["accuracy"] - peer["accuracy"])
    return None if difference <= 0.75 else f"accuracy differs by {difference:.2f} points"


BENCH = Bench(
    name="mlp_epoch",
    work="One epoch of an MLP 784-100-10 on 60,000 images of MNIST, batch 64, SGD.",
    ours={"snellen autograd": snellen(explicit=False), "snellen written": snellen(explicit=True)},
    peers={
        "torch DataLoader": torch_loop("loader"),
        "torch indexed": torch_loop("indexed"),
        "torch.compile": torch_loop("loader", compiled=True),
        "scikit-learn": scikit_learn,
        "lightning": lightning,
        "fastai": fastai,
        "keras/torch": keras,
        "keras/jax": keras,
        "jax scan": jax,
        "limit": matrix_products(FLOPS),
    },
    bars=[
        Bar(ours="snellen autograd", peer="torch DataLoader", max_value=0.85),
        Bar(ours="snellen written", peer="torch DataLoader", max_value=0.55),
    ],
    same=same,
)

if __name__ == "__main__":
    main(BENCH, __file__)
