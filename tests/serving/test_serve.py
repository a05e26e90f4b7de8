"""`snellen serve` in a subprocess: predictions equal `snellen predict`; errors have status, code, cause and remedy."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from process import FORM, TIMEOUT, Server, form, png, serving

from snellen.cli.main import main

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (30, 20), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (30, 20, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 1 << 16, (30, 20), dtype=np.uint16)


def encode(kind: str, values: np.ndarray, mode: str = "", **more: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(buffer, kind, **more)
    return buffer.getvalue()


def rotated_jpeg() -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return encode("JPEG", COLOUR, exif=exif)


def deep_tiff() -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, DEEP)
    return buffer.getvalue()


IMAGES: dict[str, Callable[[], bytes]] = {
    "grey.png": lambda: png(GREY),
    "colour.png": lambda: png(COLOUR),
    "deep.png": lambda: png(DEEP),
    "rotated.jpg": rotated_jpeg,
    "cmyk.jpg": lambda: encode("JPEG", COLOUR, "CMYK"),
    "deep.tif": deep_tiff,
    "alpha.png": lambda: encode("PNG", COLOUR, "RGBA"),
    "palette.gif": lambda: encode("GIF", COLOUR, "P"),
    "webp.webp": lambda: encode("WEBP", COLOUR),
    "lzw.tif": lambda: encode("TIFF", GREY, compression="tiff_lzw"),
}


def predictions(*arguments: object) -> list[dict[str, Any]]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["predict", *map(str, arguments)]) == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


def with_names(records: Sequence[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{**record, "input": name} for record, name in zip(records, names, strict=True)]


# -- predictions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # 16-bit images lie outside the value range, as the response warns
def test_image_predictions_equal_predict(server: Server, home: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(IMAGES[name]())
    (expected,) = predictions(home / "digits", tmp_path / name)
    answer = server.predict(IMAGES[name](), "application/octet-stream")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.plain["answers"] == with_names([expected], "body")
    deep = name.startswith("deep")
    assert ("warnings" in answer.plain) == deep
    assert not deep or "outside 0 … 255" in answer.plain["warnings"][0]


def test_a_form_of_images_equals_single_images(server: Server, home: Path, tmp_path: Path) -> None:
    files = [(name, make()) for name, make in IMAGES.items()]
    answer = server.predict(form(files), FORM)
    one_by_one = [server.predict(form([file]), FORM).plain["answers"][0] for file in files]
    assert answer.status == 200
    assert answer.plain["answers"] == one_by_one


def test_responses_are_bit_identical_under_concurrent_requests(server: Server) -> None:
    bodies = [form([(name, make())]) for name, make in IMAGES.items()]
    one_by_one = [server.predict(body, FORM).body for body in bodies]
    with ThreadPoolExecutor(16) as pool:
        concurrent = list(pool.map(lambda body: server.predict(body, FORM).body, bodies * 8))
    assert concurrent == one_by_one * 8


ROWS = [{"size": 3, "kind": "a"}, {"kind": "b", "size": 4.5, "more": None}]
TABLES = {
    "text/csv": b"kind,size\na,3\nb,4.5\n",
    "text/csv; charset=utf-8": b"\xef\xbb\xbfkind;size\r\na;3\r\nb;4,5\r\n",
    "application/json": json.dumps({"rows": ROWS}).encode(),
    "application/json; x=y": json.dumps(ROWS).encode(),
    "application/x-ndjson": b"\n".join(json.dumps(row).encode() for row in ROWS),
}


@pytest.mark.parametrize("kind", TABLES)
def test_table_predictions_equal_predict(table_server: Server, home: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "new.csv").write_bytes(TABLES["text/csv"])
    answer = table_server.predict(TABLES[kind], kind)
    assert answer.plain == {"answers": predictions(home / "rows", tmp_path / "new.csv")}


def test_tables_in_a_form_and_a_single_row(table_server: Server, home: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_bytes(TABLES["text/csv"])
    first, second = predictions(home / "rows", tmp_path / "new.csv")
    files = [("a.csv", TABLES["text/csv"]), ("b.json", TABLES["application/json"])]
    names = [f"{file}, {row}" for file in ("a.csv", "b.json") for row in ("row 1", "row 2")]
    assert table_server.predict(form(files), FORM).plain["answers"] == with_names([first, second] * 2, *names)
    assert table_server.predict(json.dumps(ROWS[0]).encode(), "application/json").plain["answers"] == [first]


def test_two_hundred_rows_equal_predict(table_server: Server, home: Path, tmp_path: Path) -> None:
    text = "size,kind\n" + "".join(f"{k / 7},{'ab'[k % 2]}\n" for k in range(200))
    (tmp_path / "long.csv").write_text(text)
    expected = predictions(home / "rows", tmp_path / "long.csv")
    assert table_server.predict(text.encode(), "text/csv").plain["answers"] == expected


def test_health_info_and_page(server: Server, table_server: Server, home: Path) -> None:
    assert server.request("GET", "/health").plain == {"status": "ok", "waiting": 0}
    info = server.request("GET", "/info").plain
    assert info["classes"] == [str(k) for k in range(10)]
    assert (info["model"], info["task"], info["input"]["channels"]) == ("softmax", "classify", 1)
    record = json.loads((home / "digits" / "run.json").read_text())
    assert info["sha256"] == record["files"]["model.safetensors"]
    assert info["limits"]["max_bytes"] == 32 << 20
    table_info = table_server.request("GET", "/info").plain
    assert (table_info["targets"], table_info["units"]) == (["height"], ["mm"])
    assert [column["name"] for column in table_info["input"]["columns"]] == ["size", "kind"]
    assert str(home) not in json.dumps([info, table_info])
    page = server.request("GET", "/")
    assert page.headers["content-type"].startswith("text/html")
    assert f"curl -F file=@image.png http://127.0.0.1:{server.port}/predict" in page.body.decode()
    assert server.startup_lines[1].split(None, 1)[1].strip() in page.body.decode()


def test_openapi_document(server: Server, table_server: Server) -> None:
    for each_server in (server, table_server):
        document = each_server.request("GET", "/openapi.json").plain
        assert document["openapi"].startswith("3.1")
        assert set(document["paths"]) == {"/predict", "/health", "/info"}
        operation = document["paths"]["/predict"]["post"]
        assert (
            list(operation["requestBody"]["content"])
            == each_server.request("GET", "/info").plain["input"]["content_types"]
        )
        assert {"200", "400", "413", "415", "422", "429", "503"} <= set(operation["responses"])
        operations = [entry["operationId"] for path in document["paths"].values() for entry in path.values()]
        assert len(set(operations)) == len(operations)


# -- errors ----------------------------------------------------------------------------------------------------------

GOOD = png(GREY)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("POST", "/predict", form([("x", GOOD)], ending="x"), {"Content-Type": FORM}, 400, "malformed-multipart"),
        ("POST", "/predict", form([("x", GOOD)]), {"Content-Type": "multipart/form-data"}, 400, "malformed-multipart"),
        ("POST", "/predict", form([]), {"Content-Type": FORM}, 400, "no-input"),
        ("POST", "/predict", form([("x", b"")]), {"Content-Type": FORM}, 400, "no-input"),
        ("POST", "/predict", b"", {"Content-Type": "image/png"}, 400, "no-input"),
        ("GET", "/health", b"", {"Origin": "http://evil.example"}, 403, "foreign-origin"),
        ("GET", "/nothing", b"", {}, 404, "not-found"),
        ("GET", "/predict", b"", {}, 405, "method-not-allowed"),
        ("POST", "/predict", form([("x", GOOD)] * 65), {"Content-Type": FORM}, 413, "too-many-inputs"),
        ("POST", "/predict", GOOD, {"Content-Type": "application/pdf"}, 415, "unsupported-type"),
        (
            "POST",
            "/predict",
            GOOD,
            {"Content-Type": "image/png", "Content-Encoding": "gzip"},
            415,
            "unsupported-encoding",
        ),
        ("GET", "/health", b"", {"Host": "evil.example"}, 421, "wrong-host"),
        ("POST", "/predict", b"<html>", {"Content-Type": "image/png"}, 422, "unreadable"),
        ("POST", "/predict", GOOD[:-30], {"Content-Type": "image/png"}, 422, "unreadable"),
    ],
)
def test_an_error_has_status_code_cause_and_remedy(
    server: Server, method: str, path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = server.request(method, path, body, headers)
    assert (answer.status, answer.code) == (status, code)
    assert answer.plain["error"]["cause"]
    assert answer.plain["error"]["remedy"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "code", "cause_part"),
    [
        (b"{", "application/json", 400, "malformed-json", "Expecting"),
        (b'{"size": NaN, "kind": "a"}', "application/json", 400, "malformed-json", "NaN"),
        (b"[" * 99_999, "application/json", 400, "malformed-json", "recursion"),
        (b'{"size": 1, "kind": "c"}', "application/json", 422, "unreadable", "'c' was not in the training data"),
        (b'{"size": 1, "kind": "\\ud800"}', "application/json", 422, "unreadable", "was not in the training data"),
        (b'{"siize": 1, "kind": "a"}', "application/json", 422, "unreadable", "has no column 'size'"),
        (b"size,kind\nx,a\n", "text/csv", 422, "unreadable", "not a finite number"),
        (b"size,kind\n" + b"1,a\n" * 10_001, "text/csv", 413, "too-many-inputs", "10,000 rows"),
        (b'size,kind\n"1",a\n' + b"1,a\n" * 10_001, "text/csv", 413, "too-many-inputs", "10,000 rows"),
        (b"size,kind\n1,a\n", "text/csv; charset=utf-16", 415, "unsupported-type", "utf-16"),
        (GOOD, "image/png", 415, "unsupported-type", "image/png"),
    ],
)
def test_errors_in_tables_name_the_cause(
    table_server: Server, body: bytes, kind: str, status: int, code: str, cause_part: str
) -> None:
    answer = table_server.predict(body, kind)
    assert (answer.status, answer.code) == (status, code)
    assert cause_part in answer.plain["error"]["cause"]


def test_all_bad_files_of_a_form_are_named(server: Server) -> None:
    answer = server.predict(form([("one.png", b"x"), ("two.png", GOOD), ("three.png", GOOD[:-30])]), FORM)
    cause = answer.plain["error"]["cause"]
    assert "one.png is not an image" in cause
    assert "three.png cannot be decoded" in cause
    assert "two.png" not in cause


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8000", "localhost."])
def test_local_host_names_are_accepted(server: Server, host: str) -> None:
    assert server.request("GET", "/health", headers={"Host": host}).status == 200
    assert server.request("GET", "/health", headers={"Host": host, "Origin": f"http://{host}"}).status == 200


def test_limits_of_the_command_line_apply(home: Path) -> None:
    arguments = ["--max-bytes", "2000", "--max-pixels", "600", "--max-inputs", "2", "--max-connections", "2"]
    with serving(home / "digits", *arguments, "--io-timeout", "3", "--host", "0.0.0.0", "--batch-size", "4") as server:
        assert server.host == "0.0.0.0"
        assert server.predict(png(GREY), Host="anything.example").status == 200
        assert server.predict(png(RNG.integers(0, 2, (20, 31), dtype=np.uint8))).code == "too-many-pixels"
        answer = server.predict(bytes(2001))
        assert (answer.status, answer.code) == (413, "too-large")
        chunks = server.request("POST", "/predict", iter([bytes(1500)] * 9), {"Content-Type": "image/png"})  # type: ignore[arg-type]
        assert (chunks.status, chunks.code) == (413, "too-large")
        assert server.predict(form([("x", GOOD[:9])] * 3), FORM).code == "too-many-inputs"
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                wire = stack.enter_context(socket.create_connection(("127.0.0.1", int(server.port))))
                wire.sendall(b"GET")
            answer = server.request("GET", "/health")  # accepted after the two
            assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "busy", "1")
            assert wire.recv(100) == b""  # closed: the rest of its request did not arrive
        assert server.request("GET", "/health").status == 200
        code, log = server.stop()
    assert code == 143
    assert "no password" in log


# -- start and shutdown ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_server_after_requests_in_progress(home: Path, number: int, code: int) -> None:
    with serving(home / "digits") as server:
        small_response = server.predict(GOOD).body
        large = png(np.zeros((6000, 6000), np.uint8))
        head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: %d\r\n"
        with socket.create_connection((server.host, int(server.port)), timeout=TIMEOUT) as client:
            client.sendall(head % len(large) + b"Expect: 100-continue\r\n\r\n")
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 100 ")  # the request is in progress
            server.process.send_signal(number)
            client.sendall(large)
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        exit_code, log = server.process.wait(TIMEOUT), server.log.read_text()
        with pytest.raises(ConnectionError):
            server.predict(GOOD)
    assert small_response
    assert exit_code == code
    assert log.splitlines()[0] == f"snellen: Stopped by {signal.Signals(number).name} after 2 responses"


def test_startup_errors(home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        assert main(["serve", str(home / "digits"), "--port", port]) == 4
    assert f"Cannot bind port {port} of 127.0.0.1" in capsys.readouterr().err
    for arguments, exit_code in (
        (["--port", "70000"], 2),
        (["--port", "x"], 2),
        (["--host", "no.such.host.invalid"], 2),
        (["--max-queue", "0"], 2),
        (["--timeout", "-1"], 2),
        (["--batch-size", "0"], 2),
    ):
        assert main(["serve", str(home / "digits"), *arguments]) == exit_code
        assert len(capsys.readouterr().err.splitlines()) == 2
    assert main(["serve", str(tmp_path), "--port", "0"]) == 3


CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_page_predicts_in_a_browser(server: Server) -> None:
    """In a subprocess: threads left by playwright would disturb other tests."""
    code = f"""
