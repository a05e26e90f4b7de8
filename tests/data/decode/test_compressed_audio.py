"""FLAC, MP3 and OGG files, with and without soundfile; resampling against SciPy."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from recordings import RATE, tone, write, write_tones
from scipy.signal import resample_poly

import snellen
from snellen.api import RunOptions
from snellen.cli.main import main
from snellen.core.errors import DataError, UsageError
from snellen.data.decode.audio import decode, read_header
from snellen.data.decode.compressed_audio import encoding_of
from snellen.data.decode.header import UnusableFile
from snellen.data.decode.resample import resample
from snellen.data.formats import OpenOptions

QUIET = RunOptions(threads=1, report=False)


@pytest.mark.parametrize(
    ("rate", "target"), [(8000, 16_000), (44_100, 16_000), (48_000, 8000), (8000, 11_025), (7, 5), (44_099, 8000)]
)
def test_resampling_equals_that_of_scipy(rate: int, target: int) -> None:
    x = np.random.default_rng(0).standard_normal(1501).astype(np.float32)
    divisor = math.gcd(rate, target)
    expected = resample_poly(x.astype(np.float64), target // divisor, rate // divisor)
    assert np.allclose(resample(x, rate, target), expected, atol=1e-6)
    assert np.array_equal(resample(x, rate, rate), x)


def test_rates_without_a_small_ratio_are_an_error() -> None:
    with pytest.raises(UnusableFile, match="ratio"):
        resample(np.zeros(10, np.float32), 4_194_301, 4_194_304)


def test_without_soundfile_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    folder = write_tones(tmp_path / "tones")
    (folder / "low" / "x.flac").write_bytes(b"fLaC" + bytes(100))
    for _ in range(2):  # the second time with an index
        with pytest.raises(DataError, match=r"low/x\.flac is FLAC, which needs soundfile: pip install") as caught:
            snellen.dataset(folder)
        assert 'pip install "snellen[audio]"' in caught.value.remedy


def test_mpeg_audio_of_layer_3_is_recognised_by_its_first_frame() -> None:
    assert encoding_of(b"\xff\xfb\x90\x00") == encoding_of(b"ID3\x04") == "MP3"
    assert encoding_of(b"\xff\xf3\x40\xc0") == "MP3"  # MPEG 2
    for other in (b"\xff\xd8\xff\xe0", b"\xff\xff\xff\xff", b"RIFF", b"\xff\xf1\x50\x80", b""):  # JPEG, AAC
        assert encoding_of(other) is None


@pytest.mark.parametrize(("form", "error"), [("FLAC", 1e-4), ("OGG", 0.2), ("MP3", 0.3)])
def test_compressed_files_are_read_as_wav_files_are(form: str, error: float, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    rate = 16_000
    x = tone(400, 0.5, rate=rate) / np.float32(32_768)
    path = tmp_path / f"x.{form.lower()}"
    soundfile.write(path, np.stack([x, x / 2], 1), rate, format=form)
    header = read_header(path)
    values, again = decode(path)
    assert header == again
    assert (header.rate, header.channels, header.kind) == (rate, 2, form)
    assert len(values) == header.frames
    assert np.abs(values).max() <= 1
    if header.frames == len(x):  # MP3 is padded to frames
        assert np.abs(values - 0.75 * x).max() < error
    for damaged in (path.read_bytes()[:20], path.read_bytes()[:4] + bytes(400)):
        with pytest.raises(UnusableFile):
            decode(io.BytesIO(damaged))


def test_a_folder_of_flac_files_is_trained_on_and_predicted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile = pytest.importorskip("soundfile")
    folder = write_tones(tmp_path / "tones")
    for path in sorted(folder.rglob("*.wav"))[::2]:
        values, header = decode(path)
        soundfile.write(path.with_suffix(".flac"), values, header.rate)
        path.unlink()
    run = snellen.train(folder, "mfcc-svm", out=tmp_path / "run", options=QUIET)
    assert main(["predict", str(run.folder), str(folder)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 30


def test_several_rates_are_an_error_and_are_resampled_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_tones(tmp_path / "tones", 12)
    fast = write(folder / "low" / "fast.wav", tone(150, rate=4000), rate=4000)
    with pytest.raises(DataError, match=r"1 recording cannot be read: low/fast\.wav has 4,000") as caught:
        snellen.dataset(folder)
    assert "--sample-rate 2000" in caught.value.remedy
    options = OpenOptions(sample_rate=3000)
    data = snellen.dataset(folder, options=options)
    assert (data.spec.input.rate, data.spec.input.resampled, len(data)) == (3000, True, 37)
    assert "(resampled: 36 of 2,000 and 1 of 4,000)" in data.recognised_as
    run = snellen.train(data, "mfcc-svm", out=tmp_path / "run", options=QUIET)
    assert main(["predict", str(run.folder), str(fast), str(folder / "low" / "0.wav")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    one_rate = snellen.train(write_tones(tmp_path / "b", 12), "mfcc-svm", out=tmp_path / "c", options=QUIET)
    assert main(["predict", str(one_rate.folder), str(fast)]) == 3
    assert f"has 4,000 samples per second, the model reads {RATE:,}" in capsys.readouterr().err
    assert json.loads((run.folder / "run.json").read_text())["spec"]["inputs"]["audio"]["resampled"] is True


def test_the_sample_rate_of_other_data_is_an_error(tmp_path: Path) -> None:
    table = tmp_path / "x.csv"
    table.write_text("a,b,class\n" + "".join(f"{k},{k * k % 7},{'xy'[k % 2]}\n" for k in range(40)))
    for data in (table, "digits", "tones"):
        with pytest.raises(UsageError, match="--sample-rate applies to recordings"):
            snellen.dataset(data, options=OpenOptions(sample_rate=8000))
