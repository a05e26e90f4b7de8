"""The one thread that asks the model. Requests wait in a line of bounded length; who goes away loses the place."""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snellen.api import TrainedRun
from snellen.core.errors import DataError, first_line
from snellen.core.task import Answer
from snellen.data.inference_inputs import Named
from snellen.serving.http_errors import AGAIN, Refused, bug, refusal_of
from snellen.serving.limits import Limits


class Question:
    """A request that waits for its answers.

    Args:
        inputs: what is asked about, a generator: read when the model is free, so that only bytes wait.
    """

    def __init__(self, inputs: Callable[[], Iterator[Named]]) -> None:
        self.inputs = inputs
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[bytes] = self.loop.create_future()
        self.gone = False  # nobody waits for it any more
        self.read = False  # all its inputs are
        self.asked = 0  # parts that the model has still to answer
        self.answers: list[Answer] = []
        self.warnings: list[str] = []

    def leave(self) -> None:
        """Nobody waits any more: what was sent is let go of."""
        self.gone = True
        self.inputs = _nothing
        self.done.cancel()

    def answered(self) -> None:
        if self.gone:
            return
        plain: dict[str, Any] = {"answers": self.answers}
        if self.warnings:
            plain["warnings"] = self.warnings
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
        self._tell(lambda: self.done.set_result(text.encode("utf-8", "backslashreplace")))

    def failed(self, error: Exception) -> None:
        refusal = refusal_of(error)
        if refusal is None:
            traceback.print_exception(error)
            refusal = bug()
        self._tell(lambda: self.done.set_exception(refusal))

    def _tell(self, what: Callable[[], None]) -> None:
        self.gone = True

        def tell() -> None:
            if not self.done.done():
                what()

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
            self.loop.call_soon_threadsafe(tell)


def _nothing() -> Iterator[Named]:
    return iter(())


class Part(NamedTuple):
    """Inputs of one shape that belong to one question."""

    question: Question
    names: list[str]
    x: Tensor

    def fits(self, other: Part) -> bool:
        return self.x.shape[1:] == other.x.shape[1:] and self.x.dtype == other.x.dtype


class Desk:
    """Where a model is asked, by one question after the other.

    With a batch of 1 each picture is asked alone, and each 64 rows of a request: the bits of an answer do not depend on
    who else asks. A larger batch takes what waits, of one shape, and asks it at once.
    """

    def __init__(self, trained: TrainedRun, limits: Limits) -> None:
        self.trained = trained
        self.limits = limits
        self.value_range = trained.value_range
        self._line: queue.Queue[Question | None] = queue.Queue(limits.max_queue)
        self._open: tuple[Question, Iterator[Named]] | None = None
        self._ahead: Part | None = None  # taken from the line, and of another shape than what was asked
        self._over = False
        self._threads = torch.get_num_threads()
        self._thread = threading.Thread(target=self._work, name="asks the model")
        self._thread.start()

    def ask(self, inputs: Callable[[], Iterator[Named]]) -> Question:
        """Puts a question in the line.

        Raises:
            Refused: 429 where the line is full.
        """
        question = Question(inputs)
        try:
            self._line.put_nowait(question)
        except queue.Full:
            raise Refused(
                429, "busy", f"{self.limits.max_queue} requests wait already", "Ask again later.", AGAIN
            ) from None
        return question

    @property
    def waiting(self) -> int:
        return self._line.qsize()

    def close(self) -> None:
        """Ends the thread once it has answered what waits."""
        self._line.put(None)
        self._thread.join()

    def _work(self) -> None:
        torch.set_num_threads(self._threads)  # which a thread has to be told for itself
        while parts := self._take():
            self._answer([part for part in parts if not part.question.gone])

    def _take(self) -> list[Part]:
        """What is asked next: one part, and as many like it as wait and fit into a batch; nothing at the end."""
        first = self._ahead or self._next(wait=True)
        self._ahead = None
        parts = [first] if first else []
        while parts and sum(len(part.x) for part in parts) < self.limits.batch_size:
            more = self._next(wait=False)
            if more is None:
                break
            if not more.fits(parts[0]):
                self._ahead = more
                break
            parts.append(more)
        return parts

    def _next(self, wait: bool) -> Part | None:
        """The next inputs, read now; None where none wait, or at the end."""
        while self._open is not None or self._begun(wait):
            assert self._open is not None
            question, inputs = self._open
            named = None
            try:
                named = next(inputs, None) if not question.gone else None
            except Exception as error:
                question.failed(error)
            if named is not None:
                question.asked += 1
                return Part(question, *named)
            self._open = None
            question.read = True
            if not question.asked:  # else it has batches that are asked after this
                question.answered()
        return None

    def _begun(self, wait: bool) -> bool:
        """Takes the next question from the line; False where there is none."""
        if self._over:
            return False
        try:
            question = self._line.get(block=wait)
        except queue.Empty:
            return False
        if question is None:
            self._over = True
            return False
        self._open = question, question.inputs()
        return True

    def _answer(self, parts: list[Part]) -> None:
        """Asks the model of parts of one shape."""
        if not parts:
            return
        names = [name for part in parts for name in part.names]
        x = parts[0].x if len(parts) == 1 else torch.cat([part.x for part in parts])
        try:
            records = self.trained.records(names, x)
        except Exception as error:
            if len(parts) > 1:  # one of them has spoiled it for the others
                for part in parts:
                    self._answer([part])
            else:
                parts[0].question.failed(self._of_its_shape(parts[0], error))
            return
        for part in parts:
            question = part.question
            question.answers += records[: len(part.names)]
            records = records[len(part.names) :]
            question.warnings += self.trained.strange(part.names, part.x, self.value_range)
            question.asked -= 1
            if question.read and not question.asked:
                question.answered()

    def _of_its_shape(self, part: Part, error: Exception) -> Exception:
        """What a model makes of a shape that it never saw is no mistake of the server's."""
        spec, shape = self.trained.spec, tuple(part.x.shape[1:])
        if refusal_of(error) is not None or spec.modality != "image" or shape == tuple(spec.input.shape):
            return error
        size = f"{shape[2]}x{shape[1]} pixels in {shape[0]} channels"
        return DataError(
            f"{part.names[0]} has {size}, which the model does not take: {first_line(error)}",
            "Send it in the size of the pictures that the model learned from.",
        )
