"""`snellen filter`: the lecture's grids in the terminal, exact files, and errors of one line of cause and remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from command import run_command
from PIL import Image

from snellen.filters.examples import EXAMPLES, scene


def rows(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_small_grids_are_printed_whole_with_the_arithmetic_of_an_output() -> None:
    pooled = rows(run_command(["filter", "pool"]).out)
    assert pooled[pooled.index("result 2 × 2: 4 to 9, mean 6.25") + 1 :][:2] == ["4 9", "5 7"]
    mean = run_command(["filter", "pool", "--pool", "mean", "--at", "1,0"]).out
    assert "output 1,0: (3 + 6 + 0 + 9) / 4 = 4.5" in mean
    result = run_command(["filter", "impulse", "--at", "0,6", "--border", "wrap"]).out
    start = rows(result).index("0 0 9 8 7 0 0")
    assert rows(result)[start : start + 3] == ["0 0 9 8 7 0 0", "0 0 6 5 4 0 0", "0 0 3 2 1 0 0"]
    assert "0 × 1 = 0 -1,5 beyond the border (wrap: value of 6,5)" in rows(result)
    tie = run_command(["filter", "pool", "--at", "1,1"]).out
    assert "max(7, 7, 3, 6) = 7" in tie
    assert "its gradient goes to the input at 2,2" in tie
    signal = run_command(["filter", "signal", "--kernel", "box", "--border", "copy", "--at", "0"]).out
    assert "box, 3 values: mean of neighbouring values: 1 / size" in signal
    assert "output 0: F × H as applied = product, at the position in F" in signal
    assert "11 × 0.333333 = 3.66667 -1 beyond the border (copy: value of 0)" in rows(signal)


def test_json_and_exact_files_equal_scipy(tmp_path: Path) -> None:
    image = scene()[:, :50, :60]
    Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "photo.png")
    outputs = [str(tmp_path / f"out.{suffix}") for suffix in ("npz", "png", "html")]
    arguments = ["filter", str(tmp_path / "photo.png"), "--kernel", "gaussian", "--order", "1,0", "--sigma", "1.5"]
    arguments += ["--border", "copy", "--at", "7,9", "--json", *(word for path in outputs for word in ("--out", path))]
    (found,) = run_command(arguments).lines
    expected = [scipy.ndimage.gaussian_filter(c.astype(float), 1.5, order=(0, 1), mode="nearest") for c in image]
    with np.load(outputs[0]) as arrays:
        np.testing.assert_allclose(arrays["result"], expected, atol=1e-10)
    for channel, at in enumerate(found["stages"][0]["at"]):
        assert at["value"] == pytest.approx(expected[channel][9, 7], abs=1e-10)
        assert sum(term["product"] for term in at["terms"]) == pytest.approx(at["value"], abs=1e-10)
    assert found["files"] == outputs
    with Image.open(outputs[1]) as enlarged:
        assert enlarged.size == (240, 200)  # enlarged four times
    assert found["recognised_as"] == ["image of 60 × 50 pixels, colour, 8 bits, each channel filtered by itself"]
    grey = run_command([*arguments[:8], "--grey", "--json", "--out", str(tmp_path / "grey.csv")])
    assert grey.code == 0
    luma = np.tensordot([0.299, 0.587, 0.114], image.astype(float), 1)
    written = np.loadtxt(tmp_path / "grey.csv", delimiter=",")
    np.testing.assert_allclose(
        written, scipy.ndimage.gaussian_filter(luma, 1.5, order=(0, 1), mode="constant"), atol=1e-9
    )


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_works_without_flags_and_as_a_page(example: str, tmp_path: Path) -> None:
    result = run_command(["filter", example, "--out", str(tmp_path / "page.html")])
    assert (result.code, result.err) == (0, "")
    assert (tmp_path / "page.html").stat().st_size < 1_000_000


def test_a_bank_gives_a_map_for_each_kernel(tmp_path: Path) -> None:
    arguments = ["filter", "scene", "--kernel", "gabor-bank", "--orientations", "2", "--wavelengths", "4"]
    outputs = [str(tmp_path / f"bank.{suffix}") for suffix in ("npz", "png", "html")]
    (found,) = run_command([*arguments, "--json", *(word for path in outputs for word in ("--out", path))]).lines
    assert [row["kernel"] for row in found["maps"]] == [f"λ 4, θ {a}°, φ {p}°" for p in (0, 90) for a in (0, 90)]
    with np.load(outputs[0]) as arrays:
        assert arrays["maps"].shape == (4, 192, 192)
        assert found["maps"][1]["at"] == pytest.approx(arrays["maps"][1, 96, 96])
    assert Path(outputs[2]).stat().st_size < 1_000_000


def test_files_of_numbers_and_typed_kernels(tmp_path: Path) -> None:
    for name, text, shape, note in (
        ("row.csv", "1,2,3\n", [1, 1, 3], "signal of 3 numbers, a table"),
        ("column.txt", "1\n2\n3\n", [1, 1, 3], "signal of 3 numbers, a table"),
        ("spaces.txt", "1 2  3\n4 5 6\n", [1, 2, 3], "grid of 3 × 2 numbers, a table"),
        ("commas.csv", "a;b\n1,5;2\n3;4\n", [1, 2, 2], "the first row is a header: a, b"),
        ("thirds.csv", "1/3,2/3\n\n1,-2e0\n", [1, 2, 2], "grid of 2 × 2 numbers, a table"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (found,) = run_command(["filter", str(tmp_path / name), "--kernel", "identity", "--json"]).lines
        assert found["shape"] == shape, name
        assert note in found["recognised_as"], name
    (tmp_path / "kernel.csv").write_text("0,0,1\n", encoding="utf-8")
    for kernel, extra, expected in (
        ("0 0 1", [], [9.0, 10.0]),  # to the left under correlation
        (str(tmp_path / "kernel.csv"), ["--convolve"], [0.0, 11.0]),  # to the right under convolution
    ):
        (found,) = run_command(["filter", "signal", "--kernel", kernel, *extra, "--json"]).lines
        assert found["stages"][0]["result"][0][0][:2] == expected


@pytest.mark.parametrize(
    ("arguments", "code", "cause"),
    [
        (["nosuch.png", "--kernel", "box"], 3, "nosuch.png does not exist"),
        (["sqare"], 3, "sqare does not exist"),
        ([".", "--kernel", "box"], 3, ". is a folder"),
        (["junk.png", "--kernel", "box"], 3, "junk.png is not an image"),
        (["ragged.csv", "--kernel", "box"], 3, "ragged.csv: line 1 has 2 cells, line 2 has 1"),
        (["word.csv", "--kernel", "box"], 3, "word.csv, line 2: 'x' is not a finite number"),
        (["empty.csv", "--kernel", "box"], 3, "empty.csv is empty"),
        (["huge.csv", "--kernel", "10"], 3, "A result of the filter exceeds float64"),
        (["ragged.csv"], 2, "No filter given"),
        (["square", "--kernel", "sharpn"], 2, "Unknown kernel 'sharpn'"),
        (["square", "--kernel", "1 2; 3"], 2, "--kernel '1 2; 3' has rows of 2, 1 numbers"),
        (["square", "--kernel", "0,5 1"], 2, "--kernel '0,5 1' has commas"),
        (["square", "--kernel", "box", "--sigma", "2"], 2, "--sigma does not apply to kernel box"),
        (["square", "--kernel", "1 2", "--sigma", "2"], 2, "--sigma does not apply to --kernel '1 2'"),
        (["square", "--kernel", "sharpen", "--size", "4"], 2, "size 4 of a kernel with a centre"),
        (["signal", "--kernel", "sobel-y"], 2, "Kernel sobel-y has two axes"),
        (["square", "--at", "7,0"], 2, "No output at 7,0"),
        (["signal", "--at", "24"], 2, "No output at 24: the result is one row of 24"),
        (["signal", "--pool", "max", "--at", "3,1"], 2, "No output at 3,1: the result is one row of 12"),
        (["square", "--stride", "0"], 2, "stride 0"),
        (["square", "--padding", "full"], 2, "snellen filter: argument --padding"),
        (["square", "--pool-size", "2"], 2, "--pool-size needs --pool"),
        (["pool", "--stride", "2"], 2, "--stride needs --kernel"),
        (["square", "--pool", "max", "--pool-size", "9"], 2, "A window of 9 values is longer than"),
        (["scene", "--kernel", "gabor-bank", "--pool", "max"], 2, "--pool after a bank"),
        (["square", "--out", "x.gif"], 2, "--out x.gif does not end in"),
        (["grey.png", "--kernel", "box", "--out", "grey.png"], 2, "--out grey.png is the input"),
        (["kk.csv", "--kernel", "kk.csv", "--out", "kk.csv"], 2, "--out kk.csv is the input"),
        (["signal", "--kernel", "kk.csv", "--out", "kk.csv"], 2, "--out kk.csv is the kernel"),
        (["signal", "--kernel", "kk.csv", "--out", "link.csv"], 2, "--out link.csv is the kernel"),
        (["signal", "--kernel", "link.csv", "--out", "kk.csv"], 2, "--out kk.csv is the kernel"),
        (["signal", "--kernel", "kk.csv", "--out", "hard.csv"], 2, "--out hard.csv is the kernel"),
        (["grey.html", "--statistics", "--out", "grey.html"], 2, "--out grey.html is the input"),
        (["square", "--out", "x.csv", "--out", "./x.csv"], 2, "--out x.csv is given twice"),
        (["signal", "--grey"], 2, "--grey has no effect on signal"),
        (["impulse", "--grey"], 2, "--grey has no effect on impulse"),
        (["square", "--grey", "--statistics"], 2, "--grey has no effect on square"),
        (["square", "--padding", "valid", "--border", "wrap"], 2, "--border has no effect on --padding valid"),
        (["square", "--padding", "0", "--border", "wrap"], 2, "--border has no effect on --padding 0"),
        (["square", "--at", "1"], 2, "--at 1 names a column of a signal"),
        (["grey.png", "--kernel", "box", "--at", "1"], 2, "--at 1 names a column of a signal"),
        (["scene", "--out", "x.csv"], 2, "x.csv: a .csv holds one channel"),
        (["scene", "--kernel", "box", "--dilation", "400", "--out", "x.html"], 2, "A window of 801 × 801 pixels"),
    ],
)
def test_errors_have_a_cause_and_a_remedy(
    arguments: list[str], code: int, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("ragged", "1,2\n3\n"), ("word", "1,2\n3,x\n"), ("empty", ""), ("huge", "1e308,1\n1,1\n")):
        Path(f"{name}.csv").write_text(text, encoding="utf-8")
    Path("junk.png").write_bytes(b"not an image" * 9)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save("grey.png")
    before = Path("grey.png").read_bytes()
    Path("grey.html").write_bytes(before)
    Path("kk.csv").write_text("0,0,1\n", encoding="utf-8")
    Path("link.csv").symlink_to("kk.csv")
    Path("hard.csv").hardlink_to("kk.csv")
    result = run_command(["filter", *arguments])
    first, *others = result.err.splitlines()
    assert (result.code, result.out) == (code, "")
    assert first.startswith(f"snellen: {cause}")
    assert len(others) == 1
    assert others[0].startswith("  ")
    assert Path("grey.png").read_bytes() == Path("grey.html").read_bytes() == before
    assert Path("kk.csv").read_text(encoding="utf-8") == "0,0,1\n"


def test_outputs_make_their_folder_and_replace_links(tmp_path: Path) -> None:
    """The rule of every command that writes a file: `export`, `sample` and `trace` have it too."""
    (tmp_path / "dangling.csv").symlink_to(tmp_path / "target.csv")
    for words in (["filter", "square", "--out", "new/folder/x.csv"], ["trace", "--out", "other/folder/x.html"]):
        assert run_command([*words[:-1], str(tmp_path / words[-1])]).code == 0
        assert (tmp_path / words[-1]).is_file()
    assert run_command(["filter", "square", "--out", str(tmp_path / "dangling.csv")]).code == 0
    assert not (tmp_path / "dangling.csv").is_symlink()
    assert not (tmp_path / "target.csv").exists()
