"""What the check has to say about data that can be used: copies, leakage, groups, depth, balance, size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Classes, Preprocessing, Scenic
from snellen.core.views import Finding
from snellen.data.check.duplicates import Duplicates, Pair, groups_of
from snellen.data.dataset import SPLITS, RawDataset
from snellen.data.decode.header import Header
from snellen.data.decode.image_files import ImageFiles
from snellen.data.source import BadSamples, Skipped, Source
from snellen.data.splits import divide

SHOWN = 5  # names in a message; `Finding.where` has all
UNEVEN = 0.2  # a class with a smaller share of the largest class is worth a word
FEW, FEW_OF_A_CLASS = 1000, 20  # samples in all, and of any class in the test split
PUT_OFF = "not looked at yet: "
_FOLDS = "--folds 5 tests on every sample once."
_RANGE_OF = 64  # deep pictures whose range is looked at


def of_copies(draft: RawDataset, copies: Duplicates) -> list[Finding]:
    findings = []
    for kind, word, pairs in (("copies", "exact", copies.exact), ("near-copies", "near", copies.near)):
        if pairs:
            findings.append(
                Finding(
                    kind=kind,
                    message=f"{len(pairs)} {word} copies: {named(draft, pairs)}",
                    remedy="They are kept in one split; remove them if they are not meant to count twice.",
                    severity="note" if kind == "copies" else "warning",
                    where=tuple(f"{draft.source.name(a)} = {draft.source.name(b)}" for a, b in pairs),
                    count=len(pairs),
                )
            )
    labels = draft.truth if isinstance(draft.target, Classes) else None
    if labels is not None:
        torn = [(a, b) for a, b in copies.near if labels[a] != labels[b]]
        if torn:
            findings.append(
                Finding(
                    kind="two-labels",
                    message=f"{len(torn)} near copies have two labels: {named(draft, torn)}",
                    remedy="Look at them: one of the labels may be wrong.",
                    where=tuple(f"{draft.source.name(a)} = {draft.source.name(b)}" for a, b in torn),
                    count=len(torn),
                )
            )
    if draft.given is not None:
        findings += leakage(draft.source, draft.given, copies)
    if not copies.looked:
        findings.append(
            Finding(
                kind="near-copies",
                severity="note",
                message=f"{PUT_OFF}{copies.left}",
                remedy="snellen data DATA --full looks at all of them.",
            )
        )
    return findings


def leakage(source: Source, given: np.ndarray, copies: Duplicates) -> list[Finding]:
    """Samples of a later split whose copy, direct or over other copies, lies in an earlier one.

    Args:
        given: (N,) index into SPLITS; len(SPLITS) for a sample of none.
    """
    pairs = [*copies.exact, *copies.near]
    groups = groups_of(len(given), pairs)
    earliest = np.full(len(given), len(SPLITS))
    np.minimum.at(earliest, groups, given)
    leaked = np.nonzero((given > earliest[groups]) & (given < len(SPLITS)))[0]
    if not len(leaked):
        return []
    exact = groups_of(len(given), copies.exact)
    earliest_exact = np.full(len(given), len(SPLITS))
    np.minimum.at(earliest_exact, exact, given)
    counts = {SPLITS[split]: int((given[leaked] == split).sum()) for split in (1, 2)}
    exactly = int((given[leaked] > earliest_exact[exact[leaked]]).sum())
    shown = "; ".join(source.name(int(id)) for id in leaked[:SHOWN])
    part = " and ".join(f"{n} of {split}" for split, n in counts.items() if n)
    return [
        Finding(
            kind="leakage",
            message=f"{part} lie in an earlier split too ({exactly} exactly): {shown}{more(len(leaked))}",
            remedy="Remove them from one split: the test is easier than it looks.",
            where=tuple(source.name(int(id)) for id in leaked),
            count=len(leaked),
            extra={"exact": exactly, "near": len(leaked) - exactly, **counts},
        )
    ]


def of_groups(draft: RawDataset) -> list[Finding]:
    """Groups that the given splits tear apart."""
    if draft.groups is None or draft.given is None:
        return []
    found, start, inverse = np.unique(draft.groups, return_index=True, return_inverse=True)
    low, high = np.full(len(found), len(SPLITS)), np.full(len(found), -1)
    np.minimum.at(low, inverse, draft.given)
    np.maximum.at(high, inverse, draft.given)
    torn = np.nonzero(high > low)[0]
    if not len(torn):
        return []
    first = [draft.source.name(int(start[group])) for group in torn[:SHOWN]]
    return [
        Finding(
            kind="group-torn",
            message=f"{len(torn)} groups lie in several given splits: {'; '.join(first)}",
            remedy="Make the splits by group, or remove them and let --group make them.",
            where=tuple(first),
            count=len(torn),
        )
    ]


_WORDS = {
    "alpha": "have an alpha channel: they are laid over white",
    "palette": "have a palette: they become RGB",
    "cmyk": "are CMYK: they become RGB",
    "colour space": "have another colour space: they become RGB",
    "animation": "are animated: their first frame is used",
    "rotated": "are turned as their orientation says",
}


def of_headers(source: object) -> list[Finding]:
    """What reading does to the pictures, and the range of deep ones."""
    if not isinstance(source, ImageFiles):
        return []
    notes, depths = Counter[str](), Counter[str]()
    for header, count in source.different.items():
        depths[header.dtype] += count
        notes.update(dict.fromkeys(header.notes, count))
    findings = [
        Finding(
            kind="converted",
            message=f"{n} pictures {_WORDS[note]}",
            severity="note",
            count=n,
            where=tuple(
                source.name(i) for i, h in enumerate(source.headers) if isinstance(h, Header) and note in h.notes
            ),
        )
        for note, n in notes.items()
    ]
    if source.channels == 3:
        n = sum(count for header, count in source.different.items() if header.channels == 1)
        findings.append(
            Finding(
                kind="converted",
                severity="note",
                count=n,
                message=f"{n} of {depths.total()} pictures are grey: they are read as RGB",
            )
        )
    if len(depths) > 1:
        mix = ", ".join(f"{n} {depth}" for depth, n in depths.most_common())
        findings.append(
            Finding(
                kind="depths",
                message=f"the pictures have several depths ({mix}); values are kept",
                remedy="Save all at one depth if their grey levels are to mean the same.",
            )
        )
    return [*findings, *_range(source)] if source.dtype != "uint8" else findings


def of_sizes(draft: RawDataset) -> list[Finding]:
    """How many pictures have which size, where they have several."""
    if not isinstance(draft.source, ImageFiles) or (typical_size := draft.source.input().typical_size) is None:
        return []
    counts, (height, width) = draft.source.sizes(), typical_size.size
    others: list[str] = []
    if typical_size.of_most:
        shown = ", ".join(f"{n:,} of {w}x{h}" for (h, w), n in counts.most_common(SHOWN))
        message = f"the pictures have {len(counts):,} sizes: {shown}{more(len(counts))}"
        others = [
            draft.source.name(i)
            for i, h in enumerate(draft.source.headers)
            if isinstance(h, Header) and (h.height, h.width) != typical_size.size
        ]
    else:
        least, most = (pick(counts, key=lambda size: (size[0] * size[1], size)) for pick in (min, max))
        message = (
            f"the pictures have {len(counts):,} sizes, {least[1]}x{least[0]} to {most[1]}x{most[0]}; "
            f"in the middle {width}x{height}"
        )
    remedy = f"Models that need one size read all at {width}x{height} or less; --image-size sets another."
    return [
        Finding(
            kind="sizes",
            severity="note",
            message=message,
            where=tuple(others),
            count=len(others),
            remedy="" if isinstance(draft.target, Scenic) else remedy,
        )
    ]


def _range(source: ImageFiles) -> list[Finding]:
    """The robust range of deep pictures, from a few of them spread over the set."""
    ids = np.unique(np.linspace(0, len(source) - 1, _RANGE_OF).astype(np.int64))
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
            message=f"{source.dtype} pictures: 99.8 % of the values lie in {low:g} ... {high:g} "
            f"({len(ids)} of {len(source)} looked at)",
            remedy="Depth is kept; --range sets another range.",
            severity="note",
            extra={"low": low, "high": high},
        )
    ]


def imbalance(draft: RawDataset) -> list[Finding]:
    if not isinstance(draft.target, Classes) or draft.truth is None:
        return []
    counts = torch.bincount(draft.truth, minlength=len(draft.target.names))
    least, most = int(counts.argmin()), int(counts.argmax())
    if counts[least] >= UNEVEN * counts[most]:
        return []
    names = draft.target.names
    return [
        Finding(
            kind="imbalance",
            message=f"{names[least]} has {counts[least]} samples, {names[most]} {counts[most]}",
            remedy="Judge by balanced accuracy; --class-weights balanced, or more samples of it, may help.",
            where=(names[least],),
            extra={"least": int(counts[least]), "most": int(counts[most])},
        )
    ]


def few(draft: RawDataset) -> list[Finding]:
    """Too few samples for one split to tell much: advises folds and says how wide the interval will be."""
    if draft.same or (draft.truth is None and draft.annotations is None):
        return []
    parted = draft.given is not None and bool((draft.given != 0).any())  # which folds would not respect
    remedy = "More of them would tell more." if parted else _FOLDS
    if not isinstance(draft.target, Classes) or draft.truth is None:
        message = f"{len(draft.source)} samples, {len(divide(draft)['test'])} to test on"
        few_in_all = len(draft.source) < FEW
        return [Finding(kind="few-samples", message=message, remedy=remedy, severity="note")] if few_in_all else []
    counts = torch.bincount(draft.truth, minlength=len(draft.target.names))
    if draft.given is None and len(draft.source) >= FEW and int(counts.min()) >= 10 * FEW_OF_A_CLASS:
        return []
    test = divide(draft)["test"]
    of_class = torch.bincount(draft.truth[test], minlength=len(draft.target.names))
    rarest = int(of_class.argmin())
    if len(draft.source) >= FEW and int(of_class[rarest]) >= FEW_OF_A_CLASS:
        return []
    half = _half_width(test)
    return [
        Finding(
            kind="few-samples",
            message=f"{len(draft.source)} samples, {len(test)} to test on, "
            f"{of_class[rarest]} of them {draft.target.names[rarest]}: 90 % right would read 90 ± {half:.1f} %",
            remedy=remedy,
            severity="note",
            extra={"test": len(test), "half_width": half},
        )
    ]


def _half_width(test: Tensor) -> float:
    """Half the 95 % interval of an accuracy of 90 %, in points. Source: Wilson 1927."""
    n, p, z = max(len(test), 1), 0.9, 1.96
    return 100 * z / (1 + z * z / n) * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))


def stray(aside: Sequence[Skipped]) -> list[Finding]:
    """That files are not used, where some are not."""
    if not aside:
        return []
    first = "; ".join(f"{entry.path} {entry.reason}" for entry in aside[:3])
    return [
        Finding(
            kind="stray",
            message=f"{len(aside)} files are not used: {first}",
            remedy=aside[0].remedy,
            where=tuple(entry.path for entry in aside),
            count=len(aside),
        )
    ]


def named(draft: RawDataset, pairs: Sequence[Pair]) -> str:
    first = "; ".join(f"{draft.source.name(a)} = {draft.source.name(b)}" for a, b in pairs[:SHOWN])
    return f"{first}{more(len(pairs))}"


def more(count: int) -> str:
    return f" and {count - SHOWN} more" if count > SHOWN else ""
