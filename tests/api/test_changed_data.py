"""A run is judged on its own test samples, whatever happened to the data since: case evaluate-changed and its kind."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import snellen
from snellen.api import RunOptions
from snellen.cli.main import main
from snellen.core.errors import DataError, SnellenError, UsageError
from snellen.data.formats import OpenOptions
from snellen.data.sample_identity import FILE, read_identity

QUICK = RunOptions(device="cpu", report=False)


def write_noise(folder: Path, names: list[str], seed: int = 0) -> None:
    """Images of noise, each a function of its name; nothing can be learned but the images themselves."""
    for name in names:
        rng = np.random.default_rng([seed, *name.encode()])
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / name)


def names_of(count: int, first: int = 0) -> list[str]:
    return [f"{label}/{k:03d}.png" for label in "ab" for k in range(first, count)]


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of noise, and a nearest-neighbour run on it: 100 % on training samples, chance on others."""
    data = tmp_path / "data"
    write_noise(data, names_of(60))
    snellen.train(data, "knn", k=1, out=tmp_path / "run", options=QUICK)
    return data, tmp_path / "run"


def split_of(run: Path, split: int) -> list[str]:
    identity = read_identity(run)
    assert identity is not None
    return [identity.name(id) for id in np.nonzero(identity.split == split)[0].tolist()]


def test_the_run_lists_its_samples(images: tuple[Path, Path]) -> None:
    data, run = images
    splits = snellen.dataset(data).splits
    for index, name in enumerate(("train", "val", "test")):
        assert split_of(run, index) == [snellen.dataset(data).name(int(id)) for id in splits[name]]
    assert FILE in snellen.load(run).record.files


def test_removed_training_samples_do_not_move_the_test_split(images: tuple[Path, Path]) -> None:
    data, run = images
    before = snellen.load(run).evaluate()["accuracy"]
    for name in split_of(run, 0)[:5]:
        (data / name).unlink()
    assert len(snellen.dataset(data).splits["test"]) < 18 or list(snellen.dataset(data).splits["test"])
    with pytest.warns(UserWarning, match=r"5 of train are gone .*Evaluated: the 18 of 18 test samples"):
        assert snellen.load(run).evaluate()["accuracy"] == before


def test_added_samples_are_not_judged_on(images: tuple[Path, Path]) -> None:
    data, run = images
    before = snellen.load(run).evaluate()["accuracy"]
    write_noise(data, [f"{label}/{k:03d}-more.png" for label in "ab" for k in range(40)])
    with pytest.warns(UserWarning, match="80 are new"):
        assert snellen.load(run).evaluate()["accuracy"] == before


def test_removed_test_samples_are_counted(images: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    data, run = images
    gone = split_of(run, 2)[:4]
    for name in gone:
        (data / name).unlink()
    assert main(["evaluate", str(run), "--json"]) == 0
    shown = capsys.readouterr()
    assert "4 of test are gone" in shown.err
    assert gone[0] in shown.err
    assert "14 of 18 test samples" in shown.err
    for name in split_of(run, 2)[4:]:
        (data / name).unlink()
    assert main(["evaluate", str(run)]) == 3
    assert "No sample of the test split is left" in capsys.readouterr().err


def test_replaced_content_is_noticed_under_equal_name_size_and_time(images: tuple[Path, Path]) -> None:
    data, run = images
    name = split_of(run, 2)[0]
    path = data / name
    other = data / split_of(run, 2)[1]
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path, compress_level=0)
    shutil.copystat(other, path)
    with pytest.warns(UserWarning, match=rf"1 have another content \({name}\)"):
        snellen.load(run).evaluate()
    with pytest.raises(DataError, match="have another content"):
        snellen.resume(run, options=QUICK)


