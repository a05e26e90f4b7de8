"""R2: each open, write, fsync and rename fails in turn. The last checkpoint remains and the run can be resumed.

SNELLEN_FAULTS=all tries every error at every operation; without it the errors alternate.
"""

from __future__ import annotations

import builtins
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from families import FAMILIES, Family, pictures, result

from snellen import api
from snellen.core import file_io
from snellen.core.checkpoint import read_state
from snellen.core.errors import EnvironmentProblem

ERRORS = {
    errno.ENOSPC: "No space left on device",
    errno.EIO: "Input/output error",
    errno.EROFS: "Read-only file system",
}
SHORT = Family(pictures, "softmax", {"epochs": 1, "batch_size": 40})


class Faults:
    """Counter of the operations of one kind that lets one of them fail, a write after half of its bytes.

    Args:
        kind: "open", "write", "fsync" or "replace".
        at: number of the operation that fails; 0: none. Later operations fail too, as on a full disk.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: str, at: int = 0, number: int = errno.ENOSPC) -> None:
        self.kind, self.at, self.number, self.count = kind, at, number, 0
        monkeypatch.setattr(os, "fsync", self.failing("fsync", os.fsync))
        monkeypatch.setattr(os, "replace", self.failing("replace", os.replace))
        monkeypatch.setattr(file_io, "open", self.opening, raising=False)
        self.create = os.open
        monkeypatch.setattr(os, "open", self.creating)

    def fails(self, kind: str) -> bool:
        if kind != self.kind:
            return False
        self.count += 1
        return 0 < self.at <= self.count

    def failing(self, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:
            if self.fails(kind):
                raise OSError(self.number, os.strerror(self.number))
            return real(*arguments, **options)

        return operation

    def creating(self, path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_CREAT and self.fails("open"):
            raise OSError(self.number, os.strerror(self.number))
        return self.create(path, flags, *arguments, **options)

    def opening(self, path: Any, mode: str, **options: Any) -> Any:
        writes = "w" in mode or "a" in mode
        file = builtins.open(path, mode, **options)  # noqa: SIM115 (the caller closes it)
        return HalfWritten(file, self.number) if writes and self.fails("write") else file


class HalfWritten:
    """File on a disk that is full after half of the written bytes."""

    def __init__(self, file: Any, number: int) -> None:
        self.file, self.number = file, number

    def __enter__(self) -> HalfWritten:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def write(self, content: bytes) -> None:
        self.file.write(bytes(content)[: len(content) // 2])
        self.file.flush()
        raise OSError(self.number, os.strerror(self.number))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "whole"
    SHORT.train(folder)
    return folder


def cases(count: int) -> Iterator[tuple[int, int]]:
    """(operation, error) pairs."""
    for at in range(1, count + 1):
        numbers = list(ERRORS)
        for number in numbers if os.environ.get("SNELLEN_FAULTS") == "all" else [numbers[at % len(numbers)]]:
            yield at, number


@pytest.mark.parametrize("kind", ["open", "write", "fsync", "replace"])
def test_a_failing_disk_ends_the_run_and_keeps_its_last_checkpoint(kind: str, whole: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        counting = Faults(patch, kind)
        SHORT.train(tmp_path / "counted")
    assert counting.count > 10
    for at, number in cases(counting.count):
        folder = tmp_path / f"{at}-{number}"
        with pytest.MonkeyPatch.context() as patch:
            Faults(patch, kind, at, number)
            with pytest.raises(EnvironmentProblem) as caught:
                SHORT.train(folder)
        assert caught.value.exit_code == 4
        assert ERRORS[number] in caught.value.cause
        assert "bytes" in caught.value.cause
        assert caught.value.remedy
        assert not list(folder.rglob("*.part"))
        if (folder / "state" / "manifest.json").exists():
            assert read_state(folder / "state") is not None
        if (folder / "run.json").exists():
            SHORT.resume(folder)
        else:
            SHORT.train(folder)
        assert result(folder) == result(whole), (kind, at, number)
        shutil.rmtree(folder)


def test_the_checkpoint_before_a_fault_is_read(tmp_path: Path) -> None:
    """Whichever operation of the save of step n fails, the state of step n or n − 1 is intact."""
    for kind in ("open", "write", "fsync", "replace"):
        for offset in range(1, 4):
            folder = tmp_path / f"{kind}-{offset}"
            with pytest.MonkeyPatch.context() as patch:
                faults = Faults(patch, kind)
                seen: list[int] = []

                def spy(
                    step: int,
                    folder: Path = folder,
                    seen: list[int] = seen,
                    faults: Faults = faults,
                    offset: int = offset,
                ) -> None:
                    saved = read_state(folder / "state")
                    seen.append(0 if saved is None else saved[1].done["train"])
                    if step == 2:
                        faults.at = faults.count + offset

                learner = spying_learner(spy)
                options = api.RunOptions(save_every=0, threads=1, report=False)
                with pytest.raises(EnvironmentProblem):
                    api.train(pictures(), learner, out=folder, options=options, rounds=9)
            assert seen[:3] == [0, 1, 2]
            saved = read_state(folder / "state")
            assert saved is not None
            assert saved[1].done["train"] >= seen[-1]


def spying_learner(spy: Callable[[int], None]) -> Any:
    """Custom learner that calls `spy` before every step."""
    import dataclasses

    from snellen.core.run import Run

    def fit(c: Any, data: Any, model: Any, run: Run) -> None:
        run.keep(model=model)
        for step in run.steps(c.rounds):
            spy(step)
            run.log(step=float(step))

    return dataclasses.replace(FAMILIES["own loop"].model, fit=fit)


def test_a_fault_while_resuming_leaves_the_run_unchanged(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    with open(folder / "history.jsonl", "ab") as file:
        file.write(b'{"loop": "train", "step"')  # an incomplete row of a killed process
    (folder / "state" / ".00000009.safetensors.77.part").write_bytes(b"begun")
    broken = OSError(errno.EROFS, os.strerror(errno.EROFS))

    def refuse(*arguments: object, **more: object) -> None:
        raise broken

    with monkeypatch.context() as patch:
        patch.setattr(os, "truncate", refuse)
        with pytest.raises(EnvironmentProblem, match="Read-only"):
            SHORT.resume(folder)
    (folder / "state" / ".00000009.safetensors.77.part").write_bytes(b"begun")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(EnvironmentProblem, match="Read-only"):
            SHORT.resume(folder)
    SHORT.resume(folder)
    assert result(folder) == result(whole)
    assert not list(folder.rglob("*.part"))


def test_errors_name_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for out in (tmp_path / "file" / "run", Path("/proc/snellen"), tmp_path / ("x" * 300), Path("/dev/full/run")):
        with pytest.raises(EnvironmentProblem) as caught:
            SHORT.train(out)
        assert str(out) in caught.value.cause
        assert "\n" not in caught.value.cause


def test_a_device(tmp_path: Path) -> None:
    """A device in place of a file is not written, and no folder of devices."""
    with pytest.raises(EnvironmentProblem, match="a link, a pipe, or a file with a second name"):
        file_io.append_bytes(Path("/dev/full"), b"x" * 100, 0)
    SHORT.train(tmp_path / "run")
    (tmp_path / "run" / "state").rename(tmp_path / "away")
    (tmp_path / "run" / "history.jsonl").unlink()
    (tmp_path / "run" / "state").symlink_to("/dev")
    with pytest.raises(file_io.DataError, match="is a symbolic link"):
        SHORT.resume(tmp_path / "run")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """File system of 100 kB; skips where the user cannot mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    ended = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=100k", "tmpfs", folder], capture_output=True)
    if not ended or ended.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    ended = subprocess.run(["umount", folder], capture_output=True)
    if ended.returncode:  # a file is still open: unmount when it is closed, so that nothing is left behind
        subprocess.run(["umount", "--lazy", folder], check=True)
    assert ended.returncode == 0, ended.stderr