from playwright.sync_api import sync_playwright
with sync_playwright() as play:
    page = play.chromium.launch(executable_path={CHROMIUM!r}, args=["--no-sandbox"]).new_page()
    messages = []
    page.on("console", lambda message: messages.append(message.text))
    page.goto("http://127.0.0.1:{server.port}/")
    page.set_input_files("input", {{"name": "x.png", "mimeType": "image/png", "buffer": {GOOD!r}}})
    page.click("button")
    page.wait_for_url("**/predict")
    print(page.inner_text("body"))
    assert not [text for text in messages if "favicon" not in text], messages
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answers"][0]["input"] == "x.png"


# -- refusals that arrive ---------------------------------------------------------------------------------------------


def exchange(server: Server, content: bytes) -> bytes:
    """All bytes of the response to raw bytes; the client sends everything before it reads."""
    with socket.create_connection((server.host, int(server.port)), timeout=TIMEOUT) as client:
        client.sendall(content)  # a reset raises here, or below
        received = b""
        while part := client.recv(1 << 16):
            received += part
    return received


def test_a_client_beyond_the_maximum_of_connections_receives_503(home: Path) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
    body = bytes(300_000)
    with serving(home / "digits", "--max-connections", "2") as server, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(socket.create_connection((server.host, int(server.port)), timeout=TIMEOUT)).sendall(
                b"POST"
            )
        responses = [exchange(server, head % len(body) + body) for _ in range(24)]
        assert {response[:12] for response in responses} == {b"HTTP/1.1 503"}
        assert all(response.endswith(b'"remedy": "Retry later."}}') for response in responses)