def test_renamed_and_moved_samples_keep_their_split(images: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = images
    before = snellen.load(run).evaluate()["accuracy"]
    for name in split_of(run, 0)[:3] + split_of(run, 2)[:3]:
        (data / name).rename((data / name).with_name(f"z{Path(name).name}"))
    with pytest.warns(UserWarning, match="another order"):
        assert snellen.load(run).evaluate()["accuracy"] == before
    moved = tmp_path / "moved"
    data.rename(moved)
    with pytest.raises(DataError, match="does not exist") as caught:
        snellen.load(run).evaluate()
    assert "--data" in caught.value.remedy


def test_a_sample_under_another_label_is_said(images: tuple[Path, Path]) -> None:
    data, run = images
    name = split_of(run, 2)[0]
    target = data / ("b" if name.startswith("a") else "a") / f"moved-{Path(name).name}"
    (data / name).rename(target)
    with pytest.warns(UserWarning, match="1 have another target"):
        snellen.load(run).evaluate()


@pytest.mark.parametrize("act", ["report", "worst_samples", "load", "resume"])
def test_what_shows_stored_predictions_refuses_other_samples(act: str, images: tuple[Path, Path]) -> None:
    """Stored predictions have the numbers of the former samples: names and pictures would be those of others."""
    data, run = images
    (data / split_of(run, 0)[0]).unlink()
    acts = {
        "report": lambda: snellen.load(run).report(),
        "worst_samples": lambda: snellen.load(run).worst_samples(),
        "load": lambda: snellen.load(run, data=snellen.dataset(data)),
        "resume": lambda: snellen.resume(run, options=QUICK),
    }
    with pytest.raises(DataError, match=r"1 of train are gone"):
        acts[act]()


def test_other_data_is_judged_without_training_samples(images: tuple[Path, Path], tmp_path: Path) -> None:
    _, run = images
    other = tmp_path / "other"
    write_noise(other, names_of(90))
    splits = snellen.dataset(other).splits
    learned = set(split_of(run, 0)) | set(split_of(run, 1))
    test_names = [snellen.dataset(other).name(int(id)) for id in splits["test"]]
    shared = [name for name in test_names if name in learned]
    assert shared
    with pytest.warns(UserWarning, match=rf"{len(shared)} of {len(test_names)} samples of other"):
        metric = snellen.load(run).evaluate(other)["accuracy"]
    assert metric.value is not None
    assert metric.value < 0.9  # 100 % of the training samples would be right
    only = tmp_path / "only"
    for name in split_of(run, 0):
        (only / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images[0] / name, only / name)
    with pytest.raises(DataError, match="trained or selected on all"):
        snellen.load(run).evaluate(only)


def write_table(path: Path, rows: list[str]) -> None:
    path.write_text("a,b,y\n" + "\n".join(rows) + "\n")


def table_rows(count: int) -> list[str]:
    rng = np.random.default_rng(3)
    return [f"{a:.6f},{b:.6f},{'yes' if rng.random() < 0.5 else 'no'}" for a, b in rng.normal(size=(count, 2))]


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_rows_inserted_at_the_start_do_not_move_the_test_split(kind: str, tmp_path: Path) -> None:
    rows = table_rows(160)
    path = tmp_path / f"rows.{kind}"

    def write(chosen: list[str]) -> None:
        if kind == "csv":
            write_table(path, chosen)
            return
        cells = [row.split(",") for row in chosen]
        x = np.array([[float(a), float(b)] for a, b, _ in cells])
        np.savez(path, x=x, y=np.array([int(y == "yes") for *_, y in cells]))

    write(rows[20:])
    snellen.train(path, "knn", k=1, out=tmp_path / "run", options=QUICK)
    before = snellen.load(tmp_path / "run").evaluate()["accuracy"]
    write(rows)
    with pytest.warns(UserWarning, match="20 are new"):
        assert snellen.load(tmp_path / "run").evaluate()["accuracy"] == before


def test_runs_on_data_that_changed_in_between_are_not_compared(tmp_path: Path) -> None:
    rows = table_rows(100)
    path = tmp_path / "rows.csv"
    write_table(path, rows)
    snellen.train(path, "knn", k=1, out=tmp_path / "first", options=QUICK)
    changed = [f"{float(row.split(',')[0]) + 1},{row.partition(',')[2]}" for row in rows]
    write_table(path, changed)
    snellen.train(path, "knn", k=1, out=tmp_path / "second", options=QUICK)
    with pytest.raises(UsageError, match="test samples have another content"):
        snellen.compare(tmp_path / "first", tmp_path / "second")
    write_table(path, rows)
    snellen.train(path, "knn", k=3, out=tmp_path / "third", options=QUICK)
    snellen.compare(tmp_path / "first", tmp_path / "third")


def test_a_run_without_a_list_of_samples_is_not_judged_on_data_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_table(path, table_rows(100))
    snellen.train(path, "knn", k=1, out=tmp_path / "run", options=QUICK)
    (tmp_path / "run" / FILE).unlink()
    assert snellen.load(tmp_path / "run").evaluate()
    write_table(path, table_rows(100)[:90])
    with pytest.raises(DataError, match="70, val 15, test 15 samples then"):
        snellen.load(tmp_path / "run").evaluate()


@pytest.mark.parametrize(
    "damage", [{"split": np.full(100, 7, np.int8)}, {"split": np.zeros(3, np.int8)}, {"contents": np.zeros(100)}, {}]
)
def test_a_damaged_list_of_samples_is_an_error(damage: dict[str, Any], tmp_path: Path) -> None:
    import torch

    from snellen.core import file_io

    path = tmp_path / "rows.csv"
    write_table(path, table_rows(100))
    snellen.train(path, "knn", k=1, out=tmp_path / "run", options=QUICK)
    if damage:
        tensors, about = file_io.read_tensors(tmp_path / "run" / FILE)
        tensors |= {name: torch.from_numpy(values) for name, values in damage.items()}
        file_io.write_tensors(tmp_path / "run" / FILE, tensors, about)
    else:
        (tmp_path / "run" / FILE).write_bytes(b"x" * 50)
    with pytest.raises(SnellenError, match=FILE):
        snellen.load(tmp_path / "run").evaluate()


@pytest.mark.parametrize(
    ("header", "row", "cause"),
    [
        ("a,c,y", "{a},{b},{y}", "other columns than the model reads"),
        ("a,b,extra,y", "{a},{b},{a},{y}", "other columns than the model reads"),
    ],
)
def test_other_columns_are_an_error(
    header: str, row: str, cause: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.csv"
    write_table(path, table_rows(100))
    snellen.train(path, "softmax", epochs=1, out=tmp_path / "run", options=QUICK)
    other = tmp_path / "other.csv"
    cells = [line.split(",") for line in table_rows(150)[100:]]
    other.write_text(header + "\n" + "\n".join(row.format(a=a, b=b, y=y) for a, b, y in cells) + "\n")
    assert main(["evaluate", str(tmp_path / "run"), "--data", str(other)]) == 3
    assert cause in capsys.readouterr().err


def test_facts_in_the_cache_do_not_outlive_the_content(tmp_path: Path) -> None:
    """Case stale-cache: `cp -a` gives other content the same name, size and modification time."""
    data = tmp_path / "data"
    for label, shade in (("cat", 0), ("dog", 128)):
        for k in range(12):
            (data / label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((20, 20), shade + k, np.uint8)).save(data / label / f"{k}.bmp")
    snellen.dataset(data)
    path = data / "dog" / "3.bmp"
    before = path.stat()
    path.write_bytes((data / "cat" / "3.bmp").read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    with pytest.raises(DataError, match=r"conflicting labels.*cat/3\.bmp = dog/3\.bmp"):
        snellen.dataset(data)


def test_built_in_data_needs_no_list(tmp_path: Path) -> None:
    snellen.train("moons", "softmax", epochs=1, out=tmp_path / "run", options=QUICK)
    assert not (tmp_path / "run" / FILE).exists()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"


def test_copies_of_test_samples_are_new(images: tuple[Path, Path]) -> None:
    """A copy is not judged on again, and it is named."""
    data, run = images
    before = snellen.load(run).evaluate()["accuracy"]
    for name in split_of(run, 2)[:3]:
        for k in range(5):
            shutil.copy(data / name, (data / name).with_name(f"copy{k}-{Path(name).name}"))
    with pytest.warns(UserWarning, match=r"15 are new \(.*copy0.*the 18 of 18 test samples"):
        assert snellen.load(run).evaluate()["accuracy"] == before


def coincident_rows(count: int, seed: int = 0) -> list[str]:
    """Rows of few levels, which coincide by chance, also with another label."""
    rng = np.random.default_rng(seed)
    return [",".join(["xyz"[k] for k in rng.integers(0, 3, 3)] + ["yn"[int(rng.integers(2))]]) for _ in range(count)]


def test_rows_that_coincide_by_chance_keep_their_split(tmp_path: Path) -> None:
    rows = coincident_rows(300)
    path = tmp_path / "rows.csv"
    path.write_text("p,q,r,label\n" + "\n".join(rows) + "\n")
    snellen.train(path, "softmax", epochs=1, out=tmp_path / "run", options=QUICK)
    path.write_text("p,q,r,label\n" + "\n".join(rows[1:]) + "\n")
    with pytest.warns(UserWarning, match=r"1 of (train|val|test) are gone") as caught:
        metric = snellen.load(tmp_path / "run").evaluate()["accuracy"]
    (warning,) = caught
    assert "have another target" not in str(warning.message)
    assert re.search(r"the 4[3-5] of 45 test samples", str(warning.message))
    assert metric.value is not None


def test_other_rows_that_coincide_by_chance_are_evaluated(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    for name, seed in (("rows", 0), ("other", 1)):
        (tmp_path / f"{name}.csv").write_text("p,q,r,label\n" + "\n".join(coincident_rows(300, seed)) + "\n")
    snellen.train(tmp_path / "rows.csv", "softmax", epochs=1, out=tmp_path / "run", options=QUICK)
    assert snellen.load(tmp_path / "run").evaluate(tmp_path / "other.csv")["accuracy"].value is not None
    assert not [w for w in recwarn if "left out" in str(w.message)]


def test_validation_samples_are_not_judged_on_in_other_data(images: tuple[Path, Path], tmp_path: Path) -> None:
    _, run = images
    other = tmp_path / "other"
    for name in split_of(run, 1):
        (other / "test" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images[0] / name, other / "test" / name)
    write_noise(other / "train", [f"{label}/own{k}.png" for label in "ab" for k in range(10)])
    with pytest.raises(DataError, match="trained or selected on all"):
        snellen.load(run).evaluate(other)


def test_imputed_rows_do_not_change_with_the_median(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rows = [f"{'' if k % 9 == 0 else rng.integers(20, 60)},{rng.normal():.5f},{'yn'[k % 2]}" for k in range(200)]
    path = tmp_path / "rows.csv"
    path.write_text("age,b,label\n" + "\n".join(rows) + "\n")
    options = OpenOptions(impute="median")
    data = snellen.dataset(path, options=options)
    snellen.train(data, "knn", k=1, out=tmp_path / "run", options=QUICK)
    before = snellen.load(tmp_path / "run").evaluate()["accuracy"]
    more = [f"99,{k}.5,y" for k in range(150)]
    path.write_text("age,b,label\n" + "\n".join(rows + more) + "\n")
    assert snellen.dataset(path, options=options).spec.input.columns != data.spec.input.columns  # another median
    with pytest.warns(UserWarning, match=r"150 are new .*the 30 of 30 test samples"):
        assert snellen.load(tmp_path / "run").evaluate()["accuracy"] == before


def test_changed_masks_are_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(20):
        for name, values in (("images", rng.integers(0, 255, (16, 16))), ("masks", rng.integers(0, 2, (16, 16)))):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(tmp_path / "data" / name / f"{k:02d}.png")
    run = tmp_path / "run"
    snellen.train(tmp_path / "data", "baseline", out=run, options=QUICK)
    for k in range(20):
        path = tmp_path / "data" / "masks" / f"{k:02d}.png"
        Image.fromarray(1 - np.asarray(Image.open(path))).save(path)
    with pytest.warns(UserWarning, match="20 have another target"):
        snellen.load(run).evaluate()
    with pytest.raises(DataError, match="20 have another target"):
        snellen.load(run).report()


def test_matching_many_equal_samples_takes_linear_time() -> None:
    from snellen.data.sample_identity import SampleIdentity, _match

    contents = np.zeros(200_000, np.int64)
    stored = SampleIdentity(
        key=None, names="row", contents=contents, targets=contents, split=np.zeros(len(contents), np.int8)
    )
    assert np.array_equal(_match("row", contents, contents, stored), np.arange(len(contents)))


@pytest.mark.parametrize(
    "words",
    [
        "study DATA --model softmax --vary lr=0.1,1 --epochs 1 --seeds 1",
        "DATA --models softmax --budget 1h",
        "train DATA --model softmax --epochs 1 --folds 2",
    ],
)
def test_studies_ladders_and_folds_refuse_other_content(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    write_noise(data, names_of(30))
    arguments = [str(data) if word == "DATA" else word for word in words.split()] + ["--out", str(out)]
    assert main(arguments) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    write_noise(data, names_of(30), seed=9)
    capsys.readouterr()
    assert main(arguments) == 3
    assert "has changed since it was started: " in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_training_samples_of_another_type_are_recognised(dtype: type, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (100, 9)).astype(np.uint8), rng.integers(0, 2, 100)
    np.savez(tmp_path / "first.npz", x=x, y=y)
    np.savez(tmp_path / "second.npz", x=x[::-1].astype(dtype), y=y[::-1])
    snellen.train(tmp_path / "first.npz", "knn", k=1, out=tmp_path / "run", options=QUICK)
    with pytest.warns(UserWarning, match="are left out"):
        snellen.load(tmp_path / "run").evaluate(tmp_path / "second.npz")


def test_a_new_class_is_the_cause_and_no_sample_is_relabelled(
    images: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = images
    write_noise(data, [f"0new/{k}.png" for k in range(6)])
    assert main(["evaluate", str(run)]) == 3
    message = capsys.readouterr().err
    assert "The targets of data are ('0new', 'a', 'b')" in message
    assert "another target" not in message
    assert "Evaluated" not in message


def test_columns_in_another_order_are_said_to_be_so(tmp_path: Path) -> None:
    write_table(tmp_path / "rows.csv", table_rows(100))
    snellen.train(tmp_path / "rows.csv", "softmax", epochs=1, out=tmp_path / "run", options=QUICK)
    cells = [row.split(",") for row in table_rows(160)[100:]]
    (tmp_path / "other.csv").write_text("b,a,y\n" + "".join(f"{b},{a},{y}\n" for a, b, y in cells))
    with pytest.raises(DataError, match=r"columns in the order 'b, a', the model reads 'a, b'"):
        snellen.load(tmp_path / "run").evaluate(tmp_path / "other.csv")


@pytest.mark.skipif(os.name == "nt", reason="no pipes")
def test_a_pipe_in_place_of_the_history_is_an_error(tmp_path: Path) -> None:
    snellen.train("moons", "softmax", epochs=1, out=tmp_path / "run", options=QUICK)
    (tmp_path / "run" / "history.jsonl").unlink()
    os.mkfifo(tmp_path / "run" / "history.jsonl")
    with pytest.raises(SnellenError, match=r"history\.jsonl"):
        snellen.load(tmp_path / "run").report()


def test_evaluate_reads_other_data_with_the_imputation_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("rows", 0), ("other", 1)):
        rng = np.random.default_rng(seed)
        rows = [f"{'' if k % 9 == 0 else rng.normal():.5},{rng.normal():.5f},{'yn'[k % 2]}" for k in range(100)]
        write_table(tmp_path / f"{name}.csv", rows)
    run = str(tmp_path / "run")
    assert main(["train", str(tmp_path / "rows.csv"), "--impute", "median", "--model", "knn", "--out", run]) == 0
    capsys.readouterr()
    assert main(["evaluate", run, "--data", str(tmp_path / "other.csv")]) == 0


@pytest.mark.parametrize("options", [{"seed": 7}, {"options": OpenOptions(group="*/{ten}?.png")}])
def test_a_copy_of_the_data_is_judged_in_the_splits_of_the_run(options: dict[str, Any], tmp_path: Path) -> None:
    """And runs on both are compared: the contents count, not the place."""
    write_noise(tmp_path / "data", names_of(60))
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    runs = [
        snellen.train(
            snellen.dataset(tmp_path / name, **options), "knn", k=3, out=tmp_path / f"run {name}", options=QUICK
        )
        for name in ("data", "copy")
    ]
    own = runs[0].metrics["accuracy"]
    shutil.rmtree(tmp_path / "data")
    assert snellen.load(runs[0].folder).evaluate(tmp_path / "copy")["accuracy"] == own
    assert snellen.compare(*(run.folder for run in runs)).samples == runs[0].spec.sizes["test"]


def test_a_group_column_of_a_copied_table_is_no_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{rng.normal():.6f},{rng.normal():.6f},s{k % 20},{'ab'[k % 2]}" for k in range(120)]
    (tmp_path / "a.csv").write_text("x,z,slide,y\n" + "\n".join(rows) + "\n")
    shutil.copy(tmp_path / "a.csv", tmp_path / "b.csv")
    run = str(tmp_path / "run")
    assert (
        main(
            ["train", str(tmp_path / "a.csv"), "--model", "lda", "--group", "slide", "--split-seed", "3", "--out", run]
        )
        == 0
    )
    capsys.readouterr()
    outputs = []
    for words in ([], ["--data", str(tmp_path / "b.csv")]):
        assert main(["evaluate", run, *words, "--json"]) == 0
        outputs.append(json.loads(capsys.readouterr().out)["metrics"])
    assert outputs[0] == outputs[1]
