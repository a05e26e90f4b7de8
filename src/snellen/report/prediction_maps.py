"""Prediction maps as files: class maps (PNG, or NPY) and number maps (NPY), as `snellen predict --maps` writes."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from snellen.core import file_io
from snellen.core.errors import UsageError
from snellen.core.spec import Spec
from snellen.core.task import PredictionDict, Task
from snellen.report.overlay import class_colour

_INDEX = re.compile(r"\[(\d+)\]$")


class PredictionMapWriter:
    """Write prediction maps into a folder, each named as its image file without the suffix.

    Class maps are written as PNG with class indices as values and the class colours as palette; number maps as NPY
    of (H, W) or (T, H, W) float32. Both formats can be read as training targets. The classes of sequences and volumes
    are written as NPY of (*places) int16, -1 for none; a number at the end of the name is that of the sample.

    Raises:
        UsageError: for a model that does not predict a map.
    """

    def __init__(self, folder: Path, task: Task[Any, Any], spec: Spec) -> None:
        self.display = task.display
        if self.display.class_map is None and self.display.number_maps is None:
            raise UsageError("--maps needs a model that predicts a value at every place", "Omit --maps.")
        self.folder = folder
        self.spec = spec
        self.is_png = self.display.class_map is not None and spec.input.has_pixels
        self._taken: set[str] = set()

    def write(self, path: Path, prediction: PredictionDict) -> Path:
        """Write one map and return its path."""
        if os.path.dirname(os.path.realpath(path)) == os.path.realpath(self.folder):
            raise UsageError(f"{path} lies in the output folder of --maps", "Give --maps another folder.")
        suffix, stem = ".png" if self.is_png else ".npy", path.stem
        index = _INDEX.search(path.name)
        if index is not None and not self.spec.input.has_pixels:  # of a sample in an array file
            stem = f"{stem.removesuffix(index[0])}-{index[1]}"
        number, name = 1, f"{stem}{suffix}"
        while name in self._taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        self._taken.add(name)
        file_io.write_bytes(self.folder / name, self._content(prediction))
        return self.folder / name

    def _content(self, prediction: PredictionDict) -> bytes:
        from PIL import Image

        buffer = io.BytesIO()
        if self.display.class_map is None:
            assert self.display.number_maps is not None
            values = self.display.number_maps(prediction, self.spec)
            np.save(buffer, values.numpy()[0] if len(values) == 1 else values.numpy())
            return buffer.getvalue()
        indices = self.display.class_map(prediction, self.spec)
        if not self.is_png:
            np.save(buffer, indices.numpy().astype(np.int16))
            return buffer.getvalue()
        count = len(self.spec.target.names) if self.spec.target else 0
        if count > 256:
            Image.fromarray(indices.numpy().astype(np.uint16)).save(buffer, format="PNG")
            return buffer.getvalue()
        image = Image.frombytes("P", (indices.shape[1], indices.shape[0]), indices.numpy().astype(np.uint8).tobytes())
        image.putpalette([part for k in range(256) for part in (class_colour(k) if k < count else (0, 0, 0))])
        image.save(buffer, format="PNG")
        return buffer.getvalue()
