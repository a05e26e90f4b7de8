"""`snellen filter` with --statistics, --shift and --run: numbers equal an oracle, mistakes have a remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command import run_command
from PIL import Image
from raw_datasets import classes, seeded

from snellen.api import TrainedRun, load, train
from snellen.filters import gaussian_derivative


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    torch.set_num_threads(1)
    x = torch.randint(0, 256, (60, 1, 16, 16), generator=seeded(), dtype=torch.uint8)
    return train(classes(x, torch.arange(60) % 2, 2), "lenet", out=tmp_path_factory.mktemp("runs") / "lenet", epochs=1)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    Image.fromarray(noise).resize((60, 80), Image.Resampling.BILINEAR).save(path)
    return path


def test_statistics_are_those_of_numpy_in_text_json_and_page(photo: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = run_command(["filter", str(photo), "--statistics", "4", "--json", "--out", str(page)])
    (result,) = done.lines
    x = np.asarray(Image.open(photo)).astype(float)
    for distance in range(1, 5):
        expected = np.corrcoef(x[:, :-distance].ravel(), x[:, distance:].ravel())[0, 1]
        assert result["horizontal"][distance]["value"] == pytest.approx(expected, abs=2e-3)  # less the mean of all
        assert abs(result["permuted"][distance]["value"]) < 0.1
    assert result["vertical"][1]["value"] > 0.5
    text = run_command(["filter", str(photo), "--statistics", "4"]).out
    assert float(next(line for line in text.splitlines() if line.split()[:1] == ["1"]).split()[1]) == pytest.approx(
        result["horizontal"][1]["value"], abs=0.01
    )
    html = page.read_text()
    assert "<svg" in html
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_shift_prints_zero_for_a_filter_and_not_for_a_fully_connected_layer(photo: Path) -> None:
    done = run_command(["filter", str(photo), "--kernel", "gaussian-x", "--shift", "5,-3"])
    assert done.code == 0
    rows = {line.rsplit("  ", 3)[0].split("  ")[0]: line.split() for line in done.out.splitlines()}
    assert rows["filter gaussian-x"][-2] == "0"
    assert float(rows["fully connected, random weights"][-2]) > 10
    assert "commutes with the shift exactly" in done.out
    (plain,) = run_command(["filter", str(photo), "--kernel", "gaussian-x", "--shift", "5,-3", "--json"]).lines
    assert plain["kernels"]["gaussian-x"]["filter_difference"] == 0
    assert plain["kernels"]["gaussian-x"]["inside"] == [60 - 5 - 8, 80 - 3 - 8]
    bank = run_command(["filter", "scene", "--kernel", "gaussian-bank", "--shift", "1,0"])
    assert bank.out.count("across the border") == 7
    typed = run_command(["filter", "square", "--kernel", "1 2", "--convolve", "--shift", "-1,0"])
    assert typed.code == 0, typed.err
    assert "shift: 1 to the left, 0 down" in typed.out


def test_run_names_what_planted_filters_resemble(
    lenet: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = load(lenet.folder)
    first = next(part for part in planted.model.modules() if isinstance(part, torch.nn.Conv2d))
    with torch.no_grad():
        first.weight[0, 0] = torch.from_numpy(gaussian_derivative(0, 1, 1.0, 5))
        first.weight[1, 0] = torch.from_numpy(-gaussian_derivative(2, 0, 0.8, 5))
        first.weight[2, 0] = 0
    monkeypatch.setattr("snellen.api.load", lambda *_, **__: planted)
    folder = lenet.folder
    image = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)).save(image)
    page = tmp_path / "page.html"
    done = run_command(["filter", str(image), "--run", str(folder), "--out", str(page)])
    assert done.code == 0, done.err
    assert "first derivative   " in done.out
    assert "90°, σ 1 " in done.out
    assert "−second derivative" in done.out
    assert "0°, σ 0.8" in done.out
    assert "is zero" in done.out
    assert "Of image.png: the correlation of each filter" in page.read_text()
    (plain,) = run_command(["filter", str(image), "--run", str(folder), "--json"]).lines
    assert np.allclose(plain["filters"], first.weight.detach().numpy())
    assert np.allclose(np.array(plain["raw_filters"]) * plain["std"][0], plain["filters"], atol=1e-6)


WRONG: list[tuple[Callable[[str, str], list[str]], int, str]] = [
    (lambda photo, run: ["nofile.png", "--statistics"], 3, "nofile.png does not exist"),
    (lambda photo, run: [photo, "--statistics", "0"], 2, "at least 1"),
    (lambda photo, run: [run, "--statistics"], 3, "--statistics."),
    (lambda photo, run: ["signal", "--statistics"], 3, "one axis"),
    (lambda photo, run: [photo, "--statistics", "--kernel", "box"], 2, "--kernel does not apply to --statistics"),
    (lambda photo, run: [photo, "--statistics", "--shift", "1,0"], 2, "two views"),
    (lambda photo, run: [photo, "--statistics", "--out", "a.png"], 2, "does not end in .html"),
    (lambda photo, run: [photo, "--shift", "5,0"], 2, "--shift needs --kernel"),
    (lambda photo, run: [photo, "--shift", "5", "--kernel", "box"], 2, "two whole numbers"),
    (lambda photo, run: [photo, "--shift", "0,0", "--kernel", "box"], 2, "moves nothing"),
    (lambda photo, run: [photo, "--shift", "58,0", "--kernel", "box"], 2, "without the border"),
    (
        lambda photo, run: [photo, "--shift", "1,0", "--kernel", "box", "--stride", "2"],
        2,
        "--stride does not apply to",
    ),
    (lambda photo, run: ["signal", "--shift", "1,0", "--kernel", "box"], 3, "one axis"),
    (lambda photo, run: [photo, "--run", "nowhere"], 3, "run.json is missing"),
    (lambda photo, run: ["scene", "--run", run], 3, "scene is no file"),
    (lambda photo, run: [run, "--run", run], 3, "is no file"),
    (lambda photo, run: [photo, "--run", run, "--grey"], 2, "--grey does not apply to --run"),
    (lambda photo, run: [photo, "--run", run, "--out", "a.csv"], 2, "does not end in .html"),
    (lambda photo, run: [f"{run}/run.json", "--run", run], 3, "run.json"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_a_mistake_has_a_cause_and_a_remedy(case: int, lenet: TrainedRun, photo: Path) -> None:
    words, code, cause = WRONG[case]
    done = run_command(["filter", *words(str(photo), str(lenet.folder))])
    assert done.code == code
    assert cause in done.err
    lines = done.err.strip().splitlines()
    assert len(lines) == 2, done.err
    assert lines[0].startswith("snellen: ")
    assert "Traceback" not in done.err


def test_an_image_of_one_value_and_one_of_one_row(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 20), 7, np.uint8)).save(tmp_path / "flat.png")
    done = run_command(["filter", str(tmp_path / "flat.png"), "--statistics", "3", "--out", str(tmp_path / "p.html")])
    assert done.code == 0
    assert "these pixels have one value" in done.out
    Image.fromarray(np.arange(20, dtype=np.uint8)[None]).save(tmp_path / "row.png")
    done = run_command(["filter", str(tmp_path / "row.png"), "--statistics"])
    assert (done.code, "at least 2 × 2" in done.err) == (3, True)
    assert json.loads(run_command(["filter", "square", "--statistics", "--json"]).out)["over"] == "bands"


def test_distances_beyond_the_shorter_side_are_mentioned(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "small.png")
    done = run_command(["filter", str(tmp_path / "small.png"), "--statistics", "100"])
    assert "distances up to 19 of 100 pixels: the shorter side has 20 pixels" in done.out
    assert "distances up to" not in run_command(["filter", str(tmp_path / "small.png"), "--statistics", "19"]).out
    assert "up to 7 of 9 pixels: the shorter side has 8" in run_command(["data", "digits", "--statistics", "9"]).out


def test_data_prints_the_statistics_of_images_and_not_of_rows() -> None:
    done = run_command(["data", "digits", "--statistics", "2", "--json"])
    found = done.lines[0]["pixel_correlation"]
    assert [len(found[name]) for name in ("horizontal", "vertical", "permuted")] == [3, 3, 3]
    assert found["vertical"][1]["low"] < found["vertical"][1]["value"] < found["vertical"][1]["high"]
    done = run_command(["data", "rings", "--statistics"])
    assert (done.code, len(done.err.strip().splitlines())) == (2, 2)
    assert "no training images" in done.err
