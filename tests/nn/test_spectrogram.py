"""Front ends and MFCC statistics: equal to SciPy and NumPy, independent of the padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import write_tones
from scipy.fft import dct
from torch import Tensor, nn

import snellen
from snellen.api import RunOptions
from snellen.architectures import ARCHITECTURES
from snellen.architectures.front_ends import accepted, not_in_ladder
from snellen.core.errors import UsageError
from snellen.model_selection.ladder import ladder_candidates
from snellen.nn.audio import LogMel
from snellen.nn.spectrogram import (
    OFFSET,
    MFCCStatistics,
    SpectrogramImage,
    SpectrogramSteps,
    cosine_basis,
    deltas,
    part_weights,
)

RATE, FRAME = 2000, (64, 20)  # window and hop
QUIET = RunOptions(threads=1, report=False)


def ragged(*lengths: int) -> Tensor:
    x = torch.full((len(lengths), 1, max(lengths)), torch.nan)
    for row, length in zip(x, lengths, strict=True):
        row[0, :length] = torch.randn(length, generator=torch.Generator().manual_seed(length))
    return x


def test_the_cosine_basis_is_that_of_scipy() -> None:
    x = np.random.default_rng(0).standard_normal((5, 12))
    assert np.allclose(x @ cosine_basis(12, 7), dct(x, norm="ortho", axis=1)[:, :7])


def test_the_parts_of_a_recording_are_exact_means() -> None:
    inside = torch.tensor([[True] * 6 + [False] * 2, [True] * 3 + [False] * 5])
    weights = part_weights(inside, 3)
    assert torch.equal(weights[0, :6], torch.eye(3).repeat_interleave(2, 0) / 2)
    assert not weights[0, 6:].any()
    assert torch.equal(weights[1, :3], torch.eye(3))
    fine = np.repeat(np.arange(7.0), 5)  # 5 parts of 7 frames, by a grid of 35
    (weights,) = part_weights(torch.ones(1, 7, dtype=torch.bool), 5)
    assert np.allclose(torch.arange(7.0) @ weights, fine.reshape(5, 7).mean(1))


def test_slopes_are_those_of_the_least_squares_line_over_five_frames() -> None:
    x = torch.randn(1, 2, 9, generator=torch.Generator().manual_seed(0))
    inside = torch.arange(9)[None] < 7
    slopes = deltas(x, inside)
    for t in range(2, 5):
        expected = np.polyfit(np.arange(-2, 3), x[0, :, t - 2 : t + 3].T.double().numpy(), 1)[0]
        assert np.allclose(slopes[0, :, t], expected, atol=1e-5)
    at_end = (x[0, 0, 6] - x[0, 0, 5] + 2 * (x[0, 0, 6] - x[0, 0, 4])) / 10  # the last frame is repeated
    assert float(slopes[0, 0, 6]) == pytest.approx(float(at_end), abs=1e-5)


def test_mfcc_statistics_are_those_of_numpy() -> None:
    x = ragged(400)
    model = MFCCStatistics(RATE, *FRAME, 16, 6, 2)
    powers, _ = LogMel(RATE, *FRAME, 16, offset=OFFSET)(x[:, 0])
    cepstrum = dct(powers[0].double().numpy(), norm="ortho", axis=0)[:6]  # (6, 20 frames)
    (features,) = model(x).reshape(1, 6, 4).double().numpy()
    assert np.allclose(features[:, 0], cepstrum[:, :10].mean(1), atol=1e-3)
    assert np.allclose(features[:, 1], cepstrum[:, 10:].mean(1), atol=1e-3)
    assert np.allclose(features[:, 2], cepstrum.std(1), atol=1e-3)


@pytest.mark.parametrize(
    "module",
    [
        MFCCStatistics(RATE, *FRAME, 16, 6, 3),
        SpectrogramImage(RATE, *FRAME, (3, 16, 10), mask=0.5),
        SpectrogramSteps(RATE, *FRAME, 16, mask=0.5),
    ],
)
def test_the_padding_changes_nothing(module: nn.Module) -> None:
    module.eval()
    x = ragged(1, 19, 333, 400)
    together = module(torch.nn.functional.pad(x, (0, 77), value=torch.nan))
    for row, length in enumerate((1, 19, 333, 400)):
        alone = module(x[row : row + 1, :, :length])
        part = together[row : row + 1]
        if isinstance(module, SpectrogramSteps):
            part = part[:, : alone.shape[1]]
        assert torch.allclose(alone, part, atol=1e-5)


def test_every_small_architecture_of_images_and_sequences_reads_recordings() -> None:
    for architecture in ARCHITECTURES.values():
        reads = bool(architecture.accepts & {"image", "sequence", "audio"})
        assert ("audio" in accepted(architecture)) is reads, architecture.name
    assert not_in_ladder(ARCHITECTURES["resnet18"]) == {"audio"}
    assert not_in_ladder(ARCHITECTURES["lenet"]) == not_in_ladder(ARCHITECTURES["gru"]) == frozenset()
    names = [learner.name for learner in ladder_candidates("classify", (), "audio")]
    assert {"baseline", "mfcc-svm", "gru", "log-mel-convnet", "lenet", "resnet20"} <= set(names)
    assert not {"resnet18", "vgg16", "densenet121"} & set(names)
    assert "resnet18" in [learner.name for learner in ladder_candidates("classify", (), "image")]


@pytest.mark.parametrize("name", ["lenet", "gru", "resnet20"])
def test_networks_of_images_and_of_sequences_predict_recordings_alone_as_in_a_batch(name: str, tmp_path: Path) -> None:
    extra = {"hidden_size": 8} if name == "gru" else {"image_size": 32}
    folder = write_tones(tmp_path / "tones")
    run = snellen.train(folder, name, out=tmp_path / "run", options=QUIET, epochs=1, **extra)
    x = torch.stack([run.data.image(int(id)) for id in run.data.splits["train"][:6]])
    together = run.model.scores(x)
    for row, sample in enumerate(x):
        alone = sample[:, ~sample[0].isnan()]
        assert torch.allclose(run.model.scores(alone[None]), together[row : row + 1], atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "cause"),
    [({"pretrained": "published"}, "weights of resnet18 are of images"), ({"rotate": 5.0}, "--rotate changes images")],
)
def test_settings_of_images_are_errors_for_recordings(settings: dict[str, object], cause: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=cause):
        snellen.train(write_tones(tmp_path / "tones"), "resnet18", out=tmp_path / "run", options=QUIET, **settings)
