"""Inference queue: one thread runs the model on the requests of a bounded queue."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import queue
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snellen.api import TrainedRun
from snellen.core.errors import DataError, first_line, printable_json
from snellen.core.task import PredictionDict
from snellen.modalities import modality_of
from snellen.modalities.modality import NamedBatch
from snellen.serving.http_errors import RETRY_LATER, HTTPError, as_http_error, internal_error
from snellen.serving.limits import Limits


class InferenceRequest:
    """A request in the inference queue.

    Args:
        inputs: generator function of the inputs; they are decoded when the model is free, so that only bytes wait.
    """

    def __init__(self, inputs: Callable[[], Iterator[NamedBatch]]) -> None:
        self.inputs = inputs
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[bytes] = self.loop.create_future()
        self.is_closed = False  # the client is gone or has its response
        self.all_read = False  # all inputs are decoded
        self.num_pending = 0  # batches without predictions yet
        self.predictions: list[PredictionDict] = []
        self.warnings: list[str] = []

    def cancel(self) -> None:
        """Cancel the request and release its bytes."""
        self.is_closed = True
        self.inputs = _no_inputs
        self.future.cancel()

    def finish(self) -> None:
        """Set the predictions as the JSON result."""
        if self.is_closed:
            return
        plain: dict[str, Any] = {"answers": self.predictions}
        if self.warnings:
            plain["warnings"] = self.warnings
        text = printable_json(json.dumps(plain, ensure_ascii=False, allow_nan=False))
        self._resolve(lambda: self.future.set_result(text.encode("utf-8", "backslashreplace")))

    def fail(self, error: Exception) -> None:
        """Set an HTTP error as the result; the traceback of a bug goes to the log."""
        http_error = as_http_error(error)
        if http_error is None:
            traceback.print_exception(error)
            http_error = internal_error()
        self._resolve(lambda: self.future.set_exception(http_error))

    def _resolve(self, action: Callable[[], None]) -> None:
        self.is_closed = True

        def resolve() -> None:
            if not self.future.done():
                action()

        with contextlib.suppress(RuntimeError):  # the event loop is closed
            self.loop.call_soon_threadsafe(resolve)


def _no_inputs() -> Iterator[NamedBatch]:
    return iter(())


class InputBatch(NamedTuple):
    """Inputs of one shape of one request."""

    request: InferenceRequest
    names: list[str]
    x: Tensor

    def fits(self, other: InputBatch) -> bool:
        return self.x.shape[1:] == other.x.shape[1:] and self.x.dtype == other.x.dtype


class InferenceQueue:
    """Queue of inference requests and the thread that runs the model on them.

    With batch size 1 each image is a batch of its own, and so are each 64 table rows of a request: predictions are
    bit-identical whatever other requests are in the queue. A larger batch joins queued inputs of equal shape.
    """

    def __init__(self, trained: TrainedRun, limits: Limits) -> None:
        self.trained = trained
        self.limits = limits
        self.value_range = trained.value_range
        self._requests: queue.Queue[InferenceRequest | None] = queue.Queue(limits.max_queue)
        self._current: tuple[InferenceRequest, Iterator[NamedBatch]] | None = None
        self._deferred: InputBatch | None = None  # out of the queue, of another shape than the last batch
        self._closed = False
        self._threads = torch.get_num_threads()
        self._thread = threading.Thread(target=self._run, name="inference")
        self._thread.start()

    def submit(self, inputs: Callable[[], Iterator[NamedBatch]]) -> InferenceRequest:
        """Put a request in the queue.

        Raises:
            HTTPError: 429 if the queue is full.
        """
        request = InferenceRequest(inputs)
        try:
            self._requests.put_nowait(request)
        except queue.Full:
            raise HTTPError(
                429,
                "busy",
                f"The queue is full: {self.limits.max_queue} requests are waiting",
                "Retry later.",
                RETRY_LATER,
            ) from None
        return request

    @property
    def num_waiting(self) -> int:
        """Number of requests in the queue."""
        return self._requests.qsize()

    def close(self) -> None:
        """Stop the thread after the requests in the queue."""
        self._requests.put(None)
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)  # a setting per thread
        while batches := self._next_batches():
            self._predict([batch for batch in batches if not batch.request.is_closed])

    def _next_batches(self) -> list[InputBatch]:
        """The next inputs, and queued inputs of the same shape up to the batch size; empty at the end."""
        first = self._deferred or self._next(wait=True)
        self._deferred = None
        batches = [first] if first else []
        while batches and sum(len(batch.x) for batch in batches) < self.limits.batch_size:
            next_batch = self._next(wait=False)
            if next_batch is None:
                break
            if not next_batch.fits(batches[0]):
                self._deferred = next_batch
                break
            batches.append(next_batch)
        return batches

    def _next(self, wait: bool) -> InputBatch | None:
        """Decode the next inputs; None if none are queued, or at the end."""
        while self._current is not None or self._next_request(wait):
            assert self._current is not None
            request, inputs = self._current
            named_inputs = None
            try:
                named_inputs = next(inputs, None) if not request.is_closed else None
            except Exception as error:
                request.fail(error)
            if named_inputs is not None:
                request.num_pending += 1
                return InputBatch(request, *named_inputs)
            self._current = None
            request.all_read = True
            if not request.num_pending:  # else its last batch finishes it
                request.finish()
        return None

    def _next_request(self, wait: bool) -> bool:
        """Take the next request from the queue; False if there is none."""
        if self._closed:
            return False
        try:
            request = self._requests.get(block=wait)
        except queue.Empty:
            return False
        if request is None:
            self._closed = True
            return False
        self._current = request, request.inputs()
        return True

    def _predict(self, batches: list[InputBatch]) -> None:
        """Run the model on inputs of one shape."""
        if not batches:
            return
        names = [name for batch in batches for name in batch.names]
        x = batches[0].x if len(batches) == 1 else torch.cat([batch.x for batch in batches])
        try:
            records = self.trained.predict_records(names, x)
        except Exception as error:
            if len(batches) > 1:  # one batch failed: run each alone
                for batch in batches:
                    self._predict([batch])
            else:
                batches[0].request.fail(self._shape_error(batches[0], error))
            return
        for batch in batches:
            request = batch.request
            request.predictions += records[: len(batch.names)]
            records = records[len(batch.names) :]
            request.warnings += self.trained.range_warnings(batch.names, batch.x, self.value_range)
            request.num_pending -= 1
            if request.all_read and not request.num_pending:
                request.finish()

    def _shape_error(self, batch: InputBatch, error: Exception) -> Exception:
        """The error of a model at an input shape that it was not trained on: DataError, not a server bug."""
        spec, shape = self.trained.spec, tuple(batch.x.shape[1:])
        if as_http_error(error) is not None or shape == tuple(spec.input.shape):
            return error
        modality = modality_of(spec)
        size = modality.describe_size(dataclasses.replace(spec.input, shape=shape, typical_size=None))
        return DataError(
            f"{batch.names[0]} has {size}, which the model does not support: {first_line(error)}",
            f"Send {modality.noun} of the size of the training data.",
        )
