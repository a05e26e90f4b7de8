"""A model of recordings: prediction of files and requests, export for any length, spectrograms of the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import RATE, tone, write, write_tones

import snellen
from snellen.api import RunOptions, TrainedRun
from snellen.cli.main import main
from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Input
from snellen.core.views import Sound
from snellen.modalities.audio import AUDIO, sound
from snellen.modalities.modality import TooManyInputs, Upload, UploadLimits
from snellen.modalities.sample_views import samples_view
from snellen.serving.description import info
from snellen.serving.http_errors import HTTPError
from snellen.serving.limits import Limits
from snellen.serving.request import check_content_type, inputs

QUIET = RunOptions(threads=1, report=False)
SMALL = {"mel_bands": 12, "width": 4, "hop_ms": 16.0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    folder = tmp_path_factory.mktemp("recordings")
    return snellen.train(write_tones(folder / "tones"), out=folder / "run", options=QUIET, epochs=3, **SMALL)


def test_files_are_predicted_alone_as_in_a_batch_and_bad_ones_are_named(
    trained: TrainedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained.record.learner == "log-mel-convnet"
    folder = write_tones(tmp_path / "new", 2)
    write(folder / "fast.wav", tone(100, rate=4000), rate=4000)
    (folder / "song.m4a").write_bytes(b"ID3")
    (folder / "readme.txt").write_text("tones")
    code = main(["predict", str(trained.folder), str(folder)])
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert code == 3
    assert len(rows) == 6
    assert "fast.wav: has 4,000 samples per second, the model reads 2,000" in captured.err
    assert "song.m4a: is M4A" in captured.err
    for row in rows:
        assert main(["predict", str(trained.folder), row["input"]]) == 0
        (alone,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert alone["probabilities"] == pytest.approx(row["probabilities"], abs=1e-5)


def test_a_request_is_read_as_files_are(trained: TrainedRun, tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", tone(150))
    for kind in ("audio/wav", "audio/x-wav", "application/octet-stream"):
        check_content_type(kind, trained.spec)
        ((names, x),) = inputs(path.read_bytes(), kind, trained.spec, trained.record.preprocessing, Limits())
        assert names == ["body"]
        assert np.array_equal(x[0, 0].numpy(), tone(150) / np.float32(32768))
    with pytest.raises(HTTPError):
        check_content_type("image/png", trained.spec)
    with pytest.raises(DataError, match="body is no recording"):
        list(inputs(b"sound", "audio/wav", trained.spec, trained.record.preprocessing, Limits()))
    files = [Upload(name, "audio/wav", path.read_bytes()) for name in ("a.wav", "b.wav")]
    with pytest.raises(TooManyInputs):
        list(AUDIO.read_uploads(files, trained.spec, trained.record.preprocessing, UploadLimits(1, 1)))
    assert info(trained, "0", Limits())["input"]["rate"] == RATE


def test_the_onnx_file_predicts_recordings_of_any_length(trained: TrainedRun, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = trained.export("onnx", out=tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path)
    described = json.loads(session.get_modelmeta().custom_metadata_map["input"])
    assert (described["shape"], described["rate"]) == (["batch", 1, "any"], RATE)
    for length in (1, 31, 200, 3001):
        x = torch.randn(2, 1, length, generator=torch.Generator().manual_seed(length))
        x[1, :, length // 2 + 1 :] = torch.nan
        scores, _ = session.run(None, {"input": x.numpy()})
        with torch.no_grad():
            assert np.allclose(scores, trained.model.scores(x), atol=1e-3)


def test_worst_errors_are_sounds_with_their_spectrograms(trained: TrainedRun) -> None:
    data = trained.data
    ids = data.splits["test"].tolist() * 4
    view = samples_view(data, ids, ["one"] * len(ids), "Worst errors", "The largest first.")
    assert isinstance(view, Sound)
    assert len(view.items) == 8 < len(ids)
    for item, id in zip(view.items, ids, strict=False):
        assert torch.equal(item.samples, data.image(id)[:, : item.samples.shape[1]])
        assert (item.rate, item.good, len(item.frequencies)) == (RATE, False, 64)
        assert data.name(id) in item.caption
        assert item.caption.endswith(" s")
    titles = [view.title for view in trained.task.views(trained.predictions("test"), data, trained.spec)]
    assert "Right predictions" in titles


def test_a_sine_of_amplitude_a_has_20_log10_a_decibels_at_its_frequency_whatever_its_length() -> None:
    for seconds, rate in ((0.5, 8000), (9.0, 16000)):
        x = torch.full((1, round(10 * rate)), torch.nan)
        t = torch.arange(round(seconds * rate)) / rate
        x[0, : len(t)] = 0.25 * torch.sin(2 * torch.pi * 1000 * t)
        clip = sound(x, Input(modality="audio", shape=(1, None), rate=rate), "x", None)
        assert clip.spectrogram is not None
        assert clip.samples.shape[1] <= 32_000
        assert ("the first 4 s" in clip.caption) is (seconds > 4)
        level = clip.spectrogram.mean(1)
        near = torch.tensor(clip.frequencies).sub(1000).abs().argsort()[:2]
        assert int(level.argmax()) in near.tolist()
        assert float(level.max()) == pytest.approx(20 * np.log10(0.25), abs=1.5)  # between two bands
        assert clip.spectrogram.shape[1] * clip.hop_seconds == pytest.approx(
            clip.samples.shape[1] / clip.rate, abs=0.02
        )


def test_other_rates_and_models_of_rows_are_refused(trained: TrainedRun, tmp_path: Path) -> None:
    for k in range(12):
        write(tmp_path / "fast" / "ab"[k % 2] / f"{k}.wav", tone(100, rate=4000, seed=k), rate=4000)
    with pytest.raises(DataError):
        trained.evaluate(snellen.dataset(tmp_path / "fast"))
    with pytest.raises(UsageError, match="not audio") as caught:
        snellen.train(tmp_path / "fast", "mlp", out=tmp_path / "run", options=QUIET)
    assert "log-mel-convnet" in caught.value.remedy
    for settings in ({"window_ms": 0.1}, {"window_ms": 10.0, "hop_ms": 20.0}):
        with pytest.raises(UsageError, match="ms"):
            snellen.train(tmp_path / "fast", out=tmp_path / "run", options=QUIET, **settings)
