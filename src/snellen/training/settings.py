"""Settings of training by gradient descent, a group in the settings of every learner that uses it."""

from __future__ import annotations

from typing import Annotated, Literal

from snellen.core.settings import EffectiveIf, Limit, settings


@settings
class TrainingSettings:
    """Training by gradient descent: epochs, batch size, optimizer, learning rate, schedule, regularisation."""

    epochs: Annotated[int, Limit(min=1)] = 10
    """Epochs: passes over the training split; in dense tasks, an epoch has at least 400 tiles."""
    batch_size: Annotated[int, Limit(min=1)] | None = None
    """Batch size: samples per step; auto: 8 in dense tasks, 4 for detectors, else 32 below 2,000 training samples, 64
    below 100,000, and 128 above."""
    optimizer: Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"] = "adam"
    """Optimizer."""
    lr: Annotated[float, Limit(above=0)] | None = 0.001
    """Learning rate: its highest value over the schedule; auto: chosen by a learning-rate range test."""
    momentum: Annotated[float, Limit(min=0, below=1), EffectiveIf("optimizer", ("momentum", "nesterov"))] = 0.9
    """Momentum coefficient in [0, 1), of the optimizers momentum and nesterov."""
    weight_decay: Annotated[float, Limit(min=0)] = 0.0
    """Weight decay λ: L2 penalty (λ/2)‖w‖², decoupled for adamw; not on biases and normalisation layers; 0: off."""
    schedule: Literal["constant", "step", "cosine", "one-cycle"] = "one-cycle"
    """Learning-rate schedule: constant; step: lr × 0.1 from 1/2 and lr × 0.01 from 3/4 of the steps; cosine or
    one-cycle decay."""
    warmup: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Warm-up fraction: part of the run over which the learning rate rises from zero; one-cycle uses at least 0.2, also
    by default."""
    patience: Annotated[int, Limit(min=1)] | None = None
    """Early stopping: epochs without a better validation score after which training ends; auto: no early stopping."""
    clip_grad: Annotated[float, Limit(above=0)] | None = None
    """Gradient clipping: maximum L2 norm; auto: no clipping."""
    grad_accum_steps: Annotated[int, Limit(min=1)] = 1
    """Gradient accumulation: batches whose gradients are averaged for each update."""
    ema_decay: Annotated[float, Limit(above=0, below=1)] | None = None
    """EMA decay of the weights: the model is their exponential moving average; auto: no average."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision: float32, or mixed precision; auto: bfloat16 if the hardware supports it and the network has over
    1,000,000 parameters, else float32."""
    compile: bool = False
    """Compile the network with torch.compile: takes about a minute, then steps on a GPU are faster."""
    overfit: bool = False
    """Train on one fixed batch only, for 400 steps, a sanity check: the loss should approach 0."""
