"""Pascal VOC object masks: PNG files in which the k-th object of the XML file has the value k."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snellen.data.decode import image_decoder
from snellen.data.decode.header import UnusableFile

VOID = 255  # borders between objects


class ObjectMasks:
    """Masks of all objects, read from SegmentationObject; see `object_table.MaskSource`.

    Args:
        root: the root folder of the files.
        files: the mask file of each image, or None.
        image_index: (A,) the image of each object, non-decreasing.
    """

    def __init__(self, root: Path, files: Sequence[str | None], image_index: np.ndarray) -> None:
        self.root = root
        self.files = list(files)
        self.image_index = image_index
        self.starts = np.searchsorted(image_index, np.arange(len(self.files) + 1))  # first object of each image
        self.sizes = np.array([self._size(file) for file in self.files], np.int64).reshape(-1, 2)[image_index]

    def _size(self, file: str | None) -> tuple[int, int]:
        """Height and width; 1, 1 for a file that is not an image, which is then reported as of another size."""
        try:
            header = image_decoder.header(self.root / file) if file is not None else None
        except UnusableFile:
            header = None
        return (1, 1) if header is None else (header.height, header.width)

    def bounds(self) -> np.ndarray:
        return np.full((len(self.image_index), 4), np.nan)

    def masks(self, indices: range, height: int, width: int) -> Tensor:
        """(n, H, W) bool masks of some objects of one image. Raises ValueError if the file does not fit them."""
        if not indices:
            return torch.zeros(0, height, width, dtype=torch.bool)
        k = int(self.image_index[indices[0]])
        first, count = int(self.starts[k]), int(self.starts[k + 1] - self.starts[k])
        file = self.files[k]
        assert file is not None
        try:
            values = image_decoder.read_raw_values(self.root / file)  # (H, W)
        except UnusableFile as error:
            raise ValueError(f"{file} {error.cause}") from error
        if values.shape != (height, width):
            raise ValueError(f"{file} has the shape {values.shape}, the image {(height, width)}")
        largest_id = int(values[values != VOID].max(initial=0))
        if largest_id > count:
            raise ValueError(f"{file} has an object {largest_id}, its XML file only {count}")
        numbers = np.arange(indices.start - first + 1, indices.stop - first + 1)
        return torch.from_numpy(values == numbers[:, None, None])
