"""`snellen export`: what it prints, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import said

from snellen.core.files import sha256


@pytest.fixture(autouse=True)
def _home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def test_it_prints_what_stands_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.onnx"
    done = said(["export", "runs/least-squares-rows-1", "--to", "onnx", "--out", str(path)])
    assert (done.code, done.err) == (0, "")
    told = [line[9:] for line in done.out.splitlines()]
    assert told[0] == str(path)
    assert "least-squares on rows.csv (regress), snellen " in told[1]
    assert told[2].startswith(sha256(Path("runs/least-squares-rows-1/model.safetensors")))
    assert told[3].startswith("input: float")
    assert told[4:6] == ["a, b", "numbers: float64 (batch, 1): height [mm]"]
    assert told[6].startswith("100 inputs, ")
    assert told[7].startswith("numbers differ by at most ")
    assert path.exists()


def test_as_json_it_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    done = said(["export", "--to", "torch", "--out", str(path), "--json"])
    (line,) = done.lines
    assert done.err == "run: runs/softmax-digits-1 (the newest)\n"
    assert line["file"] == str(path)
    assert line["input"]["shape"] == ["batch", 1, 8, 8]
    assert line["outputs"][1]["columns"] == list("0123456789")
    assert line["parity"]["inputs"] == 100


@pytest.mark.parametrize(
    ("words", "code", "cause"),
    [
        (["--to", "onx"], 2, "'onx'"),
        ([], 2, "--to"),
        (["nowhere", "--to", "onnx"], 3, "nowhere"),
        (["untrained", "--to", "onnx"], 3, "untrained has no trained model yet"),
        (["runs/softmax-digits-1", "--to", "torch", "--out", "a.onnx"], 2, "a.onnx does not end in .pt2"),
        (["runs/softmax-digits-1", "--to", "torch", "--out", "rows.csv/a.pt2"], 4, "rows.csv/a.pt2"),
    ],
)
def test_what_cannot_be_is_told_in_two_lines(words: list[str], code: int, cause: str) -> None:
    untrained = Path("untrained")
    untrained.mkdir(exist_ok=True)
    (untrained / "run.json").write_bytes(Path("runs/softmax-digits-1/run.json").read_bytes())
    before = sorted(Path().rglob("*"))
    done = said(["export", *words])
    assert done.code == code
    assert cause in done.err
    assert done.out == ""
    assert sorted(Path().rglob("*")) == before
