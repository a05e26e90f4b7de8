"""History: rows read back unchanged, damaged files are errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from snellen.core.errors import DataError
from snellen.core.history import read_history
from snellen.core.run import Run


def test_rows_are_read_back(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for step in run.steps(3):
        run.log(loss=step / 3)
    assert read_history(tmp_path / "history.jsonl") == [{"loop": "train", "step": k, "loss": k / 3} for k in range(3)]
    assert read_history(tmp_path / "absent.jsonl") == []


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "[]",
        "3",
        "{",
        '{"loop": "a"}',
        '{"loop": 1, "step": 1}',
        '{"loop": "a", "step": "1"}',
        '{"loop": "a", "step": true}',
        '{"loop": "a", "step": 1, "loss": NaN}',
        '{"loop": "a", "step": 1, "loss": 1e999}',
        '{"loop": "a", "step": 1, "x": "y"}',
        '{"loop": "a", "step": 1, "x": null}',
        "[" * 100_000,
        "\xff",
    ],
)
def test_an_invalid_row_is_a_data_error(line: str, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"loop": "a", "step": 0, "loss": 1.0}\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_history(path)


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b"", lambda b: b.replace(b"1.0", b"2.0")])
def test_a_changed_history_cannot_be_resumed(change: object, tmp_path: Path) -> None:
    run = Run(tmp_path)
    for _ in run.steps(3):
        run.log(loss=1.0)
    path = tmp_path / "history.jsonl"
    content = path.read_bytes()
    path.write_bytes(change(content))  # type: ignore[operator]
    with pytest.raises(DataError, match="has changed since it was written"):
        Run(tmp_path, resume=True)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="has changed since it was written"):
        Run(tmp_path, resume=True)
    path.rmdir()
    path.write_bytes(content + b'{"loop": "train", "st')
    Run(tmp_path, resume=True)
    assert path.read_bytes() == content
