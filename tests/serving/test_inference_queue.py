"""The line before the model: order, batches of like shapes, errors that stay with who caused them, and limits."""

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
from snellen.data.inference_inputs import Named
from snellen.serving.http_errors import Refused
from snellen.serving.inference_queue import Desk, Question
from snellen.serving.limits import Limits


class Slow:
    """Stands in for a run: says the sum of each input, waits where it is told to, and cannot bear 13."""

    value_range = None
    spec = Spec(name="x", inputs={"x": Input(modality="image", shape=(1, 2, 2))}, target=None)

    def __init__(self) -> None:
        self.may = threading.Event()
        self.asked: list[list[float]] = []

    def records(self, names: Sequence[str], x: Tensor) -> list[dict[str, Any]]:
        assert self.may.wait(10)
        sums = x.flatten(1).sum(1).tolist()
        self.asked.append(sums)
        if 13 in sums:
            raise Diverged("A prediction is not finite")
        if 55 in sums:
            raise RuntimeError("the kernel is larger than the input")
        if 404 in sums:
            raise KeyError("a bug")
        return [{"input": name, "sum": value} for name, value in zip(names, sums, strict=True)]

    def strange(self, names: Sequence[str], x: Tensor, value_range: object) -> list[str]:
        return []


def of(*values: float, shape: tuple[int, ...] = (1,)) -> Callable[[], Iterator[Named]]:
    """Inputs that sum up to these values, one at a time."""

    def inputs() -> Iterator[Named]:
        for value in values:
            if value < 0:
                raise DataError(f"{value} cannot be read")
            x = torch.zeros(1, *shape)
            x.view(-1)[0] = value
            yield [str(value)], x

    return inputs


def told(questions: Sequence[Question]) -> Callable[[], Any]:
    async def wait() -> list[Any]:
        answers = await asyncio.gather(*(question.done for question in questions), return_exceptions=True)
        return [a.code if isinstance(a, Refused) else [r["sum"] for r in json.loads(a)["answers"]] for a in answers]

    return wait


async def _ask(
    batch: int, asked: Sequence[Callable[[], Iterator[Named]]], leave: Sequence[int] = ()
) -> tuple[list[Any], list[list[float]]]:
    """The first is being asked while the others come."""
    slow = Slow()
    desk = Desk(slow, Limits(batch_size=batch))  # type: ignore[arg-type]
    try:
        first = desk.ask(of(1))
        while desk.waiting:
            await asyncio.sleep(0.001)
        questions = [desk.ask(inputs) for inputs in asked]
        for number in leave:
            questions[number].leave()
        slow.may.set()
        answers = await told([first, *(q for k, q in enumerate(questions) if k not in leave)])()
    finally:
        slow.may.set()
        desk.close()
    return answers, slow.asked


def ask(batch: int, *asked: Callable[[], Iterator[Named]], leave: Sequence[int] = ()) -> Any:
    return asyncio.run(asyncio.wait_for(_ask(batch, asked, leave), 20))


def test_each_is_asked_alone_where_the_batch_is_one() -> None:
    answers, asked = ask(1, of(2, 3), of(4))
    assert answers == [[1], [2, 3], [4]]
    assert asked == [[1], [2], [3], [4]]


def test_what_waits_is_asked_together_as_far_as_shapes_are_alike() -> None:
    answers, asked = ask(3, of(2, 3), of(4), of(5, 6, shape=(2, 2)), of(7))
    assert answers == [[1], [2, 3], [4], [5, 6], [7]]
    assert asked == [[1], [2, 3, 4], [5, 6], [7]]


@pytest.mark.parametrize("batch", [1, 8])
def test_what_goes_wrong_for_one_does_so_for_no_other(batch: int, capsys: pytest.CaptureFixture[str]) -> None:
    answers, _ = ask(batch, of(2), of(13, 5), of(3, -1), of(404, shape=(1, 2, 2)), of(4))
    assert answers == [[1], [2], "not-finite", "unreadable", "bug", [4]]
    assert "a bug" in capsys.readouterr().err  # with its traceback, which the client is not shown


def test_a_shape_that_the_model_does_not_take_is_no_mistake_of_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    answers, _ = ask(1, of(55, shape=(1, 1, 9)), of(55, shape=(1, 2, 2)))
    assert answers == [[1], "unreadable", "bug"]
    assert capsys.readouterr().err.count("\nRuntimeError: the kernel") == 1


@pytest.mark.parametrize("batch", [1, 8])
def test_who_goes_away_is_not_asked_for(batch: int) -> None:
    answers, asked = ask(batch, of(2), of(3), of(4), leave=[1])
    assert answers == [[1], [2], [4]]
    assert sorted(value for values in asked for value in values) == [1, 2, 4]


def test_a_question_without_inputs_is_answered() -> None:
    assert ask(4, of(), of(2))[0] == [[1], [], [2]]


def test_a_full_line_sends_away_with_a_time_to_come_again() -> None:
    async def fill() -> Refused:
        slow = Slow()
        desk = Desk(slow, Limits(max_queue=2))  # type: ignore[arg-type]
        try:
            questions = [desk.ask(of(1))]
            while desk.waiting:
                await asyncio.sleep(0.001)
            questions += [desk.ask(of(2)), desk.ask(of(3))]
            with pytest.raises(Refused) as caught:
                desk.ask(of(4))
            slow.may.set()
            assert await told(questions)() == [[1], [2], [3]]
            return caught.value
        finally:
            slow.may.set()
            desk.close()

    refused = asyncio.run(asyncio.wait_for(fill(), 20))
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
