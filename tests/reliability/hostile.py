"""Malformed HTTP requests of many kinds, as raw bytes, each with the accepted response statuses.

Each function of `KINDS` makes a random case. It is sent to the image server, or with `rows` to the table server.
"""

from __future__ import annotations

import io
import json
import random
import string
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, PngImagePlugin

BOUNDARY = "b0undary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
ROWS = b"size,kind\n3,a\n4,b\n"
READABLE_OR_NOT = (200, 413, 422)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Malformed request with the accepted responses.

    Args:
        chunks: sent one after the other.
        statuses: accepted statuses of the first response.
        silent: whether no response is accepted too: the client has left, or the bytes are not recognisable as HTTP.
        rows: sent to the table server.
        pause: seconds after each chunk.
        leaves: the client closes the connection without reading; `half`: it closes its sending side only.
        answers: maximum number of responses to read.
    """

    chunks: tuple[bytes, ...]
    statuses: tuple[int, ...]
    silent: bool = False
    rows: bool = False
    pause: float = 0.0
    leaves: bool = False
    half: bool = False
    answers: int = 1


def request(
    body: bytes = b"",
    kind: str | None = "image/png",
    *,
    method: str = "POST",
    path: str = "/predict",
    length: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Raw bytes of an HTTP request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if "Transfer-Encoding" not in (headers or {}):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def field(content: bytes, disposition: str = 'form-data; name="file"; filename="x.png"', more: str = "") -> bytes:
    """Raw bytes of one part of a multipart form."""
    return f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n{more}\r\n".encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def picture(draw: random.Random, kind: str = "PNG", size: tuple[int, int] | None = None, mode: str = "L") -> bytes:
    """Random image file."""
    width, height = size or (draw.randint(1, 40), draw.randint(1, 40))
    shape = (height, width) if mode in ("L", "I;16") else (height, width, len(mode))
    values = np.random.default_rng(draw.getrandbits(32)).integers(0, 255, shape)
    deep = np.uint16 if mode == "I;16" else np.uint8
    buffer = io.BytesIO()
    Image.fromarray(values.astype(deep), mode if mode != "I;16" else None).save(buffer, format=kind)
    return buffer.getvalue()


def png(width: int, height: int, content: bytes, extra: bytes = b"") -> bytes:
    """PNG with a header of the given size around arbitrary compressed content."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", content) + chunk(b"IEND", b"")


# -- forms -----------------------------------------------------------------------------------------------------------


def truncated_form(draw: random.Random) -> Case:
    whole = field(picture(draw)) + END
    cut = whole[: draw.randrange(1, len(whole) - 5)]
    return Case(chunks=(request(cut, FORM),), statuses=(400,))


def wrong_boundary(draw: random.Random) -> Case:
    other = draw.choice(
        [
            "",
            "; boundary=",
            "; boundary=other",
            "; boundary=" + "b" * 71,
            "; boundary=\xff",
            '; bound="',
            f"; boundary={BOUNDARY}x",
            "; boundary*=UTF-8''%ff",
        ]
    )
    return Case(chunks=(request(field(picture(draw)) + END, "multipart/form-data" + other),), statuses=(400,))


def odd_parts(draw: random.Random) -> Case:
    good = picture(draw)
    body = draw.choice(
        [
            END,
            b"",
            b"--" + BOUNDARY.encode(),
            field(good),
            field(good) + END + field(good),
            field(good) + END + END,
            field(good, "form-data") + END,
            field(good, "attachment; filename=x") + END,
            field(good, "") + END,
            field(good, 'form-data; name="file"') + END,
            field(b"") + END,
            field(good) + field(b"") + END,
            field(good, more="Content-Transfer-Encoding: base64\r\n") + END,
            field(good, more="x" * 9000 + "\r\n") + END,
            field(good, more="\x00\x01\r\n") + END,
            f"--{BOUNDARY}\r\n{BOUNDARY}".encode() + END,
            field(good).replace(b"\r\n\r\n", b"\n\n", 1) + END,
            field(good).replace(b"\r\n", b"\n") + END,
        ]
    )
    return Case(chunks=(request(body, FORM),), statuses=(400,))


