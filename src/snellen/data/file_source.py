"""FileSource: what sources of files have in common, for checks that do not depend on the kind of file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from snellen.core.spec import Input, Preprocessing
from snellen.data.file_index import File


@runtime_checkable
class FileSource(Protocol):
    """A `Source` whose samples are files, or pages of them.

    noun: the files, in the plural. headers: of each sample, or the `UnusableFile` of one that cannot be used.
    page: page of each sample in its file; None: a file is one sample.
    """

    noun: str
    root: Path
    files: list[File]

    @property
    def headers(self) -> Sequence[Any]: ...
    @property
    def page(self) -> Sequence[int | None] | None: ...
    def __len__(self) -> int: ...
    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor: ...
    def all(self, preprocessing: Preprocessing) -> Tensor | None: ...
    def name(self, id: int) -> str: ...
    def key(self) -> str | None: ...
    def subset(self, ids: np.ndarray) -> FileSource: ...
    def input(self) -> Input: ...
    def count_lost_files(self, ids: set[int]) -> int: ...
