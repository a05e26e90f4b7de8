"""The masks of Pascal VOC's objects: pictures in which the k-th object of the XML file has the value k."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snellen.data.decode import image_decoder
from snellen.data.decode.header import Unusable

VOID = 255  # a border between objects


class ObjectMasks:
    """See `object_table.Masks`.

    Args:
        root: of the files.
        files: the mask of each picture, or None where there is none.
        picture: (A,) which picture each object lies in, never falling.
    """

    def __init__(self, root: Path, files: Sequence[str | None], picture: np.ndarray) -> None:
        self.root = root
        self.files = list(files)
        self.picture = picture
        self.starts = np.searchsorted(picture, np.arange(len(self.files) + 1))  # first object of each picture
        self.sizes = np.array([self._size(file) for file in self.files], np.int64).reshape(-1, 2)[picture]

    def _size(self, file: str | None) -> tuple[int, int]:
        """Height and width; 1, 1 for a file that is no picture, which is then told to be of another size."""
        try:
            header = image_decoder.header(self.root / file) if file is not None else None
        except Unusable:
            header = None
        return (1, 1) if header is None else (header.height, header.width)

    def reach(self) -> np.ndarray:
        return np.full((len(self.picture), 4), np.nan)

    def masks(self, places: range, height: int, width: int) -> Tensor:
        """(n, H, W) bool. Raises ValueError for a file that does not fit the objects."""
        if not places:
            return torch.zeros(0, height, width, dtype=torch.bool)
        k = int(self.picture[places[0]])
        first, count = int(self.starts[k]), int(self.starts[k + 1] - self.starts[k])
        file = self.files[k]
        assert file is not None
        try:
            values = image_decoder.stored(self.root / file)  # (H, W)
        except Unusable as error:
            raise ValueError(f"{file} {error.cause}") from error
        if values.shape != (height, width):
            raise ValueError(f"{file} has the shape {values.shape}, the picture {(height, width)}")
        most = int(values[values != VOID].max(initial=0))
        if most > count:
            raise ValueError(f"{file} has an object {most}, its XML file {count}")
        numbers = np.arange(places.start - first + 1, places.stop - first + 1)
        return torch.from_numpy(values == numbers[:, None, None])
