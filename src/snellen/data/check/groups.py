"""Groups of samples: their sizes, and suggestions of groups where images are numbered in series or taken in bursts."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Classes
from snellen.core.views import Finding
from snellen.data.check.consecutive_rows import Runs, consecutive_runs
from snellen.data.check.identities import name_findings
from snellen.data.check.name_series import MIN_GROUPS, name_series
from snellen.data.dataset import SPLITS, RawDataset
from snellen.data.decode.capture import capture_times
from snellen.data.decode.image_files import ImageFiles
from snellen.data.file_source import FileSource
from snellen.data.formats import CONSECUTIVE, OpenOptions
from snellen.data.formats.groups import EXIF, burst_ids
from snellen.data.source import ArraySource
from snellen.data.splits import MAX_EXCESS, SPLIT_FRACTIONS

MAX_VALUES = 1 << 26  # of a table in which runs are searched
_MIN_IN_BURSTS = 0.2  # fraction of images in bursts of several images


def group_findings(raw: RawDataset, options: OpenOptions, merging: str = "", is_grouped: bool = False) -> list[Finding]:
    """The number and sizes of the groups of `--group`, or a suggestion of groups.

    Args:
        merging: names of the duplicates that lay in several groups of `--group`, which are one group in `raw`.
        is_grouped: whether the format has made groups.
    Raises:
        UsageError: `--group` for data without file names or columns.
        DataError: groups too few for the splits, as a group stays in one split; each class in one group.
    """
    if options.group is not None:
        return _given_groups(raw, options.group, options.folds, merging)
    has_splits = raw.given_splits is not None and bool((raw.given_splits != 0).any())
    runs = None if raw.same_samples or has_splits or raw.target is None else _runs(raw)
    if runs is not None:
        return [
            _suggestion(
                "Consecutive rows are nearly the same, as frames of one recording are: typically "
                f"{100 * runs.ratio:.0f} % as far apart as rows of one class at random. They make "
                f"{_counted(runs.ids, 'runs')}, which are in several splits: test results are too optimistic",
                f"Keep each run in one split: --group {CONSECUTIVE}; or name a column of recordings with --group.",
                runs.ids,
            )
        ]
    labels = raw.truth.numpy() if isinstance(raw.target, Classes) and raw.truth is not None else None
    if raw.identity and not raw.same_samples and not is_grouped:
        return name_findings(_paths(raw), labels, raw.given_splits if has_splits else None, *raw.identity)
    if raw.same_samples or is_grouped or has_splits or not isinstance(raw.source, FileSource):
        return []
    paths = _paths(raw)
    series = name_series(paths, labels)
    if series is not None:
        pattern, ids = series
        names = "folders" if "/" in pattern else "file names"
        return [
            _suggestion(
                f"The {names} number {_counted(ids, 'series')}, for example {_example(paths, ids, '/' in pattern)}: "
                f"{raw.source.noun} of one series may be alike and be in several splits",
                f"If they are, keep each series in one split: --group {shlex.quote(pattern)}",
                ids,
            )
        ]
    if not isinstance(raw.source, ImageFiles):
        return []
    ids = burst_ids(capture_times(raw.source))
    in_bursts = np.bincount(ids)[ids] > 1
    if in_bursts.mean() < _MIN_IN_BURSTS or len(np.unique(ids)) < MIN_GROUPS:
        return []
    return [
        _suggestion(
            f"{in_bursts.sum():,} of {len(ids):,} images were taken within seconds of another by the same camera "
            f"({_counted(ids, 'bursts')} by their EXIF times): images of one burst may be alike and be in several "
            "splits",
            f"Keep each burst in one split: --group {EXIF}",
            ids,
        )
    ]


def _paths(raw: RawDataset) -> list[str]:
    """The path of the file of each sample of a source of files, else its name."""
    if isinstance(raw.source, FileSource):
        return [file.path for file in raw.source.files]
    return [raw.source.name(id) for id in range(len(raw.source))]


def _runs(raw: RawDataset) -> Runs | None:
    """Runs of near-identical consecutive vectors in memory; None where there are none."""
    (one, *others) = raw.inputs.values()
    if others or one.axes != ("feature",) or one.grid or not isinstance(raw.source, ArraySource):
        return None
    values = raw.source.values
    if values.ndim != 2 or values.numel() > MAX_VALUES:
        return None
    classes = raw.truth.numpy() if isinstance(raw.target, Classes) and raw.truth is not None else None
    return consecutive_runs(values.double().numpy(), classes)


def with_consecutive_groups(raw: RawDataset) -> RawDataset:
    """Raw data with runs of near-identical consecutive rows as groups.

    Raises:
        UsageError: its samples are no vectors in memory, or consecutive rows are not alike.
    """
    runs = _runs(raw)
    if runs is None:
        raise UsageError(
            f"--group {CONSECUTIVE} finds no runs: consecutive samples are not nearly the same vectors ("
            f"{raw.recognised_as})",
            "Omit it, or name a column or a pattern.",
        )
    return dataclasses.replace(raw, groups=runs.ids)


def _given_groups(raw: RawDataset, group: str, folds: int | None, merging: str) -> list[Finding]:
    if not group:
        raise UsageError("--group is empty", "Name a column, or give a pattern of file names such as '{slide}_*'.")
    if raw.groups is None:
        raise UsageError(f"--group does not apply: this is {raw.recognised_as}", "Omit --group.")
    ids = np.unique(raw.groups, return_inverse=True)[1]
    count = int(ids.max()) + 1
    if raw.given_splits is None:
        needed = max(folds or 0, len(SPLITS))
    else:  # the splits that are not given are taken from the training split
        ids_of_train = np.unique(raw.groups[raw.given_splits == 0])
        count = len(ids_of_train)
        needed = 1 + sum(not (raw.given_splits == index).any() for index in (1, 2))
    merged = f", after duplicates in several groups made these one: {merging}" if merging else ""
    if count < needed:
        part = "" if raw.given_splits is None else f", {count} of them in the training split"
        raise DataError(
            f"--group {group!r} makes {_counted(ids, 'groups')}{part}{merged}: a group stays in one split, so at least "
            f"{needed} are needed",
            "Give a column or a pattern that makes more groups."
            + (" Or remove duplicates that are in several groups." if merging else ""),
        )
    message = f"--group {group!r} makes {_counted(ids, 'groups')}{merged}"
    findings = [Finding(kind="groups", message=message, severity="note", count=count)]
    largest = float(np.bincount(ids).max()) / len(ids)
    if raw.given_splits is None and largest > SPLIT_FRACTIONS[0]:
        findings.append(
            _warning(
                f"One group of --group {group!r} holds {100 * largest:.0f} % of the samples, and stays in one split",
                "Give a column or a pattern that makes smaller groups, or a test split.",
            )
        )
    if len(np.unique(ids)) == len(ids):
        findings.append(
            _warning(
                f"Every sample is a group of its own: --group {group!r} has no effect",
                "Omit --group, or give a column or a pattern that several samples share.",
            )
        )
    elif raw.given_splits is None:
        findings += _class_findings(raw, ids, group, folds)
    return findings


def split_size_findings(raw: RawDataset, splits: Mapping[str, Tensor], options: OpenOptions) -> list[Finding]:
    """The note that a test split is made of training samples of the data; the warning that groups make a generated
    split much larger than its fraction, with the sizes of both.
    """
    given = raw.given_splits
    if given is not None and not raw.same_samples and options.folds is None and not (given == 2).any():
        made = [name for k, name in enumerate(SPLITS) if not (given == k).any()]
        made_sizes = " and ".join(f"{len(splits[name]):,}" for name in made)
        count = int((given == 0).sum())
        return [
            Finding(
                kind="made-split",
                severity="note",
                message=f"The data has no {' and no '.join(made)} split: {made_sizes} of its {count:,} training "
                "samples are used for it",
            )
        ]
    if raw.groups is None or raw.given_splits is not None or raw.same_samples or options.folds is not None:
        return []
    count = len(raw.groups)
    large = [
        (name, fraction)
        for name, fraction in zip(SPLITS[1:], SPLIT_FRACTIONS[1:], strict=True)
        if len(splits[name]) > MAX_EXCESS * fraction * count
        and np.unique(raw.groups[splits[name].numpy()], return_counts=True)[1].max() > fraction * count
    ]
    if not large:
        return []
    shown = " and ".join(
        f"{len(splits[name]):,} of {count:,} samples ({len(splits[name]) / count:.0%}, not {fraction:.0%}) are in the "
        f"{name} split"
        for name, fraction in large
    ).replace("%", " %")
    sizes = sorted(np.unique(raw.groups, return_counts=True)[1].tolist(), reverse=True)
    more = f" and {len(sizes) - 5} more" if len(sizes) > 5 else ""
    return [
        _warning(
            f"{shown}, as a group stays in one split: the groups have {', '.join(map(str, sizes[:5]))}{more} samples",
            "Give a column or a pattern that makes smaller groups, or splits of your own.",
        )
    ]


def _class_findings(raw: RawDataset, ids: np.ndarray, group: str, folds: int | None) -> list[Finding]:
    """The warning that classes lie in fewer groups than there are splits. Raises DataError if all lie in one each."""
    if not isinstance(raw.target, Classes) or raw.truth is None:
        return []
    pairs = np.unique(np.stack([raw.truth.numpy(), ids], 1), axis=0)
    groups_of_class = np.bincount(pairs[:, 0], minlength=len(raw.target.names))
    if groups_of_class.max() == 1:
        raise DataError(
            f"--group {group!r}: each class lies in one group, and a group stays in one split: no class can be in "
            "training and test",
            "Give a column or a pattern whose groups hold several classes, or several groups for each class.",
        )
    needed = folds or len(SPLITS)
    few = [name for name, count in zip(raw.target.names, groups_of_class, strict=True) if 0 < count < needed]
    if not few:
        return []
    classes = f"{len(few)} classes lie" if len(few) > 1 else "1 class lies"
    more = f" and {len(few) - 3} more" if len(few) > 3 else ""
    what = "folds" if folds else "splits"
    return [
        _warning(
            f"{classes} in fewer groups of --group {group!r} than there are {what}: {', '.join(few[:3])}{more}. "
            f"No sample of them is in some {what}",
            "Add groups that hold these classes, or give a column or a pattern that makes more groups.",
        )
    ]


def _warning(message: str, remedy: str) -> Finding:
    return Finding(kind="groups", message=message, remedy=remedy)


def _counted(ids: np.ndarray, what: str) -> str:
    """The number and sizes of groups: "30 series of 12 to 28 images (median 20)"."""
    sizes = np.unique(ids, return_counts=True)[1]
    low, high = int(sizes.min()), int(sizes.max())
    spread = f"{low}" if low == high else f"{low} to {high}"
    median = "" if low == high else f" (median {np.median(sizes):g})"
    what = what.removesuffix("s") if len(sizes) == 1 and what != "series" else what
    return f"{len(sizes):,} {what} of {spread} samples{median}"


def _example(paths: Sequence[str], ids: np.ndarray, of_folders: bool) -> str:
    """The first and the last name of the largest group; with its folder, and in one folder, if groups are folders."""
    largest = np.bincount(ids).argmax()
    members = sorted(paths[k] for k in np.nonzero(ids == largest)[0].tolist())
    if of_folders:
        members = [path for path in members if path.rpartition("/")[0] == members[0].rpartition("/")[0]]
        return f"{members[0]} to {members[-1]}"
    names = sorted(path.rpartition("/")[2] for path in members)
    return f"{names[0]} to {names[-1]}"


def _suggestion(message: str, remedy: str, ids: np.ndarray) -> Finding:
    return Finding(kind="possible-groups", message=message, remedy=remedy, count=int(ids.max()) + 1)
