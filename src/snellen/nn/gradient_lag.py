"""Gradients of a recurrent network against the lag: how much an input counts that lies some steps before the end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def gradient_norms_by_lag(network: nn.Module, x: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Norm of the gradient of a loss with respect to the input at each lag before the end of a sequence.

    Args:
        network: (B, T, D) to (B, K); a sample does not depend on the others.
        x: (B, T, D), NaN after the end of each sequence.
        loss: the outputs (B, K) to (B,).
    Returns:
        (B, T): in column k the norm over the features of the input k steps before the last one; NaN beyond the start.
    Source: Bengio, Simard and Frasconi 1994, "Learning long-term dependencies with gradient descent is difficult".
    """
    inside = ~x.isnan().any(2)
    x = x.detach().clone().requires_grad_()
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN has no gradient in evaluation mode
        (gradient,) = torch.autograd.grad(loss(network(x)).sum(), x)
    norms = torch.linalg.vector_norm(gradient, dim=2)
    step = inside.sum(1, keepdim=True) - 1 - torch.arange(x.shape[1], device=x.device)  # (B, T), of each lag
    return torch.where(step >= 0, norms.gather(1, step.clamp(min=0)), torch.nan)


def random_projection(y: Tensor) -> Tensor:
    """(B,) sums of outputs (B, K) with signs ±1 drawn at random, the same for every batch of one shape.

    The mean over the signs of its squared gradient norm is that of all K outputs, the squared norm of the Jacobian.
    """
    signs = 2 * torch.randint(2, y.shape, generator=torch.Generator().manual_seed(0)) - 1
    return (y * signs.to(y)).sum(1)
