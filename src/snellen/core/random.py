"""Randomness is a function, not a state: every draw comes from (seed, purpose, epoch, sample or step).

So the position in the data is one integer, the number of readers changes nothing, and a resumed run sees the very
numbers that the uninterrupted one saw.
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
    """A 63-bit number that depends on every argument: the seed of one purpose."""
    text = "\x1f".join([str(seed), *map(str, purpose)]).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator(seed: int, *purpose: int | str) -> torch.Generator:
    """A torch generator of its own on the CPU."""
    return torch.Generator().manual_seed(key(seed, *purpose))


def permutation(count: int, seed: int, *purpose: int | str) -> Tensor:
    """(count,) int64, the order of one epoch."""
    return torch.randperm(count, generator=generator(seed, *purpose))


class skip_init(TorchFunctionMode):  # noqa: N801 (used as a context)
    """Inside, nothing is drawn into new tensors: for networks whose weights are about to be read from a file."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _DRAWS:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


_DRAWS = {
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
    """Puts the default generators of torch (all devices), NumPy and Python into a state that follows from `value`.

    `torch.manual_seed` walks every backend and costs 70 times as much; it is only needed where a device is used.
    """
    torch.default_generator.manual_seed(value)
    np.random.seed(value & 0xFFFFFFFF)
    random.seed(value)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(value)


def seeders(device: torch.device) -> tuple[Callable[[int], object], ...]:
    """What seeds the default generators of torch that a step on `device` draws from, at a microsecond each."""
    default = torch.default_generator.manual_seed
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        index = torch.cuda.current_device() if device.index is None else device.index
        return default, torch.cuda.default_generators[index].manual_seed
    return (default, torch.mps.manual_seed) if device.type == "mps" else (default,)


@contextmanager
def drawing(seed: int, *purpose: int | str) -> Iterator[None]:
    """Inside, the default generators follow from the arguments; after it they stand where they stood before."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cuda = torch.cuda.get_rng_state_all() if used else []
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
    """Draws that belong to a sample, whatever batch it is in: a counter hash (SplitMix64's finaliser).

    Args:
        ids: (B,) int64, the samples.
        draws: how many numbers each sample needs.
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
    """Logical right shift of int64, which torch only offers as arithmetic."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
