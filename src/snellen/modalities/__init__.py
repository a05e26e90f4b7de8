"""Kinds of input: how each is read for prediction and described, one file a kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from snellen.core.spec import Preprocessing, Spec
from snellen.data.cache import LineCallback, ignore_line
from snellen.data.source import BadSamples
from snellen.modalities.arrays import CLIP, SEQUENCE, VOLUME
from snellen.modalities.audio import AUDIO
from snellen.modalities.image import IMAGE
from snellen.modalities.modality import Modality, NamedBatch
from snellen.modalities.points import POINTS
from snellen.modalities.several import several_inputs
from snellen.modalities.vector import VECTOR
from snellen.modalities.world import WORLD

MODALITIES: Mapping[str, Modality] = {
    "vector": VECTOR,
    "image": IMAGE,
    "sequence": SEQUENCE,
    "points": POINTS,
    "clip": CLIP,
    "volume": VOLUME,
    "audio": AUDIO,
    "world": WORLD,
}


def modality_of(spec: Spec) -> Modality:
    """The kind of the input of a dataset, or of several inputs."""
    return MODALITIES[spec.modality] if len(spec.inputs) == 1 else several_inputs(spec.inputs, MODALITIES)


def samples_noun(spec: Spec) -> str:
    """The samples of a dataset, in the plural: the noun of its target, if that has one, else of its kind of input."""
    return getattr(spec.target, "sample_noun", modality_of(spec).noun)


def inputs(
    arguments: Sequence[str], spec: Spec, preprocessing: Preprocessing, announce: LineCallback = ignore_line
) -> Iterator[NamedBatch]:
    """Read names and inputs in batches of at most 64 and of one shape, in the order of the arguments.

    Args:
        arguments: files; folders, with all images, videos, tables, array files or recordings in them; globs; for a
            model of images, tables of their names; "-" for standard input: paths, one per line, or the table itself for
            a model of tables.
        spec: spec of the model's data; tables are read by its columns.
        preprocessing: that of the model.
        announce: receives a line about each column of a table whose numbers could be read in two ways.
    Raises:
        DataError: if an argument matches no file; for an invalid table if there is only one.
        BadSamples: after everything else was yielded: all files that could not be read.
    """
    problems: dict[str, str] = {}
    yield from modality_of(spec).read_files(arguments, spec, preprocessing, problems, announce)
    if problems:
        names = list(problems)
        raise BadSamples(
            {i: problems[name] for i, name in enumerate(names)},
            dict(enumerate(names)),
            "Repair or omit them; the others, if any, are predicted.",
        )
