"""R3: the first Ctrl-C or SIGTERM saves and stops, the second acts immediately; no file is lost or half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from families import result
from signalled import LONG

from snellen.core.checkpoint import read_state
from snellen.core.errors import Stopped
from snellen.core.run import Run

TIMEOUT = 120  # seconds


class Child:
    """Training in a child process."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        script = Path(__file__).with_name("signalled.py")
        self.process = subprocess.Popen(
            [sys.executable, script, folder, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @property
    def is_training(self) -> bool:
        return (self.folder / "state" / "manifest.json").exists()

    def end(self) -> tuple[int, str]:
        _, stderr = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, stderr


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Child]]:
    """Child processes, started together, since most of their time is spent on imports."""
    root = tmp_path_factory.mktemp("signals")
    kinds = {"SIGINT": "long", "SIGTERM": "long", "SIGINT twice": "stuck", "SIGTERM twice": "stuck"}
    started = {name: Child(root / f"a run for {name}", kind) for name, kind in kinds.items()}
    waiting = {name for name, kind in kinds.items() if kind == "long"}
    until = time.monotonic() + TIMEOUT
    while waiting and time.monotonic() < until:  # stop each long training after its first checkpoint
        for name in [name for name in waiting if started[name].is_training]:
            started[name].process.send_signal(signal.Signals[name])
            waiting.remove(name)
        time.sleep(0.01)
    yield started
    for child in started.values():
        child.process.kill()
        child.process.communicate()


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_the_first_signal_saves_and_names_the_command_to_resume(
    children: dict[str, Child], name: str, code: int, tmp_path: Path
) -> None:
    child = children[name]
    returned, stderr = child.end()
    assert returned == code, stderr
    cause, remedy = stderr.strip().splitlines()
    assert cause.startswith(f"Stopped by {name} at step ")
    assert remedy == f"Resume with: snellen train --resume '{child.folder}'"  # quoted: its name has spaces
    saved = read_state(child.folder / "state")
    assert saved is not None
    done = saved[1].done["train"]
    assert f"at step {done} of the training loop 'train'" in cause
    assert not list(child.folder.rglob("*.part"))
    LONG.resume(child.folder, save_every=30)
    LONG.train(tmp_path / "whole", save_every=30)
    assert result(child.folder) == result(tmp_path / "whole")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_second_signal_acts_immediately(children: dict[str, Child], name: str) -> None:
    child = children[f"{name} twice"]
    assert child.process.stdout is not None
    assert child.process.stdout.readline() == "stuck\n"
    child.process.send_signal(signal.Signals[name])
    assert child.process.stdout.readline() == "signal received\n"  # it finishes the step first
    child.process.send_signal(signal.Signals[name])
    code, _ = child.end()
    assert code == -signal.Signals[name]  # which a shell shows as 130 or 143
    saved = read_state(child.folder / "state")
    assert saved is not None
    assert saved[1].done["train"] == 2
    assert not list(child.folder.rglob("*.part"))


def test_a_signal_outside_steps_stops_immediately_and_restores_the_handlers(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run = Run(tmp_path)

    def learn() -> None:
        for _ in run.steps(2):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    with pytest.raises(Stopped) as caught, run.handle_signals():
        learn()
    assert caught.value.exit_code == 143
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_signal_in_the_last_step_is_not_lost(tmp_path: Path) -> None:
    run = Run(tmp_path)

    def learn() -> None:
        for step in run.steps(3):
            if step == 2:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped) as caught, run.handle_signals():
        learn()
    assert caught.value.exit_code == 130
    again = Run(tmp_path, resume=True)
    assert list(again.steps(3)) == []
