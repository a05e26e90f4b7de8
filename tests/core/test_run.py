"""Steps, state, rows: what a run promises to whoever writes a `fit`."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from snellen.core.checkpoint import read_state
from snellen.core.errors import DataError
from snellen.core.run import Run


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_rows_hold_what_was_logged_though_the_tensor_has_changed_since(tmp_path: Path) -> None:
    run = Run(tmp_path)
    count = torch.zeros(())
    weight = nn.Parameter(torch.tensor([2.0]))
    for step in run.steps(600):
        count += 1
        run.log(count=count, half=torch.tensor(step, dtype=torch.bfloat16), number=step / 3, loss=(weight * step).sum())
    found = rows(tmp_path)
    assert [row["count"] for row in found] == list(range(1, 601))
    assert [row["step"] for row in found] == list(range(600))
    assert all(row["number"] == row["step"] / 3 and row["loss"] == 2 * row["step"] for row in found)
    assert found[3] == {"loop": "train", "step": 3, "count": 4.0, "half": 3.0, "number": 1.0, "loss": 6.0}


def test_names_of_any_kind_are_written_as_json(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for _ in run.steps(1, name='a "loop"\n'):
        run.log(**{'größe "1"': 1.5})
    assert rows(tmp_path) == [{"loop": 'a "loop"\n', "step": 0, 'größe "1"': 1.5}]


def three(run: Run, until: tuple[str, int] | None = None) -> list[tuple[float, float, float]]:
    """Two loops with draws and rows inside, between and after; ends before step `until`, as a kill would."""
    drawn = []

    def draw() -> tuple[float, float, float]:
        drawn.append((float(torch.rand(())), float(np.random.rand()), random.random()))
        return drawn[-1]

    for name in ("one", "two"):
        run.log(before=run.once(f"a draw for {name}", lambda: float(torch.rand(()))))
        for step in run.steps(4, name):
            if (name, step) == until:
                raise KeyboardInterrupt
            run.log(drawn=draw()[0], numpy=drawn[-1][1], python=drawn[-1][2])
        run.log(after=draw()[0], numpy=drawn[-1][1])
    return drawn


@pytest.mark.parametrize("until", [(name, step) for name in ("one", "two") for step in range(4)])
@pytest.mark.parametrize("save_every", [0.0, 100.0])
def test_draws_and_rows_are_the_same_wherever_a_run_ends(
    until: tuple[str, int], save_every: float, tmp_path: Path
) -> None:
    whole = Run(tmp_path / "whole", seed=3)
    expected = three(whole)
    whole.flush()
    torch.rand(7)
    np.random.rand(7)
    random.random()
    hurt = Run(tmp_path / "hurt", seed=3, save_every=save_every)
    with pytest.raises(KeyboardInterrupt):
        three(hurt, until)
    again = Run(tmp_path / "hurt", seed=3, resume=True)
    drawn = three(again)
    again.flush()
    assert drawn[-1] == expected[-1]
    assert set(drawn) <= set(expected)
    assert (tmp_path / "hurt" / "history.jsonl").read_bytes() == (tmp_path / "whole" / "history.jsonl").read_bytes()
    after = Run(tmp_path / "hurt", seed=3, resume=True)
    three(after)
    after.flush()
    assert (tmp_path / "hurt" / "history.jsonl").read_bytes() == (tmp_path / "whole" / "history.jsonl").read_bytes()


def test_loops_do_not_nest(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for _ in run.steps(1, "outer"):
        with pytest.raises(RuntimeError, match="'inner' begins inside 'outer'"):
            next(run.steps(1, "inner"))


def test_enough_ends_a_loop_for_good(tmp_path: Path) -> None:
    run = Run(tmp_path)
    taken = []
    for step in run.steps(10):
        taken.append(step)
        if step == 2:
            run.enough()
    assert taken == [0, 1, 2]
    assert list(Run(tmp_path, resume=True).steps(10)) == []


def test_a_damaged_state_falls_back_to_the_one_before(tmp_path: Path) -> None:
    run = Run(tmp_path, save_every=0)
    model = nn.Linear(2, 2)
    run.keep(model=model)
    seen = []
    for _ in run.steps(4):
        model.weight.data += 1
        seen.append(model.weight.detach().clone())
    newest = sorted((tmp_path / "state").glob("*.safetensors"))
    assert len(newest) == 2
    newest[1].write_bytes(newest[1].read_bytes()[:-1])
    again = Run(tmp_path, resume=True)
    other = nn.Linear(2, 2)
    again.keep(model=other)
    assert torch.equal(other.weight, seen[-1])
    newest[0].write_bytes(b"")
    with pytest.raises(DataError, match="No saved state can be read"):
        Run(tmp_path, resume=True)


def test_two_generations_stay_and_a_new_run_forgets_both(tmp_path: Path) -> None:
    for _ in Run(tmp_path, save_every=0).steps(5):
        pass
    assert len(list((tmp_path / "state").glob("*.safetensors"))) == 2
    run = Run(tmp_path)
    assert read_state(tmp_path / "state") is None
    assert list(run.steps(2)) == [0, 1]


def test_looking_changes_nothing(tmp_path: Path) -> None:
    for _ in Run(tmp_path).steps(2):
        pass
    with open(tmp_path / "history.jsonl", "ab") as file:
        file.write(b"more")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    Run(tmp_path, resume=None)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert not (tmp_path / "absent").exists()
    Run(tmp_path / "absent", resume=None)
    assert not (tmp_path / "absent").exists()


def test_state_of_another_model_or_optimizer_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    run.keep(model=model, optimizer=optimizer)
    for _ in run.steps(2):
        model(torch.rand(4, 3)).sum().backward()
        optimizer.step()
    with pytest.raises(DataError, match=r"The saved model of .* does not fit"):
        Run(tmp_path, resume=True).keep(model=nn.Linear(4, 2))
    wide = torch.optim.Adam(nn.Linear(300, 200).parameters(), fused=True)
    with pytest.raises(DataError, match=r"The saved optimizer of .* does not fit: exp_avg"):
        Run(tmp_path, resume=True).keep(optimizer=wide)
    with pytest.raises(DataError, match="does not fit"):
        Run(tmp_path, resume=True).keep(optimizer=torch.optim.SGD(nn.Linear(3, 2).parameters(), lr=0.1, momentum=0.9))