def test_a_client_that_sends_too_much_receives_413(home: Path) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
    body = bytes(5_000_000)
    with serving(home / "digits", "--max-bytes", "2000") as server:
        responses = [exchange(server, head % len(body) + body) for _ in range(10)]
        assert {response[:12] for response in responses} == {b"HTTP/1.1 413"}
        assert all(b"\r\nconnection: close\r\n" in response for response in responses)
        assert server.request("GET", "/health").status == 200


@pytest.mark.parametrize("header", [b"Content-Type: text/csv", b"Content-Type: image/png\r\nContent-Encoding: gzip"])
def test_a_connection_is_closed_after_an_error_before_the_body_is_read(home: Path, header: bytes) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n%b\r\nContent-Length: 5000000\r\n\r\n"
    with serving(home / "digits") as server:
        response = exchange(server, head % header + bytes(5_000_000))
    assert response[:12] == b"HTTP/1.1 415"
    assert b"\r\nconnection: close\r\n" in response


def test_a_strip_that_unpacks_to_gigabytes_takes_no_memory(home: Path) -> None:
    encoder = zlib.compressobj(1)
    strip = b"".join([*(encoder.compress(bytes(1 << 24)) for _ in range(64)), encoder.flush()])  # 1 GiB of zeros
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((8, 8, 5), np.uint8), photometric="minisblack", compression="zlib", metadata=None)
    with tifffile.TiffFile(io.BytesIO(buffer.getvalue())) as tif:
        tags = tif.pages.first.tags
        places = [tags[name].valueoffset for name in ("StripOffsets", "StripByteCounts")]
    content = bytearray(buffer.getvalue())
    for place, value in zip(places, (len(content), len(strip)), strict=True):
        struct.pack_into("<I", content, place, value)
    with serving(home / "digits") as server:
        before = server.memory()
        assert server.predict(bytes(content) + strip, "image/tiff").status in (200, 422)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
        assert peak - before < 300 << 20