def many_parts(draw: random.Random) -> Case:
    return Case(chunks=(request(field(picture(draw)) * draw.choice([65, 66, 300]) + END, FORM),), statuses=(413,))


def one_bad_among_good(draw: random.Random) -> Case:
    parts = [field(picture(draw)) for _ in range(4)]
    parts.insert(draw.randrange(5), field(draw.randbytes(draw.randint(1, 200))))
    return Case(chunks=(request(b"".join(parts) + END, FORM),), statuses=(422,))


def nested_form(draw: random.Random) -> Case:
    inner = field(picture(draw)) + END
    body = b"--outer\r\nContent-Disposition: form-data; name=f; filename=x\r\nContent-Type: " + FORM.encode()
    return Case(
        chunks=(request(body + b"\r\n\r\n" + inner + b"\r\n--outer--\r\n", "multipart/form-data; boundary=outer"),),
        statuses=(422,),
    )


def nasty_name(draw: random.Random) -> Case:
    name = draw.choice(
        [
            "../../../etc/passwd",
            "C:\\windows\\system32\\x.png",
            "/dev/zero",
            "%2e%2e%2fx",
            "тест.png",
            "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe",
            "\N{PILE OF POO}" * 300,
            "a" * 5000,
            "<script>",
            ".",
            "x%0d%0aX: y",
            "\x00",
            "$(reboot)",
            "-rf",
            "http://169.254.169.254/",
            "file:///etc/passwd",
            "x\tz",
        ]
    )
    parameter = draw.choice([f'filename="{name}"', "filename*=UTF-8''" + "".join(f"%{b:02x}" for b in name.encode())])
    return Case(
        chunks=(request(field(picture(draw), f'form-data; name="file"; {parameter}') + END, FORM),), statuses=(200, 400)
    )


# -- the message -----------------------------------------------------------------------------------------------------


def short_length(draw: random.Random) -> Case:
    body = field(picture(draw)) + END
    return Case(chunks=(request(body, FORM, length=draw.randrange(len(body) - 10)),), statuses=(400,))


def long_length(draw: random.Random) -> Case:
    body = picture(draw)
    return Case(
        chunks=(request(body, length=len(body) + draw.randint(1, 10_000)),), statuses=(408,), silent=True, half=True
    )


def odd_length(draw: random.Random) -> Case:
    length = draw.choice(["-1", "1e3", "0x10", "", "9" * 400, "1,2", "1 1", "+5", "\u0661"])
    raw = request(b"12345", length=5).replace(b"Content-Length: 5", b"Content-Length: " + length.encode())
    return Case(chunks=(raw,), statuses=(400, 413))


def two_lengths(draw: random.Random) -> Case:
    more = draw.choice(
        [
            {"Content-Length": "3"},
            {"Content-Length": "5", "X": "y"},
            {"Transfer-Encoding": "chunked, x"},
            {"Transfer-Encoding": "gzip"},
            {"transfer-encoding": "identity"},
        ]
    )
    return Case(chunks=(request(b"12345", headers=more),), statuses=(400, 422), silent=True)


def chunked_garbage(draw: random.Random) -> Case:
    body = draw.choice(
        [
            b"zz\r\nabc\r\n0\r\n\r\n",
            b"-1\r\n\r\n",
            b"fffffffffffffffffffffff\r\n",
            b"5\r\nabc",
            b"\r\n",
            b"5;" + b"x" * 70_000,
            b"3\r\nabcdef\r\n0\r\n\r\n",
            draw.randbytes(300),
        ]
    )
    return Case(
        chunks=(request(body, headers={"Transfer-Encoding": "chunked"}),), statuses=(400, 408), silent=True, half=True
    )


