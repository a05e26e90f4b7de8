"""Log-mel spectrogram against SciPy and the formula of the filters; padding changes no answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.signal import stft
from torch import Tensor, nn

from snellen.core.spec import Input
from snellen.nn.audio import OFFSET, LogMel, LogMelConvNet, MaskedBatchNorm, mel_filter_bank, random_masks
from snellen.nn.layers import Standardize


def recordings(lengths: list[int], longest: int, seed: int = 0) -> Tensor:
    """(B, 1, T) noise with NaN after the end."""
    x = torch.randn(len(lengths), 1, longest, generator=torch.Generator().manual_seed(seed))
    return torch.where(torch.arange(longest) < torch.tensor(lengths)[:, None, None], x, torch.nan)


def filter_weight(band: int, frequency: float, bands: int, rate: float) -> float:
    """Weight of a triangular HTK filter at a frequency, by its definition."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    low, centre, high = (700 * (10 ** (top * (band + k) / (bands + 1) / 2595) - 1) for k in range(3))
    if low < frequency <= centre:
        return (frequency - low) / (centre - low)
    return (high - frequency) / (high - centre) if centre < frequency < high else 0.0


@pytest.mark.parametrize(("bands", "window", "rate"), [(20, 256, 8000), (40, 1102, 44100), (13, 101, 3000)])
def test_mel_filters_follow_their_definition(bands: int, window: int, rate: float) -> None:
    weights = mel_filter_bank(bands, window, rate)
    expected = np.array(
        [[filter_weight(b, k * rate / window, bands, rate) for b in range(bands)] for k in range(window // 2 + 1)]
    )
    wide = expected.sum(0) > 0
    assert wide.sum() > bands / 2
    assert np.allclose(weights[:, wide], expected[:, wide], atol=1e-9)
    assert ((weights[:, ~wide] == 1).sum(0) == 1).all()  # a filter between two frequencies has the nearest of them
    assert (weights.sum(0) > 0).all()


@pytest.mark.parametrize(("window", "hop"), [(64, 20), (63, 20), (64, 64)])
def test_powers_are_those_of_the_short_time_fourier_transform_of_scipy(window: int, hop: int) -> None:
    x = torch.randn(1, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()
    powers, inside = LogMel(1000, window, hop, 10)(x)
    padded = np.pad(x[0].double().numpy(), (window // 2, 2 * window))
    _, _, spectrum = stft(padded, window="hann", nperseg=window, noverlap=window - hop, boundary=None, padded=False)
    frames = -(-500 // hop)
    expected = np.log(np.abs(spectrum[:, :frames].T) ** 2 @ mel_filter_bank(10, window, 1000) + OFFSET).T
    assert powers.shape == (1, 10, frames)
    assert bool(inside.all())
    assert np.abs(powers[0].numpy() - expected).max() < 1e-3


def test_a_sine_has_a_quarter_of_its_squared_amplitude_at_its_frequency() -> None:
    t = torch.arange(4000) / 8000
    powers, _ = LogMel(8000, 256, 80, 40)(3 * torch.sin(2 * torch.pi * 1000 * t)[None])
    weights = mel_filter_bank(40, 256, 8000)
    band = int(weights[32].argmax())  # 1000 Hz is frequency 32 of 256 samples
    neighbours = weights[31, band] + weights[33, band]  # each with a quarter of the power, of a Hann window
    expected = 9 / 4 * (weights[32, band] + neighbours / 4)
    assert float(powers[0, band, 20].exp()) == pytest.approx(expected, rel=1e-3)


def test_masked_batch_norm_is_batch_norm_of_the_frames_inside() -> None:
    x = torch.randn(3, 4, 5, 7, generator=torch.Generator().manual_seed(0))
    inside = torch.arange(7) < torch.tensor([7, 2, 4])[:, None]
    ours, theirs = MaskedBatchNorm(4), nn.BatchNorm1d(4)
    for layer in (ours, theirs):
        nn.init.constant_(layer.weight, 1.5)  # type: ignore[arg-type]
        nn.init.constant_(layer.bias, 0.3)  # type: ignore[arg-type]
    for training in (True, True, False):
        y = ours.train(training)(x, inside)
        expected = theirs.train(training)(x.permute(0, 3, 1, 2)[inside])
        frames = y.permute(0, 3, 1, 2)
        assert torch.allclose(frames[inside], expected, atol=1e-5)
        assert torch.equal(frames[~inside], torch.zeros(8, 4, 5))
    assert torch.allclose(ours.running_mean, theirs.running_mean)  # type: ignore[arg-type]
    assert torch.allclose(ours.running_var, theirs.running_var)  # type: ignore[arg-type]


@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_no_output_and_no_statistic(training: bool) -> None:
    lengths = [400, 1, 37, 250]
    x = recordings(lengths, 400)
    longer = torch.nn.functional.pad(x, (0, 333), value=torch.nan)
    torch.manual_seed(0)
    nets = [LogMelConvNet(1000, 64, 10, 12, width=4, outputs=3).train(training) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    y, padded = nets[0](x), nets[1](longer)
    assert torch.allclose(y, padded, atol=1e-5)
    for name, value in nets[0].state_dict().items():
        assert torch.allclose(value, nets[1].state_dict()[name], atol=1e-6), name
    if not training:
        alone = torch.cat([nets[0](x[k : k + 1, :, : lengths[k]]) for k in range(4)])
        assert torch.allclose(y, alone, atol=1e-5)
        assert not torch.allclose(y[0], nets[0](x[:1, :, :300])[0], atol=1e-4)  # samples inside do


def test_training_in_mixed_precision_and_on_one_recording_of_one_frame() -> None:
    net = LogMelConvNet(1000, 64, 10, 12, width=4, outputs=3, mask=0.5).train()
    with torch.autocast("cpu", torch.bfloat16):
        y = net(recordings([3], 20))
    y.float().sum().backward()
    assert all(bool(torch.isfinite(value).all()) for value in net.state_dict().values())
    x = recordings([400, 90], 400)
    expected = net.eval()(x)
    with torch.autocast("cpu", torch.bfloat16):
        powers, _ = net.log_mel(x[:, 0])
        assert torch.equal(powers, net.log_mel(x[:, 0])[0].float())
        assert powers.dtype == torch.float32
        assert torch.allclose(net(x).float(), expected, atol=0.05)


def test_masks_are_one_range_of_frames_inside_and_one_of_bands() -> None:
    inside = torch.arange(50) < torch.tensor([50, 20, 1])[:, None]
    torch.manual_seed(0)
    masks = torch.stack([random_masks(inside, 30, 0.4)[:, 0] for _ in range(200)])  # (200, B, bands, frames)
    frames, rows = masks.amax(2), masks.amax(3)
    for part, limits in ((frames, [20, 8, 1]), (rows, [12, 12, 12])):
        zero = part == 0
        edges = zero[..., 1:] & ~zero[..., :-1]
        assert int((edges.sum(-1) + zero[..., 0]).max()) == 1  # one range
        assert all(int(zero[:, k].sum(-1).max()) <= limits[k] for k in range(3))
        assert bool(zero.any())
    assert bool((frames[:, 1, 20:] == 1).all())


def test_statistics_of_recordings_are_those_of_the_samples_inside() -> None:
    x = recordings([9, 4, 6], 9) * 3 + 2
    layer = Standardize(Input(modality="audio", shape=(1, None), rate=8000))
    layer.fit(x)
    values = x[~x.isnan()].double().numpy()
    assert np.allclose((layer.mean, layer.std), ([values.mean()], [values.std()]), rtol=1e-12)
    y = layer(x)
    assert torch.equal(y.isnan(), x.isnan())
    assert torch.allclose(y.nan_to_num(), ((x - values.mean()) / values.std()).nan_to_num(), atol=1e-5)
