"""The settings of gradient descent, one group in the settings of every learner that uses it."""

from __future__ import annotations

from typing import Annotated, Literal

from snellen.core.settings import Limit, settings


@settings
class TrainingSettings:
    """How the loss is brought down."""

    epochs: Annotated[int, Limit(least=1)] = 10
    """Passes over the training data."""
    batch_size: Annotated[int, Limit(least=1)] | None = None
    """Samples a step; auto: 32 below 2,000 training samples, 64 below 100,000, else 128."""
    optimizer: Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"] = "adam"
    """The update rule."""
    lr: Annotated[float, Limit(above=0)] | None = 0.001
    """The highest learning rate; auto: found by raising it until the loss grows."""
    momentum: Annotated[float, Limit(least=0, below=1)] = 0.9
    """How much of the last update is kept, for momentum and nesterov."""
    weight_decay: Annotated[float, Limit(least=0)] = 0.0
    """λ of the penalty (λ/2)‖w‖² on weights (not on biases)."""
    schedule: Literal["constant", "step", "cosine", "one-cycle"] = "one-cycle"
    """How the rate changes over the run."""
    warmup: Annotated[float, Limit(least=0, below=1)] = 0.0
    """The share of the run over which the rate rises from zero."""
    patience: Annotated[int, Limit(least=1)] | None = None
    """Stop after so many epochs without a better validation score."""
    clip_grad: Annotated[float, Limit(above=0)] | None = None
    """The largest norm of the gradient; longer ones are shortened to it."""
    grad_accum_steps: Annotated[int, Limit(least=1)] = 1
    """Batches whose gradients are added up before each update."""
    ema_decay: Annotated[float, Limit(above=0, below=1)] | None = None
    """Decay of the running average of the weights that is used in the end; none: the last weights."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the arithmetic; auto: bfloat16 where the hardware has it and the network has over a million weights."""
    compile: bool = False
    """Compile the network first: a minute of waiting, then fewer seconds a step on a GPU."""
    overfit: bool = False
    """Learn one batch by heart, the first thing to try when nothing learns: its loss must come near zero."""
