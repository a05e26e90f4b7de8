"""Training flags of the command line: each trains and is recorded in run.json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from snellen.api import load
from snellen.cli.main import main
from snellen.core.history import read_history
from snellen.core.record import read_record
from snellen.training.precision import has_bfloat16

OPTIONS: list[tuple[list[str], dict[str, Any]]] = [
    (["--overfit"], {"overfit": True}),
    (["--lr", "auto"], {"lr": None}),
    (["--batch-size", "auto"], {"batch_size": None}),
    (["--class-weights", "balanced"], {"class_weights": "balanced"}),
    (["--sampling", "balanced"], {"sampling": "balanced"}),
    (["--ema-decay", "0.99"], {"ema_decay": 0.99}),
    (["--grad-accum-steps", "2"], {"grad_accum_steps": 2}),
    (["--clip-grad", "1"], {"clip_grad": 1.0}),
    (["--patience", "3"], {"patience": 3}),
    (["--warmup", "0.2"], {"warmup": 0.2}),
    (["--weight-decay", "0.01"], {"weight_decay": 0.01}),
    (["--ohem-fraction", "0.5"], {"ohem_fraction": 0.5}),
    *((["--schedule", name], {"schedule": name}) for name in ("constant", "step", "cosine", "one-cycle")),
    *(
        (["--optimizer", name], {"optimizer": name})
        for name in ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")
    ),
]


@pytest.mark.learning
@pytest.mark.parametrize(("arguments", "expected"), OPTIONS, ids=[" ".join(arguments) for arguments, _ in OPTIONS])
def test_a_flag_trains_and_is_recorded(
    arguments: list[str],
    expected: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    training_seed: int,
    assert_score: Callable[..., None],
) -> None:
    monkeypatch.setattr("snellen.api.trained_run.write_report", lambda folder, summary: folder)
    epochs = [] if "--overfit" in arguments else ["--epochs", "3"]
    out = ["--seed", str(training_seed), "--out", str(tmp_path / "r"), "--json"]
    assert main(["train", "moons", "--model", "softmax", *epochs, *arguments, *out]) == 0
    record = read_record(tmp_path / "r")
    assert {name: record.settings[name] for name in expected} == expected
    assert {record.sources[name] for name in expected} == {"given"}
    losses = [row["loss"] for row in read_history(tmp_path / "r" / "history.jsonl") if "loss" in row]
    assert_score(sum(losses[-10:]) / sum(losses[:10]), below=1)


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_precision_trains_or_reports_missing_hardware_support(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "moons", "--model", "mlp", "--epochs", "1", "--precision", name, "--device", "cpu"]
    supported = name == "float32" or (name == "bfloat16" and has_bfloat16(torch.device("cpu")))
    assert main([*arguments, "--out", str(tmp_path / "r")]) == (0 if supported else 4)
    assert read_record(tmp_path / "r").settings["precision"] == name
    if supported:
        assert load(tmp_path / "r").metrics["accuracy"].value is not None
    else:
        assert "Use --precision" in capsys.readouterr().err
