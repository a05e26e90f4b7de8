"""Answers about every pixel as files: what `snellen predict --maps` writes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from snellen.core import files
from snellen.core.errors import UsageError
from snellen.core.spec import PixelClasses, PixelNumbers, Spec
from snellen.core.task import Answer
from snellen.report.overlay import colour
from snellen.report.prediction_marks import classes, numbers


class MapFiles:
    """A folder of maps, each under the name of its picture's file without its suffix.

    Classes become a PNG whose values are the places of the classes, with their colours as its palette; numbers an
    NPY of (H, W) or (T, H, W) float32. Both can be learned from as they lie there.

    Raises:
        UsageError: for a model that says nothing of every pixel.
    """

    def __init__(self, folder: Path, spec: Spec) -> None:
        if not isinstance(spec.target, PixelClasses | PixelNumbers):
            raise UsageError("--maps needs a model that answers every pixel", "Leave --maps out.")
        self.folder = folder
        self.spec = spec
        self._taken: set[str] = set()

    def write(self, path: Path, answer: Answer) -> Path:
        """Writes one map and returns where."""
        if path.resolve().parent == self.folder.resolve():
            raise UsageError(f"{path} lies in the folder of --maps", "Give a folder of its own.")
        suffix = ".png" if isinstance(self.spec.target, PixelClasses) else ".npy"
        number, name = 1, f"{path.stem}{suffix}"
        while name in self._taken:
            number += 1
            name = f"{path.stem}-{number}{suffix}"
        self._taken.add(name)
        files.write_bytes(self.folder / name, self._content(answer))
        return self.folder / name

    def _content(self, answer: Answer) -> bytes:
        from PIL import Image

        written = io.BytesIO()
        found = classes(answer, self.spec)
        if found is None:
            values = numbers(answer, self.spec)
            assert values is not None
            np.save(written, values.numpy()[0] if len(values) == 1 else values.numpy())
            return written.getvalue()
        assert isinstance(self.spec.target, PixelClasses)
        count = len(self.spec.target.names)
        if count > 256:
            Image.fromarray(found.numpy().astype(np.uint16)).save(written, format="PNG")
            return written.getvalue()
        drawn = Image.frombytes("P", (found.shape[1], found.shape[0]), found.numpy().astype(np.uint8).tobytes())
        drawn.putpalette([part for k in range(256) for part in (colour(k) if k < count else (0, 0, 0))])
        drawn.save(written, format="PNG")
        return written.getvalue()