def too_long(draw: random.Random) -> Case:
    size = (1 << 20) + draw.randint(1, 1 << 20)
    if draw.random() < 0.5:
        return Case(
            chunks=(request(draw.randbytes(1000) * (size // 1000 + 1), draw.choice(["image/png", FORM])),),
            statuses=(413,),
        )
    pieces = b"".join(b"10000\r\n" + b"x" * 0x10000 + b"\r\n" for _ in range(size // 0x10000 + 1)) + b"0\r\n\r\n"
    return Case(chunks=(request(pieces, headers={"Transfer-Encoding": "chunked"}),), statuses=(413,))


def too_long_by_header(draw: random.Random) -> Case:
    return Case(
        chunks=(request(length=10 ** draw.randint(7, 15), headers={"Expect": "100-continue"}),), statuses=(413,)
    )


def huge_head(draw: random.Random) -> Case:
    more = draw.choice([{"X-Long": "x" * 100_000}, {f"X-{k}": "y" * 50 for k in range(3000)}])
    # Whether a head is too long depends on how the bytes arrive: one read is parsed as a whole.
    return Case(chunks=(request(picture(draw), headers=more),), statuses=(200, 400), silent=True)


def odd_head(draw: random.Random) -> Case:
    good = request(picture(draw))
    raw = draw.choice(
        [
            good.replace(b"Host: 127.0.0.1\r\n", b""),
            good.replace(b"127.0.0.1", b"a\r\nHost: b"),
            good.replace(b"Content-Type", b"Content Type"),
            good.replace(b"Content-Type: ", b"Content-Type\x00: "),
            good.replace(b"image/png", b"image/png\x00"),
            good.replace(b"HTTP/1.1", b"HTTP/9.9"),
            good.replace(b"HTTP/1.1", b""),
            good.replace(b"POST ", b"POST\x00"),
            good.replace(b"/predict", b"/pre dict"),
            good.replace(b"Host", b" Host"),
            good.replace(b"\r\n\r\n", b"\r\n X: y\r\n\r\n", 1),
        ]
    )
    return Case(chunks=(raw,), statuses=(200, 400, 415, 421), silent=True, half=True)


def noise(draw: random.Random) -> Case:
    raw = draw.choice(
        [
            draw.randbytes(draw.randint(1, 3000)),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET /\r\n",
            b"\r\n" * 5000,
            b"SSH-2.0-x\r\n",
            b"CONNECT a.b:443 HTTP/1.1\r\nHost: a.b\r\n\r\n",
            b"\x00" * 70_000,
        ]
    )
    return Case(chunks=(raw,), statuses=(400, 404, 405, 421), silent=True, half=True)


def wrong_method(draw: random.Random) -> Case:
    method = draw.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "post"])
    return Case(chunks=(request(b"12345", method=method),), statuses=(405,))


def wrong_path(draw: random.Random) -> Case:
    path = draw.choice(
        [
            "/../../etc/passwd",
            "/predict/",
            "/predict/../info",
            "/%00",
            "//predict",
            "/predict%2f",
            "/a" * 3000,
            "/..%2f..%2fetc%2fpasswd",
            "/predict;x=y",
            "/\u00e9",
            "*",
        ]
    )
    return Case(chunks=(request(b"12345", path=path),), statuses=(400, 404), silent=True)


def foreign_origin(draw: random.Random) -> Case:
    good = request(picture(draw))
    if draw.random() < 0.5:
        host = draw.choice([b"evil.example", b"127.0.0.1.evil.example", b"localhost.evil.example:80", b"[::]"])
        return Case(chunks=(good.replace(b"Host: 127.0.0.1", b"Host: " + host),), statuses=(421,))
    origin = draw.choice(["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost", "file://"])
    return Case(chunks=(request(picture(draw), headers={"Origin": origin}),), statuses=(403,))


def upgrade(draw: random.Random) -> Case:
    more = {
        "Connection": "Upgrade",
        "Upgrade": draw.choice(["websocket", "h2c"]),
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    return Case(chunks=(request(b"", method="GET", headers=more),), statuses=(405,))


def compressed(draw: random.Random) -> Case:
    encoding = draw.choice(["gzip", "deflate", "br", "gzip, gzip", "x"])
    body = zlib.compress(bytes(10_000_000)) if draw.random() < 0.5 else picture(draw)
    return Case(chunks=(request(body, headers={"Content-Encoding": encoding}),), statuses=(415,))


def wrong_kind(draw: random.Random) -> Case:
    kind = draw.choice(
        [
            "text/html",
            "application/json",
            "text/csv",
            "application/x-www-form-urlencoded",
            "multipart/mixed",
            "video/mp4",
            "/",
            ";",
            "\xff",
            "image",
            "application/zip",
            "x" * 3000,
        ]
    )
    return Case(chunks=(request(picture(draw), kind),), statuses=(400, 415))


def early_close(draw: random.Random) -> Case:
    raw = request(field(picture(draw)) + END, FORM)
    return Case(chunks=(raw[: draw.randrange(1, len(raw))],), statuses=(), silent=True, leaves=True)


def close_before_response(draw: random.Random) -> Case:
    return Case(chunks=(request(picture(draw)),), statuses=(), silent=True, leaves=True)


def pipelined(draw: random.Random) -> Case:
    bad = draw.choice([wrong_method, wrong_kind, foreign_origin, web_page, empty])(draw).chunks[0]
    good = request(picture(draw))
    several = draw.choice([[bad, good, good], [good, bad, good], [bad] * 20, [good] * 9])
    return Case(chunks=(b"".join(several),), answers=len(several), statuses=(200, 400, 403, 405, 415, 421, 422))


def slow_head(draw: random.Random) -> Case:
    raw = request(picture(draw))
    return Case(chunks=tuple(raw[k : k + 1] for k in range(40)), pause=0.1, statuses=(408,), silent=True)


def slow_body(draw: random.Random) -> Case:
    raw = request(b"x" * 40, length=1000)
    head, body = raw[:-40], raw[-40:]
    return Case(chunks=(head, *(body[k : k + 1] for k in range(40))), pause=0.1, statuses=(408,))


# -- files -----------------------------------------------------------------------------------------------------------


def empty(draw: random.Random) -> Case:
    return Case(chunks=(request(b""),), statuses=(400,))


def web_page(draw: random.Random) -> Case:
    body = draw.choice(
        [
            b"<!doctype html><p>404",
            b"<html>" * 1000,
            b'<?xml version="1.0"?><svg onload="alert(1)"/>',
            b"<svg>",
            b"PK\x03\x04" + b"\0" * 200,
            b"%PDF-1.7",
            b"\x7fELF",
            b"#!/bin/sh",
            b"GIF89a",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            b"\x80\x04\x95",
            b"RIFF\xff\xff\xff\xffWEBP",
        ]
    )
    return Case(
        chunks=(request(body, draw.choice(["image/png", "image/jpeg", "application/octet-stream"])),), statuses=(422,)
    )


def bomb(draw: random.Random) -> Case:
    zeros = zlib.compress(bytes(1 << 16))
    width, height = draw.choice([(100_000, 100_000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1), (60_000, 1000)])
    return Case(chunks=(request(png(width, height, zeros)),), statuses=(413, 422))


def inflating(draw: random.Random) -> Case:
    """Compressed a thousandfold: pixels, text or a colour profile."""
    zeros = zlib.compress(bytes(4001 * 4000), 9)
    if draw.random() < 0.3:
        return Case(chunks=(request(png(4000, 4000, zeros)),), statuses=(200,))
    if draw.random() < 0.5:
        return Case(chunks=(request(png(8, 8, zeros)),), statuses=(200, 422))
    info = PngImagePlugin.PngInfo()
    info.add_text("x", "y" * 40_000_000, zip=True)
    buffer = io.BytesIO()
    extra = {"pnginfo": info} if draw.random() < 0.5 else {"icc_profile": bytes(40_000_000)}
    Image.new("L", (8, 8)).save(buffer, "PNG", **extra)  # type: ignore[arg-type]
    return Case(chunks=(request(buffer.getvalue()),), statuses=READABLE_OR_NOT)


def stacked(draw: random.Random) -> Case:
    """TIFF with many pages or channels, or with a cycle of directories."""
    import tifffile

    buffer = io.BytesIO()
    if draw.random() < 0.3:
        tifffile.imwrite(
            buffer,
            np.zeros((200, 200, draw.choice([2, 5, 300])), np.uint8),
            photometric="minisblack",
            planarconfig="contig",
            compression="zlib",
        )
    else:
        tifffile.imwrite(
            buffer,
            np.zeros((draw.choice([2, 500]), 8, 8), draw.choice([np.uint8, np.float32])),
            photometric="minisblack",
        )
    raw = bytearray(buffer.getvalue())
    if draw.random() < 0.4:  # the first directory links to itself
        at = struct.unpack("<I", raw[4:8])[0]
        count = struct.unpack("<H", raw[at : at + 2])[0]
        raw[at + 2 + 12 * count : at + 6 + 12 * count] = struct.pack("<I", at)
    return Case(chunks=(request(bytes(raw), "image/tiff"),), statuses=READABLE_OR_NOT)


def mutated(draw: random.Random) -> Case:
    kind, mode = draw.choice(
        [
            ("PNG", "L"),
            ("PNG", "RGBA"),
            ("PNG", "I;16"),
            ("JPEG", "RGB"),
            ("GIF", "L"),
            ("BMP", "RGB"),
            ("WEBP", "RGB"),
            ("TIFF", "L"),
            ("TIFF", "I;16"),
            ("PPM", "RGB"),
            ("TIFF", "RGB"),
        ]
    )
    raw = bytearray(picture(draw, kind, mode=mode))
    choice = draw.random()
    if choice < 0.3:
        raw = raw[: draw.randrange(1, len(raw))]
    elif choice < 0.8:
        for _ in range(draw.choice([1, 2, 8, 40])):
            raw[draw.randrange(min(len(raw), draw.choice([64, 1 << 20])))] = draw.randrange(256)
    else:
        at = draw.randrange(len(raw))
        raw[at:at] = draw.randbytes(draw.randint(1, 100))
    body = bytes(raw)
    if draw.random() < 0.5:
        return Case(chunks=(request(field(body) + END, FORM),), statuses=READABLE_OR_NOT)
    return Case(chunks=(request(body, f"image/{kind.lower()}"),), statuses=READABLE_OR_NOT)


def not_finite(draw: random.Random) -> Case:
    import tifffile

    values = np.full((8, 8), draw.choice([np.nan, np.inf, -np.inf, 3e38, -3e38]), np.float32)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values)
    return Case(chunks=(request(buffer.getvalue(), "image/tiff"),), statuses=(200, 422))


# -- tables ----------------------------------------------------------------------------------------------------------


def bad_json(draw: random.Random) -> Case:
    text = draw.choice(
        [
            "[" * 100_000,
            '{"rows":' * 50_000,
            "{",
            "",
            "null",
            "3",
            '"x"',
            "[]",
            "{}",
            "[[]]",
            "[1]",
            '{"rows": 3}',
            '{"rows": []}',
            '[{"size": NaN, "kind": "a"}]',
            '[{"size": Infinity, "kind": "a"}]',
            '{"size": 1e999, "kind": "a"}',
            '{"size": 1, "size": 2, "kind": "a"}',
            '{"size": {"x": 1}, "kind": "a"}',
            '{"size": [1], "kind": "a"}',
            '{"size": ' + "9" * 5000 + ', "kind": "a"}',
            '{"size": 1, "kind": "\\ud800"}',
            "\ufeff\ufeff{}",
            "{'size': 1}",
            '{"size": "", "kind": "a"}',
            '{"size": null, "kind": "a"}',
            '{"size": true, "kind": "a"}',
            "[" + "{}," * 999 + "{}]",
        ]
    )
    kind = draw.choice(["application/json", "application/json", "application/x-ndjson"])
    return Case(chunks=(request(text.encode(), kind),), statuses=(400, 422), rows=True)


def bad_table(draw: random.Random) -> Case:
    body = draw.choice(
        [
            b"siize,kind\n3,a\n",
            b"kind\na\n",
            b"size,kind\n3,c\n",
            b"size,kind\nx,a\n",
            b"size,kind\n3\n",
            b"size,kind\n",
            b"size,kind\nnan,a\n",
            b"size,kind\ninf,a\n",
            b"size,kind\n,a\n",
            b'size,kind\n"3,a\n',
            b"\xff\xfes\x00i\x00",
            b"size,kind\n3,a\x00\n",
            b"size,size,kind\n3,3,a\n",
            b"\xc3\x28,kind\n3,a\n",
            b"size,kind\n" + b"3,a,\n" * 9,
            b"size;kind\n3;;a\n",
            b"," * 100_000,
            b'"' * 99_999,
            b"\n" * 99_999,
            b"=cmd|' /C calc'!A0,kind\n3,a\n",
            b"size,kind\n" + b"9" * 200_000 + b",a\n",
            picture(draw),
            b"<html><body>",
            b"size,kind\n1e400,a\n",
        ]
    )
    kind = draw.choice(["text/csv", "text/csv", FORM])
    content = field(body, 'form-data; name="file"; filename="x.csv"') + END if kind == FORM else body
    return Case(chunks=(request(content, kind),), statuses=(400, 413, 422), rows=True)


def long_table(draw: random.Random) -> Case:
    rows = draw.choice([b"3,a\n" * 20_000, b"3,a\n" * 200_000])
    return Case(chunks=(request(b"size,kind\n" + rows, "text/csv"),), statuses=(413,), rows=True)


def wrong_kind_of_table(draw: random.Random) -> Case:
    kind = draw.choice(
        [
            "image/png",
            "application/xml",
            None,
            "text/csv; charset=utf-16",
            "application/x-www-form-urlencoded",
            "text/" + "".join(draw.choices(string.ascii_lowercase, k=9)),
        ]
    )
    return Case(chunks=(request(ROWS, kind),), statuses=(415,), rows=True)


def pictures_for_rows(draw: random.Random) -> Case:
    body = json.dumps({"rows": [{"size": 1, "kind": "a"}] * draw.randint(1, 5)}).encode()
    return Case(chunks=(request(body, "application/json"),), statuses=(415,))


KINDS: tuple[Callable[[random.Random], Case], ...] = (
    truncated_form,
    wrong_boundary,
    odd_parts,
    many_parts,
    one_bad_among_good,
    nested_form,
    nasty_name,
    short_length,
    long_length,
    odd_length,
    two_lengths,
    chunked_garbage,
    too_long,
    too_long_by_header,
    huge_head,
    odd_head,
    noise,
    wrong_method,
    wrong_path,
    foreign_origin,
    upgrade,
    compressed,
    wrong_kind,
    early_close,
    close_before_response,
    pipelined,
    empty,
    web_page,
    bomb,
    inflating,
    stacked,
    mutated,
    mutated,
    mutated,
    not_finite,
    bad_json,
    bad_table,
    long_table,
    wrong_kind_of_table,
    pictures_for_rows,
)
SLOW = (slow_head, slow_body)
