"""`snellen data` stays readable with hundreds of classes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snellen.cli.main import main


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [f"{k}.5,{k * 7},c{k % 600:03}" for k in range(3000)] + [f"{k}.25,{k},c007" for k in range(300)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,y", *rows, ""]))
    return tmp_path / "rows.csv"


def test_the_number_the_largest_and_the_smallest_classes_are_printed(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", str(table)]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) < 50
    assert "600 classes, largest first" in out
    assert out.index("c007") < out.index("...")
    assert "the whole list: --format csv or --json" in out


def test_the_whole_list_is_printed_for_other_programs(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(table), "--format", "csv"]) == 0
    assert sum(line.startswith("c") and line[1:4].isdigit() for line in capsys.readouterr().out.splitlines()) == 600
    assert main(["data", str(table), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["spec"]["target"]["names"]) == 600
