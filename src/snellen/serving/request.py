"""Request parsing: images and tables, raw or as multipart form, to model inputs."""

from __future__ import annotations

import contextlib
import email.errors
import email.parser
import io
import json
from collections.abc import Iterator, Sequence
from email.message import Message
from typing import NamedTuple, NoReturn, TextIO

from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.spec import Preprocessing, Spec
from snellen.data.decode.header import TooManyPixels, UnusableFile
from snellen.data.decode.image_decoder import header
from snellen.data.inference_inputs import (
    BATCH,
    NamedBatch,
    concatenate_frames,
    list_pages,
    needs_frame_pairs,
    read_image,
    single_frame_preprocessing,
)
from snellen.serving.http_errors import CLOSE_CONNECTION, HTTPError
from snellen.serving.limits import Limits

FORM = "multipart/form-data"
IMAGE_TYPES = ("image/*", "application/octet-stream")
CSV_TYPES = ("text/csv", "text/tab-separated-values", "text/plain", "application/csv")
JSONL_TYPES = ("application/jsonl", "application/x-ndjson", "application/x-jsonlines")
_MAX_PART_HEADER = 8 << 10  # bytes of the headers of a part
_MAX_NAME = 255  # characters of a file name in a response


class RequestFile(NamedTuple):
    """An uploaded file: name, Content-Type ("" if absent), bytes."""

    name: str
    kind: str
    content: bytes | bytearray


def content_types(spec: Spec) -> tuple[str, ...]:
    """The Content-Types that a model supports."""
    return (FORM, *IMAGE_TYPES) if spec.modality == "image" else (FORM, *CSV_TYPES, *JSONL_TYPES, "application/json")


def check_content_type(content_type: str, spec: Spec) -> None:
    """Raise HTTPError 415 for a Content-Type that the model does not support."""
    message = _content_type_header(content_type)
    kind = message.get_content_type() if content_type else "application/octet-stream"
    supported = content_types(spec)
    charset = (message.get_param("charset") or "utf-8") if kind.startswith(("text/", "application/j")) else "utf-8"
    if str(charset).lower().replace("-", "") not in ("utf8", "usascii"):
        raise HTTPError(415, "unsupported-type", f"The text is in {charset}", "Send it in UTF-8.", CLOSE_CONNECTION)
    is_supported = kind in supported or (kind.startswith("image/") and "image/*" in supported)
    if not is_supported or (spec.modality != "image" and not content_type):
        raise HTTPError(
            415,
            "unsupported-type",
            f"The model does not support {kind or 'a body without Content-Type'}",
            f"Send a form (curl -F file=@FILE) or {', '.join(supported[1:])}.",
            CLOSE_CONNECTION,
        )


def inputs(
    body: bytes | bytearray, content_type: str, spec: Spec, preprocessing: Preprocessing, limits: Limits
) -> Iterator[NamedBatch]:
    """Names and inputs of a request: images one by one, table rows 64 at a time, as in `predict`.

    Raises:
        HTTPError: for a malformed body, or too many inputs.
        DataError: for unreadable files; for images after all were tried.
    """
    if _content_type_header(content_type).get_content_type() == FORM:
        files = multipart_files(body, content_type, limits.max_inputs)
    else:
        files = [RequestFile("body", content_type.partition(";")[0].strip().lower(), body)]
    empty_names = [file.name for file in files if not file.content]
    if empty_names or not files:
        raise HTTPError(
            400,
            "no-input",
            f"{empty_names[0]} has 0 bytes" if empty_names else "The form has no file",
            "Send a file: curl -F file=@FILE",
        )
    yield from (
        _image_inputs(files, spec, preprocessing, limits)
        if spec.modality == "image"
        else _table_inputs(files, spec, limits)
    )


# -- forms -----------------------------------------------------------------------------------------------------------


def _content_type_header(content_type: str) -> Message:
    message = Message()
    message["Content-Type"] = content_type or "application/octet-stream"
    return message


def multipart_files(body: bytes | bytearray, content_type: str, max_files: int) -> list[RequestFile]:
    """The files of a multipart form, in order.

    Raises:
        HTTPError: 400 for a malformed form or a field that is not a file; 413 for more than `max_files` files.
    Source: RFC 7578; RFC 2046, section 5.1.
    """
    boundary = _content_type_header(content_type).get_boundary()
    if not boundary or len(boundary) > 70 or not boundary.isascii():
        _malformed("the Content-Type has no boundary")
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), max_files + 3)
    if len(parts) == 1:
        _malformed("its boundary does not occur in the body")
    num_parts = len(parts) - 1
    closing = [k for k in range(1, num_parts + 1) if parts[k].startswith(b"--")]
    if num_parts > max_files + 1 or (num_parts > max_files and not closing):
        raise HTTPError(
            413, "too-many-inputs", f"The form has more than {max_files} files", "Split them into several requests."
        )
    if closing != [num_parts]:
        _malformed("it is truncated" if not closing else "there is data after its end")
    return [_multipart_file(part) for part in parts[1:num_parts]]


