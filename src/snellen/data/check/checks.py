"""Checks of a dataset before training: all problems at once, each with its remedy.

Headers and names are always checked; contents and duplicates only if there are few enough images, else they are
deferred, which a finding states. Strict by default; with quarantine, bad samples are skipped and listed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from snellen.core.errors import DataError
from snellen.core.spec import Classes, Input
from snellen.core.views import Finding
from snellen.data.check.duplicates import (
    Duplicates,
    Pair,
    connected_groups,
    find_array_duplicates,
    find_file_duplicates,
    find_row_duplicates,
    find_stored_duplicates,
)
from snellen.data.check.findings import (
    DEFERRED,
    MAX_NAMES,
    and_more,
    class_name_findings,
    conversion_findings,
    describe_pairs,
    duplicate_findings,
    few_samples_findings,
    imbalance_findings,
    leakage_findings,
    size_findings,
    split_group_findings,
)
from snellen.data.check.groups import group_findings
from snellen.data.check.nodata_check import check_nodata
from snellen.data.check.number_range import check_number_range
from snellen.data.check.recordings import find_recording_duplicates, recording_findings
from snellen.data.check.sentinel_values import sentinel_findings
from snellen.data.check.sequence_copies import find_sequence_duplicates, find_stored_sequence_duplicates
from snellen.data.check.sequence_findings import sequence_findings
from snellen.data.dataset import SPLITS, Dataset, Labelled, RawDataset, each_target
from snellen.data.decode.audio_files import AudioFiles
from snellen.data.decode.frame_pairs import FramePairs
from snellen.data.decode.header import UnusableFile
from snellen.data.decode.image_files import ImageFiles
from snellen.data.file_source import FileSource
from snellen.data.formats import OpenOptions
from snellen.data.formats.array_files import Hdf5Source
from snellen.data.several_inputs import SeveralInputs
from snellen.data.source import ArraySource, BadSamples, Skipped

MAX_COMPARED = 200_000  # images; comparing more takes longer than training
MAX_SKIPPED_FRACTION = 0.01  # of the samples, with quarantine


class DatasetRejected(DataError):
    """A dataset that fails the check. `findings` has all findings, `skipped` every bad sample with its reason."""

    def __init__(self, cause: str, remedy: str, findings: tuple[Finding, ...], skipped: tuple[Skipped, ...]) -> None:
        super().__init__(cause, remedy)
        self.findings = findings
        self.skipped = skipped


def check_dataset(raw: RawDataset, options: OpenOptions, where: str = "") -> RawDataset:
    """Check raw data: add findings, skip bad samples if quarantine is on, and put duplicates in one group.

    Args:
        where: the path or name of the data, for messages about rows.
    Raises:
        DatasetRejected: for unusable samples without `options.quarantine`; for too many of them with it.
    """
    raw = dataclasses.replace(
        raw, findings=(*raw.findings, *(f for part in each_target(raw) for f in class_name_findings(part)))
    )
    check_number_range(raw, where)
    check_nodata(raw.source)
    first = next(iter(raw.inputs.values()))
    copies = Duplicates([], [], {}, True) if raw.same_samples else _find_duplicates(raw.source, options.full, first)
    unreadable = _unreadable_samples(raw.source, copies)
    bad = {**raw.bad_samples, **unreadable}
    copies = copies._replace(exact=[(a, b) for a, b in copies.exact if a not in bad and b not in bad])
    two_labels, conflicting = _conflicting_labels(raw, copies.exact)
    lost_before = sum(finding.count for finding in raw.findings if finding.severity == "error")
    findings = [
        *raw.findings,
        *raw.bad_sample_findings,
        *_unreadable_findings(unreadable, _noun(raw.source, len(unreadable))),
        *conflicting,
    ]
    if isinstance(raw.source, FileSource):
        bad.update(
            {
                id: Skipped(raw.source.name(id), "has conflicting labels", _ONE_LABEL.format(_noun(raw.source)))
                for id in two_labels
            }
        )
    raw = dataclasses.replace(raw, findings=tuple(findings))
    if any(finding.severity == "error" for finding in findings):
        raw = _apply_quarantine(raw, bad, lost_before, options)
    usable = np.array([id for id in range(len(raw.source)) if id not in bad], np.int64)
    if len(usable) < len(raw.source):
        raw, copies = _subset(raw, usable), _renumber(copies, usable)
    pairs = [*copies.exact, *copies.near]
    findings = [
        *duplicate_findings(raw, copies),
        *split_group_findings(raw),
        *size_findings(raw),
        *conversion_findings(raw.source),
        *(finding for part in each_target(raw) for finding in imbalance_findings(part)),
        *sentinel_findings(raw),
        *recording_findings(raw.source),
        *sequence_findings(raw.source, raw.inputs),
    ]
    is_grouped = raw.groups is not None
    groups = connected_groups(len(raw.source), pairs, raw.groups) if pairs else raw.groups
    across = [(a, b) for a, b in pairs if raw.groups is not None and raw.groups[a] != raw.groups[b]]
    raw = dataclasses.replace(raw, groups=groups, findings=(*raw.findings, *findings))
    merging = describe_pairs(raw, across) if across else ""
    raw = dataclasses.replace(raw, findings=(*raw.findings, *group_findings(raw, options, merging, is_grouped)))
    return dataclasses.replace(raw, findings=(*raw.findings, *few_samples_findings(raw, not options.optional_target)))


def with_deferred_checks(data: Dataset[Labelled]) -> tuple[Dataset[Labelled], list[Finding]]:
    """`run_deferred_checks`; return the data with the new findings, and these."""
    deferred = run_deferred_checks(data)
    previous = [finding for finding in data.findings if not finding.message.startswith(DEFERRED)]
    return dataclasses.replace(data, findings=(*previous, *deferred)), deferred


def run_deferred_checks(data: Dataset[Labelled]) -> list[Finding]:
    """Run the checks that `check_dataset` deferred, for the current splits. Call it before the test split is opened.

    Returns:
        findings; an empty list if no check was deferred.
    Raises:
        BadSamples: naming every image that cannot be decoded.
    """
    if not any(finding.message.startswith(DEFERRED) for finding in data.findings):
        return []
    if len(data.source) > MAX_COMPARED:
        return [
            Finding(
                kind="near-copies",
                message=f"{len(data.source):,} images are too many to search for near-duplicates",
                remedy="Exact duplicates are checked; check a part of the data for near-duplicates.",
            )
        ]
    copies = _find_duplicates(data.source, True, data.spec.input)
    if copies.bad:
        raise BadSamples({id: p.cause for id, p in copies.bad.items()}, {id: data.name(id) for id in copies.bad})
    given = np.full(len(data.source), len(SPLITS), np.int64)  # samples without a split keep this value
    for index, name in enumerate(SPLITS):
        given[data.splits[name].numpy()] = index
    return leakage_findings(data.source, given, copies)


_ONE_LABEL = "Keep one label, or skip the {} with --quarantine."
_ONE_LABEL_OF_ROWS = "Keep one label, or remove them."
_REPAIR = "Repair or remove them, or skip them with --quarantine."


def _find_duplicates(source: object, full: bool, spec_input: Input) -> Duplicates:
    if isinstance(source, ImageFiles):
        return find_file_duplicates(source, full)
    if isinstance(source, SeveralInputs):
        return _find_in_images(source, full)
    if isinstance(source, AudioFiles):
        return find_recording_duplicates(source, full)
    if isinstance(source, ArraySource):
        if spec_input.has_pixels:
            return find_array_duplicates(source, full)
        if spec_input.axes == ("feature",):
            return find_row_duplicates(source, full, spec_input.columns)
        return find_sequence_duplicates(source, full, spec_input)
    if isinstance(source, Hdf5Source):
        if spec_input.axes == ("time", "feature"):
            return find_stored_sequence_duplicates(source, full)
        return find_stored_duplicates(source, full)
    return Duplicates([], [], {}, True)  # frames of flow overlap by design; rendered images are distinct


def _find_in_images(source: SeveralInputs, full: bool) -> Duplicates:
    """Copies and unreadable files among the images of samples with several inputs: they stay in one split."""
    if all(isinstance(of_input, ArraySource) for of_input in source.sources.values()):
        return Duplicates(_equal_samples(source), [], {}, True)
    result = Duplicates([], [], {}, True)
    for name, of_input in source.sources.items():
        if isinstance(of_input, ImageFiles):
            copies = find_file_duplicates(of_input, full)
            has_input = np.nonzero(source.positions[name] >= 0)[0].tolist()
            sample_of = dict(zip(source.positions[name][has_input].tolist(), has_input, strict=True))
            exact, near = ([(sample_of[a], sample_of[b]) for a, b in pairs] for pairs in (copies.exact, copies.near))
            bad = {sample_of[position]: problem for position, problem in copies.bad.items()}
            result = result._replace(
                exact=[], near=[*result.near, *exact, *near], bad={**result.bad, **bad}, complete=copies.complete
            )
    return result


def _equal_samples(source: SeveralInputs) -> list[Pair]:
    """Samples whose inputs in memory are all equal: the first of each such group with each other."""
    parts = []
    for name, of_input in source.sources.items():
        digests = [hashlib.blake2b(x.numpy().tobytes(), digest_size=16).digest() for x in _values_of(of_input)]
        parts.append([digests[at] if at >= 0 else b"" for at in source.positions[name].tolist()])
    first: dict[tuple[bytes, ...], int] = {}
    pairs = [(first.setdefault(key, id), id) for id, key in enumerate(zip(*parts, strict=True))]
    return [(a, b) for a, b in pairs if a != b]


def _values_of(source: object) -> torch.Tensor:
    assert isinstance(source, ArraySource)
    return source.values


def _unreadable_samples(source: object, copies: Duplicates) -> dict[int, Skipped]:
    """Samples whose header or content cannot be read."""
    if isinstance(source, SeveralInputs):
        problems = dict(copies.bad)
        for name, of_input in source.sources.items():
            headers = of_input.headers if isinstance(of_input, ImageFiles) else []
            at = source.positions[name]
            problems |= {
                id: h
                for id, p in enumerate(at.tolist())
                if headers and p >= 0 and isinstance(h := headers[p], UnusableFile)
            }
        return {
            id: Skipped(f"{source.name(id)} ({source.input_names(id)})", p.cause, p.remedy)
            for id, p in sorted(problems.items())
        }
    if not isinstance(source, FileSource | FramePairs):
        return {}
    problems = {id: h for id, h in enumerate(source.headers) if isinstance(h, UnusableFile)} | copies.bad
    return {id: Skipped(source.name(id), p.cause, p.remedy) for id, p in sorted(problems.items())}


def _noun(source: object, count: int = 2) -> str:
    """The samples of a source of files, in the plural unless there is one."""
    noun = source.noun if isinstance(source, FileSource) else "images"
    return noun if count != 1 else noun.removesuffix("s")


def _unreadable_findings(bad: dict[int, Skipped], noun: str) -> list[Finding]:
    if not bad:
        return []
    first = "; ".join(f"{skipped.path} {skipped.reason}" for skipped in list(bad.values())[:MAX_NAMES])
    remedies = {skipped.remedy for skipped in bad.values()}
    remedy = remedies.pop() if len(remedies) == 1 else _REPAIR
    unopened = {"does not exist", "is a dangling link", "has no read permission", "is not a regular file"}
    kind = "unreadable" if all(skipped.reason in unopened for skipped in bad.values()) else "corrupt"
    return [
        Finding(
            kind=kind,
            message=f"{len(bad)} {noun} cannot be read: {first}{and_more(len(bad))}",
            remedy=remedy,
            severity="error",
            where=tuple(skipped.path for skipped in bad.values()),
            count=len(bad),
        )
    ]


def _conflicting_labels(raw: RawDataset, exact: Sequence[Pair]) -> tuple[list[int], list[Finding]]:
    """Exact copies with different classes: an error for files, a warning for arrays, which cannot be repaired."""
    if raw.truth is None or not isinstance(raw.target, Classes):
        return [], []
    conflicting = [(a, b) for a, b in exact if raw.truth[a] != raw.truth[b]]
    if not conflicting:
        return [], []
    first_ids = {a for a, _ in conflicting}
    ids = sorted({id for a, b in exact if a in first_ids for id in (a, b)})
    names = [raw.source.name(id) for id in ids]
    first = "; ".join(f"{raw.source.name(a)} = {raw.source.name(b)}" for a, b in conflicting[:MAX_NAMES])
    severity = "error" if isinstance(raw.source, FileSource) else "warning"
    return ids, [
        Finding(
            kind="two-labels",
            remedy=_ONE_LABEL.format(raw.source.noun) if isinstance(raw.source, FileSource) else _ONE_LABEL_OF_ROWS,
            message=f"Exact duplicates with conflicting labels ({len(conflicting)}): "
            f"{first}{and_more(len(conflicting))}",
            severity=severity,
            where=tuple(names),
            count=len(ids),
        )
    ]


def _apply_quarantine(raw: RawDataset, bad: dict[int, Skipped], lost_before: int, options: OpenOptions) -> RawDataset:
    """With quarantine, turn errors into warnings, unless too many samples would be skipped.

    Args:
        lost_before: samples that were lost before the source was made.
    """
    errors = [finding for finding in raw.findings if finding.severity == "error"]
    where = f"{raw.source.root}: " if isinstance(raw.source, FileSource | FramePairs) else ""
    newly_skipped = tuple(dict.fromkeys(bad.values()))  # a file may be several samples of a table
    skipped = (*raw.skipped, *newly_skipped)
    cause = where + "; ".join(finding.message for finding in errors)
    if not options.quarantine:
        remedy = errors[0].remedy if len(errors) == 1 else _REPAIR
        raise DatasetRejected(cause, remedy, raw.findings, skipped)
    lost = len(bad) + lost_before
    total = len(raw.source) + lost_before
    if lost == total or (lost > MAX_SKIPPED_FRACTION * total and not options.allow_skipped):
        raise DatasetRejected(
            f"{where}quarantine would skip {lost} of {total} samples ({cause})",
            "Repair them, or allow this with --allow-skipped."
            if lost < total
            else "Repair them: no sample would remain.",
            raw.findings,
            skipped,
        )
    downgraded = tuple(
        dataclasses.replace(finding, severity="warning") if finding.severity == "error" else finding
        for finding in raw.findings
    )
    files = dict(raw.files)
    if files:
        num_lost = (
            len(newly_skipped) if not isinstance(raw.source, FileSource) else raw.source.count_lost_files(set(bad))
        )
        files["used"] = files.get("used", 0) - num_lost
        files["set aside"] = files.get("set aside", 0) + num_lost
    return dataclasses.replace(raw, findings=downgraded, skipped=skipped, files=files)


def _where(source: object) -> str:
    return str(getattr(source, "root", "the data"))


def _subset(raw: RawDataset, ids: np.ndarray) -> RawDataset:
    """Select these samples; classes without samples are removed."""
    assert isinstance(raw.source, FileSource | FramePairs | SeveralInputs)
    source = raw.source.subset(ids)
    index = torch.from_numpy(ids)
    truth = raw.truth[index] if raw.truth is not None else None
    target, findings = raw.target, list(raw.findings)
    if isinstance(target, Classes) and truth is not None:
        remaining = torch.unique(truth)
        empty = [name for k, name in enumerate(target.names) if k not in set(remaining.tolist())]
        if empty:
            if len(remaining) < 2:
                raise DataError(
                    f"{_where(source)}: only class {target.names[int(remaining[0])]} has readable {_noun(source)}",
                    f"Repair the {_noun(source)} of the other classes.",
                )
            findings.append(
                Finding(
                    kind="empty-class",
                    message=f"None of the {_noun(source)} is left of {', '.join(empty[:MAX_NAMES])}",
                    remedy=f"Repair their {_noun(source)}.",
                    where=tuple(empty),
                    count=len(empty),
                )
            )
            truth = torch.searchsorted(remaining, truth)
            target = Classes(names=tuple(target.names[k] for k in remaining.tolist()))
    inputs = raw.inputs if isinstance(source, SeveralInputs) else {name: source.input() for name in raw.inputs}
    annotations = None if raw.annotations is None else raw.annotations.subset(ids)
    return dataclasses.replace(
        raw,
        source=source,
        truth=truth,
        target=target,
        inputs=inputs,
        annotations=annotations,
        findings=tuple(findings),
        given_splits=None if raw.given_splits is None else raw.given_splits[ids],
        groups=None if raw.groups is None else raw.groups[ids],
        group_names=tuple(raw.group_names[k] for k in ids) if raw.group_names else (),
    )


def _renumber(copies: Duplicates, ids: np.ndarray) -> Duplicates:
    new_id = {int(old): new for new, old in enumerate(ids)}
    exact, near = (
        [(new_id[a], new_id[b]) for a, b in pairs if a in new_id and b in new_id]
        for pairs in (copies.exact, copies.near)
    )
    return copies._replace(exact=exact, near=near, bad={})
