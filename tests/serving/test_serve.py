"""A second process serves; it answers what `snellen predict` says, and refuses with a word, a cause and a remedy."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from process import FORM, Server, form, png

from snellen.cli.main import main
from snellen.data.toys import digits


def predicted(*words: object) -> list[dict[str, Any]]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["predict", *map(str, words)]) == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


def renamed(records: Sequence[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{**record, "input": name} for record, name in zip(records, names, strict=True)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    source = digits(0).source
    paths = [folder / f"{k}.png" for k in range(3)]
    for k, path in enumerate(paths):
        path.write_bytes(png(source.values[k, 0].numpy()))  # type: ignore[attr-defined]
    return paths


def test_a_picture_is_answered_as_predict_says(server: Server, home: Path, photos: list[Path]) -> None:
    (said,) = predicted(home / "digits", photos[0])
    answer = server.predict(photos[0].read_bytes())
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.plain == {"answers": renamed([said], "body")}
    answer = server.predict(form([(path.name, path.read_bytes()) for path in photos]), FORM)
    alone = [predicted(home / "digits", path)[0] for path in photos]
    assert answer.plain == {"answers": renamed(alone, "0.png", "1.png", "2.png")}
