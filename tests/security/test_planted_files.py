"""Files beside the data: modules, libraries and configuration are not used; links do not lead writes elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import snellen
from snellen.cli.main import main
from snellen.core import file_io
from snellen.core.errors import DataError, EnvironmentProblem

SCRIPT = Path(sys.executable).with_name("snellen")
MODULES = ("snellen", "torch", "numpy", "PIL", "matplotlib", "yaml", "safetensors", "scipy", "sklearn", "sitecustomize")


def plant(folder: Path) -> Path:
    """Plant modules that write a file when they are imported; return its path."""
    marker = folder.parent / "imported"
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open({str(marker)!r}, 'a').write({name!r})\n")
    (folder / "matplotlibrc").write_text("text.usetex: True\nfont.size: 77\n")
    return marker


def command(*words: str, cwd: Path, seconds: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.skipif(not SCRIPT.exists(), reason="the command is not installed")
def test_no_module_in_the_current_folder_is_imported_by_the_ladder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    marker = plant(folder)
    rng = np.random.default_rng(0)
    np.savez(folder / "set.npz", x=rng.normal(size=(200, 3)), y=np.arange(200) % 2)
    monkeypatch.chdir(folder)
    result = snellen.ladder("set.npz", learners=["knn", "svm"], budget=3600, out=tmp_path / "ladder")
    assert [rung.status for rung in result.rungs] == ["done", "done"], [rung.reason for rung in result.rungs]
    assert not marker.exists(), marker.read_text()


VERBS = [
    "list",
    "doctor",
    "data set.csv",
    "train set.csv --model knn --out ../run",
    "evaluate ../run",
    "report ../run",
    "predict ../run set.csv",
    "export ../run --to onnx",
    "train set.csv --model softmax --epochs 1 --out ../other",
    "compare ../run ../other",
    "study set.csv --model softmax --vary lr=0.1,1 --epochs 1 --seeds 1 --out ../study",
    "set.csv --budget 12 --out ../ladder",
    "reproduce --help",
    "get --help",
]


@pytest.mark.slow
@pytest.mark.skipif(not SCRIPT.exists(), reason="the command is not installed")
def test_no_module_in_the_current_folder_is_imported_by_any_verb(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    marker = plant(folder)
    rng = np.random.default_rng(0)
    rows = "".join(f"{a},{b},{k % 2}\n" for k, (a, b) in enumerate(rng.normal(size=(200, 2))))
    (folder / "set.csv").write_text("a,b,y\n" + rows)
    for words in VERBS:
        done = command(*words.split(), cwd=folder)
        assert done.returncode == 0, (words, done.stderr)
        assert not marker.exists(), (words, marker.read_text())
    (folder / "snellen.py").unlink()  # Python itself imports it before any code of ours runs
    done = subprocess.run(
        [sys.executable, "-m", "snellen", "data", "set.csv"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not marker.exists(), marker.read_text()


@pytest.mark.skipif(not SCRIPT.exists() or os.name == "nt", reason="the command is not installed")
@pytest.mark.parametrize("place", [".", "tls", "glibc-hwcaps/x86-64-v3"])
def test_a_driver_in_the_current_folder_is_refused_before_torch_loads_it(place: str, tmp_path: Path) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "libcuda.so.1").write_bytes(b"not a library")
    done = command("data", "moons", cwd=tmp_path)
    assert done.returncode == 4
    assert "libcuda.so.1 would be loaded as the CUDA driver" in done.stderr
    assert command("--help", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_matplotlibrc_in_the_current_folder_is_not_read(kind: str, tmp_path: Path) -> None:
    if kind == "file":
        (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 77\nbackend: module://planted\n")
    else:
        os.mkfifo(tmp_path / "matplotlibrc")  # opening it for reading would never return
    code = (
        "from snellen.core.views import Plot, Series\n"
        "from snellen.report.plots import plot_svg\n"
        "plot = Plot(title='t', x='x', y='y', series=(Series(name='s', x=(1.0, 2.0), y=(1.0, 2.0)),))\n"
        "first = plot_svg(plot)\n"
        "import matplotlib\n"
        "assert not matplotlib.rcParams['text.usetex'] and matplotlib.rcParams['font.size'] != 77\n"
        "matplotlib.rcParams['font.size'] = 77\n"
        "assert plot_svg(plot) == first\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


# -- links in the folder of a run ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    snellen.train("moons", model="softmax", epochs=1, out=folder)
    return folder


WRITERS: dict[str, Callable[[Path], object]] = {
    "report": lambda run: snellen.load(run).report(),
    "export": lambda run: snellen.load(run).export(),
    "train --resume": lambda run: snellen.resume(run),
    "evaluate_splits": lambda run: snellen.load(run).evaluate_splits(
        ("test",),
        snellen.core.run.Run(run, resume=None),  # type: ignore[attr-defined]
    ),
}


@pytest.mark.parametrize("name", ["report.html", "README.md", "state", "predictions", "history.jsonl", ".x.part"])
@pytest.mark.parametrize("verb", list(WRITERS))
def test_every_writer_refuses_links_in_a_run(verb: str, name: str, trained: Path, tmp_path: Path) -> None:
    run, victim = tmp_path / "run", tmp_path / "victim"
    shutil.copytree(trained, run)
    entry = run / name
    if entry.is_dir():
        shutil.copytree(entry, victim)
        shutil.rmtree(entry)
    else:
        victim.write_bytes(entry.read_bytes() if entry.exists() else b"")
        entry.unlink(missing_ok=True)
    entry.symlink_to(victim)
    before = {p: p.read_bytes() for p in (victim.iterdir() if victim.is_dir() else [victim])}
    with pytest.raises(DataError, match="is a symbolic link"):
        WRITERS[verb](run)
    assert {p: p.read_bytes() for p in (victim.iterdir() if victim.is_dir() else [victim])} == before


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("moons --models softmax --budget 5", "ladder.json"),
        ("study moons --model softmax --vary lr=0.1,1 --epochs 1 --seeds 1", "study.json"),
        ("train moons --model softmax --epochs 1 --folds 2", "folds.json"),
    ],
)
def test_ladders_studies_and_folds_refuse_links(
    words: str, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (folder / state).symlink_to(victim)
    assert main([*words.split(), "--out", str(folder)]) in (2, 3)
    assert "link" in capsys.readouterr().err or victim.read_text() == "precious"
    assert victim.read_text() == "precious"


def test_temporary_files_have_unpredictable_names_and_are_never_opened_through_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    for number in range(300):
        (folder / f".x.json.{os.getpid() + number}.part").symlink_to(victim)
    (folder / "x.json").symlink_to(victim)
    file_io.write_json(folder / "x.json", {"a": 1})
    assert victim.read_text() == "precious"
    assert not (folder / "x.json").is_symlink()
    names = set()
    for number in range(20):
        with file_io.atomic_writer(folder / f"{number}", 1) as file:
            names |= {p.name.split(".")[-2] for p in folder.glob(f".{number}.*.part")}
            file.write(b"1")
    assert len(names) == 20
    # A name that is guessed all the same is not followed.
    monkeypatch.setattr(file_io.secrets, "token_hex", lambda n: "guessed")
    (folder / ".y.guessed.part").symlink_to(victim)
    with pytest.raises(EnvironmentProblem):
        file_io.write_bytes(folder / "y", b"evil")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("kind", ["symlink", "hard link", "pipe"])
def test_files_are_not_appended_or_truncated_through_another_name(kind: str, tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "history.jsonl"
    victim.write_text("precious")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "symlink":
        path.symlink_to(victim)
    else:
        os.link(victim, path)
    for write in (
        lambda: file_io.append_bytes(path, b"evil", 0),
        lambda: file_io.truncate(path, 0),
        lambda: file_io.sync(path, 0),
    ):
        with pytest.raises(EnvironmentProblem, match="a link, a pipe, or a file with a second name"):
            write()
    assert victim.read_text() == "precious"


def test_a_write_stays_in_its_folder_when_another_takes_its_name(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    with file_io.atomic_writer(folder / "x", 1) as file:
        folder.rename(tmp_path / "moved")
        folder.symlink_to(elsewhere)
        file.write(b"1")
    assert not list(elsewhere.iterdir())
    assert (tmp_path / "moved" / "x").read_bytes() == b"1"


# -- threads, streams, processes at once ---------------------------------------------------------------------------


def test_training_in_a_thread(tmp_path: Path) -> None:
    results: list[object] = []
    thread = threading.Thread(
        target=lambda: results.append(snellen.train("moons", model="softmax", epochs=1, out=tmp_path / "run"))
    )
    thread.start()
    thread.join()
    assert len(results) == 1


def test_trainings_started_at_once_get_one_folder_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    from snellen.api.lookup import new_folder

    taken: list[Path] = []
    threads = [threading.Thread(target=lambda: taken.append(new_folder("softmax-moons"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted({Path("runs", f"softmax-moons-{k}") for k in range(1, 17)})


@pytest.mark.skipif(not SCRIPT.exists() or os.name == "nt", reason="the command is not installed")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams(closed: str, tmp_path: Path) -> None:
    done = subprocess.run(
        f"{SCRIPT} train moons --model softmax --epochs 1 --out run {closed}",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    run = snellen.load(tmp_path / "run")
    assert run.record.status == "finished"
    assert ("accuracy" in done.stdout) == (">&-" not in closed.split())
