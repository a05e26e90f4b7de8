"""Out-of-memory errors of training steps, which name the largest batch that fits."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from snellen.core.errors import EnvironmentProblem
from snellen.data.batches import BatchSource

B = TypeVar("B")


class OutOfMemoryReport:
    """Context manager that turns an out-of-memory error into one that names the largest batch that fits."""

    def __init__(self, batches: BatchSource[B], loss_of: Callable[[B], Tensor], model: nn.Module) -> None:
        self.batches, self.loss_of, self.model = batches, loss_of, model

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None or not out_of_memory(error):
            return
        traceback.clear_frames(trace)  # frees the tensors of the failed step
        size: int = getattr(self.batches, "size", 0)
        if size and self._fits(size):
            raise EnvironmentProblem(
                "Memory ran out outside the training step, for example in validation; the training step itself fits",
                "Use a smaller model or a smaller --image-size.",
            ) from error
        fits = self._largest(size)
        raise EnvironmentProblem(
            "Memory ran out in a training step" + (f" with {size} samples per batch" if size else ""),
            f"Use --batch-size {fits}: the largest that fits."
            if fits
            else "Use a smaller model or a smaller --image-size.",
        ) from error

    def _largest(self, size: int) -> int:
        """Bisect for the largest batch size that fits, below `size`, which does not; 0 where none does."""
        fits, fails = 0, size
        while fails - fits > 1:
            middle = (fits + fails) // 2
            fits, fails = (middle, fails) if self._fits(middle) else (fits, middle)
        return fits

    def _fits(self, size: int) -> bool:
        """Whether a forward and backward pass of `size` samples fits into memory."""
        try:
            batch = self.batches.at(0)
            part: Any = type(batch)(*(entry[:size] for entry in batch))  # type: ignore[attr-defined]
            self.loss_of(part).backward()  # type: ignore[no-untyped-call]
            return True
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)
            return False
        finally:
            self.model.zero_grad(set_to_none=True)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception is an out-of-memory error, on any device."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)
    )
