"""`snellen export`: output and errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import run_command

from snellen.core.file_io import sha256


@pytest.fixture(autouse=True)
def _home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def test_export_prints_the_metadata_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.onnx"
    result = run_command(["export", "runs/least-squares-rows-1", "--to", "onnx", "--out", str(path)])
    assert (result.code, result.err) == (0, "")
    texts = [line[9:] for line in result.out.splitlines()]
    assert texts[0] == str(path)
    assert "least-squares on rows.csv (regress), snellen " in texts[1]
    assert texts[2].startswith(sha256(Path("runs/least-squares-rows-1/model.safetensors")))
    assert texts[3].startswith("input: float")
    assert texts[4:6] == ["a, b", "numbers: float64 (batch, 1): height [mm]"]
    assert texts[6].startswith("100 inputs, ")
    assert texts[7].startswith("numbers differ by at most ")
    assert path.exists()


def test_export_json_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    result = run_command(["export", "--to", "torch", "--out", str(path), "--json"])
    (line,) = result.lines
    assert result.err == "run: runs/softmax-digits-1 (the newest)\n"
    assert line["file"] == str(path)
    assert line["input"]["shape"] == ["batch", 1, 8, 8]
    assert line["outputs"][1]["columns"] == list("0123456789")
    assert line["parity"]["inputs"] == 100


@pytest.mark.parametrize(
    ("arguments", "code", "cause"),
    [
        (["--to", "onx"], 2, "'onx'"),
        ([], 2, "--to"),
        (["nowhere", "--to", "onnx"], 3, "nowhere"),
        (["untrained", "--to", "onnx"], 3, "untrained has no trained model yet"),
        (["runs/softmax-digits-1", "--to", "torch", "--out", "a.onnx"], 2, "a.onnx does not end in .pt2"),
        (["runs/softmax-digits-1", "--to", "torch", "--out", "rows.csv/a.pt2"], 4, "rows.csv/a.pt2"),
    ],
)
def test_errors_have_a_cause_and_a_remedy(arguments: list[str], code: int, cause: str) -> None:
    untrained = Path("untrained")
    untrained.mkdir(exist_ok=True)
    (untrained / "run.json").write_bytes(Path("runs/softmax-digits-1/run.json").read_bytes())
    before = sorted(Path().rglob("*"))
    result = run_command(["export", *arguments])
    assert result.code == code
    assert cause in result.err
    assert result.out == ""
    assert sorted(Path().rglob("*")) == before
