"""Findings about usable data: duplicates, leakage, groups, conversions, sizes, class imbalance, few samples."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import counted
from snellen.core.spec import Boxes, Classes, Labels, PixelClasses, Preprocessing, Scenic
from snellen.core.views import Finding
from snellen.data.check.duplicates import Duplicates, Pair, connected_groups
from snellen.data.check.windows import Windows
from snellen.data.dataset import SPLITS, RawDataset
from snellen.data.decode.header import Header
from snellen.data.decode.image_files import ImageFiles
from snellen.data.source import BadSamples, Skipped, Source
from snellen.data.splits import make_splits

FEW_NAMES = 3
MAX_NAMES = 5  # names in a message; all are in `Finding.where`
MIN_CLASS_RATIO = 0.2  # smaller classes, relative to the largest, are reported
MIN_SAMPLES, MIN_TEST_SAMPLES_PER_CLASS = 1000, 20  # fewer are reported
MAX_REPEATED = 0.1  # fraction of samples that repeat another; more are a warning
DEFERRED = "Not checked yet: "
_FOLDS = 5
_RANGE_SAMPLE_SIZE = 64  # images of more than 8 bits that are read for their range


def duplicate_findings(raw: RawDataset, copies: Duplicates) -> list[Finding]:
    """Exact and near copies, near copies with two labels, and leakage between given splits."""
    findings = []
    in_windows = set() if copies.windows is None else set(copies.windows.pairs)
    remedy = "They stay in one split; remove them if they should not count twice."
    if raw.given_splits is not None:  # and may be in two of them, which is leakage, a finding of its own
        remedy = "Given splits are kept; remove them if they should not count twice."
    for kind, word, pairs in (
        ("copies", "Exact duplicates", copies.exact),
        ("near-copies", copies.near_noun, [pair for pair in copies.near if pair not in in_windows]),
    ):
        if pairs:
            findings.append(
                Finding(
                    kind=kind,
                    message=f"{word} ({len(pairs)}): {describe_pairs(raw, pairs)}",
                    remedy=remedy,
                    severity="note" if kind == "copies" and len(pairs) <= MAX_REPEATED * len(raw.source) else "warning",
                    where=tuple(f"{raw.source.name(a)} = {raw.source.name(b)}" for a, b in pairs),
                    count=len(pairs),
                )
            )
    if copies.windows is not None and copies.windows.stride:
        findings.append(_overlapping_windows(raw, copies, copies.windows, remedy))
    labels = raw.truth if isinstance(raw.target, Classes) else None
    if labels is not None:
        conflicting = [(a, b) for a, b in copies.near if labels[a] != labels[b]]
        if conflicting:
            findings.append(
                Finding(
                    kind="two-labels",
                    message=f"{'Overlapping windows' if in_windows else copies.near_noun} with "
                    f"conflicting labels ({len(conflicting)}): "
                    f"{describe_pairs(raw, conflicting)}",
                    remedy="Check these samples: one of the labels may be wrong.",
                    where=tuple(f"{raw.source.name(a)} = {raw.source.name(b)}" for a, b in conflicting),
                    count=len(conflicting),
                )
            )
    if raw.given_splits is not None:
        others = [] if copies.windows is None else copies.windows.others
        findings += leakage_findings(raw.source, raw.given_splits, copies._replace(near=[*copies.near, *others]))
    if not copies.complete:
        findings.append(
            Finding(
                kind="near-copies",
                severity="note",
                message=f"{DEFERRED}{copies.unchecked}",
                remedy="Run snellen data DATA --full to check all of them.",
            )
        )
    return findings


def _overlapping_windows(raw: RawDataset, copies: Duplicates, windows: Windows, remedy: str) -> Finding:
    """Windows that were cut from recordings with an overlap: their number is that of the recordings."""
    count = len(raw.source)
    recordings = connected_groups(count, [*copies.exact, *copies.near], raw.groups)
    starts = np.unique(recordings, return_index=True)[1]
    apart = sum(recordings[a] != recordings[b] for a, b in windows.others)
    more = (
        f". {apart:,} {'pair' if apart == 1 else 'pairs'} of neighbouring recordings also overlap, at another stride, "
        "as after lost steps: they may be in two splits, where test results are too optimistic"
        if apart
        else ""
    )
    steps = "1 step" if windows.stride == 1 else f"{windows.stride} steps"
    return Finding(
        kind="overlapping-windows",
        message=f"{len(windows.pairs):,} of {count:,} sequences are the one before, shifted by {steps}: overlapping "
        f"windows of {len(starts):,} recordings{more}",
        remedy=remedy,
        severity="warning" if apart else "note",
        where=tuple(f"from {raw.source.name(int(id))}" for id in np.sort(starts)),
        count=len(starts),
    )


def leakage_findings(source: Source, given: np.ndarray, copies: Duplicates) -> list[Finding]:
    """Leakage: samples of a later split whose copy, direct or via other copies, is in an earlier split.

    Args:
        given: (N,) index into SPLITS; len(SPLITS) for a sample without a split.
    """
    pairs = [*copies.exact, *copies.near]
    groups = connected_groups(len(given), pairs)
    earliest = np.full(len(given), len(SPLITS))
    np.minimum.at(earliest, groups, given)
    leaked_ids = np.nonzero((given > earliest[groups]) & (given < len(SPLITS)))[0]
    if not len(leaked_ids):
        return []
    exact = connected_groups(len(given), copies.exact)
    earliest_exact = np.full(len(given), len(SPLITS))
    np.minimum.at(earliest_exact, exact, given)
    counts = {SPLITS[split]: int((given[leaked_ids] == split).sum()) for split in (1, 2)}
    num_exact = int((given[leaked_ids] > earliest_exact[exact[leaked_ids]]).sum())
    names = "; ".join(source.name(int(id)) for id in leaked_ids[:MAX_NAMES])
    part = " and ".join(f"{n} of {split}" for split, n in counts.items() if n)
    return [
        Finding(
            kind="leakage",
            message=f"{part} are duplicates of samples in an earlier split ({num_exact} exact): "
            f"{names}{and_more(len(leaked_ids))}",
            remedy="Remove them from one split: test results are too optimistic.",
            where=tuple(source.name(int(id)) for id in leaked_ids),
            count=len(leaked_ids),
            extra={"exact": num_exact, "near": len(leaked_ids) - num_exact, **counts},
        )
    ]


def split_group_findings(raw: RawDataset) -> list[Finding]:
    """Groups that are divided between given splits."""
    if raw.groups is None or raw.given_splits is None:
        return []
    group_ids, start, inverse = np.unique(raw.groups, return_index=True, return_inverse=True)
    low, high = np.full(len(group_ids), len(SPLITS)), np.full(len(group_ids), -1)
    np.minimum.at(low, inverse, raw.given_splits)
    np.maximum.at(high, inverse, raw.given_splits)
    conflicting = np.nonzero(high > low)[0]
    if not len(conflicting):
        return []
    first = [raw.source.name(int(start[group])) for group in conflicting[:MAX_NAMES]]
    return [
        Finding(
            kind="group-torn",
            message=f"{len(conflicting)} groups are in several given splits: {'; '.join(first)}",
            remedy="Make the splits by group, or remove the splits and use --group.",
            where=tuple(first),
            count=len(conflicting),
        )
    ]


_CONVERSIONS = {
    "alpha": "have an alpha channel: composited on white",
    "palette": "have a palette: converted to RGB",
    "cmyk": "are CMYK: converted to RGB",
    "colour space": "have another colour space: converted to RGB",
    "animation": "are animated: only the first frame is used",
    "several images": "are HEIC with several images: only the primary image is used",
    "rotated": "are rotated by their EXIF orientation",
}


def _agree(count: int, text: str) -> str:
    """A text that begins with a plural verb, in the number of its subject."""
    verb, _, rest = text.partition(" ")
    return f"{_SINGULAR[verb]} {rest}" if count == 1 else text


_SINGULAR = {"have": "has", "are": "is"}


def conversion_findings(source: object) -> list[Finding]:
    """Conversions of the images on reading, and the value range of deep images."""
    if not isinstance(source, ImageFiles):
        return []
    notes, depths = Counter[str](), Counter[str]()
    for header, count in source.header_counts.items():
        depths[header.dtype] += count
        notes.update(dict.fromkeys(header.notes, count))
    findings = [
        Finding(
            kind="converted",
            message=f"{counted(n, 'image')} {_agree(n, _CONVERSIONS[note])}",
            severity="note",
            count=n,
            where=tuple(
                source.name(i) for i, h in enumerate(source.headers) if isinstance(h, Header) and note in h.notes
            ),
        )
        for note, n in notes.items()
    ]
    if source.channels == 3:
        n = sum(count for header, count in source.header_counts.items() if header.channels == 1)
        findings.append(
            Finding(
                kind="converted",
                severity="note",
                count=n,
                message=f"{n} of {counted(depths.total(), 'image')} {_agree(n, 'are grey: converted to RGB')}",
            )
        )
    if len(depths) > 1:
        mix = ", ".join(f"{n} {depth}" for depth, n in depths.most_common())
        findings.append(
            Finding(
                kind="depths",
                message=f"The images have several bit depths ({mix}); values are unchanged",
                remedy="Save all at one bit depth if their grey levels should be comparable.",
            )
        )
    return [*findings, *_value_range_findings(source)] if source.dtype != "uint8" else findings


def size_findings(raw: RawDataset) -> list[Finding]:
    """The sizes of the images, if there are several."""
    if not isinstance(raw.source, ImageFiles) or (typical_size := raw.source.input().typical_size) is None:
        return []
    counts, (height, width) = raw.source.sizes(), typical_size.size
    others: list[str] = []
    if typical_size.is_majority:
        sizes = ", ".join(f"{n:,} of {w}x{h}" for (h, w), n in counts.most_common(MAX_NAMES))
        message = f"The images have {len(counts):,} sizes: {sizes}{and_more(len(counts))}"
        others = [
            raw.source.name(i)
            for i, h in enumerate(raw.source.headers)
            if isinstance(h, Header) and (h.height, h.width) != typical_size.size
        ]
    else:
        smallest, largest = (pick(counts, key=lambda size: (size[0] * size[1], size)) for pick in (min, max))
        message = (
            f"The images have {len(counts):,} sizes, {smallest[1]}x{smallest[0]} to {largest[1]}x{largest[0]}; "
            f"median {width}x{height}"
        )
    remedy = f"Models with a fixed input size read all at {width}x{height} or less; set another with --image-size."
    return [
        Finding(
            kind="sizes",
            severity="note",
            message=message,
            where=tuple(others),
            count=len(others),
            remedy="" if isinstance(raw.target, Scenic) else remedy,
        )
    ]


def _value_range_findings(source: ImageFiles) -> list[Finding]:
    """Robust value range of images of more than 8 bits, from an even sample of them."""
    ids = np.unique(np.linspace(0, len(source) - 1, _RANGE_SAMPLE_SIZE).astype(np.int64))
    values = []
    for id in ids:
        try:
            values.append(source.read(ids[ids == id], Preprocessing()).flatten()[::7].double())
        except BadSamples:
            continue
    if not values:
        return []
    sample = torch.cat(values)[: 1 << 22]
    low, high = (float(v) for v in np.quantile(sample.numpy(), [0.001, 0.999]))
    return [
        Finding(
            kind="range",
            message=f"{source.dtype} images: 99.8 % of the values are in {low:g} ... {high:g} "
            f"({len(ids)} of {len(source)} images read)",
            remedy="The bit depth is unchanged; set another range with --range.",
            severity="note",
            extra={"low": low, "high": high},
        )
    ]


def imbalance_findings(raw: RawDataset) -> list[Finding]:
    """Class imbalance: the smallest class is much smaller than the largest."""
    if not isinstance(raw.target, Classes) or raw.truth is None:
        return []
    counts = torch.bincount(raw.truth, minlength=len(raw.target.names))
    smallest, largest = int(counts.argmin()), int(counts.argmax())
    if counts[smallest] >= MIN_CLASS_RATIO * counts[largest]:
        return []
    names = raw.target.names
    return [
        Finding(
            kind="imbalance",
            message=f"{names[smallest]} has {counts[smallest]} samples, {names[largest]} {counts[largest]}",
            remedy="Evaluate by balanced accuracy; try --class-weights balanced, or add samples of this class.",
            where=(names[smallest],),
            extra={"least": int(counts[smallest]), "most": int(counts[largest])},
        )
    ]


def class_name_findings(raw: RawDataset) -> list[Finding]:
    """Pairs of class names that differ in case, spaces, hyphens or the form of their characters only."""
    if not isinstance(raw.target, Classes | Labels | Boxes | PixelClasses):
        return []
    by_key: dict[str, list[str]] = {}
    for name in raw.target.names:
        key = re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", unicodedata.normalize("NFKC", name).casefold().strip())
        by_key.setdefault(key, []).append(name)
    alike = [names for names in by_key.values() if len(names) > 1]
    if not alike:
        return []
    shown = "; ".join(" and ".join(map(repr, names)) for names in alike[:MAX_NAMES])
    return [
        Finding(
            kind="alike-names",
            message=f"Class names differ in case, spaces or hyphens only: {shown}{and_more(len(alike))}",
            remedy="If they are one class, give them one name: each is learned as a class of its own.",
            where=tuple(name for names in alike for name in names),
            count=len(alike),
        )
    ]


def few_samples_findings(raw: RawDataset, is_predicted: bool = True) -> list[Finding]:
    """Too few samples for a precise test: width of the confidence interval, and advice to use folds.

    Args:
        is_predicted: whether the target is, so that its accuracy is measured.
    """
    if raw.same_samples or (raw.truth is None and raw.annotations is None):
        return []
    has_given_splits = raw.given_splits is not None and bool((raw.given_splits != 0).any())
    too_few_for_folds = len(raw.source) < 2 * _FOLDS
    remedy = f"Use --folds {_FOLDS} to test on every sample once."
    if has_given_splits or too_few_for_folds:  # folds would ignore given splits
        remedy = "Add samples for a more precise test."
    if not is_predicted or not isinstance(raw.target, Classes) or raw.truth is None:
        message = f"{len(raw.source)} samples, {len(make_splits(raw)['test'])} of them in the test split"
        too_few = len(raw.source) < MIN_SAMPLES
        return [Finding(kind="few-samples", message=message, remedy=remedy, severity="note")] if too_few else []
    counts = torch.bincount(raw.truth, minlength=len(raw.target.names))
    if (
        raw.given_splits is None
        and len(raw.source) >= MIN_SAMPLES
        and int(counts.min()) >= 10 * MIN_TEST_SAMPLES_PER_CLASS
    ):
        return []
    test = make_splits(raw)["test"]
    class_counts = torch.bincount(raw.truth[test], minlength=len(raw.target.names))
    rarest = int(class_counts.argmin())
    if len(raw.source) >= MIN_SAMPLES and int(class_counts[rarest]) >= MIN_TEST_SAMPLES_PER_CLASS:
        return []
    if not len(test):
        message = f"{len(raw.source)} samples are too few for a test split: it is empty"
        return [Finding(kind="few-samples", message=message, remedy="Add samples or give a test split.")]
    half = _half_width(test)
    return [
        Finding(
            kind="few-samples",
            message=f"{len(raw.source)} samples, {len(test)} of them in the test split, "
            f"{class_counts[rarest]} of class {raw.target.names[rarest]}: "
            f"the 95 % confidence interval of an accuracy of 90 % is ± {half:.1f} percentage points",
            remedy=remedy,
            severity="note",
            extra={"test": len(test), "half_width": half},
        )
    ]


def _half_width(test: Tensor) -> float:
    """Half-width of the 95 % confidence interval of an accuracy of 90 %, in percentage points. Source: Wilson 1927."""
    n, p, z = max(len(test), 1), 0.9, 1.96
    return 100 * z / (1 + z * z / n) * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))


def unused_files_findings(skipped: Sequence[Skipped]) -> list[Finding]:
    """Files that are not used, if any."""
    if not skipped:
        return []
    first = "; ".join(f"{entry.path} {entry.reason}" for entry in skipped[:3])
    return [
        Finding(
            kind="stray",
            message=f"{len(skipped)} files are skipped: {first}",
            remedy=" ".join(list(dict.fromkeys(entry.remedy for entry in skipped))[:3]),
            where=tuple(entry.path for entry in skipped),
            count=len(skipped),
        )
    ]


def describe_pairs(raw: RawDataset, pairs: Sequence[Pair]) -> str:
    """Names of the first pairs."""
    first = "; ".join(f"{raw.source.name(a)} = {raw.source.name(b)}" for a, b in pairs[:MAX_NAMES])
    return f"{first}{and_more(len(pairs))}"


def and_more(count: int) -> str:
    """Suffix of a list of the first `MAX_NAMES` of `count` names."""
    return f" and {count - MAX_NAMES} more" if count > MAX_NAMES else ""


def samples_finding(noun: str, kind: str, source: Source, ids: Sequence[int], what: str, remedy: str) -> Finding:
    """Finding on some samples, the first three of which are named. noun: of a sample, "recording"; what: they are."""
    names = [source.name(id) for id in ids]
    more = f" and {len(names) - FEW_NAMES:,} more" if len(names) > FEW_NAMES else ""
    verb = f"{noun} is" if len(names) == 1 else f"{noun}s are"
    return Finding(
        kind=kind,
        message=f"{len(names):,} {verb} {what}: {', '.join(names[:FEW_NAMES])}{more}",
        remedy=remedy,
        where=tuple(names),
        count=len(names),
    )
