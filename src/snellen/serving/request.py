"""Request parsing: images and tables, raw or as multipart form, to model inputs."""

from __future__ import annotations

import email.errors
import email.parser
from collections.abc import Iterator
from email.message import Message
from typing import NoReturn

from snellen.core.spec import Preprocessing, Spec
from snellen.modalities import modality_of
from snellen.modalities.modality import NamedBatch, Upload, UploadLimits
from snellen.serving.http_errors import CLOSE_CONNECTION, HTTPError
from snellen.serving.limits import Limits

FORM = "multipart/form-data"
_MAX_PART_HEADER = 8 << 10  # bytes of the headers of a part
_MAX_NAME = 255  # characters of a file name in a response


def content_types(spec: Spec) -> tuple[str, ...]:
    """The Content-Types that a model supports."""
    return (FORM, *modality_of(spec).content_types)


def check_content_type(content_type: str, spec: Spec) -> None:
    """Raise HTTPError 415 for a Content-Type that the model does not support."""
    message = _content_type_header(content_type)
    kind = message.get_content_type() if content_type else "application/octet-stream"
    supported = content_types(spec)
    charset = (message.get_param("charset") or "utf-8") if kind.startswith(("text/", "application/j")) else "utf-8"
    if str(charset).lower().replace("-", "") not in ("utf8", "usascii"):
        raise HTTPError(415, "unsupported-type", f"The text is in {charset}", "Send it in UTF-8.", CLOSE_CONNECTION)
    is_supported = kind in supported or f"{kind.partition('/')[0]}/*" in supported
    if not is_supported:
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
        files = [Upload("body", content_type.partition(";")[0].strip().lower(), body)]
    empty_names = [file.name for file in files if not file.content]
    if empty_names or not files:
        raise HTTPError(
            400,
            "no-input",
            f"{empty_names[0]} has 0 bytes" if empty_names else "The form has no file",
            "Send a file: curl -F file=@FILE",
        )
    upload_limits = UploadLimits(limits.max_inputs, limits.max_pixels)
    yield from modality_of(spec).read_uploads(files, spec, preprocessing, upload_limits)


# -- forms -----------------------------------------------------------------------------------------------------------


def _content_type_header(content_type: str) -> Message:
    message = Message()
    message["Content-Type"] = content_type or "application/octet-stream"
    return message


def multipart_files(body: bytes | bytearray, content_type: str, max_files: int) -> list[Upload]:
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


def _multipart_file(part: bytes) -> Upload:
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
    return Upload(name[:_MAX_NAME] or "file", kind, content)


def _malformed(reason: str) -> NoReturn:
    raise HTTPError(
        400, "malformed-multipart", f"The form cannot be parsed: {reason}", "Send it as curl -F file=@FILE does."
    )
