"""Counter-based random numbers: every number is a function of (seed, purpose, epoch, sample or step).

The position in the data is one integer, results do not depend on the number of worker threads, and a resumed run
draws the same numbers as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_MASK = (1 << 64) - 1


def key(seed: int, *purpose: int | str) -> int:
    """63-bit seed of one purpose, hashed from all arguments."""
    text = "\x1f".join([str(seed), *map(str, purpose)]).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator(seed: int, *purpose: int | str) -> torch.Generator:
    """New CPU generator of torch, seeded for one purpose."""
    return torch.Generator().manual_seed(key(seed, *purpose))


def permutation(count: int, seed: int, *purpose: int | str) -> Tensor:
    """Random permutation, (count,) int64: the sample order of one epoch."""
    return torch.randperm(count, generator=generator(seed, *purpose))


class skip_init(TorchFunctionMode):  # noqa: N801 (used as a context manager)
    """Context manager that skips weight initialisation: for networks whose weights are read from a file next."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _INITIALISERS:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


_INITIALISERS = {
    "normal_",
    "uniform_",
    "trunc_normal_",
    "erfinv_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "orthogonal_",
}


def reseed(value: int) -> None:
    """Seed the default generators of torch (all devices), NumPy and Python with `value`.

    `torch.manual_seed` seeds every backend and takes 70 times as long; it is needed only where a device is in use.
    """
    torch.default_generator.manual_seed(value)
    np.random.seed(value & 0xFFFFFFFF)
    random.seed(value)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(value)


def seeders(device: torch.device) -> tuple[Callable[[int], object], ...]:
    """Functions that seed torch's default generators for a step on `device`; each call takes a microsecond."""
    default = torch.default_generator.manual_seed
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        index = torch.cuda.current_device() if device.index is None else device.index
        return default, torch.cuda.default_generators[index].manual_seed
    return (default, torch.mps.manual_seed) if device.type == "mps" else (default,)


@contextmanager
def seeded(seed: int, *purpose: int | str) -> Iterator[None]:
    """Context manager that seeds the default generators from the arguments and restores their states at the end."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    uses_cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cuda = torch.cuda.get_rng_state_all() if uses_cuda else []
    reseed(key(seed, *purpose))
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


def _as_int64(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def uniform(ids: Tensor, draws: int, seed: int, *purpose: int | str) -> Tensor:
    """Uniform random numbers per sample, independent of the batch: a counter hash (SplitMix64's finaliser).

    Args:
        ids: (B,) int64, the samples.
        draws: number of values per sample.
    Returns:
        (B, draws) float32 in [0, 1).
    Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
    """
    start = _as_int64(key(seed, *purpose))
    counter = ids[:, None] * draws + torch.arange(draws, device=ids.device)  # (B, draws)
    z = counter * _as_int64(0x9E3779B97F4A7C15) + start
    z = (z ^ _shift(z, 30)) * _as_int64(0xBF58476D1CE4E5B9)
    z = (z ^ _shift(z, 27)) * _as_int64(0x94D049BB133111EB)
    z = z ^ _shift(z, 31)
    return _shift(z, 40).to(torch.float32) * 2.0**-24


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64; torch's own shift is arithmetic."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
