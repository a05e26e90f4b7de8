"""Inference queue: order, batches of equal shape, errors per request, limits."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from snellen.core.errors import DataError, Diverged
from snellen.core.spec import Input, Spec
from snellen.modalities.modality import NamedBatch
from snellen.serving.http_errors import HTTPError
from snellen.serving.inference_queue import InferenceQueue, InferenceRequest
from snellen.serving.limits import Limits


class BlockedRun:
    """Stub of a run: predicts the sum of each input, waits for an event, fails at 13, 55 and 404."""

    value_range = None
    spec = Spec(name="x", inputs={"x": Input(modality="image", shape=(1, 2, 2))}, target=None)

    def __init__(self) -> None:
        self.released = threading.Event()
        self.batches: list[list[float]] = []

    def predict_records(self, names: Sequence[str], x: Tensor) -> list[dict[str, Any]]:
        assert self.released.wait(10)
        sums = x.flatten(1).sum(1).tolist()
        self.batches.append(sums)
        if 13 in sums:
            raise Diverged("A prediction is not finite")
        if 55 in sums:
            raise RuntimeError("the kernel is larger than the input")
        if 404 in sums:
            raise KeyError("a bug")
        return [{"input": name, "sum": value} for name, value in zip(names, sums, strict=True)]

    def range_warnings(self, names: Sequence[str], x: Tensor, value_range: object) -> list[str]:
        return []


def inputs_of(*values: float, shape: tuple[int, ...] = (1,)) -> Callable[[], Iterator[NamedBatch]]:
    """Inputs that sum up to these values, one at a time."""

    def inputs() -> Iterator[NamedBatch]:
        for value in values:
            if value < 0:
                raise DataError(f"{value} cannot be read")
            x = torch.zeros(1, *shape)
            x.view(-1)[0] = value
            yield [str(value)], x

    return inputs


def results_of(requests: Sequence[InferenceRequest]) -> Callable[[], Any]:
    async def wait() -> list[Any]:
        results = await asyncio.gather(*(request.future for request in requests), return_exceptions=True)
        return [a.code if isinstance(a, HTTPError) else [r["sum"] for r in json.loads(a)["answers"]] for a in results]

    return wait


async def _submit(
    batch: int, inputs_of_requests: Sequence[Callable[[], Iterator[NamedBatch]]], cancel: Sequence[int] = ()
) -> tuple[list[Any], list[list[float]]]:
    """The model runs on the first request while the others are submitted."""
    run = BlockedRun()
    queue = InferenceQueue(run, Limits(batch_size=batch))  # type: ignore[arg-type]
    try:
        first = queue.submit(inputs_of(1))
        while queue.num_waiting:
            await asyncio.sleep(0.001)
        requests = [queue.submit(inputs) for inputs in inputs_of_requests]
        for number in cancel:
            requests[number].cancel()
        run.released.set()
        results = await results_of([first, *(q for k, q in enumerate(requests) if k not in cancel)])()
    finally:
        run.released.set()
        queue.close()
    return results, run.batches


def submit(batch: int, *inputs_of_requests: Callable[[], Iterator[NamedBatch]], cancel: Sequence[int] = ()) -> Any:
    return asyncio.run(asyncio.wait_for(_submit(batch, inputs_of_requests, cancel), 120))


def test_batch_size_1_runs_each_input_alone() -> None:
    results, batches = submit(1, inputs_of(2, 3), inputs_of(4))
    assert results == [[1], [2, 3], [4]]
    assert batches == [[1], [2], [3], [4]]


def test_queued_inputs_of_equal_shape_are_batched() -> None:
    results, batches = submit(3, inputs_of(2, 3), inputs_of(4), inputs_of(5, 6, shape=(2, 2)), inputs_of(7))
    assert results == [[1], [2, 3], [4], [5, 6], [7]]
    assert batches == [[1], [2, 3, 4], [5, 6], [7]]


@pytest.mark.parametrize("batch", [1, 8])
def test_errors_stay_with_their_request(batch: int, capsys: pytest.CaptureFixture[str]) -> None:
    results, _ = submit(
        batch, inputs_of(2), inputs_of(13, 5), inputs_of(3, -1), inputs_of(404, shape=(1, 2, 2)), inputs_of(4)
    )
    assert results == [[1], [2], "not-finite", "unreadable", "bug", [4]]
    assert "a bug" in capsys.readouterr().err  # the traceback is in the log only


def test_an_unsupported_input_shape_is_a_client_error(capsys: pytest.CaptureFixture[str]) -> None:
    results, _ = submit(1, inputs_of(55, shape=(1, 1, 9)), inputs_of(55, shape=(1, 2, 2)))
    assert results == [[1], "unreadable", "bug"]
    assert capsys.readouterr().err.count("\nRuntimeError: the kernel") == 1


@pytest.mark.parametrize("batch", [1, 8])
def test_cancelled_requests_are_skipped(batch: int) -> None:
    results, batches = submit(batch, inputs_of(2), inputs_of(3), inputs_of(4), cancel=[1])
    assert results == [[1], [2], [4]]
    assert sorted(value for values in batches for value in values) == [1, 2, 4]


def test_a_request_without_inputs_gets_an_empty_result() -> None:
    assert submit(4, inputs_of(), inputs_of(2))[0] == [[1], [], [2]]


def test_a_full_queue_gives_429_with_retry_after() -> None:
    async def fill() -> HTTPError:
        run = BlockedRun()
        queue = InferenceQueue(run, Limits(max_queue=2))  # type: ignore[arg-type]
        try:
            requests = [queue.submit(inputs_of(1))]
            while queue.num_waiting:
                await asyncio.sleep(0.001)
            requests += [queue.submit(inputs_of(2)), queue.submit(inputs_of(3))]
            with pytest.raises(HTTPError) as caught:
                queue.submit(inputs_of(4))
            run.released.set()
            assert await results_of(requests)() == [[1], [2], [3]]
            return caught.value
        finally:
            run.released.set()
            queue.close()

    error = asyncio.run(asyncio.wait_for(fill(), 20))
    assert (error.status, error.headers["Retry-After"]) == (429, "1")
