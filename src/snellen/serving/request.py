"""What a request sent, as inputs of a model: pictures as they are or as the parts of a form, rows as CSV or JSON."""

from __future__ import annotations

import contextlib
import email.parser
import io
import json
from collections.abc import Iterator, Sequence
from email.message import Message
from typing import NamedTuple, NoReturn, TextIO

from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.spec import Preprocessing, Spec
from snellen.data.decode.header import TooManyPixels, Unusable
from snellen.data.decode.image_decoder import header
from snellen.data.inference_inputs import BATCH, Named, joined, of_one_frame, of_pairs, pages_of, read_picture
from snellen.serving.http_errors import Refused
from snellen.serving.limits import Limits

FORM = "multipart/form-data"
PICTURES = ("image/*", "application/octet-stream")
CSV = ("text/csv", "text/tab-separated-values", "text/plain", "application/csv")
JSONL = ("application/jsonl", "application/x-ndjson", "application/x-jsonlines")
_HEAD = 8 << 10  # bytes of the head of a part
_NAME = 255  # letters of a file's name that are repeated in the answer


class Sent(NamedTuple):
    """One file: what it is called, its Content-Type where one was said, its bytes."""

    name: str
    kind: str
    content: bytes | bytearray


def kinds(spec: Spec) -> tuple[str, ...]:
    """The Content-Types of a body that a model reads."""
    return (FORM, *PICTURES) if spec.modality == "image" else (FORM, *CSV, *JSONL, "application/json")


def refuse_kind(content_type: str, spec: Spec) -> None:
    """Raises Refused for a Content-Type that leads to no input of the model."""
    told = _told(content_type)
    kind = told.get_content_type() if content_type else "application/octet-stream"
    known = kinds(spec)
    charset = (told.get_param("charset") or "utf-8") if kind.startswith(("text/", "application/j")) else "utf-8"
    if str(charset).lower().replace("-", "") not in ("utf8", "usascii"):
        raise Refused(415, "unsupported-type", f"The text is in {charset}", "Send it in UTF-8.")
    taken = kind in known or (kind.startswith("image/") and "image/*" in known)
    if not taken or (spec.modality != "image" and not content_type):
        raise Refused(
            415,
            "unsupported-type",
            f"The model reads no {kind or 'body without a Content-Type'}",
            f"Send a form (curl -F file=@FILE) or {', '.join(known[1:])}.",
        )


def inputs(
    body: bytes | bytearray, content_type: str, spec: Spec, preprocessing: Preprocessing, limits: Limits
) -> Iterator[Named]:
    """Names and inputs of a request: pictures one by one, rows of a table 64 at a time, as `predict` asks them.

    Raises:
        Refused: for what cannot be taken apart, or is too much.
        DataError: for what cannot be read; pictures after all were tried.
    """
    if _told(content_type).get_content_type() == FORM:
        files = parts(body, content_type, limits.max_inputs)
    else:
        files = [Sent("body", content_type.partition(";")[0].strip().lower(), body)]
    empty = [file.name for file in files if not file.content]
    if empty or not files:
        raise Refused(
            400,
            "no-input",
            f"{empty[0]} has 0 bytes" if empty else "The form holds no file",
            "Send a file: curl -F file=@FILE",
        )
    yield from _pictures(files, spec, preprocessing, limits) if spec.modality == "image" else _rows(files, spec, limits)


# -- forms -----------------------------------------------------------------------------------------------------------


def _told(content_type: str) -> Message:
    message = Message()
    message["Content-Type"] = content_type or "application/octet-stream"
    return message


def parts(body: bytes | bytearray, content_type: str, most: int) -> list[Sent]:
    """The files of a form, in their order.

    Raises:
        Refused: 400 for a body that is no whole form, and for a field that is no file; 413 for more than `most` files.
    Source: RFC 7578; RFC 2046, section 5.1.
    """
    boundary = _told(content_type).get_boundary()
    if not boundary or len(boundary) > 70 or not boundary.isascii():
        _malformed("the Content-Type names no boundary")
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), most + 3)
    if len(pieces) == 1:
        _malformed("its boundary does not occur in it")
    last = len(pieces) - 1
    closed = [k for k in range(1, last + 1) if pieces[k].startswith(b"--")]
    if last > most + 1 or (last > most and not closed):
        raise Refused(413, "too-many-inputs", f"The form holds more than {most} files", "Send several requests.")
    if closed != [last]:
        _malformed("it is cut short" if not closed else "it goes on after its end")
    return [_part(piece) for piece in pieces[1:last]]


def _part(piece: bytes) -> Sent:
    head, blank, content = piece.partition(b"\r\n\r\n")
    if not blank or not head.lstrip(b" \t").startswith(b"\r\n") or len(head) > _HEAD:
        _malformed("a part has no head, or none that ends")
    try:
        fields = email.parser.HeaderParser().parsestr(head.lstrip(b" \t")[2:].decode("utf-8", "replace"))
        name = fields.get_filename()
        purpose, coding = fields.get_content_disposition(), str(fields.get("Content-Transfer-Encoding", "binary"))
        kind = fields.get_content_type() if "Content-Type" in fields else ""
    except Exception:  # the standard library's parser fails in many ways on what is no header
        _malformed("the head of a part cannot be read")
    if fields.defects or purpose != "form-data":
        _malformed("a part does not say that it is form-data")
    if coding.strip().lower() not in ("binary", "8bit", "7bit"):
        _malformed("a part has a Content-Transfer-Encoding, which forms have not")
    if name is None:
        _malformed("a field of it is no file (it has no filename)")
    return Sent(name[:_NAME] or "file", kind, content)