def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    wide = Family(pictures, "mlp", {"epochs": 1, "batch_size": 40, "hidden": (300,)})  # 178 kB of weights
    with pytest.raises(EnvironmentProblem) as caught:
        wide.train(small_disk / "run")
    assert caught.value.cause.startswith(f"Cannot write {small_disk / 'run' / 'state'}")
    assert "No space left on device" in caught.value.cause
    assert "bytes are needed and" in caught.value.remedy
    assert not list(small_disk.rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    wide.resume(small_disk / "run")
    wide.train(tmp_path / "run")
    assert result(small_disk / "run") == result(tmp_path / "run")


def test_no_file_outside_the_run_is_written(tmp_path: Path) -> None:
    """An untrusted run folder may hold symbolic links: writing, truncating and removing follow none of them."""
    SHORT.train(tmp_path / "run")
    (tmp_path / "mine.txt").write_text("precious")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "00000001.safetensors").write_text("precious")
    for name, target in (
        ("history.jsonl", tmp_path / "mine.txt"),
        ("state", tmp_path / "models"),
        ("predictions", tmp_path / "models"),
    ):
        folder = tmp_path / f"with-{name}"
        shutil.copytree(tmp_path / "run", folder)
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
        (folder / name).symlink_to(target)
        with pytest.raises(file_io.DataError, match="is a symbolic link"):
            SHORT.resume(folder)
    assert (tmp_path / "mine.txt").read_text() == "precious"
    assert (tmp_path / "models" / "00000001.safetensors").read_text() == "precious"


if sys.platform != "linux":
    pytestmark = pytest.mark.skip(reason="devices and file systems of Linux")
