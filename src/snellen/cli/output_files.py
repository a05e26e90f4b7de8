"""Files that a command writes: none of them may be a file that it reads, or be written twice."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from snellen.core.errors import UsageError


def check_outputs(outputs: Sequence[Path], inputs: Mapping[str, str]) -> None:
    """Raise UsageError for an output that is also an input, by any of its names, or that is given twice.

    Args:
        inputs: what a file is ("the input") -> its path; text that names no file is ignored.
    """
    for k, path in enumerate(outputs):
        for what, name in inputs.items():
            if _is_same_file(path, Path(name).expanduser()):
                raise UsageError(f"--out {path} is {what}", "Give another file.")
        if any(_place(path) == _place(other) for other in outputs[:k]):
            raise UsageError(f"--out {path} is given twice", "Give each file once.")


def _is_same_file(first: Path, second: Path) -> bool:
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):  # one of them does not exist, or is no path at all
        return False


def _place(path: Path) -> tuple[str, str]:
    """The real folder and the name: a link is replaced, not followed."""
    return os.path.realpath(path.parent), path.name