def _malformed(what: str) -> NoReturn:
    raise Refused(400, "malformed-multipart", f"The form cannot be read: {what}", "Send it as curl -F file=@FILE does.")


# -- pictures --------------------------------------------------------------------------------------------------------


def _pictures(files: Sequence[Sent], spec: Spec, preprocessing: Preprocessing, limits: Limits) -> Iterator[Named]:
    """Each file, or each page of it; of flow each two files, under the name of the first."""
    pairs = of_pairs(spec)
    if pairs and len(files) % 2:
        raise DataError(
            f"{files[-1].name} has no second frame: flow is asked of two files",
            "Send both: curl -F file=@before.png -F file=@after.png",
        )
    asked = (
        [_pair(*two, spec, preprocessing, limits) for two in zip(files[::2], files[1::2], strict=True)]
        if pairs
        else [_pages(file, spec, preprocessing, limits) for file in files]
    )
    problems: list[str] = []
    left = limits.max_inputs
    for samples in asked:
        try:
            for name, x in samples:
                left -= 1
                if left < 0:
                    raise _too_many_pages(limits)
                if not problems:
                    yield [name], x[None]  # (1, C, H, W)
        except TooManyPixels:
            raise
        except Unusable as error:
            problems.append(error.cause)
            remedy = error.remedy
    if problems:
        raise DataError(
            "; ".join(problems[:5]) + (f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""), remedy
        )


def _pages(file: Sent, spec: Spec, preprocessing: Preprocessing, limits: Limits) -> Iterator[tuple[str, Tensor]]:
    with _about(file):
        opened = io.BytesIO(file.content)
        _small_enough(opened, spec, preprocessing, limits.max_pixels)
        samples = pages_of(opened, file.name, preprocessing)
        if len(samples) > limits.max_inputs:  # before any of them is decoded
            raise _too_many_pages(limits)
        for name, page in samples:
            yield name, read_picture(opened, spec, preprocessing, page)


def _too_many_pages(limits: Limits) -> Refused:
    return Refused(
        413, "too-many-inputs", f"There are more than {limits.max_inputs:,} pages", "Send them in several requests."
    )


def _pair(
    first: Sent, second: Sent, spec: Spec, preprocessing: Preprocessing, limits: Limits
) -> Iterator[tuple[str, Tensor]]:
    frames, read = [], of_one_frame(spec, preprocessing)
    for file in (first, second):
        with _about(file):
            opened = io.BytesIO(file.content)
            _small_enough(opened, spec, read, limits.max_pixels)
            frames.append(read_picture(opened, spec, read))
    with _about(first):
        yield first.name, joined(frames, second.name)


@contextlib.contextmanager
def _about(file: Sent) -> Iterator[None]:
    """What cannot be read is told with the name of its file."""
    try:
        yield
    except TooManyPixels as error:
        raise TooManyPixels(f"{file.name} {error.cause}") from error
    except Unusable as error:
        raise Unusable(error.kind, f"{file.name} {error.cause}", error.remedy) from error


def _small_enough(file: io.BytesIO, spec: Spec, preprocessing: Preprocessing, most: int) -> None:
    """Raises TooManyPixels before they are decoded; many channels or pages are as many pixels."""
    found = header(file)
    planes = max(1, found.channels * found.pages / max(4, preprocessing.channels or spec.input.shape[0] or 1))
    if found.height * found.width * planes > most:
        more = f" in {found.channels} channels and {found.pages} pages" if planes > 1 else ""
        raise TooManyPixels(f"has {found.width:,}x{found.height:,} pixels{more}, more than {most:,}")


# -- tables ----------------------------------------------------------------------------------------------------------


def _rows(files: Sequence[Sent], spec: Spec, limits: Limits) -> Iterator[Named]:
    from snellen.data.formats.table import read_rows

    too_many = Refused(
        413, "too-many-inputs", f"There are more than {limits.max_inputs:,} rows", "Send them in several requests."
    )
    if any(b'"' not in file.content and file.content.count(b"\n") > limits.max_inputs + 1 for file in files):
        raise too_many  # without a quote each line is a row, and need not be read to be counted
    left = limits.max_inputs
    for file in files:
        names, x = read_rows(_as_text(file), spec)
        left -= len(names)
        if left < 0:
            raise too_many
        if len(files) > 1:
            names = [f"{file.name}, {name}" for name in names]
        for start in range(0, len(names), BATCH):
            yield names[start : start + BATCH], x[start : start + BATCH]


def _as_text(file: Sent) -> TextIO:
    if file.kind != "application/json" and not file.name.lower().endswith(".json"):
        return io.TextIOWrapper(io.BytesIO(file.content), encoding="utf-8-sig", newline="")
    try:
        plain = json.loads(file.content.decode("utf-8-sig"), object_pairs_hook=_each_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(
            400,
            "malformed-json",
            f"The JSON cannot be read: {str(error)[:200]}",
            'Send {"rows": [{"COLUMN": VALUE, ...}, ...]}.',
        ) from error
    if isinstance(plain, dict) and list(plain) == ["rows"] and isinstance(plain["rows"], list):
        plain = plain["rows"]
    rows = plain if isinstance(plain, list) else [plain]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise Refused(400, "malformed-json", "The JSON holds no rows", 'Send {"rows": [{"COLUMN": VALUE, ...}, ...]}.')
    return io.StringIO("\n".join(map(json.dumps, rows)))


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return entry


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not strict JSON")
