"""Run: steps, checkpoints and history rows, as `fit` uses them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from snellen.core.checkpoint import State, read_state, write_state
from snellen.core.errors import DataError
from snellen.core.run import Run


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_rows_hold_the_logged_values_after_the_tensor_has_changed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    count = torch.zeros(())
    weight = nn.Parameter(torch.tensor([2.0]))
    for step in run.steps(600):
        count += 1
        run.log(count=count, half=torch.tensor(step, dtype=torch.bfloat16), number=step / 3, loss=(weight * step).sum())
    logged = rows(tmp_path)
    assert [row["count"] for row in logged] == list(range(1, 601))
    assert [row["step"] for row in logged] == list(range(600))
    assert all(row["number"] == row["step"] / 3 and row["loss"] == 2 * row["step"] for row in logged)
    assert logged[3] == {"loop": "train", "step": 3, "count": 4.0, "half": 3.0, "number": 1.0, "loss": 6.0}


def test_names_are_escaped_as_json(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for _ in run.steps(1, name='a "loop"\n'):
        run.log(**{'größe "1"': 1.5})
    assert rows(tmp_path) == [{"loop": 'a "loop"\n', "step": 0, 'größe "1"': 1.5}]


def two_loops(run: Run, until: tuple[str, int] | None = None) -> list[tuple[float, float, float]]:
    """Two loops with random numbers and rows in, between and after them; interrupted before step `until`."""
    samples = []

    def draw() -> tuple[float, float, float]:
        samples.append((float(torch.rand(())), float(np.random.rand()), random.random()))
        return samples[-1]

    for name in ("one", "two"):
        run.log(before=run.once(f"a draw for {name}", lambda: float(torch.rand(()))))
        for step in run.steps(4, name):
            if (name, step) == until:
                raise KeyboardInterrupt
            run.log(drawn=draw()[0], numpy=samples[-1][1], python=samples[-1][2])
        run.log(after=draw()[0], numpy=samples[-1][1])
    return samples


@pytest.mark.parametrize("until", [(name, step) for name in ("one", "two") for step in range(4)])
@pytest.mark.parametrize("save_every", [0.0, 100.0])
def test_resumed_runs_have_the_same_random_numbers_and_rows(
    until: tuple[str, int], save_every: float, tmp_path: Path
) -> None:
    whole = Run(tmp_path / "whole", seed=3)
    expected = two_loops(whole)
    whole.flush()
    torch.rand(7)
    np.random.rand(7)
    random.random()
    hurt = Run(tmp_path / "hurt", seed=3, save_every=save_every)
    with pytest.raises(KeyboardInterrupt):
        two_loops(hurt, until)
    again = Run(tmp_path / "hurt", seed=3, resume=True)
    samples = two_loops(again)
    again.flush()
    assert samples[-1] == expected[-1]
    assert set(samples) <= set(expected)
    assert (tmp_path / "hurt" / "history.jsonl").read_bytes() == (tmp_path / "whole" / "history.jsonl").read_bytes()
    after = Run(tmp_path / "hurt", seed=3, resume=True)
    two_loops(after)
    after.flush()
    assert (tmp_path / "hurt" / "history.jsonl").read_bytes() == (tmp_path / "whole" / "history.jsonl").read_bytes()


def test_loops_cannot_be_nested(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for _ in run.steps(1, "outer"):
        with pytest.raises(RuntimeError, match="'inner' starts inside 'outer'"):
            next(run.steps(1, "inner"))


def test_end_loop_also_ends_the_loop_of_a_resumed_run(tmp_path: Path) -> None:
    run = Run(tmp_path)
    steps = []
    for step in run.steps(10):
        steps.append(step)
        if step == 2:
            run.end_loop()
    assert steps == [0, 1, 2]
    assert list(Run(tmp_path, resume=True).steps(10)) == []


def test_a_damaged_checkpoint_falls_back_to_the_previous_one(tmp_path: Path) -> None:
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
    with pytest.raises(DataError, match="No checkpoint can be read"):
        Run(tmp_path, resume=True)


def test_a_manifest_names_files_of_its_own_folder_only(tmp_path: Path) -> None:
    """Numbered files in the folder itself, with names below 40 characters."""
    sha256 = "0" * 64
    for entries in (
        {},
        ["x"],
        [{"file": "1.safetensors"}],
        [{"file": "1.safetensors", "sha256": sha256, "more": ""}],
        [{"file": "1.safetensors", "sha256": 1}],
        [{"file": "../1.safetensors", "sha256": sha256}],
        [{"file": "newest.safetensors", "sha256": sha256}],
        [{"file": f"{1:028}.safetensors", "sha256": sha256}],
    ):
        (tmp_path / "manifest.json").write_text(json.dumps(entries))
        with pytest.raises(DataError, match=r"manifest\.json is damaged"):
            read_state(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps([{"file": f"{1:027}.safetensors", "sha256": sha256}]))
    with pytest.raises(DataError, match=r"No checkpoint can be read: .*0001\.safetensors"):
        read_state(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"kept": []},
        {"made": {1: 2}},
        {"done": {"train": -1}},
        {"done": {"train": True}},
        {"done": {"train": 1 << 62}},
        {"done": {"train": 1.0}},
        {"ended": {}},
        {"ended": [1]},
        {"loop": None},
        {"digest": 0},
        {"step": "1"},
        {"history": -1},
        {"between": True},
    ],
)
def test_a_state_of_other_types_is_not_a_checkpoint(change: dict[str, Any], tmp_path: Path) -> None:
    write_state(tmp_path, 3, State(done={"train": 2, "val": 0}, ended=["val"], loop="train", step=2))
    read = read_state(tmp_path)
    assert read is not None
    assert (read[0], read[1].done, read[1].ended) == (3, {"train": 2, "val": 0}, ["val"])
    state = State()
    vars(state).update(change)
    write_state(tmp_path, 4, state)
    write_state(tmp_path, 5, state)
    with pytest.raises(DataError, match="is not a checkpoint of a run"):
        read_state(tmp_path)


def test_two_generations_are_retained_and_a_new_run_removes_both(tmp_path: Path) -> None:
    for _ in Run(tmp_path, save_every=0).steps(5):
        pass
    assert len(list((tmp_path / "state").glob("*.safetensors"))) == 2
    run = Run(tmp_path)
    assert read_state(tmp_path / "state") is None
    assert list(run.steps(2)) == [0, 1]


def test_a_read_only_run_changes_no_file(tmp_path: Path) -> None:
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


def test_the_state_of_another_model_or_optimizer_is_an_error(tmp_path: Path) -> None:
    run = Run(tmp_path)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    run.keep(model=model, optimizer=optimizer)
    for _ in run.steps(2):
        model(torch.rand(4, 3)).sum().backward()
        optimizer.step()
    with pytest.raises(DataError, match=r"The checkpoint of model in .* does not fit"):
        Run(tmp_path, resume=True).keep(model=nn.Linear(4, 2))
    wide = torch.optim.Adam(nn.Linear(300, 200).parameters(), fused=True)
    with pytest.raises(DataError, match=r"The checkpoint of optimizer in .* does not fit: exp_avg"):
        Run(tmp_path, resume=True).keep(optimizer=wide)
    with pytest.raises(DataError, match="does not fit"):
        Run(tmp_path, resume=True).keep(optimizer=torch.optim.SGD(nn.Linear(3, 2).parameters(), lr=0.1, momentum=0.9))
