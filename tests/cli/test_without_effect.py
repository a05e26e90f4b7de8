"""Links that lead to themselves, empty names, arguments without effect, and results that were not measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Result, run_command, write_two_classes
from PIL import Image

from snellen.core.errors import counted
from snellen.filters.kernels import KERNELS, MIN_SIGMA


def check_error(result: Result, code: int, cause: str, remedy: str = "") -> None:
    lines = result.err.strip().splitlines()[-2:]
    assert result.code == code, result.err
    assert cause in lines[0], result.err
    assert lines[0].startswith("snellen: ")
    assert remedy in lines[1]
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    "words",
    [
        ["data", "loop.png"],
        ["data", "loop"],
        ["loop.png"],
        ["train", "loop.png"],
        ["train", "loop.png", "--task", "regress"],
        ["train", "loop.png", "--data-format", "image-surface"],
        ["data", "inner/self"],
        ["filter", "loop.png", "--kernel", "box"],
        ["filter", "loop.png", "--statistics"],
    ],
)
def test_a_link_to_itself_is_an_error_of_the_data(words: list[str], workdir: Path) -> None:
    Path("loop").symlink_to("loop.png")
    Path("loop.png").symlink_to("loop")
    Path("inner").mkdir()
    Path("inner/self").symlink_to("self")
    name = next(word for word in words if "loop" in word or "inner" in word)
    check_error(run_command(words), 3, f"snellen: {name} is a symbolic link that leads back to itself", "Remove")


def test_a_link_to_itself_in_a_folder_is_named_and_in_comparisons_no_fault(workdir: Path) -> None:
    write_two_classes(Path("photos"))
    Path("photos/dark/loop.png").symlink_to("loop.png")
    cause = "1 image or folder cannot be read: dark/loop.png is a symbolic link that leads back to itself"
    check_error(run_command(["data", "photos"]), 3, cause)
    Path("only").mkdir()
    Path("only/self").symlink_to("self")
    check_error(run_command(["data", "only"]), 3, "only")
    check_error(run_command(["compare", "only/self", "photos"]), 3, "only/self/run.json")


def test_an_empty_name_is_said_to_be_empty(workdir: Path) -> None:
    for words in (["filter", ""], ["data", ""], ["train", ""]):
        check_error(run_command(words), 3, "is empty")


RESUMED = ["--seed 7", "--target foo", "--surface-side 9", "--explain", "--out x", "--task x", "--lr 1", "moons"]


@pytest.mark.parametrize("words", RESUMED)
def test_a_resumed_run_refuses_arguments_that_it_does_not_use(words: str, workdir: Path) -> None:
    flag = words.split()[0]
    cause = f"{flag if flag.startswith('-') else 'DATA'} has no effect"
    check_error(run_command(["train", "--resume", "run", *words.split()]), 2, cause, "Give --resume RUN alone")


def test_a_finished_run_is_resumed_with_the_flags_that_it_uses(workdir: Path) -> None:
    assert run_command(["train", "moons", "--model", "softmax", "--epochs", "1", "--out", "run"]).code == 0
    flags = ["--device", "cpu", "--threads", "1", "--save-every", "9", "--json"]
    assert run_command(["train", "--resume", "run", *flags]).lines[0]["run"] == "run"
    check_error(run_command(["train", "--resume", "run", "--seed", "7"]), 2, "--seed has no effect")


def test_a_ladder_is_resumed_in_its_own_folder(workdir: Path) -> None:
    Path("old").mkdir()
    Path("old/ladder.json").write_text('{"arguments": ["moons"]}')
    for words in (["--out", "new"], ["--out=new"], ["--resume", "other"]):
        check_error(run_command(["ladder", "--resume", "old", *words]), 2, "has no effect on --resume old", "Leave out")


@pytest.mark.parametrize("words", [["study", "moons", "--model", "mlp"], ["ladder", "moons", "--models", "mlp"]])
def test_nothing_that_was_measured_is_an_error_with_the_time_as_remedy(words: list[str], workdir: Path) -> None:
    result = run_command([*words, "--budget", "0.001s", "--out", "out"])
    check_error(result, 1, "The time budget", "--budget")
    assert Path("out/report.html").exists()


def test_an_image_given_to_a_model_of_rows_names_what_the_model_reads(home: Path, tmp_path: Path) -> None:
    Image.new("RGB", (12, 10)).save(tmp_path / "photo.png")
    Path(tmp_path / "noise.bin").write_bytes(b"\xff\xfe\x00 \x81")
    run = str(home / "runs" / "least-squares-rows-1")
    for name in ("photo.png", "noise.bin"):
        result = run_command(["predict", run, str(tmp_path / name)])
        check_error(result, 3, "the model reads a table of the columns 'a', 'b'", "Give such a table")
    fitted = str(tmp_path / "fitted")
    words = ["train", str(tmp_path / "photo.png"), "--task", "regress", "--model", "least-squares", "--out", fitted]
    assert run_command(words).code == 0
    cause = "photo.png is an image: the model reads a table of the columns 'x', 'y' (fractions of width and height, 0"
    check_error(run_command(["predict", fitted, str(tmp_path / "photo.png")]), 3, cause)


@pytest.mark.parametrize(
    ("header", "warned"), [("a,b,label", ["label"]), ("a,Class,y", ["Class", "y"]), ("x,y,z", []), ("a,b,c", [])]
)
def test_an_input_with_the_name_of_a_label_is_a_warning(header: str, warned: list[str], workdir: Path) -> None:
    rows = "".join(f"{k * 7 % 11},{k * 5 % 13},{k % 3}\n" for k in range(60))
    Path("rows.csv").write_text(f"{header}\n{rows}")
    out = run_command(["data", "rows.csv", "--target", "none"]).out
    assert [line.split("'")[1] for line in out.splitlines() if "has the name of a target" in line] == warned


@pytest.mark.parametrize("order", range(1, 5))
def test_a_derivative_of_the_smallest_sigma_measures_a_power_and_a_smaller_one_is_refused(order: int) -> None:
    make = KERNELS["gaussian"].make_1d
    assert make is not None
    kernel = make(order=(order, 0), sigma=MIN_SIGMA[order])
    x = [k - len(kernel) // 2 for k in range(len(kernel))]
    factorial = {1: 1, 2: 2, 3: 6, 4: 24}[order]
    assert sum(w * k**order for w, k in zip(kernel, x, strict=True)) / factorial == pytest.approx(1, abs=0.15)
    words = ["filter", "signal", "--kernel", "gaussian", "--order", f"{order},0", "--sigma", "0.1"]
    check_error(run_command(words), 2, "sigma 0.1 of a derivative", f"at least {MIN_SIGMA[order]:g}")


def test_the_noun_has_the_number_of_its_count() -> None:
    assert [counted(n, "sample") for n in (0, 1, 2, 1000)] == ["0 samples", "1 sample", "2 samples", "1,000 samples"]
    assert counted(2, "bias", "biases") == "2 biases"
