"""What is wrong with the data, said before anything is learned: all problems at once, each with its remedy.

Headers and names are looked at always; contents and copies where there are few enough pictures, else as they are
first decoded, and a finding says so. Strict by default; quarantine sets bad samples aside and lists them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from snellen.core.errors import DataError
from snellen.core.spec import Classes
from snellen.core.views import Finding
from snellen.data.check.duplicates import Duplicates, Pair, copies_of_array, copies_of_files, groups_of
from snellen.data.check.findings import (
    PUT_OFF,
    SHOWN,
    few,
    imbalance,
    leakage,
    more,
    of_copies,
    of_groups,
    of_headers,
    of_sizes,
)
from snellen.data.dataset import SPLITS, Dataset, Labelled, RawDataset
from snellen.data.decode.frame_pairs import FramePairs
from snellen.data.decode.header import Unusable
from snellen.data.decode.image_files import ImageFiles
from snellen.data.formats import OpenOptions
from snellen.data.source import Array, BadSamples, Skipped

LATEST = 200_000  # pictures; comparing more with each other takes longer than training
ALLOWED_LOSS = 0.01  # of the samples, that quarantine may leave out


class Rejected(DataError):
    """Data that is refused. `findings` has all that the check found, `aside` every bad sample with its reason."""

    def __init__(self, cause: str, remedy: str, findings: tuple[Finding, ...], aside: tuple[Skipped, ...]) -> None:
        super().__init__(cause, remedy)
        self.findings = findings
        self.aside = aside


def check(draft: RawDataset, options: OpenOptions) -> RawDataset:
    """The draft with findings added, bad samples set aside where that is asked for, and copies in one group.

    Raises:
        Rejected: for samples that cannot be used, unless `options.quarantine`; for too many of them even then.
    """
    if draft.inputs and next(iter(draft.inputs.values())).modality != "image":
        return dataclasses.replace(draft, findings=(*draft.findings, *of_groups(draft), *imbalance(draft), *few(draft)))
    copies = _copies(draft.source, options.full)
    unread = _bad(draft.source, copies)
    bad = {**draft.bad, **unread}
    copies = copies._replace(exact=[(a, b) for a, b in copies.exact if a not in bad and b not in bad])
    same, torn = _under_two_labels(draft, copies.exact)
    elsewhere = sum(finding.count for finding in draft.findings if finding.severity == "error")
    findings = [*draft.findings, *draft.objections, *_of_bad(unread), *torn]
    if isinstance(draft.source, ImageFiles):
        bad.update({id: Skipped(draft.source.name(id), "lies under two labels", _ONE_LABEL) for id in same})
    draft = dataclasses.replace(draft, findings=tuple(findings))
    if any(finding.severity == "error" for finding in findings):
        draft = _quarantined(draft, bad, elsewhere, options)
    keep = np.array([id for id in range(len(draft.source)) if id not in bad], np.int64)
    if len(keep) < len(draft.source):
        draft, copies = _keep(draft, keep), _renumbered(copies, keep)
    pairs = [*copies.exact, *copies.near]
    findings = [
        *of_copies(draft, copies),
        *of_groups(draft),
        *of_sizes(draft),
        *of_headers(draft.source),
        *imbalance(draft),
    ]
    groups = groups_of(len(draft.source), pairs, draft.groups) if pairs else draft.groups
    draft = dataclasses.replace(draft, groups=groups, findings=(*draft.findings, *findings))
    return dataclasses.replace(draft, findings=(*draft.findings, *few(draft)))


def looked_late(data: Dataset[Labelled]) -> tuple[Dataset[Labelled], list[Finding]]:
    """The data with what `check` put off looked at, and what that found; see `late_check`."""
    late = late_check(data)
    kept = [finding for finding in data.findings if not finding.message.startswith(PUT_OFF)]
    return dataclasses.replace(data, findings=(*kept, *late)), late


def late_check(data: Dataset[Labelled]) -> list[Finding]:
    """What `check` put off, for the splits as they are: to be called before the test split is opened.

    Returns:
        nothing where nothing was put off.
    Raises:
        BadSamples: naming every picture that cannot be decoded.
    """
    if not any(finding.message.startswith(PUT_OFF) for finding in data.findings):
        return []
    if len(data.source) > LATEST:
        return [
            Finding(
                kind="near-copies",
                message=f"{len(data.source):,} pictures are too many for near copies",
                remedy="Leakage by exact copies is known; compare a part of the data for the others.",
            )
        ]
    copies = _copies(data.source, True)
    if copies.bad:
        raise BadSamples({id: p.cause for id, p in copies.bad.items()}, {id: data.name(id) for id in copies.bad})
    given = np.full(len(data.source), len(SPLITS), np.int64)  # those of no split stay so
    for place, name in enumerate(SPLITS):
        given[data.splits[name].numpy()] = place
    return leakage(data.source, given, copies)


_ONE_LABEL = "Decide for one label, or leave the picture out with --quarantine."
_MEND = "Mend or remove them, or leave them out with --quarantine."


def _copies(source: object, full: bool) -> Duplicates:
    if isinstance(source, ImageFiles):
        return copies_of_files(source, full)
    if isinstance(source, Array):
        return copies_of_array(source, full)
    return Duplicates([], [], {}, True)


def _bad(source: object, copies: Duplicates) -> dict[int, Skipped]:
    """Samples whose header or content cannot be read."""
    if not isinstance(source, ImageFiles | FramePairs):
        return {}
    problems = {id: h for id, h in enumerate(source.headers) if isinstance(h, Unusable)} | copies.bad
    return {id: Skipped(source.name(id), p.cause, p.remedy) for id, p in sorted(problems.items())}


def _of_bad(bad: dict[int, Skipped]) -> list[Finding]:
    if not bad:
        return []
    first = "; ".join(f"{aside.path} {aside.reason}" for aside in list(bad.values())[:SHOWN])
    remedies = {aside.remedy for aside in bad.values()}
    remedy = remedies.pop() if len(remedies) == 1 else _MEND
    unopened = {"is not there", "is a link to nothing", "may not be read", "is no regular file"}
    kind = "unreadable" if all(aside.reason in unopened for aside in bad.values()) else "corrupt"
    return [
        Finding(
            kind=kind,
            message=f"{len(bad)} pictures cannot be read: {first}{more(len(bad))}",
            remedy=remedy,
            severity="error",
            where=tuple(aside.path for aside in bad.values()),
            count=len(bad),
        )
    ]


def _under_two_labels(draft: RawDataset, exact: Sequence[Pair]) -> tuple[list[int], list[Finding]]:
    """Exact copies with different classes: an error among files, which can be mended; in ready arrays a warning."""
    if draft.truth is None or not isinstance(draft.target, Classes):
        return [], []
    torn = [(a, b) for a, b in exact if draft.truth[a] != draft.truth[b]]
    if not torn:
        return [], []
    among = {a for a, _ in torn}
    ids = sorted({id for a, b in exact if a in among for id in (a, b)})
    names = [draft.source.name(id) for id in ids]
    first = "; ".join(f"{draft.source.name(a)} = {draft.source.name(b)}" for a, b in torn[:SHOWN])
    severity = "error" if isinstance(draft.source, ImageFiles) else "warning"
    return ids, [
        Finding(
            kind="two-labels",
            remedy=_ONE_LABEL,
            message=f"{len(torn)} pictures lie under two labels: {first}{more(len(torn))}",
            severity=severity,
            where=tuple(names),
            count=len(ids),
        )
    ]


def _quarantined(draft: RawDataset, bad: dict[int, Skipped], elsewhere: int, options: OpenOptions) -> RawDataset:
    """Turns errors into warnings where quarantine is asked for and leaves out no more than it may.

    Args:
        elsewhere: samples that were lost before they came into the source.
    """
    errors = [finding for finding in draft.findings if finding.severity == "error"]
    where = f"{draft.source.root}: " if isinstance(draft.source, ImageFiles | FramePairs) else ""
    gone = tuple(dict.fromkeys(bad.values()))  # one file may be several samples of a table
    aside = (*draft.aside, *gone)
    cause = where + "; ".join(finding.message for finding in errors)
    if not options.quarantine:
        remedy = errors[0].remedy if len(errors) == 1 else _MEND
        raise Rejected(cause, remedy, draft.findings, aside)
    lost = len(bad) + elsewhere
    total = len(draft.source) + elsewhere
    if lost == total or (lost > ALLOWED_LOSS * total and not options.allow_skipped):
        raise Rejected(
            f"{where}quarantine would leave out {lost} of {total} samples ({cause})",
            "Mend them, or allow it with --allow-skipped." if lost < total else "None would be left.",
            draft.findings,
            aside,
        )
    softer = tuple(
        dataclasses.replace(finding, severity="warning") if finding.severity == "error" else finding
        for finding in draft.findings
    )
    files = dict(draft.files)
    if files:
        fewer = len(gone) if not isinstance(draft.source, ImageFiles) else draft.source.lost(set(bad))
        files["used"] = files.get("used", 0) - fewer
        files["set aside"] = files.get("set aside", 0) + fewer
    return dataclasses.replace(draft, findings=softer, aside=aside, files=files)


def _keep(draft: RawDataset, ids: np.ndarray) -> RawDataset:
    """The draft with these samples only; a class of which nothing is left goes too."""
    assert isinstance(draft.source, ImageFiles | FramePairs)
    source = draft.source.subset(ids)
    place = torch.from_numpy(ids)
    truth = draft.truth[place] if draft.truth is not None else None
    target, findings = draft.target, list(draft.findings)
    if isinstance(target, Classes) and truth is not None:
        left = torch.unique(truth)
        gone = [name for k, name in enumerate(target.names) if k not in set(left.tolist())]
        if gone:
            if len(left) < 2:
                raise DataError(
                    f"{source.root}: one class is left ({target.names[int(left[0])]}) without bad pictures",
                    "Mend the pictures of the others.",
                )
            findings.append(
                Finding(
                    kind="empty-class",
                    message=f"nothing is left of {', '.join(gone[:SHOWN])}",
                    remedy="Mend their pictures.",
                    where=tuple(gone),
                    count=len(gone),
                )
            )
            truth = torch.searchsorted(left, truth)
            target = Classes(names=tuple(target.names[k] for k in left.tolist()))
    inputs = {name: source.input() for name in draft.inputs}
    annotations = None if draft.annotations is None else draft.annotations.subset(ids)
    return dataclasses.replace(
        draft,
        source=source,
        truth=truth,
        target=target,
        inputs=inputs,
        annotations=annotations,
        findings=tuple(findings),
        given=None if draft.given is None else draft.given[ids],
        groups=None if draft.groups is None else draft.groups[ids],
    )


def _renumbered(copies: Duplicates, ids: np.ndarray) -> Duplicates:
    place = {int(old): new for new, old in enumerate(ids)}
    exact, near = (
        [(place[a], place[b]) for a, b in pairs if a in place and b in place] for pairs in (copies.exact, copies.near)
    )
    return copies._replace(exact=exact, near=near, bad={})