def _multipart_file(part: bytes) -> RequestFile:
    header_bytes, separator, content = part.partition(b"\r\n\r\n")
    if not separator or not header_bytes.lstrip(b" \t").startswith(b"\r\n") or len(header_bytes) > _MAX_PART_HEADER:
        _malformed("a part has no complete headers")
    try:
        headers = email.parser.HeaderParser().parsestr(header_bytes.lstrip(b" \t")[2:].decode("utf-8", "replace"))
        name = headers.get_filename()
        disposition, encoding = (
            headers.get_content_disposition(),
            str(headers.get("Content-Transfer-Encoding", "binary")),
        )
        kind = headers.get_content_type() if "Content-Type" in headers else ""
    except Exception:  # the standard library's parser raises many types on malformed headers
        _malformed("the headers of a part cannot be parsed")
    # Python 3.11.2 (not 3.11.7) calls the headers of a form within the form defective: its parts are not parsed here.
    defects = [one for one in headers.defects if not isinstance(one, email.errors.MultipartInvariantViolationDefect)]
    if defects or disposition != "form-data":
        _malformed("the Content-Disposition of a part is not form-data")
    if encoding.strip().lower() not in ("binary", "8bit", "7bit"):
        _malformed("a part has a Content-Transfer-Encoding, which forms do not support")
    if name is None:
        _malformed("a field is not a file (it has no filename)")
    return RequestFile(name[:_MAX_NAME] or "file", kind, content)


def _malformed(reason: str) -> NoReturn:
    raise HTTPError(
        400, "malformed-multipart", f"The form cannot be parsed: {reason}", "Send it as curl -F file=@FILE does."
    )


# -- images ----------------------------------------------------------------------------------------------------------


def _image_inputs(
    files: Sequence[RequestFile], spec: Spec, preprocessing: Preprocessing, limits: Limits
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
    file: RequestFile, spec: Spec, preprocessing: Preprocessing, limits: Limits
) -> Iterator[tuple[str, Tensor]]:
    with _named_errors(file):
        stream = io.BytesIO(file.content)
        _check_pixels(stream, spec, preprocessing, limits.max_pixels)
        samples = list_pages(stream, file.name, preprocessing)
        if len(samples) > limits.max_inputs:  # before decoding any
            raise _too_many_pages(limits)
        for name, page in samples:
            yield name, read_image(stream, spec, preprocessing, page)


def _too_many_pages(limits: Limits) -> HTTPError:
    return HTTPError(
        413, "too-many-inputs", f"There are more than {limits.max_inputs:,} pages", "Split them into several requests."
    )


def _pair_inputs(
    first: RequestFile, second: RequestFile, spec: Spec, preprocessing: Preprocessing, limits: Limits
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
def _named_errors(file: RequestFile) -> Iterator[None]:
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


# -- tables ----------------------------------------------------------------------------------------------------------


def _table_inputs(files: Sequence[RequestFile], spec: Spec, limits: Limits) -> Iterator[NamedBatch]:
    from snellen.data.formats.table import read_rows

    too_many = HTTPError(
        413, "too-many-inputs", f"There are more than {limits.max_inputs:,} rows", "Split them into several requests."
    )
    if any(b'"' not in file.content and file.content.count(b"\n") > limits.max_inputs + 1 for file in files):
        raise too_many  # without quotes each line is a row: count before parsing
    remaining = limits.max_inputs
    for file in files:
        names, x = read_rows(_as_text(file), spec)
        remaining -= len(names)
        if remaining < 0:
            raise too_many
        if len(files) > 1:
            names = [f"{file.name}, {name}" for name in names]
        for start in range(0, len(names), BATCH):
            yield names[start : start + BATCH], x[start : start + BATCH]


def _as_text(file: RequestFile) -> TextIO:
    if file.kind != "application/json" and not file.name.lower().endswith(".json"):
        return io.TextIOWrapper(io.BytesIO(file.content), encoding="utf-8-sig", newline="")
    try:
        plain = json.loads(
            file.content.decode("utf-8-sig"), object_pairs_hook=_unique_keys, parse_constant=_reject_constant
        )
    except (ValueError, RecursionError) as error:
        raise HTTPError(
            400,
            "malformed-json",
            f"The JSON cannot be parsed: {str(error)[:200]}",
            'Send {"rows": [{"COLUMN": VALUE, ...}, ...]}.',
        ) from error
    if isinstance(plain, dict) and list(plain) == ["rows"] and isinstance(plain["rows"], list):
        plain = plain["rows"]
    rows = plain if isinstance(plain, list) else [plain]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise HTTPError(400, "malformed-json", "The JSON has no rows", 'Send {"rows": [{"COLUMN": VALUE, ...}, ...]}.')
    return io.StringIO("\n".join(map(json.dumps, rows)))


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise ValueError("duplicate key in an object")
    return entry


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not strict JSON")
