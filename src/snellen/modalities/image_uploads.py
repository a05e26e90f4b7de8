"""Images in requests: files, their pages, and pairs of frames."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence

from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.spec import Preprocessing, Spec
from snellen.data.decode.header import TooManyPixels, UnusableFile
from snellen.data.decode.image_decoder import header
from snellen.modalities.image_files import (
    concatenate_frames,
    list_pages,
    needs_frame_pairs,
    read_image,
    single_frame_preprocessing,
)
from snellen.modalities.modality import NamedBatch, TooManyInputs, Upload, UploadLimits


def read_uploads(
    files: Sequence[Upload], spec: Spec, preprocessing: Preprocessing, limits: UploadLimits
) -> Iterator[NamedBatch]:
    """Each file or each page of it; for optical flow each pair of files, named by the first."""
    pairs = needs_frame_pairs(spec)
    if pairs and len(files) % 2:
        raise DataError(
            f"{files[-1].name} has no second frame: optical flow needs two files",
            "Send both frames: curl -F file=@before.png -F file=@after.png",
        )
    samples_of_files = (
        [_pair_inputs(*two, spec, preprocessing, limits) for two in zip(files[::2], files[1::2], strict=True)]
        if pairs
        else [_page_inputs(file, spec, preprocessing, limits) for file in files]
    )
    problems: list[str] = []
    remaining = limits.max_inputs
    for samples in samples_of_files:
        try:
            for name, x in samples:
                remaining -= 1
                if remaining < 0:
                    raise _too_many_pages(limits)
                if not problems:
                    yield [name], x[None]  # (1, C, H, W)
        except TooManyPixels:
            raise
        except UnusableFile as error:
            problems.append(error.cause)
            remedy = error.remedy
    if problems:
        raise DataError(
            "; ".join(problems[:5]) + (f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""), remedy
        )


def _page_inputs(
    file: Upload, spec: Spec, preprocessing: Preprocessing, limits: UploadLimits
) -> Iterator[tuple[str, Tensor]]:
    with _named_errors(file):
        stream = io.BytesIO(file.content)
        _check_pixels(stream, spec, preprocessing, limits.max_pixels)
        samples = list_pages(stream, file.name, preprocessing)
        if len(samples) > limits.max_inputs:  # before decoding any
            raise _too_many_pages(limits)
        for name, page in samples:
            yield name, read_image(stream, spec, preprocessing, page)


def _too_many_pages(limits: UploadLimits) -> TooManyInputs:
    return TooManyInputs(f"There are more than {limits.max_inputs:,} pages", "Split them into several requests.")


def _pair_inputs(
    first: Upload, second: Upload, spec: Spec, preprocessing: Preprocessing, limits: UploadLimits
) -> Iterator[tuple[str, Tensor]]:
    frames, read = [], single_frame_preprocessing(spec, preprocessing)
    for file in (first, second):
        with _named_errors(file):
            stream = io.BytesIO(file.content)
            _check_pixels(stream, spec, read, limits.max_pixels)
            frames.append(read_image(stream, spec, read))
    with _named_errors(first):
        yield first.name, concatenate_frames(frames, second.name)


@contextlib.contextmanager
def _named_errors(file: Upload) -> Iterator[None]:
    """Add the file name to decoding errors."""
    try:
        yield
    except TooManyPixels as error:
        raise TooManyPixels(f"{file.name} {error.cause}") from error
    except UnusableFile as error:
        raise UnusableFile(error.kind, f"{file.name} {error.cause}", error.remedy) from error


def _check_pixels(file: io.BytesIO, spec: Spec, preprocessing: Preprocessing, max_pixels: int) -> None:
    """Raise TooManyPixels before decoding; channels and pages count as pixels."""
    info = header(file)
    planes = max(1, info.channels * info.pages / max(4, preprocessing.channels or spec.input.shape[0] or 1))
    if info.height * info.width * planes > max_pixels:
        extra = f" in {info.channels} channels and {info.pages} pages" if planes > 1 else ""
        raise TooManyPixels(f"has {info.width:,}x{info.height:,} pixels{extra}, more than {max_pixels:,}")
