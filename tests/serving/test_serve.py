"""A second process serves; it answers what `snellen predict` says, and refuses with a word, a cause and a remedy."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from process import FORM, Server, form, png, serving

from snellen.cli.main import main

DRAW = np.random.default_rng(0)
GREY = DRAW.integers(0, 256, (30, 20), dtype=np.uint8)
COLOUR = DRAW.integers(0, 256, (30, 20, 3), dtype=np.uint8)
DEEP = DRAW.integers(0, 1 << 16, (30, 20), dtype=np.uint16)


def picture(kind: str, values: np.ndarray, mode: str = "", **more: Any) -> bytes:
    written = io.BytesIO()
    made = Image.fromarray(values)
    (made.convert(mode) if mode else made).save(written, kind, **more)
    return written.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return picture("JPEG", COLOUR, exif=exif)


def deep_tiff() -> bytes:
    written = io.BytesIO()
    tifffile.imwrite(written, DEEP)
    return written.getvalue()


PICTURES: dict[str, Callable[[], bytes]] = {
    "grey.png": lambda: png(GREY),
    "colour.png": lambda: png(COLOUR),
    "deep.png": lambda: png(DEEP),
    "turned.jpg": turned,
    "cmyk.jpg": lambda: picture("JPEG", COLOUR, "CMYK"),
    "deep.tif": deep_tiff,
    "alpha.png": lambda: picture("PNG", COLOUR, "RGBA"),
    "palette.gif": lambda: picture("GIF", COLOUR, "P"),
    "webp.webp": lambda: picture("WEBP", COLOUR),
    "lzw.tif": lambda: picture("TIFF", GREY, compression="tiff_lzw"),
}


def predicted(*words: object) -> list[dict[str, Any]]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["predict", *map(str, words)]) == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


def renamed(records: Sequence[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{**record, "input": name} for record, name in zip(records, names, strict=True)]


# -- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # the deep ones lie outside the range, as the answer says, too
def test_a_picture_is_answered_as_predict_says(server: Server, home: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(PICTURES[name]())
    (said,) = predicted(home / "digits", tmp_path / name)
    answer = server.predict(PICTURES[name](), "application/octet-stream")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.plain["answers"] == renamed([said], "body")
    deep = name.startswith("deep")
    assert ("warnings" in answer.plain) == deep
    assert not deep or "outside 0 … 255" in answer.plain["warnings"][0]


def test_several_pictures_are_answered_as_each_alone(server: Server, home: Path, tmp_path: Path) -> None:
    files = [(name, make()) for name, make in PICTURES.items()]
    answer = server.predict(form(files), FORM)
    alone = [server.predict(form([file]), FORM).plain["answers"][0] for file in files]
    assert answer.status == 200
    assert answer.plain["answers"] == alone


def test_the_bytes_of_an_answer_do_not_depend_on_who_else_asks(server: Server) -> None:
    asked = [form([(name, make())]) for name, make in PICTURES.items()]
    alone = [server.predict(body, FORM).body for body in asked]
    with ThreadPoolExecutor(16) as pool:
        crowded = list(pool.map(lambda body: server.predict(body, FORM).body, asked * 8))
    assert crowded == alone * 8


ROWS = [{"size": 3, "kind": "a"}, {"kind": "b", "size": 4.5, "more": None}]
TABLES = {
    "text/csv": b"kind,size\na,3\nb,4.5\n",
    "text/csv; charset=utf-8": b"\xef\xbb\xbfkind;size\r\na;3\r\nb;4,5\r\n",
    "application/json": json.dumps({"rows": ROWS}).encode(),
    "application/json; x=y": json.dumps(ROWS).encode(),
    "application/x-ndjson": b"\n".join(json.dumps(row).encode() for row in ROWS),
}


@pytest.mark.parametrize("kind", TABLES)
def test_rows_are_answered_as_predict_says(table_server: Server, home: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "new.csv").write_bytes(TABLES["text/csv"])
    answer = table_server.predict(TABLES[kind], kind)
    assert answer.plain == {"answers": predicted(home / "rows", tmp_path / "new.csv")}


def test_tables_in_a_form_and_a_single_row(table_server: Server, home: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_bytes(TABLES["text/csv"])
    first, second = predicted(home / "rows", tmp_path / "new.csv")
    files = [("a.csv", TABLES["text/csv"]), ("b.json", TABLES["application/json"])]
    names = [f"{file}, {row}" for file in ("a.csv", "b.json") for row in ("row 1", "row 2")]
    assert table_server.predict(form(files), FORM).plain["answers"] == renamed([first, second] * 2, *names)
    assert table_server.predict(json.dumps(ROWS[0]).encode(), "application/json").plain["answers"] == [first]


def test_two_hundred_rows_are_answered_as_predict_says(table_server: Server, home: Path, tmp_path: Path) -> None:
    text = "size,kind\n" + "".join(f"{k / 7},{'ab'[k % 2]}\n" for k in range(200))
    (tmp_path / "long.csv").write_text(text)
    said = predicted(home / "rows", tmp_path / "long.csv")
    assert table_server.predict(text.encode(), "text/csv").plain["answers"] == said


def test_it_tells_of_itself(server: Server, table_server: Server, home: Path) -> None:
    assert server.ask("GET", "/health").plain == {"status": "ok", "waiting": 0}
    info = server.ask("GET", "/info").plain
    assert info["classes"] == [str(k) for k in range(10)]
    assert (info["model"], info["task"], info["input"]["channels"]) == ("softmax", "classify", 1)
    record = json.loads((home / "digits" / "run.json").read_text())
    assert info["sha256"] == record["files"]["model.safetensors"]
    assert info["limits"]["max_bytes"] == 32 << 20
    told = table_server.ask("GET", "/info").plain
    assert (told["targets"], told["units"]) == (["height"], ["mm"])
    assert [column["name"] for column in told["input"]["columns"]] == ["size", "kind"]
    assert str(home) not in json.dumps([info, told])
    page = server.ask("GET", "/")
    assert page.headers["content-type"].startswith("text/html")
    assert f"curl -F file=@picture.png http://127.0.0.1:{server.port}/predict" in page.body.decode()
    assert server.told[1].split(None, 1)[1].strip() in page.body.decode()


def test_the_interface_is_described(server: Server, table_server: Server) -> None:
    for one in (server, table_server):
        told = one.ask("GET", "/openapi.json").plain
        assert told["openapi"].startswith("3.1")
        assert set(told["paths"]) == {"/predict", "/health", "/info"}
        asked = told["paths"]["/predict"]["post"]
        assert list(asked["requestBody"]["content"]) == one.ask("GET", "/info").plain["input"]["content_types"]
        assert {"200", "400", "413", "415", "422", "429", "503"} <= set(asked["responses"])
        operations = [operation["operationId"] for path in told["paths"].values() for operation in path.values()]
        assert len(set(operations)) == len(operations)


# -- refusals --------------------------------------------------------------------------------------------------------

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
def test_a_refusal_has_a_status_a_word_a_cause_and_a_remedy(
    server: Server, method: str, path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = server.ask(method, path, body, headers)
    assert (answer.status, answer.code) == (status, code)
    assert answer.plain["error"]["cause"]
    assert answer.plain["error"]["remedy"]


@pytest.mark.parametrize(
    ("body", "kind", "status", "code", "word"),
    [
        (b"{", "application/json", 400, "malformed-json", "Expecting"),
        (b'{"size": NaN, "kind": "a"}', "application/json", 400, "malformed-json", "NaN"),
        (b"[" * 99_999, "application/json", 400, "malformed-json", "recursion"),
        (b'{"size": 1, "kind": "c"}', "application/json", 422, "unreadable", "'c' was not in the training data"),
        (b'{"size": 1, "kind": "\\ud800"}', "application/json", 422, "unreadable", "was not in the training data"),
        (b'{"siize": 1, "kind": "a"}', "application/json", 422, "unreadable", "lacks column 'size'"),
        (b"size,kind\nx,a\n", "text/csv", 422, "unreadable", "no finite number"),
        (b"size,kind\n" + b"1,a\n" * 10_001, "text/csv", 413, "too-many-inputs", "10,000 rows"),
        (b'size,kind\n"1",a\n' + b"1,a\n" * 10_001, "text/csv", 413, "too-many-inputs", "10,000 rows"),
        (b"size,kind\n1,a\n", "text/csv; charset=utf-16", 415, "unsupported-type", "utf-16"),
        (GOOD, "image/png", 415, "unsupported-type", "image/png"),
    ],
)
def test_what_is_wrong_with_rows_is_said(
    table_server: Server, body: bytes, kind: str, status: int, code: str, word: str
) -> None:
    answer = table_server.predict(body, kind)
    assert (answer.status, answer.code) == (status, code)
    assert word in answer.plain["error"]["cause"]


def test_all_bad_files_of_a_form_are_named(server: Server) -> None:
    answer = server.predict(form([("one.png", b"x"), ("two.png", GOOD), ("three.png", GOOD[:-30])]), FORM)
    cause = answer.plain["error"]["cause"]
    assert "one.png is no picture" in cause
    assert "three.png cannot be decoded" in cause
    assert "two.png" not in cause


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8000", "localhost."])
def test_names_of_this_machine_are_let_in(server: Server, host: str) -> None:
    assert server.ask("GET", "/health", headers={"Host": host}).status == 200
    assert server.ask("GET", "/health", headers={"Host": host, "Origin": f"http://{host}"}).status == 200


def test_limits_are_those_that_were_given(home: Path) -> None:
    words = ["--max-bytes", "2000", "--max-pixels", "600", "--max-inputs", "2", "--max-connections", "2"]
    with serving(home / "digits", *words, "--io-timeout", "1", "--host", "0.0.0.0", "--batch-size", "4") as server:
        assert server.host == "0.0.0.0"
        assert server.predict(png(GREY), Host="anything.example").status == 200
        assert server.predict(png(DRAW.integers(0, 2, (20, 31), dtype=np.uint8))).code == "too-many-pixels"
        answer = server.predict(bytes(2001))
        assert (answer.status, answer.code) == (413, "too-large")
        chunks = server.ask("POST", "/predict", iter([bytes(1500)] * 9), {"Content-Type": "image/png"})  # type: ignore[arg-type]
        assert (chunks.status, chunks.code) == (413, "too-large")
        assert server.predict(form([("x", GOOD[:9])] * 3), FORM).code == "too-many-inputs"
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                wire = stack.enter_context(socket.create_connection(("127.0.0.1", int(server.port))))
                wire.sendall(b"GET")
            time.sleep(0.2)
            answer = server.ask("GET", "/health")
            assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "busy", "1")
            assert wire.recv(100) == b""  # cut, as the rest of its request did not come
        assert server.ask("GET", "/health").status == 200
        code, said = server.stop()
    assert code == 143
    assert "no password" in said


# -- beginning and end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_after_what_is_in_flight(home: Path, number: int, code: int) -> None:
    with serving(home / "digits") as server:
        first = server.predict(GOOD).body
        large = png(np.zeros((6000, 6000), np.uint8))
        with ThreadPoolExecutor() as pool:
            last = pool.submit(server.predict, large)
            time.sleep(0.15)
            left = server.stop(number)
            assert last.result().status == 200
        with pytest.raises(ConnectionError):
            server.predict(GOOD)
    assert first
    assert left[0] == code
    assert left[1].splitlines()[0] == f"snellen: Stopped by {signal.Signals(number).name} after 2 answers"


def test_what_cannot_be_served_is_told(home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["serve", str(home / "digits"), "--port", port]) == 4
    assert f"Port {port} of 127.0.0.1 cannot be had" in capsys.readouterr().err
    for words, exit_code in (
        (["--port", "70000"], 2),
        (["--port", "x"], 2),
        (["--host", "no.such.host.invalid"], 2),
        (["--max-queue", "0"], 2),
        (["--timeout", "-1"], 2),
        (["--batch-size", "0"], 2),
    ):
        assert main(["serve", str(home / "digits"), *words]) == exit_code
        assert len(capsys.readouterr().err.splitlines()) == 2
    assert main(["serve", str(tmp_path), "--port", "0"]) == 3


CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_its_page_asks_in_a_browser(server: Server) -> None:
    """In a process of its own: what playwright leaves running would disturb other tests."""
    code = f"""
from playwright.sync_api import sync_playwright
with sync_playwright() as play:
    page = play.chromium.launch(executable_path={CHROMIUM!r}, args=["--no-sandbox"]).new_page()
    heard = []
    page.on("console", lambda message: heard.append(message.text))
    page.goto("http://127.0.0.1:{server.port}/")
    page.set_input_files("input", {{"name": "x.png", "mimeType": "image/png", "buffer": {GOOD!r}}})
    page.click("button")
    page.wait_for_url("**/predict")
    print(page.inner_text("body"))
    assert not [text for text in heard if "favicon" not in text], heard
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answers"][0]["input"] == "x.png"
