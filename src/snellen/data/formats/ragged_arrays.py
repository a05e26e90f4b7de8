"""Sequences and clouds of several lengths in arrays: padded, or one after another, with an array of their lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from snellen.core.errors import DataError
from snellen.core.spec import Modality
from snellen.data.flat_sequences import FlatSequences, RaggedSource
from snellen.data.formats import ArrayModality
from snellen.data.formats.array_files import ArrayFile, array_to_tensor
from snellen.data.formats.array_layout import AxisLayout, SplitArrays, plural, split_and_role
from snellen.data.source import ArraySource

_KINDS: Mapping[ArrayModality | None, tuple[Modality, str, str]] = {  # samples and their rows, for the user
    None: ("sequence", "sequences", "step"),
    "sequence": ("sequence", "sequences", "step"),
    "points": ("points", "clouds", "point"),
}
LENGTH_NAMES = ("lengths", "length", "lens", "len", "seq_lengths", "seq_lens", "seq_len")


@dataclass(frozen=True, kw_only=True)
class RaggedSequences:
    """Sequences with their lengths. names: the arrays of lengths. is_flat: the targets are those of all steps, one
    after another.
    """

    file: ArrayFile
    splits: Sequence[SplitArrays]
    lengths: Sequence[np.ndarray]
    names: set[str]
    layout: AxisLayout
    is_flat: bool = False

    def targets(self, values: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Targets at every step of all splits, (N, T) or (N, T, K), and which of them lie within their sequence."""
        longest = max(int(lengths.max()) for lengths in self.lengths)
        parts, masks = [], []
        for y, lengths in zip(values, self.lengths, strict=True):
            inside = np.arange(longest) < lengths[:, None]
            padded = np.zeros((len(lengths), longest, *y.shape[1 if self.is_flat else 2 :]), y.dtype)
            padded[inside] = y if self.is_flat else y[:, :longest][inside]
            parts.append(padded)
            masks.append(np.broadcast_to(inside.reshape(*inside.shape, *(1,) * (padded.ndim - 2)), padded.shape))
        return np.concatenate(parts), np.concatenate(masks)

    def source(self, is_padded: bool = False) -> tuple[ArraySource, str]:
        """The sequences, and their dtype.

        Args:
            is_padded: whether every sequence is read with NaN up to the longest of all, as `targets` are.
        Raises:
            DataError: NaN or infinity within a sequence.
        """
        longest = max(int(lengths.max()) for lengths in self.lengths)
        parts = []
        for part, lengths in zip(self.splits, self.lengths, strict=True):
            values = self.file.read(part.x)
            rows = values[:, :longest][np.arange(longest) < lengths[:, None]] if values.ndim == 3 else values
            bad = np.unique(np.repeat(np.arange(len(lengths)), lengths)[~np.isfinite(rows).all(1)])
            if len(bad):
                shown = ", ".join(map(str, bad[:5].tolist())) + (" ..." if len(bad) > 5 else "")
                raise DataError(
                    f"{self.file.path}: {part.x!r} holds NaN or infinity in {len(bad):,} samples: {shown}",
                    "Fix or remove these samples.",
                )
            exact = array_to_tensor(rows)
            parts.append(exact if exact.is_floating_point() else exact.float())
        flat = torch.cat([part.double() for part in parts] if len({part.dtype for part in parts}) > 1 else parts)
        dtype = str(flat.dtype).removeprefix("torch.")
        of_each = torch.from_numpy(np.concatenate(self.lengths))
        if int(of_each.min()) == longest:
            return ArraySource(flat.view(-1, longest, flat.shape[1]), "sample"), dtype
        sequences = FlatSequences(flat, of_each.cumsum(0) - of_each, of_each)
        return RaggedSource(sequences, "sample", longest if is_padded else None), dtype


def ragged_sequences(
    file: ArrayFile, splits: Sequence[SplitArrays], modality: ArrayModality | None
) -> RaggedSequences | None:
    """Sequences, or clouds of points, with an array of lengths, (N, T, D) or (sum of the lengths, D); None without it.

    Raises:
        DataError: lengths that do not fit the inputs; in an HDF5 file.
    """
    of_splits = [
        next((n for n in file.shapes if split_and_role(n)[1] in LENGTH_NAMES and split_and_role(n)[0] == s.split), None)
        for s in splits
    ]
    names = {name for name in of_splits if name is not None}
    axes = {len(file.shapes[part.x]) for part in splits}
    is_vectors = axes == {2} and all(file.shapes[part.x][0] == file.shapes[part.y[0]][0] for part in splits)
    if modality not in _KINDS or not names or not axes <= {2, 3}:
        return None
    is_flat = is_vectors and all(
        name is not None and file.dtypes[name].kind in "iu" and int(file.read(name).sum()) == file.shapes[part.x][0]
        for part, name in zip(splits, of_splits, strict=True)
    )  # the lengths add up to the rows: their targets are those of steps
    if is_vectors and not is_flat:
        return None
    where = f"{file.path}: {splits[0].x!r}"
    if file.lazy:
        raise DataError(f"{where} has samples of several lengths in HDF5", "Save them as NPZ.")
    lengths = []
    for part, name in zip(splits, of_splits, strict=True):
        if name is None:
            raise DataError(f"{file.path}: {part.x!r} has no lengths, other splits have", "Give them to each split.")
        of_part = file.read(name)
        shape, count = file.shapes[part.x], of_part.size if is_flat else file.shapes[part.y[0]][0]
        total = int(of_part.sum()) if of_part.dtype.kind in "iu" else -1
        fits = of_part.shape == (count,) and of_part.dtype.kind in "iu" and count and int(of_part.min()) >= 1
        fits = fits and (total == shape[0] if len(shape) == 2 else shape[0] == count and int(of_part.max()) <= shape[1])
        if not fits or not file.is_numeric(part.x):
            raise DataError(
                f"{file.path}: the lengths {name!r} do not fit {part.x!r} of shape {shape} and {count} targets",
                "Give one length of at least 1 for each target; x is (N, T, D), or all rows as (sum of lengths, D).",
            )
        lengths.append(of_part.astype(np.int64))
    features = {file.shapes[part.x][-1] for part in splits}
    if len(features) > 1:
        raise DataError(f"{where} and the other splits differ in their features", "Give all splits equal features.")
    shortest, longest = min(int(one.min()) for one in lengths), max(int(one.max()) for one in lengths)
    kind, samples, rows = _KINDS[modality]
    steps = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
    layout = AxisLayout(
        modality=kind,
        shape=(None if shortest < longest else longest, features.pop()),
        order=None,
        description=f"{samples} of {plural(steps, rows)} (by {', '.join(map(repr, sorted(names)))}) and "
        f"{plural(str(file.shapes[splits[0].x][-1]), 'feature')}",
    )
    return RaggedSequences(file=file, splits=splits, lengths=lengths, names=names, layout=layout, is_flat=is_flat)
