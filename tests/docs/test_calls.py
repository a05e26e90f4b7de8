"""The files between the command and the update of the weights, as docs/architecture.md lists them."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch

import snellen
from snellen.cli.main import main

PACKAGE = Path(snellen.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
MAX_LINES = 300


class StepReachedError(Exception):
    """An optimizer was called."""


def listed(model: str) -> list[str]:
    """The files of a model in the page."""
    text = PAGE.read_text(encoding="utf-8").partition("<!-- calls -->")[2].partition("<!-- /calls -->")[0]
    (item,) = [item for item in text.split("\n- ") if item.lstrip("- \n").startswith(f"`{model}`:")]
    return re.findall(r"`([\w/]+\.py)`", item)


@pytest.mark.parametrize(("target", "model"), [("classes", "lenet"), ("boxes", "faster-rcnn")])
def test_the_listed_files_are_those_of_the_stack(
    target: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(optimizer: Any, closure: Any = None) -> None:
        raise StepReachedError

    monkeypatch.setattr("snellen.training.loop.print_expected_time", lambda *arguments: None)  # it takes trial steps
    for optimizer in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
        monkeypatch.setattr(optimizer, "step", step)
    with pytest.raises(StepReachedError) as raised:
        main(
            ["train", "shapes", "--target", target, "--model", model, "--threads", "1", "--out", str(tmp_path / "run")]
        )
    names = [frame.filename for frame in traceback.extract_tb(raised.value.__traceback__)]
    files = dict.fromkeys(Path(name).relative_to(PACKAGE).as_posix() for name in names if str(PACKAGE) in name)
    assert list(files) == listed(model)
    assert all(len((PACKAGE / file).read_text(encoding="utf-8").splitlines()) <= MAX_LINES for file in files)
